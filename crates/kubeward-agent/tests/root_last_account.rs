//! What is under way when the agent ends is in flight in its last accounts, and not lost. Needs root, a C compiler and a kernel
//! from 6.1 on.
//!
//! `KUBEWARD_PROBE_BACKEND` names the backend, `auto` without it. In a file of its own: the self-test counts the calls of its
//! whole process.

#[path = "../../kubeward/tests/root/witness.rs"]
mod witness;

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread;
use std::time::{Duration, Instant};

use kubeward_agent::control::{hook_bits, kernel_limits, kernel_profile};
use kubeward_agent::heartbeat::Heartbeat;
use kubeward_agent::pipeline::{
    self, Coverage, Doubts, EventOutput, Finished, KernelAccounts, Lines, Losses, OwnOutput, Parts, Pipeline, Watched,
};
use kubeward_bpf::object::{Engine, LoadOptions};
use kubeward_bpf::probe::{Backend, Probes};
use kubeward_bpf::process::Pidfd;
use kubeward_bpf::read::Reader;
use kubeward_bpf::wire;
use kubeward_core::container::{Container, ContainerId, ContainerSlot};
use kubeward_core::ledger::{Account, LossReason};
use kubeward_core::policy::{load, PolicySet};
use kubeward_core::redact::Redactor;

const SLOT: ContainerSlot = ContainerSlot(1);
const PROFILE: u32 = 1;

/// Takes everything, and keeps nothing.
struct Nowhere;

impl EventOutput for Nowhere {
    fn line(&mut self, _owner: Option<ContainerSlot>, _render: &mut dyn FnMut(&mut Vec<u8>)) {}
    fn flush(&mut self) {}
    fn take_losses(&mut self) -> Losses {
        Losses::new()
    }
    fn settle(&mut self) {}
    fn reopen(&mut self) {}
}

/// One container, watched by a policy that records whole calls, and its records read.
struct Watch {
    engine: Arc<Engine>,
    probes: Probes,
    reader: Reader<Pipeline>,
    _alone: MutexGuard<'static, ()>,
}

impl Watch {
    fn begin(calls: &str) -> Self {
        static ALONE: Mutex<()> = Mutex::new(());
        let alone = ALONE.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        let engine = Arc::new(Engine::load(&LoadOptions::default()).expect("the object loads"));
        let backend = std::env::var("KUBEWARD_PROBE_BACKEND");
        let backend = backend.map_or(Backend::Auto, |name| name.parse().expect("it names a backend"));
        let mut probes = Probes::new(engine.clone(), backend).expect("some backend works here");
        let set = policies(calls);
        let report = probes.apply(&hook_bits(&set.hooks(), probes.upgrades_exit()));
        assert_eq!((report.refused, report.uring_trouble), (vec![], None));
        let (profile, maps) = (set.profile(&set.active()), engine.maps());
        maps.set_limits(PROFILE, &kernel_limits(&profile)).expect("there are as many");
        maps.set_profile(PROFILE, &kernel_profile(&profile, probes.upgrades_exit())).expect("there are 1023");
        let container = wire::Container::watched(PROFILE, 0);
        maps.open_slot(SLOT, &container, wire::STAGE_RUN).expect("the slot is there");
        let reader = Reader::spawn(engine.clone(), pipeline_of(&engine, set)).expect("the ring can be mapped");
        Self { engine, probes, reader, _alone: alone }
    }

    fn tag(&self, pid: u32) {
        let pidfd = Pidfd::open(pid).expect("it waits");
        self.engine.maps().tag_task(pidfd.as_fd(), SLOT.0).expect("it waits");
    }

    /// Waits until so many calls have come and not returned.
    fn wait_for_calls_under_way(&self, count: u64) {
        self.wait_until(|account| account.entered - account.left == count);
    }

    fn wait_until(&self, is_so: impl Fn(&wire::Account) -> bool) {
        let deadline = Instant::now() + Duration::from_secs(20);
        loop {
            let account = self.engine.maps().account(SLOT).expect("the map can be read");
            if is_so(&account) {
                return;
            }
            assert!(Instant::now() < deadline, "{account:?}");
            thread::yield_now();
        }
    }

    /// As the agent does; `meanwhile` is done between the silence and the last look at the ring.
    fn end(self, meanwhile: impl FnOnce()) -> Account {
        self.engine.maps().silence(true).expect("the map can be written");
        meanwhile();
        let doubts = Doubts { skipped: self.probes.skipped(), missed_returns: self.probes.missed_returns() };
        let (pipeline, read) = self.reader.stop();
        read.expect("the ring can be read");
        let Finished { accounts, total } = pipeline.finish(doubts);
        assert_eq!(accounts.iter().map(|(_, account)| *account).collect::<Vec<_>>(), [total]);
        total
    }
}

