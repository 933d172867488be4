//! Whether a container reads what we write, so that each of our lines makes the next: a log collector that a policy selects.
//!
//! What a descriptor leads to is known from the open that made it, until an open or a close of it is seen: a file that was opened
//! before the container was watched, or while no policy named opens, goes unnoticed. Room: [`MAX_OPEN`] descriptors; one more is not followed.

use std::collections::BTreeSet;

use kubeward_core::container::ContainerSlot;
use kubeward_core::event::SyscallEvent;

use super::by_slot::BySlot;

/// Events of a container are judged by so much time of it.
const WINDOW_NS: u64 = 10_000_000_000;

/// Fewer events than this in a window are no loop worth a word.
const MIN_EVENTS: u64 = 100;

const MAX_OPEN: usize = 4096;

const READS: [&str; 6] = ["read", "readv", "pread64", "preadv", "preadv2", "sendfile"];

/// What paths our own output has, as others see it.
#[derive(Debug, Clone, Default)]
pub struct OwnOutput {
    /// The file that we write; its rotated ones have a dot and a number behind.
    pub file: Option<Vec<u8>>,
    /// Of our pod: kubelet keeps our standard output in a folder that ends in it, and under a name that begins with the pod's.
    pub pod: Option<OwnPod>,
}

#[derive(Debug, Clone)]
pub struct OwnPod {
    pub name: String,
    pub uid: String,
}

impl OwnOutput {
    fn is_at(&self, path: &[u8]) -> bool {
        let rotated = |rest: &[u8]| rest.is_empty() || rest.first() == Some(&b'.');
        self.file.as_deref().and_then(|file| path.strip_prefix(file)).is_some_and(rotated)
            || self.pod.as_ref().is_some_and(|pod| {
                let text = String::from_utf8_lossy(path);
                let in_folder = || text.contains(&format!("_{}/", pod.uid));
                let by_link = || text.contains(&format!("/containers/{}_", pod.name));
                in_folder() || by_link()
            })
    }
}

/// What was counted of the containers' events.
#[derive(Debug, Default)]
pub(super) struct Feedback {
    own: OwnOutput,
    /// Container, process and descriptor that lead to our output.
    open: BTreeSet<(ContainerSlot, u32, u64)>,
    windows: BySlot<Window>,
}

#[derive(Debug, Default)]
struct Window {
    began_ns: u64,
    events: u64,
    of_own: u64,
    is_loop: bool,
}

/// A container's loop began or ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Turn {
    pub(super) is_loop: bool,
    pub(super) events: u64,
    pub(super) of_own: u64,
}

impl Feedback {
    pub(super) fn new(own: OwnOutput) -> Self {
        Self { own, ..Self::default() }
    }

    /// One more event is written. A window is judged when it is over.
    pub(super) fn event(&mut self, event: &SyscallEvent) -> Option<Turn> {
        let is_own = self.reads_own(event);
        if !self.windows.contains(event.slot) {
            self.windows.insert(event.slot, Window { began_ns: event.mono_ns, ..Window::default() });
        }
        let window = self.windows.get_mut(event.slot)?;
        window.events += 1;
        window.of_own += u64::from(is_own);
        if event.mono_ns.saturating_sub(window.began_ns) < WINDOW_NS {
            return None;
        }
        let Window { events, of_own, is_loop, .. } = *window;
        let now_loop = events >= MIN_EVENTS && of_own * 2 > events;
        *window = Window { began_ns: event.mono_ns, is_loop: now_loop, ..Window::default() };
        (now_loop != is_loop).then_some(Turn { is_loop: now_loop, events, of_own })
    }

    /// Loops that are over because no event came any more, as when the container was taken out of the policies.
    pub(super) fn quiet(&mut self, now_ns: u64) -> Vec<ContainerSlot> {
        let is_over = |window: &Window| window.is_loop && now_ns.saturating_sub(window.began_ns) > 2 * WINDOW_NS;
        let over = self.windows.iter_mut().filter(|(_, window)| is_over(window));
        over.map(|(slot, window)| {
            window.is_loop = false;
            slot
        })
        .collect()
    }

    /// The container is gone.
    pub(super) fn forget(&mut self, slot: ContainerSlot) {
        self.windows.remove(slot);
        self.open.retain(|(of, _, _)| *of != slot);
    }

    fn reads_own(&mut self, event: &SyscallEvent) -> bool {
        let Some(call) = event.call.entry else { return false };
        if call.opens_file() {
            self.opened(event);
            return false;
        }
        if self.open.is_empty() {
            return false;
        }
        if call.name == "close" {
            self.open.remove(&(event.slot, event.process.pid, event.args.first().map_or(u64::MAX, |arg| arg.raw)));
        }
        // sendfile reads from its second.
        let place = usize::from(call.name == "sendfile");
        let descriptor = event.args.get(place).map(|arg| arg.raw);
        READS.contains(&call.name)
            && descriptor.is_some_and(|fd| self.open.contains(&(event.slot, event.process.pid, fd)))
    }

