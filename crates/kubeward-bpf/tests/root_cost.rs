//! What hooks cost, and that `auto` chooses by it. Needs root; hooks on functions attach in the virtual machines.
//!
//! In a file of its own: programs' runs are counted on the whole machine, and the self-test counts the calls of its process.

use std::collections::BTreeMap;
use std::fs;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use kubeward_bpf::object::{Engine, LoadOptions};
use kubeward_bpf::probe::{Backend, Probes, Report, Settling};
use kubeward_bpf::wire::{CALLS, HOOK_ENTER, HOOK_EXIT};
use kubeward_core::event::Probe;
use kubeward_core::syscall::{self, Syscall};
use libbpf_rs::query::ProgInfoIter;

const BOTH: u8 = HOOK_ENTER | HOOK_EXIT;
/// With `KUBEWARD_TEST_FULL`: minutes in a virtual machine.
const SIZES: [usize; 6] = [1, 8, 32, 64, 128, 300];

/// One engine at a time: the calls of one test are another's on the same machine.
fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    ALONE.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
}

fn engine() -> Arc<Engine> {
    Arc::new(Engine::load(&LoadOptions::default()).expect("the object loads"))
}

fn probes(backend: Backend) -> Option<Probes> {
    Probes::new(engine(), backend).ok()
}

/// The first calls of the catalogue that fentry can hook, too, and that return.
fn hookable(count: usize) -> Vec<&'static Syscall> {
    let quiet = |call: &&Syscall| {
        !call.has_no_fentry()
            && call.symbol().is_some()
            && syscall::uring_ops_of(call).next().is_none()
            && !["exit", "exit_group", "getpgid", "ppoll"].contains(&call.name)
    };
    syscall::all().iter().filter(quiet).take(count).collect()
}

fn asked(calls: &[&Syscall]) -> [u8; CALLS] {
    let mut asked = [0; CALLS];
    calls.iter().for_each(|call| asked[usize::from(call.nr)] = BOTH);
    asked
}

fn kinds(report: &Report) -> BTreeMap<Probe, usize> {
    let mut kinds = BTreeMap::new();
    report.attached.iter().for_each(|attached| *kinds.entry(attached.probe).or_default() += 1);
    kinds
}

/// Settles until `is_done` says so, at most two minutes.
fn settle_until(probes: &mut Probes, is_done: impl Fn(&Report) -> bool) -> Duration {
    let begin = Instant::now();
    while !is_done(&probes.report()) {
        assert!(begin.elapsed() < Duration::from_secs(120), "{:?}", kinds(&probes.report()));
        if probes.settle() != Settling::More {
            std::thread::sleep(Duration::from_millis(50));
        }
    }
    begin.elapsed()
}

/// Runs of every program of this process and others, as long as it lives.
struct Counted;

impl Counted {
    const SWITCH: &'static str = "/proc/sys/kernel/bpf_stats_enabled";

    fn begin() -> Self {
        fs::write(Self::SWITCH, "1").expect("root may switch it");
        Self
    }

    fn runs(&self) -> u64 {
        ProgInfoIter::default().map(|program| program.run_cnt).sum()
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        let _ = fs::write(Self::SWITCH, "0");
    }
}

const GETPPIDS: u64 = 20_000;

fn getppids() {
    for _ in 0..GETPPIDS {
        // SAFETY: getppid takes nothing and touches no memory of ours.
        unsafe { libc::syscall(libc::SYS_getppid) };
    }
}

#[test]
fn root_a_call_that_no_policy_selects_runs_no_program_under_fentry() {
    let _alone = alone();
    unselected_calls_run_no_program(Backend::Fentry);
}

#[test]
fn root_a_call_that_no_policy_selects_runs_no_program_under_kprobes() {
    let _alone = alone();
    unselected_calls_run_no_program(Backend::Kprobe);
}