fn policies(calls: &str) -> Arc<PolicySet> {
    let spec = format!("{{syscalls: [{calls}]}}");
    let text = format!("apiVersion: kubeward.kubeward/v1\nkind: KubeWard\nmetadata: {{name: all}}\nspec: {spec}\n");
    let (mut policies, faults) = load("a.yaml", text.as_bytes());
    assert!(faults.is_empty(), "{faults:?}");
    policies.iter_mut().for_each(|policy| policy.record_whole_calls());
    Arc::new(PolicySet::new(policies).0)
}

fn pipeline_of(engine: &Arc<Engine>, set: Arc<PolicySet>) -> Pipeline {
    let container = Arc::new(Container::bare(ContainerId("a".to_owned()), "containerd"));
    let (commands, receiver) = pipeline::commands();
    let (selected, watched) = (set.active(), Watched { created_ns: 0, since_ns: 0 });
    assert!(commands.send(pipeline::Command::Open { slot: SLOT, container, selected, watched }));
    Pipeline::new(Parts {
        kernel_accounts: KernelAccounts::of_engine(engine.clone()),
        kernel_table: Box::new(|| None),
        commands: receiver,
        policies: set,
        redactor: Redactor::new(&[]).expect("no patterns"),
        lines: Lines::None,
        output: Box::new(Nowhere),
        freed: None,
        heartbeat: Heartbeat::default(),
        own_output: OwnOutput::default(),
        loops: Default::default(),
        coverage: Coverage::default(),
    })
}

/// A program of which some end is sure.
struct Ended(Child);

impl Drop for Ended {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The witness that submits requests and answers them as it is told.
struct Held {
    child: Child,
    orders: ChildStdin,
    answers: BufReader<ChildStdout>,
}

impl Held {
    fn start(watch: &Watch) -> Self {
        let mut command = Command::new(witness::witness("uring_held"));
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("the witness starts");
        watch.tag(child.id());
        let orders = child.stdin.take().expect("it is piped");
        let answers = BufReader::new(child.stdout.take().expect("it is piped"));
        Self { child, orders, answers }
    }

    fn tell(&mut self, order: u8) -> String {
        self.orders.write_all(&[order]).expect("it reads");
        let mut line = String::new();
        self.answers.read_line(&mut line).expect("it answers");
        line.trim().to_owned()
    }
}

#[test]
fn root_a_request_that_is_answered_after_the_silence_is_in_flight() {
    let watch = Watch::begin("{name: pread64}");
    let mut held = Held::start(&watch);
    assert_eq!([held.tell(b'r'), held.tell(b'w'), held.tell(b'r')], ["asked 1", "answered 1", "asked 2"]);
    watch.wait_for_calls_under_way(1);
    let total = watch.end(|| assert_eq!(held.tell(b'w'), "answered 1"));
    assert_eq!((total.seen, total.emitted, total.in_flight, total.lost.total()), (2, 1, 1, 0), "{total:?}");
    drop(held.orders);
    assert!(held.child.wait().expect("it is our child").success());
}

#[test]
fn root_a_call_whose_task_is_killed_after_the_silence_is_in_flight() {
    let watch = Watch::begin("{name: read}");
    let mut held = Held::start(&watch);
    assert_eq!(held.tell(b'r'), "asked 1");
    watch.wait_for_calls_under_way(1);
    let total = watch.end(|| {
        held.child.kill().expect("it is our child");
        held.child.wait().expect("it is our child");
    });
    assert_eq!((total.in_flight, total.lost.total(), total.imbalance()), (1, 0, 0), "{total:?}");
    assert_eq!(total.seen, total.emitted + 1, "{total:?}");
}

/// Its hooks may be between an account and the ring when the silence comes, and its calls go on after it.
#[test]
fn root_a_program_that_calls_on_and_on_loses_no_call_at_the_end() {
    const THREADS: u64 = 4;
    for _ in 0..5 {
        let watch = Watch::begin("{name: getppid}, {name: getuid}");
        // Waits until it is tagged, so that all its threads are.
        let mut command = Command::new("sh");
        command.args(["-c", "read go; exec \"$0\" \"$@\""]).arg(witness::witness("loop"));
        command.args([&THREADS.to_string(), "1000000000", "getppid", "getuid"]);
        let mut busy = Ended(command.stdin(Stdio::piped()).spawn().expect("the shell starts"));
        watch.tag(busy.0.id());
        busy.0.stdin.take().expect("it is piped").write_all(b"\n").expect("it reads");
        watch.wait_until(|account| account.left > 2_000);
        let total = watch.end(|| {});
        drop(busy);
        assert_eq!((total.lost.get(LossReason::Unread), total.imbalance()), (0, 0), "{total:?}");
        assert!(total.in_flight <= THREADS, "{total:?}");
    }
}
