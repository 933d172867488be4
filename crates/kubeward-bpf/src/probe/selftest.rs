//! The start-up self-test: does a kind of hook attach here, and does it show every call?
//!
//! Threads make a known number of calls on one CPU, and what the programs saw is compared with it. Under live preemption a
//! tracing program that is preempted blocks itself for every other thread on that CPU, which shows within milliseconds.
//! Threads that block in a call use up the return slots of kretprobes, which shows too.

use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Barrier};
use std::thread;
use std::time::{Duration, Instant};

use kubeward_core::event::Probe;
use kubeward_core::syscall::{self, Syscall};

use super::attach::{self, AttachError, Hook};
use super::compat::Entry;
use super::cost::{CallTimes, Cost};
use super::preemption::{self, Preemption};
use super::tables::Tables;
use super::{fentry, raw};
use crate::object::Engine;
use crate::process::{self, Pidfd};
use crate::wire::{self, CALLS, HOOK_ENTER, HOOK_EXIT};

const PROFILE: u32 = wire::PROFILES - 1;
const LOOPS: usize = 3;
/// Preemptions to wait for: by a thread that wakes, which preempts at once under full preemption, then by ticks, which under
/// lazy preemption are the only ones to come in the middle of a program.
const WAKE_UPS: usize = 200;
/// Where nothing is ever preempted in the kernel.
const WAKE_UPS_FOR_NOTHING: usize = 20;
const TICKS: u64 = 24;
/// How long to wait for the ticks: on an idle machine they take a tenth of it.
const PATIENCE: Duration = Duration::from_millis(1500);
/// 32-bit calls made to see whether their dispatcher shows them.
const COMPAT_CALLS: u32 = 16;
/// The kernel gives a kretprobe ten return slots, or two for each CPU if that is more.
const SPARE_THREADS: usize = 16;

/// What came of trying one kind of hook.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trial {
    pub probe: Probe,
    pub result: Result<Findings, String>,
}

/// What was found out about a kind of hook that attaches.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Findings {
    pub counts: Counts,
    pub(super) cost: Cost,
    /// How it sees 32-bit calls.
    pub(super) entry: Entry,
}

/// What the test's threads did, and what was seen of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Counts {
    pub calls: u64,
    pub seen: u64,
    pub missed_returns: u64,
}

impl Trial {
    pub(super) fn attaches(&self) -> bool {
        self.result.is_ok()
    }

    pub(super) fn is_exact(&self) -> bool {
        self.counts().is_some_and(|counts| counts.seen == counts.calls && counts.missed_returns == 0)
    }

    fn counts(&self) -> Option<Counts> {
        self.result.as_ref().ok().map(|found| found.counts)
    }

    pub(super) fn cost(&self) -> Option<Cost> {
        self.result.as_ref().ok().map(|found| found.cost)
    }
}

impl fmt::Display for Trial {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = name(self.probe);
        match &self.result {
            Err(reason) => write!(f, "{name}: does not attach here: {reason}"),
            Ok(Findings { counts, cost, .. }) if self.is_exact() => {
                write!(f, "{name}: exact: saw all of {} calls; {cost}", counts.calls)
            }
            Ok(Findings { counts: Counts { calls, seen, missed_returns }, cost, .. }) => {
                write!(f, "{name}: not exact: saw {seen} of {calls} calls, missed {missed_returns} returns; {cost}")
            }
        }
    }
}

pub(super) fn name(probe: Probe) -> &'static str {
    match probe {
        Probe::TpBtf => "tp_btf",
        Probe::Tracepoint => "classic tracepoint",
        Probe::Kprobe => "kprobe",
        Probe::KprobeMulti => "kprobe.multi",
        Probe::Fentry => "fentry",
    }
}

/// Attaches `probe` to two harmless calls, makes them, and takes everything away again.
pub(super) fn run(engine: &Arc<Engine>, probe: Probe) -> Trial {
    Trial { probe, result: measure(engine, probe) }
}

fn measure(engine: &Arc<Engine>, probe: Probe) -> Result<Findings, String> {
    let calls = [call("getpgid"), call("ppoll")];
    let bare = CallTimes::measure();
    let hooks = TestHooks::attach(engine, probe, &calls)?;
    let attach = hooks.attaching;
    let found = find_out(engine, probe, &calls, hooks.dispatcher.is_some())
        .map_err(|error| format!("the self-test failed: {error}"));
    let detach = hooks.detach(engine)?;
    let (counts, times, entry) = found?;
    let (watched_ns, other_ns) = times.over(&bare);
    Ok(Findings { counts, cost: Cost { attach, detach, watched_ns, other_ns }, entry })
}

fn call(name: &str) -> &'static Syscall {
    syscall::by_name(name).expect("every architecture's table has the self-test's calls")
}

/// Hooks of the self-test. The tables of the hooks to come are shown in full before any of them is looked at.
struct TestHooks {
    tables: Tables,
    raw: raw::RawHooks,
    functions: Vec<Hook>,
    dispatcher: Option<Hook>,
    /// What it took to attach one call's, or the raw tracepoints.
    attaching: Duration,
}