    fn opened(&mut self, event: &SyscallEvent) {
        let Some(fd) = event.ret.and_then(|ret| u64::try_from(ret).ok()) else { return };
        let key = (event.slot, event.process.pid, fd);
        if event.path.as_ref().is_some_and(|path| self.own.is_at(&path.bytes)) {
            if self.open.len() < MAX_OPEN {
                self.open.insert(key);
            }
        } else {
            self.open.remove(&key);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use kubeward_core::event::{Arg, ArgValue, Call, Identity, Phase, Probe, Process, Stage, Text, Via};
    use kubeward_core::syscall::by_name;

    use super::*;

    const SECOND: u64 = 1_000_000_000;

    /// `moment` in hundredths of a second.
    fn call(name: &str, first: u64, ret: i64, path: Option<&str>, moment: u64) -> SyscallEvent {
        let entry = by_name(name).expect("it exists");
        let kind = by_name("read").and_then(|read| read.args).expect("its arguments are known")[0].kind;
        SyscallEvent {
            seq: 0,
            time_ns: 0,
            mono_ns: moment * SECOND / 100,
            phase: Phase::Exit,
            stage: Stage::Run,
            probe: Probe::TpBtf,
            identity: Identity::Task,
            call: Call { via: Via::Syscall, nr: entry.nr.into(), entry: Some(entry) },
            args: vec![Arg { name: "fd", kind, raw: first, value: ArgValue::Register }],
            path: path.map(|path| Text { bytes: path.as_bytes().into(), ..Text::default() }),
            ret: Some(ret),
            duration_ns: None,
            repeated: None,
            refused_by_seccomp: false,
            io_uring: None,
            process: Process {
                pid: 9,
                tid: 9,
                ppid: 1,
                container_pid: 1,
                start_time_ns: 0,
                uid: 0,
                gid: 0,
                comm: Text::default(),
                exe: None,
            },
            slot: ContainerSlot(3),
            container: None,
            policies: Arc::new([]),
        }
    }

    fn in_pod() -> Feedback {
        let pod = OwnPod { name: "kubeward-x7k2p".to_owned(), uid: "5f2c".to_owned() };
        Feedback::new(OwnOutput { file: Some(b"/var/kw/events".to_vec()), pod: Some(pod) })
    }

    /// The last turn of reads from descriptor 7, one each hundredth of a second for 11 s.
    fn turn_after(path: &str, others: usize) -> Option<Turn> {
        let mut feedback = in_pod();
        feedback.event(&call("openat", 0, 7, Some(path), 0));
        let mut last = None;
        for moment in 1..1100 {
            last = feedback.event(&call("read", 7, 100, None, moment)).or(last);
            (0..others).for_each(|_| last = feedback.event(&call("read", 8, 100, None, moment)).or(last));
        }
        last
    }

    #[test]
    fn container_that_mostly_reads_our_output_is_in_a_loop() {
        for path in [
            "/var/log/pods/kubeward_kubeward-x7k2p_5f2c/kubeward/0.log",
            "/var/log/containers/kubeward-x7k2p_kubeward_kubeward-00ff.log",
            "/var/kw/events",
            "/var/kw/events.1",
        ] {
            assert!(turn_after(path, 0).is_some_and(|turn| turn.is_loop && turn.of_own * 2 > turn.events), "{path}");
        }
    }

    #[test]
    fn reading_other_files_or_ours_among_others_is_none() {
        assert_eq!(turn_after("/var/log/pods/shop_web-0_77aa/app/0.log", 0), None);
        assert_eq!(turn_after("/var/kw/eventsource", 0), None);
        assert_eq!(turn_after("/var/kw/events", 2), None);
    }

    #[test]
    fn loop_is_over_when_no_event_comes_any_more() {
        let mut feedback = in_pod();
        feedback.event(&call("openat", 0, 7, Some("/var/kw/events"), 0));
        let turns = (1..1002).filter_map(|moment| feedback.event(&call("read", 7, 100, None, moment)));
        assert_eq!(turns.filter(|turn| turn.is_loop).count(), 1);
        assert!(feedback.quiet(12 * SECOND).is_empty());
        assert_eq!(feedback.quiet(31 * SECOND), [ContainerSlot(3)]);
        assert!(feedback.quiet(32 * SECOND).is_empty());
    }

    #[test]
    fn descriptor_that_leads_elsewhere_now_and_container_that_is_gone_are_forgotten() {
        let mut feedback = in_pod();
        let open = |path| call("openat", 0, 7, Some(path), 0);
        feedback.event(&open("/var/kw/events"));
        assert!(feedback.reads_own(&call("read", 7, 1, None, 0)));
        feedback.event(&open("/etc/hosts"));
        assert!(!feedback.reads_own(&call("read", 7, 1, None, 0)));
        feedback.event(&open("/var/kw/events"));
        feedback.event(&call("close", 7, 0, None, 0));
        assert!(!feedback.reads_own(&call("read", 7, 1, None, 0)));
        feedback.event(&open("/var/kw/events"));
        feedback.forget(open("/").slot);
        assert!(!feedback.reads_own(&call("read", 7, 1, None, 0)) && feedback.windows.iter().next().is_none());
    }
}
