//! The task that measures: it opens a window now and then, in which each run of our programs is timed.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use kubeward_bpf::maps::MapError;
use kubeward_bpf::memory::map_bytes;
use kubeward_bpf::object::Engine;
use kubeward_bpf::timing::RunTimer;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use super::limit::{self, CpuPercent};
use super::meter::{Cost, Meter, Sample};
use super::process;
use crate::pipeline::monotonic_ns;

/// How long a window is open: hundreds of runs under load, and a hundredth of the time.
const WINDOW: Duration = Duration::from_millis(20);

/// Between two windows, drawn anew each time: what goes on in the node by a clock is then not always in a window, or never.
const PAUSE_MS: std::ops::Range<u64> = 1_000..3_000;

/// Maps are asked for their memory once in so many windows: it changes only when hooks or policies do, and takes as many system calls
/// as there are descriptors.
const MAPS_EVERY: u64 = 15;

/// The cost as last measured, and how it stands to the limit.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct CostNow {
    pub cost: Cost,
    /// `--warn-cpu-percent`.
    pub limit: Option<CpuPercent>,
    pub is_above: bool,
}

impl CostNow {
    /// Whether there is too much of it, in a sentence that stays the same as long as that does.
    pub fn standing(&self) -> String {
        match (self.limit, self.is_above) {
            (None, _) => "no limit was given (--warn-cpu-percent)".to_owned(),
            (Some(limit), false) => format!("KubeWard takes no more than {limit} % of a CPU (--warn-cpu-percent)"),
            (Some(limit), true) => format!(
                "KubeWard takes more than {limit} % of a CPU (--warn-cpu-percent); fewer calls in policies, mode: Count or limits take less"
            ),
        }
    }
}

/// The running task, and what it has measured.
#[derive(Debug)]
pub struct Sampler {
    task: JoinHandle<()>,
    newest: watch::Receiver<CostNow>,
}

impl Sampler {
    /// Measures until `shutdown`. Needs a tokio runtime.
    pub fn start(
        engine: &Arc<Engine>,
        limit: Option<CpuPercent>,
        shutdown: &CancellationToken,
    ) -> anyhow::Result<Self> {
        let timer = engine.run_timer().context("timing our own programs")?;
        let (sender, newest) = watch::channel(CostNow { limit, ..CostNow::default() });
        let ended = shutdown.clone();
        let task = tokio::spawn(async move {
            ended.run_until_cancelled(measure(timer, limit, sender)).await;
        });
        Ok(Self { task, newest })
    }

    /// For whoever wants to know.
    pub fn newest(&self) -> watch::Receiver<CostNow> {
        self.newest.clone()
    }

    /// Returns soon after the shutdown token was cancelled: no window is open then.
    pub async fn stopped(self) {
        if let Err(error) = self.task.await {
            tracing::error!("the own cost: {error}");
        }
    }
}

async fn measure(timer: RunTimer, limit: Option<CpuPercent>, told: watch::Sender<CostNow>) {
    let mut meter = Meter::new(monotonic_ns(), process::cpu_ns());
    let mut known_map_bytes = 0;
    for window in 0_u64.. {
        if window.is_multiple_of(MAPS_EVERY) {
            known_map_bytes = map_bytes().unwrap_or(known_map_bytes);
        }
        match sample(&timer).await {
            Ok(sample) => meter.add(sample),
            // The next window may do better; what is shown stands still meanwhile.
            Err(error) => tracing::error!("the own cost was not measured: {error}"),
        }
        let resident_bytes = process::resident_bytes().unwrap_or(0);
        let cost = Cost { resident_bytes, map_bytes: known_map_bytes, ..meter.cost() };
        told.send_modify(|now| {
            now.cost = cost;
            now.is_above = limit.is_some_and(|limit| limit::is_above(limit, now.is_above, &cost));
        });
        sleep(Duration::from_millis(fastrand::u64(PAUSE_MS))).await;
    }
}

/// One window. It may be open for longer, where CPUs are short: its length is what it was.
async fn sample(timer: &RunTimer) -> Result<Sample, MapError> {
    let before = timer.timed()?;
    timer.open()?;
    let opened_ns = monotonic_ns();
    sleep(WINDOW).await;
    let at_ns = monotonic_ns();
    timer.close()?;
    let after = timer.timed()?;
    Ok(Sample {
        at_ns,
        window_ns: at_ns - opened_ns,
        runs: after.runs - before.runs,
        run_ns: after.ns.saturating_sub(before.ns),
        process_cpu_ns: process::cpu_ns(),
    })
}