impl TestHooks {
    fn attach(engine: &Engine, probe: Probe, calls: &[&'static Syscall]) -> Result<Self, String> {
        const BOTH: u8 = HOOK_ENTER | HOOK_EXIT;
        let mut bits = [0; CALLS];
        calls.iter().for_each(|call| bits[usize::from(call.nr)] = BOTH);
        let wanted: Vec<(&'static Syscall, u8)> = calls.iter().map(|&call| (call, BOTH)).collect();
        let mut raw = raw::RawHooks::new(probe);
        let mut tables = Tables::NOTHING;
        let is_raw = matches!(probe, Probe::TpBtf | Probe::Tracepoint);
        let (raw_bits, function_bits) = if is_raw { (bits, [0; CALLS]) } else { ([0; CALLS], bits) };
        let dispatcher = (probe == Probe::Fentry).then(|| fentry::attach_dispatcher(engine)).flatten();
        let entry = if dispatcher.is_some() { Entry::Dispatcher } else { Entry::Functions };
        attach::load(engine, probe).map_err(|error| first_line(&error.to_string()))?;
        let begin = Instant::now();
        raw.attach(engine, &raw_bits).map_err(|error| first_line(&error.to_string()))?;
        let functions = if is_raw { Vec::new() } else { functions(engine, probe, &wanted, entry)? };
        let attaching = begin.elapsed() / steps(&functions);
        tables.show(engine, &raw_bits, &function_bits).map_err(|error| error.to_string())?;
        Ok(Self { tables, raw, functions, dispatcher, attaching })
    }

    /// What it took, as for attaching.
    fn detach(mut self, engine: &Engine) -> Result<Duration, String> {
        let begin = Instant::now();
        self.raw.detach(&[0; CALLS]);
        let raw = begin.elapsed();
        self.tables.show(engine, &[0; CALLS], &[0; CALLS]).map_err(|error| error.to_string())?;
        let (begin, steps) = (Instant::now(), steps(&self.functions));
        self.functions.clear();
        Ok(raw + begin.elapsed() / steps)
    }
}

/// By how many the time to attach is to be divided.
fn steps(hooks: &[Hook]) -> u32 {
    (hooks.len() as u32).max(1)
}

fn functions(
    engine: &Engine,
    probe: Probe,
    wanted: &[(&'static Syscall, u8)],
    entry: Entry,
) -> Result<Vec<Hook>, String> {
    let hooks = if probe == Probe::Fentry {
        fentry::attach(engine, wanted, entry)
    } else {
        let hooks = wanted.iter().map(|&(call, bits)| attach::function(engine, probe, call, bits));
        hooks.collect::<Result<_, AttachError>>().map_err(|error| first_line(&error.to_string()))?
    };
    if hooks.len() == wanted.len() {
        return Ok(hooks);
    }
    if probe == Probe::Fentry {
        fentry::try_load(engine, wanted[0].0).map_err(|error| first_line(&error.to_string()))?;
    }
    Err("the kernel refused to attach the programs".to_owned())
}

fn first_line(text: &str) -> String {
    text.lines().next().unwrap_or_default().to_owned()
}

type TestResult<T> = Result<T, Box<dyn std::error::Error>>;

/// Nothing is emitted: the profile waits for an error that the calls do not give.
fn find_out(
    engine: &Engine,
    probe: Probe,
    calls: &[&Syscall],
    has_dispatcher: bool,
) -> TestResult<(Counts, CallTimes, Entry)> {
    let maps = engine.maps();
    let slot = maps.own_slot();
    let mut profile = wire::Profile {
        want: [0; CALLS],
        errors: [0; wire::ERRNO_WORDS],
        min_duration_ns: 0,
        arg_bytes: 0,
        argv_bytes: 0,
    };
    calls.iter().for_each(|call| profile.want[usize::from(call.nr)] = wire::WANT_CALL | wire::WANT_ERRORS);
    maps.set_profile(PROFILE, &profile)?;
    let container = wire::Container::watched(PROFILE, 0);
    maps.open_slot(slot, &container, wire::STAGE_RUN)?;
    // The test's threads inherit the tag of the thread that starts them.
    engine.tag_process(&Pidfd::of_this_process()?, slot)?;
    let found = count(engine, probe).and_then(|found| Ok((found, has_dispatcher && dispatches(engine)?)));
    engine.untag(slot)?;
    maps.close_slot(slot)?;
    maps.clean_slots(&[slot].into())?;
    let ((counts, times), dispatches) = found?;
    Ok((counts, times, if dispatches { Entry::Dispatcher } else { Entry::Functions }))
}

fn count(engine: &Engine, probe: Probe) -> TestResult<(Counts, CallTimes)> {
    let mut made = loops()? + blocked(blocking(probe))?;
    let times = CallTimes::measure();
    made += CallTimes::WATCHED_CALLS;
    let account = engine.maps().account(engine.maps().own_slot())?;
    let counts = Counts {
        calls: made,
        seen: account.seen(),
        missed_returns: account.lost_return + (account.entered - account.left.min(account.entered)),
    };
    Ok((counts, times))
}

/// Whether 32-bit calls are shown by their dispatcher, each one: it may have been inlined where they come in.
fn dispatches(engine: &Engine) -> TestResult<bool> {
    let before = engine.maps().account(engine.maps().own_slot())?;
    if !process::make_compat_calls(COMPAT_CALLS) {
        return Ok(false);
    }
    let after = engine.maps().account(engine.maps().own_slot())?;
    let (seen, left) = (after.seen() - before.seen(), after.left - before.left);
    Ok((seen, left) == (COMPAT_CALLS.into(), COMPAT_CALLS.into()))
}

/// Threads in a loop on one CPU, preempted by another that makes the same call at once. Returns the calls they made.
fn loops() -> TestResult<u64> {
    let preemption = preemption::of_this_kernel();
    let shared = Arc::new(Loops::default());
    let loops: Vec<_> = (0..LOOPS)
        .map(|_| {
            let shared = Arc::clone(&shared);
            start(move || {
                process::pin_to_one_cpu()?;
                process::yield_to_waking_threads()?;
                shared.call_until_stopped();
                Ok(())
            })
        })
        .collect::<Result<_, _>>()?;
    let preempting = start({
        let shared = Arc::clone(&shared);
        move || {
            process::pin_to_one_cpu()?;
            shared.preempt(preemption);
            Ok(())
        }
    });
    let preempted = preempting.map(join);
    shared.stop.store(true, Ordering::Relaxed);
    loops.into_iter().try_for_each(join)?;
    preempted??;
    Ok(shared.made.load(Ordering::Relaxed))
}

/// What the threads in a loop have in common.
#[derive(Debug, Default)]
struct Loops {
    /// Calls, of the preempting thread, too.
    made: AtomicU64,
    /// How often the loops had to give up their CPU. Other threads of the process do not count: they may be about something else.
    switches: AtomicU64,
    stop: AtomicBool,
}

impl Loops {
    fn call_until_stopped(&self) {
        let mut counted = process::involuntary_switches();
        while !self.stop.load(Ordering::Relaxed) {
            self.made.fetch_add(call_often(), Ordering::Relaxed);
            let now = process::involuntary_switches();
            self.switches.fetch_add(now - counted, Ordering::Relaxed);
            counted = now;
        }
    }

    fn preempt(&self, preemption: Preemption) {
        let wake_ups = if preemption == Preemption::Never { WAKE_UPS_FOR_NOTHING } else { WAKE_UPS };
        for _ in 0..wake_ups {
            thread::sleep(Duration::from_micros(100));
            self.made.fetch_add(call_often(), Ordering::Relaxed);
        }
        if preemption == Preemption::AtTicks {
            self.wait_for_ticks();
        }
    }

    fn wait_for_ticks(&self) {
        let (start, before) = (Instant::now(), self.switches.load(Ordering::Relaxed));
        while self.switches.load(Ordering::Relaxed) < before + TICKS && start.elapsed() < PATIENCE {
            thread::sleep(Duration::from_millis(10));
        }
    }
}

/// Some calls. Returns how many.
fn call_often() -> u64 {
    const CALLS: u64 = 16;
    (0..CALLS).for_each(|_| process::getpgid_self());
    CALLS
}

type TestThread = thread::JoinHandle<std::io::Result<()>>;

fn start(work: impl FnOnce() -> std::io::Result<()> + Send + 'static) -> std::io::Result<TestThread> {
    thread::Builder::new().name("kubeward-test".to_owned()).stack_size(64 << 10).spawn(work)
}

fn join(thread: TestThread) -> TestResult<()> {
    Ok(thread.join().map_err(|_| "a thread of the self-test panicked")??)
}

/// How long threads block in a call: where returns need slots, until all of them do.
fn blocking(probe: Probe) -> Duration {
    match probe {
        Probe::TpBtf | Probe::Tracepoint => Duration::from_millis(1),
        Probe::Kprobe | Probe::KprobeMulti | Probe::Fentry => Duration::from_millis(40),
    }
}

/// Threads that are all in one call at once. Returns the calls they made.
fn blocked(time: Duration) -> TestResult<u64> {
    let count = 2 * libbpf_rs::num_possible_cpus()?.max(16) + SPARE_THREADS;
    let begin = Arc::new(Barrier::new(count));
    let threads: Vec<_> = (0..count)
        .map(|_| {
            let begin = Arc::clone(&begin);
            start(move || {
                begin.wait();
                process::wait_in_ppoll(time);
                Ok(())
            })
        })
        .collect::<Result<_, _>>()?;
    threads.into_iter().try_for_each(join)?;
    Ok(count as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_trial_that_missed_anything_is_not_exact() {
        let trial = |calls, seen, missed_returns| Trial {
            probe: Probe::Fentry,
            result: Ok(Findings {
                counts: Counts { calls, seen, missed_returns },
                cost: Cost::default(),
                entry: Entry::Functions,
            }),
        };
        assert!(trial(10, 10, 0).is_exact());
        assert!(!trial(10, 9, 0).is_exact());
        assert!(!trial(10, 10, 1).is_exact());
        assert!(!Trial { probe: Probe::Fentry, result: Err(String::new()) }.is_exact());
    }
}
