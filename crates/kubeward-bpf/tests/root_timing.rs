//! What our programs take, as they time it themselves, beside what the kernel says of them. Needs root and a C compiler. In a file of
//! its own: the self-test counts the calls of its whole process.

#[path = "../../kubeward/tests/root/witness.rs"]
mod witness;

use std::collections::BTreeMap;
use std::fs;
use std::io::Write;
use std::os::fd::{FromRawFd, OwnedFd};
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex, MutexGuard};

use kubeward_bpf::memory::map_bytes;
use kubeward_bpf::object::{Engine, LoadOptions};
use kubeward_bpf::probe::{Backend, Probes};
use kubeward_bpf::process::Pidfd;
use kubeward_bpf::timing::TimedRuns;
use kubeward_bpf::wire::{self, Container, Profile, CALLS, HOOK_ENTER, HOOK_EXIT};
use kubeward_core::container::ContainerSlot;
use kubeward_core::syscall;
use libbpf_rs::libbpf_sys;

const SLOT: ContainerSlot = ContainerSlot(1);
const CALLS_MADE: u64 = 20_000;

/// One test at a time: each looks at all of its process's programs and maps.
fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    ALONE.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
}

/// The kernel side with `dup` watched, at its entry and its return.
struct Watch {
    engine: Arc<Engine>,
    _probes: Probes,
    _alone: MutexGuard<'static, ()>,
}

impl Watch {
    fn begin() -> Self {
        let alone = alone();
        let engine = Arc::new(Engine::load(&LoadOptions::default()).expect("the object loads"));
        let mut probes = Probes::new(engine.clone(), Backend::Auto).expect("some backend works here");
        let nr = usize::from(syscall::by_name("dup").expect("the catalogue has it").nr);
        let (mut want, mut asked) = ([0; CALLS], [0; CALLS]);
        (want[nr], asked[nr]) = (wire::WANT_CALL, HOOK_ENTER | HOOK_EXIT);
        let profile = Profile { want, errors: [0; wire::ERRNO_WORDS], min_duration_ns: 0, arg_bytes: 0, argv_bytes: 0 };
        engine.maps().set_profile(1, &profile).expect("there are 1023");
        engine.maps().open_slot(SLOT, &Container::watched(1, 0), wire::STAGE_RUN).expect("slot 1 is there");
        assert_eq!(probes.apply(&asked).refused, []);
        Self { engine, _probes: probes, _alone: alone }
    }

    /// A program of the slot that makes its calls, to its end.
    fn make_calls(&self) {
        let mut shell = Command::new("/bin/sh");
        shell.args(["-c", "read go; exec \"$0\" \"$@\""]).arg(witness::witness("loop"));
        shell.args(["1", &CALLS_MADE.to_string(), "dup"]);
        let mut child = shell.stdin(Stdio::piped()).stdout(Stdio::null()).spawn().expect("sh runs");
        let pidfd = Pidfd::open(child.id()).expect("it waits");
        self.engine.maps().tag_task(pidfd.as_fd(), SLOT.0).expect("it waits");
        child.stdin.take().expect("it is piped").write_all(b"\n").expect("it waits for this");
        assert!(child.wait().expect("it is our child").success());
    }
}

/// Has the kernel time programs, as long as it lives.
fn kernel_statistics() -> OwnedFd {
    // SAFETY: takes a number alone.
    let fd = unsafe { libbpf_sys::bpf_enable_stats(libbpf_sys::BPF_STATS_RUN_TIME) };
    assert!(fd >= 0, "the kernel has statistics: {fd}");
    // SAFETY: the call returned a descriptor that nobody else owns.
    unsafe { OwnedFd::from_raw_fd(fd) }
}

/// What the kernel says of the programs that this process holds.
fn told_by_the_kernel() -> TimedRuns {
    let mut programs = BTreeMap::new();
    for fd in fs::read_dir("/proc/self/fdinfo").expect("/proc is mounted") {
        let Ok(text) = fs::read_to_string(fd.expect("it can be listed").path()) else { continue };
        let number = |key: &str| text.lines().find_map(|line| line.strip_prefix(key)?.trim().parse::<u64>().ok());
        if let (Some(id), Some(ns), Some(runs)) = (number("prog_id:"), number("run_time_ns:"), number("run_cnt:")) {
            programs.insert(id, (runs, ns));
        }
    }
    let sum = |all: TimedRuns, (runs, ns): (u64, u64)| TimedRuns { runs: all.runs + runs, ns: all.ns + ns };
    programs.into_values().fold(TimedRuns::default(), sum)
}

fn per_run(before: TimedRuns, after: TimedRuns) -> f64 {
    assert!(after.runs - before.runs >= 2 * CALLS_MADE, "each call is an entry and a return: {before:?} {after:?}");
    (after.ns - before.ns) as f64 / (after.runs - before.runs) as f64
}

/// Turn about, so that both see the same load of the rest of the machine, and neither times the other's looking at the clock.
#[test]
fn root_our_own_timing_agrees_with_the_kernels_statistics() {
    let watch = Watch::begin();
    let timer = watch.engine.run_timer().expect("the maps are there");
    let mut ratios: Vec<f64> = Vec::new();
    for _ in 0..9 {
        let before = timer.timed().expect("the map can be read");
        timer.open().expect("the map can be written");
        watch.make_calls();
        timer.close().expect("the map can be written");
        let ours = per_run(before, timer.timed().expect("the map can be read"));

        let statistics = kernel_statistics();
        let before = told_by_the_kernel();
        watch.make_calls();
        let kernels = per_run(before, told_by_the_kernel());
        drop(statistics);
        println!("{ours:.0} ns a run by our own timing, {kernels:.0} ns by the kernel's");
        ratios.push(ours / kernels);
    }
    ratios.sort_by(f64::total_cmp);
    let median = ratios[ratios.len() / 2];
    assert!((0.5..2.0).contains(&median), "{ratios:?}");
}

#[test]
fn root_runs_are_timed_in_windows_alone_and_all_of_them() {
    let watch = Watch::begin();
    let timer = watch.engine.run_timer().expect("the maps are there");
    let now = || timer.timed().expect("the map can be read");
    watch.make_calls();
    assert_eq!(now(), TimedRuns::default());

    let statistics = kernel_statistics();
    timer.open().expect("the map can be written");
    let (ours, kernels) = (now(), told_by_the_kernel());
    watch.make_calls();
    let (ours, kernels) = (now().runs - ours.runs, told_by_the_kernel().runs - kernels.runs);
    timer.close().expect("the map can be written");
    drop(statistics);
    // The two are not asked at the same moment.
    assert!(ours.abs_diff(kernels) * 20 < kernels, "{ours} runs by our own count, {kernels} by the kernel's");

    // What began in the window has ended when other programs have come and gone.
    watch.make_calls();
    let closed = now();
    watch.make_calls();
    assert_eq!(now(), closed);
}

#[test]
fn root_memory_of_maps_is_at_least_that_of_the_ring() {
    let _alone = alone();
    let before = map_bytes().expect("/proc is mounted");
    let ring_bytes = 16 << 20;
    let engine = Engine::load(&LoadOptions { ring_bytes, ..LoadOptions::default() }).expect("the object loads");
    let bytes = map_bytes().expect("/proc is mounted") - before;
    println!("{bytes} bytes, {ring_bytes} of them the ring's");
    assert!((u64::from(ring_bytes)..256 << 20).contains(&bytes), "{bytes}");
    drop(engine);
    assert_eq!(map_bytes().expect("/proc is mounted"), before);
}
