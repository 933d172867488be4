//! Identical calls of a thread in a row, told as one event where every policy that wants them asks for it.
//!
//! The first call of such a run waits, in flight in its account; each that follows is counted there as coalesced at once, so
//! that the account is exact whatever becomes of the line. Room: [`MAX_RUNS`] threads and [`MAX_CAPTURED_BYTES`] of what
//! their calls point to; a call that finds none is told at once, alone.

use std::collections::HashMap;
use std::mem::size_of;
use std::sync::Arc;

use kubeward_bpf::decode::CallRecord;
use kubeward_core::container::ContainerSlot;
use kubeward_core::event::{ArgValue, Process, Repeated, SockAddr, SyscallEvent, Text};
use kubeward_core::ledger::FilterReason;

use super::clock::monotonic_ns;
use super::flow::Pipeline;

/// Threads whose last call waits for more of its kind.
pub(super) const MAX_RUNS: usize = 4096;

/// Strings, addresses and paths of the waiting calls together.
pub(super) const MAX_CAPTURED_BYTES: usize = 4 << 20;

/// A run is told after so long, though it may go on.
pub(super) const LONGEST_NS: u64 = 1_000_000_000;

/// Thread ids of other pid namespaces may all be 0: such threads end each other's runs.
type Thread = (ContainerSlot, u32);

struct Run {
    /// The first call, whose event says how many followed.
    call: Box<CallRecord>,
    /// CLOCK_MONOTONIC when it was read.
    since_ns: u64,
    /// Until when all of the ring had been taken before it.
    after_ns: u64,
    captured_bytes: usize,
}

/// The runs that go on.
#[derive(Default)]
pub(super) struct Coalescing {
    runs: HashMap<Thread, Run>,
    captured_bytes: usize,
    /// None has begun before.
    oldest_ns: u64,
}

impl Coalescing {
    /// Adds a call to its thread's run, if it is one more of the same.
    fn fold(&mut self, call: &CallRecord) -> bool {
        let Some(run) = self.runs.get_mut(&thread_of(&call.event)) else { return false };
        if !is_same(&run.call, call) {
            return false;
        }
        let first = &mut run.call.event;
        let before = first.repeated.unwrap_or(Repeated {
            count: 1,
            last_time_ns: first.time_ns,
            total_duration_ns: first.duration_ns,
        });
        let sum = |(total, one): (u64, u64)| total.saturating_add(one);
        first.repeated = Some(Repeated {
            count: before.count + 1,
            last_time_ns: call.event.time_ns,
            total_duration_ns: before.total_duration_ns.zip(call.event.duration_ns).map(sum),
        });
        true
    }

    /// Puts `spare` in the place of a call that begins a run; false when there is no room for one.
    fn begin(&mut self, call: &mut Box<CallRecord>, spare: Box<CallRecord>, now_ns: u64, after_ns: u64) -> bool {
        let captured_bytes = captured_bytes(&call.event);
        if self.runs.len() >= MAX_RUNS || self.captured_bytes + captured_bytes > MAX_CAPTURED_BYTES {
            return false;
        }
        if self.runs.is_empty() {
            self.oldest_ns = now_ns;
        }
        self.captured_bytes += captured_bytes;
        let call = std::mem::replace(call, spare);
        self.runs.insert(thread_of(&call.event), Run { call, since_ns: now_ns, after_ns, captured_bytes });
        true
    }

    fn end(&mut self, thread: Thread) -> Option<Run> {
        if self.runs.is_empty() {
            return None;
        }
        let run = self.runs.remove(&thread)?;
        self.captured_bytes -= run.captured_bytes;
        Some(run)
    }

    /// Ends the runs that `is_over` says, the earliest first.
    fn end_those(&mut self, is_over: impl Fn(&Thread, &Run) -> bool) -> Vec<Run> {
        let over: Vec<Thread> =
            self.runs.iter().filter(|(thread, run)| is_over(thread, run)).map(|(thread, _)| *thread).collect();
        let mut ended: Vec<Run> = over.into_iter().filter_map(|thread| self.end(thread)).collect();
        ended.sort_by_key(|run| run.since_ns);
        ended
    }

    /// Those that have gone on for long.
    fn end_old(&mut self, now_ns: u64) -> Vec<Run> {
        let is_old = |since_ns: u64| now_ns.saturating_sub(since_ns) >= LONGEST_NS;
        if self.runs.is_empty() || !is_old(self.oldest_ns) {
            return Vec::new();
        }
        let ended = self.end_those(|_, run| is_old(run.since_ns));
        self.oldest_ns = self.runs.values().map(|run| run.since_ns).min().unwrap_or(now_ns);
        ended
    }

    /// Until when no call waits, of what was taken; absent when none does.
    pub(super) fn none_until_ns(&self) -> Option<u64> {
        self.runs.values().map(|run| run.after_ns).min()
    }
}

