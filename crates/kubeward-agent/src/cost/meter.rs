//! From samples to what is told: the last minute as a share of one CPU, and sums since the start.

use std::collections::VecDeque;

/// How far back the averages go.
const AVERAGED_NS: u64 = 60_000_000_000;

/// Younger averages than this are of too few windows to warn by.
const TELLING_NS: u64 = 10_000_000_000;

/// What one window showed, and what the process had spent when it closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Sample {
    /// The window's end, by CLOCK_MONOTONIC.
    pub(super) at_ns: u64,
    /// Its length.
    pub(super) window_ns: u64,
    /// Runs of our programs in it, and what they took, on all CPUs.
    pub(super) runs: u64,
    pub(super) run_ns: u64,
    /// CPU time of this process since its start.
    pub(super) process_cpu_ns: u64,
}

/// What KubeWard takes of the node. Shares are of one CPU, over the last minute or since the start, whichever is shorter.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Cost {
    /// What the shares are averaged over; 0: nothing was measured yet.
    pub averaged_ns: u64,
    /// Our programs in the kernel, from samples.
    pub kernel_percent: f64,
    /// This process.
    pub user_percent: f64,
    pub runs_per_s: f64,
    /// Absent where no program ran.
    pub ns_per_run: Option<f64>,
    /// CPU time and runs since the meter's start, of the kernel side estimated.
    pub kernel_cpu_ns: u64,
    pub user_cpu_ns: u64,
    pub runs: u64,
    /// Memory of this process that is in RAM.
    pub resident_bytes: u64,
    /// Kernel memory of the BPF maps.
    pub map_bytes: u64,
}

impl Cost {
    pub fn percent(&self) -> f64 {
        self.kernel_percent + self.user_percent
    }

    /// Whether enough was measured to judge by.
    pub fn is_telling(&self) -> bool {
        self.averaged_ns >= TELLING_NS
    }
}

/// Takes samples in order of time.
#[derive(Debug)]
pub(super) struct Meter {
    /// The last minute's, behind one that is older or the start. The sum of `run_ns` of one sample is no more than its CPUs' time.
    samples: VecDeque<Sample>,
    process_before_ns: u64,
    kernel_cpu_ns: f64,
    runs: f64,
}

impl Meter {
    /// Begins to measure a process that has spent `process_cpu_ns`.
    pub(super) fn new(at_ns: u64, process_cpu_ns: u64) -> Self {
        let start = Sample { at_ns, window_ns: 0, runs: 0, run_ns: 0, process_cpu_ns };
        Self { samples: [start].into(), process_before_ns: process_cpu_ns, kernel_cpu_ns: 0.0, runs: 0.0 }
    }

    /// What the window showed stands for all the time since the one before.
    pub(super) fn add(&mut self, sample: Sample) {
        let before = self.samples.back().map_or(sample.at_ns, |before| before.at_ns);
        let windows = ratio(sample.at_ns.saturating_sub(before), sample.window_ns);
        self.kernel_cpu_ns += sample.run_ns as f64 * windows;
        self.runs += sample.runs as f64 * windows;
        self.samples.push_back(sample);
        // The base is the newest sample that is a minute old.
        while self.samples.get(1).is_some_and(|next| sample.at_ns.saturating_sub(next.at_ns) >= AVERAGED_NS) {
            self.samples.pop_front();
        }
    }

    /// Without the memory, which it does not know.
    pub(super) fn cost(&self) -> Cost {
        let (Some(base), Some(newest)) = (self.samples.front(), self.samples.back()) else { return Cost::default() };
        let sum = |of: fn(&Sample) -> u64| self.samples.iter().skip(1).map(of).sum::<u64>();
        let (window_ns, runs, run_ns) = (sum(|one| one.window_ns), sum(|one| one.runs), sum(|one| one.run_ns));
        let averaged_ns = newest.at_ns.saturating_sub(base.at_ns);
        Cost {
            averaged_ns,
            kernel_percent: 100.0 * ratio(run_ns, window_ns),
            user_percent: 100.0 * ratio(newest.process_cpu_ns.saturating_sub(base.process_cpu_ns), averaged_ns),
            runs_per_s: 1e9 * ratio(runs, window_ns),
            ns_per_run: (runs > 0).then(|| ratio(run_ns, runs)),
            kernel_cpu_ns: self.kernel_cpu_ns as u64,
            user_cpu_ns: newest.process_cpu_ns.saturating_sub(self.process_before_ns),
            runs: self.runs as u64,
            ..Cost::default()
        }
    }
}

/// 0 of nothing.
fn ratio(part: u64, whole: u64) -> f64 {
    match whole {
        0 => 0.0,
        _ => part as f64 / whole as f64,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: u64 = 1_000_000_000;
    const WINDOW_NS: u64 = 20_000_000;

    /// Every two seconds a window with these runs of 100 ns, and a process that takes a tenth of a CPU.
    fn measured(runs: impl IntoIterator<Item = u64>) -> Meter {
        let mut meter = Meter::new(0, 5 * SECOND);
        for (nr, runs) in (1..).zip(runs) {
            let at_ns = 2 * nr * SECOND;
            let process_cpu_ns = 5 * SECOND + at_ns / 10;
            meter.add(Sample { at_ns, window_ns: WINDOW_NS, runs, run_ns: 100 * runs, process_cpu_ns });
        }
        meter
    }

    #[test]
    fn nothing_is_said_before_a_window_has_closed() {
        assert_eq!(measured([]).cost(), Cost::default());
        assert!(!measured([1; 4]).cost().is_telling());
        assert!(measured([1; 5]).cost().is_telling());
    }

    #[test]
    fn shares_are_of_one_cpu_and_of_the_windows_alone() {
        let cost = measured([2_000; 10]).cost();
        // 200 us of each 20 ms.
        assert_eq!((cost.kernel_percent, cost.user_percent, cost.percent()), (1.0, 10.0, 11.0));
        assert_eq!((cost.runs_per_s, cost.ns_per_run), (100_000.0, Some(100.0)));
        assert_eq!(cost.averaged_ns, 20 * SECOND);
        // A window without a run is one of the average too.
        assert_eq!(measured([2_000, 0]).cost().kernel_percent, 0.5);
    }

    #[test]
    fn averages_forget_what_is_older_than_a_minute_and_sums_do_not() {
        let cost = measured([2_000; 10].into_iter().chain([0; 30])).cost();
        assert_eq!((cost.kernel_percent, cost.runs_per_s, cost.ns_per_run), (0.0, 0.0, None));
        assert_eq!((cost.averaged_ns, cost.user_percent), (60 * SECOND, 10.0));
        // 20 s of 1 %, and all 80 s of 10 %.
        assert_eq!((cost.kernel_cpu_ns, cost.user_cpu_ns, cost.runs), (SECOND / 5, 8 * SECOND, 2_000_000));
    }
}
