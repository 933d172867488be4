//! What our programs take of the CPUs: their runs are timed while a window is open (`bpf/timing.bpf.h`).
//!
//! Works with CAP_BPF and CAP_PERFMON alone, on every kernel. Not in a run: the kernel's way to the program and back.

use libbpf_rs::{MapCore, MapFlags, MapHandle};

use crate::maps::{self, MapError};
use crate::object::{Engine, LoadError};
use crate::wire::{RunTimes, Window, Wire};

/// Runs that were timed, of all programs on all CPUs, since the object was loaded. Never falls.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct TimedRuns {
    pub runs: u64,
    /// Without what looking at the clock took.
    pub ns: u64,
}

/// One at a time for each engine: two would close each other's windows. Dropping it closes the window.
#[derive(Debug)]
pub struct RunTimer {
    window: MapHandle,
    run_times: MapHandle,
}

impl Engine {
    pub fn run_timer(&self) -> Result<RunTimer, LoadError> {
        let find = |name: &'static str| {
            let damaged = || LoadError::Damaged { kind: "map", name: name.to_owned() };
            self.shared_map(name.as_ref()).ok_or_else(damaged)
        };
        Ok(RunTimer { window: find(".data.window")?, run_times: find("run_times")? })
    }
}

impl RunTimer {
    /// Runs that begin from now on are timed, each some 100 ns longer for it.
    pub fn open(&self) -> Result<(), MapError> {
        self.set(true)
    }

    /// Runs that began before are still timed to their end.
    pub fn close(&self) -> Result<(), MapError> {
        self.set(false)
    }

    pub fn timed(&self) -> Result<TimedRuns, MapError> {
        let cpus = self.run_times.lookup_percpu(&[0; 4], MapFlags::ANY).map_err(maps::kernel("run_times"))?;
        let times = cpus.unwrap_or_default().into_iter().filter_map(|bytes| RunTimes::read_from(&bytes));
        Ok(sum(times))
    }

    fn set(&self, is_open: bool) -> Result<(), MapError> {
        maps::put(&self.window, ".data.window", 0, &Window { is_open: is_open.into(), nothing: 0 })
    }
}

impl Drop for RunTimer {
    fn drop(&mut self) {
        // It can fail only where the map is not one, and then no window was ever open.
        let _ = self.close();
    }
}

fn sum(cpus: impl Iterator<Item = RunTimes>) -> TimedRuns {
    let mut timed = TimedRuns::default();
    for RunTimes { runs, ns, clock_ns } in cpus {
        timed.runs += runs;
        // Of very short runs the clock may say less than its own reading took.
        timed.ns += ns.saturating_sub(clock_ns);
    }
    timed
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clock_is_taken_out_of_what_it_timed() {
        let cpus = [RunTimes { runs: 10, ns: 900, clock_ns: 300 }, RunTimes { runs: 1, ns: 20, clock_ns: 30 }];
        assert_eq!(sum(cpus.into_iter()), TimedRuns { runs: 11, ns: 600 });
    }
    /// Iterators and programs that user space runs are in the time of the process that runs them.
    #[test]
    fn every_hook_is_timed() {
        let sources = [include_str!("bpf/monitor.bpf.c"), include_str!("bpf/uring.bpf.c")];
        let hooks = sources.iter().flat_map(|source| source.split("\nSEC(\"").skip(1));
        let hooks = hooks.filter(|hook| hook.starts_with('?') || hook.starts_with("tp_btf"));
        let hooks: Vec<&str> = hooks.filter(|hook| !hook.starts_with("?syscall")).collect();
        assert!(hooks.len() > 25, "{} hooks", hooks.len());
        for hook in hooks {
            let body = hook.split("\n}").next().expect("there is a first part");
            assert!(body.contains("return timed("), "{body}");
        }
        // Those of fentry are entry and return of all calls, and of the 32-bit ones.
        assert_eq!(include_str!("bpf/fentry.bpf.c").matches("return timed(").count(), 4);
    }
}