impl Pipeline {
    /// A wanted call of a container that is there: one more of its thread's run, or the first of the next.
    pub(super) fn coalesce(&mut self, call: &mut Box<CallRecord>) {
        if self.coalescing.fold(call) {
            if let Some(member) = self.members.get_mut(call.event.slot) {
                member.counts.read += 1;
                member.counts.filtered.add(FilterReason::Coalesced, 1);
            }
            return;
        }
        let ended = self.end_run(&call.event).unwrap_or_default();
        if !self.coalescing.begin(call, ended, monotonic_ns(), self.coverage.whole_ns()) {
            self.emit(&mut call.event);
        }
    }

    /// Tells the run of the event's thread, before anything else is told of the thread. Gives back its memory.
    pub(super) fn end_run(&mut self, event: &SyscallEvent) -> Option<Box<CallRecord>> {
        let mut run = self.coalescing.end(thread_of(event))?;
        self.emit(&mut run.call.event);
        Some(run.call)
    }

    pub(super) fn end_runs(&mut self) {
        let ended = self.coalescing.end_those(|_, _| true);
        self.emit_runs(ended);
    }

    pub(super) fn end_runs_of(&mut self, slot: ContainerSlot) {
        let ended = self.coalescing.end_those(|(of, _), _| *of == slot);
        self.emit_runs(ended);
    }

    pub(super) fn end_old_runs(&mut self, now_ns: u64) {
        let ended = self.coalescing.end_old(now_ns);
        self.emit_runs(ended);
    }

    fn emit_runs(&mut self, ended: Vec<Run>) {
        ended.into_iter().for_each(|mut run| self.emit(&mut run.call.event));
    }

    /// Counts and tells an event.
    pub(super) fn emit(&mut self, event: &mut SyscallEvent) {
        if let Some(member) = self.members.get_mut(event.slot) {
            member.counts.read += 1;
            member.counts.emitted += 1;
        }
        self.tell_event(event);
    }
}

fn thread_of(event: &SyscallEvent) -> Thread {
    (event.slot, event.process.tid)
}

/// Whether two events would say the same, but for when and how long. Every member is named, so that a new one is not forgotten.
fn is_same(first: &CallRecord, next: &CallRecord) -> bool {
    let SyscallEvent {
        seq: _,
        time_ns: _,
        mono_ns: _,
        phase,
        stage,
        probe,
        identity,
        call,
        args,
        path,
        ret,
        duration_ns: _,
        repeated: _,
        refused_by_seccomp,
        io_uring,
        process,
        slot,
        container,
        policies,
    } = &next.event;
    let event = &first.event;
    let same_call = event.call.via == call.via
        && event.call.nr == call.nr
        && event.call.entry.map(|entry| entry.nr) == call.entry.map(|entry| entry.nr);
    let same_args = || {
        let both = || event.args.iter().zip(args);
        event.args.len() == args.len() && both().all(|(one, other)| one.raw == other.raw && one.value == other.value)
    };
    let same_container = || match (&event.container, container) {
        (Some(one), Some(other)) => Arc::ptr_eq(one, other),
        (one, other) => one.is_none() && other.is_none(),
    };
    same_call
        && (event.slot, event.ret, event.refused_by_seccomp) == (*slot, *ret, *refused_by_seccomp)
        && (event.phase, event.stage, event.probe, event.identity) == (*phase, *stage, *probe, *identity)
        && event.io_uring == *io_uring
        && same_args()
        && event.path == *path
        && (first.exec_id, first.start_boot_ns) == (next.exec_id, next.start_boot_ns)
        && is_same_process(&event.process, process)
        && same_container()
        && event.policies == *policies
}

/// When a thread started is told by a clock that may have been set since: its own clock's moment is compared instead.
fn is_same_process(first: &Process, next: &Process) -> bool {
    let Process { pid, tid, ppid, container_pid, start_time_ns: _, uid, gid, comm, exe } = next;
    (first.pid, first.tid, first.ppid, first.container_pid) == (*pid, *tid, *ppid, *container_pid)
        && (first.uid, first.gid) == (*uid, *gid)
        && first.comm == *comm
        && first.exe == *exe
}

fn captured_bytes(event: &SyscallEvent) -> usize {
    let strings = |strings: &[Text]| strings.iter().map(|text| size_of::<Text>() + text.bytes.len()).sum();
    let of_args = event.args.iter().map(|arg| match &arg.value {
        ArgValue::Str(text) | ArgValue::Sockaddr(SockAddr::Unix { path: text, .. }) => text.bytes.len(),
        ArgValue::Argv { strings: all, .. } => strings(all),
        ArgValue::Sockaddr(SockAddr::Other { data, .. }) => data.len(),
        ArgValue::Sockaddr(_) | ArgValue::Register | ArgValue::Unreadable => 0,
    });
    of_args.sum::<usize>() + event.path.as_ref().map_or(0, |path| path.bytes.len())
}