/// Not by time, which a busy machine blurs: no program of anybody's may run at the call.
fn unselected_calls_run_no_program(backend: Backend) {
    match probes(backend) {
        None => println!("not run: unselected calls under {backend} (this kernel has no such hooks)"),
        Some(mut probes) => {
            let hooks = kinds(&probes.apply(&asked(&hookable(8))));
            assert!(hooks.keys().all(|probe| !matches!(probe, Probe::TpBtf | Probe::Tracepoint)), "{hooks:?}");
            let runs = runs_of_getppids();
            println!("{backend}: {GETPPIDS} unselected calls, {runs} runs of programs, by hooks {hooks:?}");
            // The loop's own thread is not the only one; what others do are hundreds at most.
            assert!(runs < GETPPIDS / 20, "{runs}");
        }
    }
    let mut raw = probes(Backend::Tracepoint).expect("it works everywhere");
    raw.apply(&asked(&hookable(8)));
    let runs = runs_of_getppids();
    println!("tracepoint: {GETPPIDS} unselected calls, {runs} runs of programs");
    assert!(runs >= 2 * GETPPIDS, "the count counts nothing: {runs}");
}

fn runs_of_getppids() -> u64 {
    let counted = Counted::begin();
    let before = counted.runs();
    getppids();
    counted.runs() - before
}

#[test]
fn root_auto_chooses_by_cost_and_waits_until_slow_hooks_pay() {
    let _alone = alone();
    let mut probes = probes(Backend::Auto).expect("some backend works here");
    let said = probes.explain().join("\n");
    println!("{said}");
    let auto = said.lines().find_map(|line| line.strip_prefix("auto: ")).expect("it explains itself");
    let is_raw = |report: &Report| kinds(report).keys().all(|probe| matches!(probe, Probe::TpBtf | Probe::Tracepoint));
    let is_function =
        |report: &Report| kinds(report).keys().all(|probe| !matches!(probe, Probe::TpBtf | Probe::Tracepoint));
    let one = asked(&hookable(1));
    let at_once = probes.serve(&one);
    if auto.starts_with("fentry for") {
        assert_eq!(probes.settle(), Settling::Waits);
        assert!(is_raw(&at_once) && is_raw(&probes.report()), "it may be gone in a second");
        let took = settle_until(&mut probes, is_function);
        println!("one call went to its own hook after {took:?}");
    } else {
        let took = settle_until(&mut probes, if auto.contains(" for every call") { is_raw } else { is_function });
        println!("one call is served by {:?} after {took:?}", kinds(&probes.report()));
    }
    let everything = asked(&syscall::all().iter().collect::<Vec<_>>());
    probes.serve(&everything);
    let took = settle_until(&mut probes, is_raw);
    println!("all calls came to the raw tracepoint after {took:?}");
    // Hooks that went are gone before others come, and what is wanted is shown again.
    assert_eq!(probes.apply(&one).refused, []);
}

/// Not a claim but a table: `tests/vm` keeps it.
#[test]
fn root_attaching_and_detaching_is_timed_by_number_of_calls() {
    let _alone = alone();
    let sizes = if std::env::var_os("KUBEWARD_TEST_FULL").is_some() { &SIZES[..] } else { &SIZES[..2] };
    println!("{:<12} {:>6} {:>12} {:>12}", "backend", "calls", "attach ms", "detach ms");
    for backend in [Backend::Tracepoint, Backend::Kprobe, Backend::Fentry] {
        for &size in sizes {
            let Some(mut probes) = probes(backend) else {
                println!("not run: {backend} (this kernel has no such hooks)");
                break;
            };
            let calls = hookable(size);
            let begin = Instant::now();
            let report = probes.apply(&asked(&calls));
            let attach = begin.elapsed();
            assert_eq!((report.attached.len(), &report.refused[..]), (calls.len(), &[][..]));
            let begin = Instant::now();
            drop(probes);
            let detach = begin.elapsed();
            println!(
                "{:<12} {:>6} {:>12.1} {:>12.1}   {:?}",
                backend.name(),
                calls.len(),
                attach.as_secs_f64() * 1e3,
                detach.as_secs_f64() * 1e3,
                kinds(&report)
            );
        }
    }
}
