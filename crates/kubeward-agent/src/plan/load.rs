//! What policies would make of the calls that a container made: records in the kernel, events in the output. Pure.

use kubeward_core::cost::Prices;
use kubeward_core::event::Stage;
use kubeward_core::policy::{CallWant, CheckedPolicy, Limits};
use kubeward_core::table::{CallResult, CallStats, Latency};

/// Counts of one call of one container.
#[derive(Debug, Clone, Copy)]
pub(super) struct Row<'a> {
    /// By the native table, as policies name it.
    pub(super) nr: u16,
    pub(super) stage: Stage,
    pub(super) stats: &'a CallStats,
}

/// The time in which the calls were made, and what counts as an event in it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Window {
    pub(super) seconds: f64,
    /// The runtime's work before the workload's first exec makes events too.
    pub(super) emits_setup: bool,
}

/// What becomes of the calls of one row.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(super) struct Load {
    pub(super) want: CallWant,
    pub(super) calls: f64,
    /// Of which a record goes to user space.
    pub(super) records: f64,
    pub(super) events: f64,
}

impl Load {
    /// Nanoseconds in the kernel.
    pub(super) fn kernel_ns(&self, prices: &Prices) -> f64 {
        self.records * prices.record_ns(self.want) + (self.calls - self.records) * prices.count_ns(self.want)
    }

    /// Nanoseconds in the agent.
    pub(super) fn user_ns(&self, prices: &Prices) -> f64 {
        self.records * prices.event_ns
    }
}

/// The load of each row, in order, when these policies select the container.
pub(super) fn loads(policies: &[&CheckedPolicy], rows: &[Row<'_>], window: Window) -> Vec<Load> {
    let let_through: Vec<f64> = policies.iter().map(|policy| let_through(policy, rows, window)).collect();
    rows.iter().map(|row| load(policies, &let_through, *row, window)).collect()
}

/// The part of what passes a policy's filter that its limits let through, if all of it comes evenly.
fn let_through(policy: &CheckedPolicy, rows: &[Row<'_>], window: Window) -> f64 {
    let Some(Limits { events_per_second, .. }) = policy.limits else { return 1.0 };
    let of_row = |row: &Row<'_>| -> f64 {
        row.stats.results().map(|(result, count)| count as f64 * passing(policy, *row, result, window)).sum()
    };
    let passing: f64 = rows.iter().map(of_row).sum();
    (f64::from(events_per_second) * window.seconds / passing).min(1.0)
}

fn load(policies: &[&CheckedPolicy], let_through: &[f64], row: Row<'_>, window: Window) -> Load {
    let wanting = || policies.iter().zip(let_through).filter(|(policy, _)| !policy.calls[row.nr].is_none());
    let want = wanting().fold(CallWant::NONE, |want, (policy, _)| want | policy.calls[row.nr]);
    if want.is_none() {
        return Load::default();
    }
    let mut load = Load { want, ..Load::default() };
    for (result, count) in row.stats.results() {
        let (mut record, mut event) = (0.0_f64, 0.0_f64);
        for (policy, part) in wanting() {
            let passing = passing(policy, row, result, window);
            event = event.max(passing * part);
            // Paths are judged in user space, and the limits behind them.
            let is_judged_later = !policy.filter.path_prefixes.is_empty();
            record = record.max(if is_judged_later { passing } else { passing * part });
        }
        let count = count as f64;
        load.calls += count;
        load.records += count * record;
        load.events += count * event;
    }
    load
}

/// The part of the calls with this result that pass the policy's filter, paths and limits aside.
fn passing(policy: &CheckedPolicy, row: Row<'_>, result: CallResult, window: Window) -> f64 {
    let want = policy.calls[row.nr];
    let is_told = row.stage == Stage::Run || window.emits_setup;
    let has_moment = want.contains(CallWant::ENTER) || result != CallResult::Unfinished;
    if !policy.wants_events() || want.is_none() || !is_told || !has_moment {
        return 0.0;
    }
    let has_error = |result| matches!(result, CallResult::Errno(errno) if policy.filter.errors.is_some_and(|errors| errors.contains(errno)));
    if policy.filter.errors.is_some() && !has_error(result) {
        return 0.0;
    }
    match policy.filter.min_duration_ns {
        Some(_) if result == CallResult::Unfinished => 0.0,
        Some(least_ns) => row.stats.latency.as_deref().map_or(1.0, |latency| at_least(latency, least_ns)),
        None => 1.0,
    }
}

/// The part of the durations that are in the power of two of `least_ns` or in a later one: no less than what lasted so long.
fn at_least(latency: &Latency, least_ns: u64) -> f64 {
    let from = (least_ns | 1).ilog2() as usize;
    let all = latency.count();
    let long: u64 = latency.buckets[from..].iter().sum();
    if all == 0 {
        1.0
    } else {
        long as f64 / all as f64
    }
}
