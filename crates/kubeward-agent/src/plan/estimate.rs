//! Events, bytes and CPU time a second, by call and in all.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::{Add, AddAssign, Sub};
use std::sync::Arc;

use kubeward_core::container::ContainerSlot;
use kubeward_core::policy::{CallWant, CheckedPolicy, PolicySet, Selected};
use kubeward_core::syscall::UNLISTED;
use kubeward_core::table::CallKey;

use super::load::{loads, Load, Row, Window};
use super::sample::line_bytes;
use super::Measured;

/// CPU time, in percent of one CPU.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Cpu {
    pub kernel: f64,
    pub user: f64,
}

impl Cpu {
    pub fn total(self) -> f64 {
        self.kernel + self.user
    }
}

impl Add for Cpu {
    type Output = Cpu;

    fn add(self, other: Cpu) -> Cpu {
        Cpu { kernel: self.kernel + other.kernel, user: self.user + other.user }
    }
}

impl AddAssign for Cpu {
    fn add_assign(&mut self, other: Cpu) {
        *self = *self + other;
    }
}

impl Sub for Cpu {
    type Output = Cpu;

    fn sub(self, other: Cpu) -> Cpu {
        Cpu { kernel: self.kernel - other.kernel, user: self.user - other.user }
    }
}

/// One call, or all of them: what is made in a second, and what it costs.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct CallEstimate {
    /// In which the call was made.
    pub containers: usize,
    pub calls: f64,
    pub errors: f64,
    pub events: f64,
    pub bytes: f64,
    /// Of these policies, were they alone.
    pub cpu: Cpu,
    /// What comes on top of the policies in force: less, where those pay for the same calls.
    pub added_events: f64,
    pub added_bytes: f64,
    pub added_cpu: Cpu,
    /// Fewer events may come: the filter of some policy goes by what a count does not tell.
    pub at_most: bool,
}

/// What the policies would make of what was counted.
#[derive(Debug)]
pub struct Estimate {
    /// By native number; only calls that were made.
    pub calls: BTreeMap<u16, CallEstimate>,
    pub total: CallEstimate,
    /// Calls that the policies name.
    pub named: usize,
}

/// Cost: counted calls x policies.
pub fn estimate(measured: &mut Measured) -> Estimate {
    let window = Window { seconds: measured.window.as_secs_f64(), emits_setup: measured.emits_setup };
    let (mut calls, mut total) = (BTreeMap::new(), CallEstimate::default());
    for (slot, rows) in rows_by_slot(measured) {
        total.containers += usize::from(add_container(measured, slot, &rows, window, &mut calls));
    }
    let (written, lines, example) = (&measured.written, &mut measured.lines, measured.example.as_ref());
    for (&nr, call) in &mut calls {
        let line = line_bytes(lines, nr, union_want(written, nr), example, names(written, nr)) as f64;
        (call.bytes, call.added_bytes) = (call.events * line, call.added_events * line);
        total.add(call);
    }
    let named: BTreeSet<u16> = written.policies().iter().flat_map(wanted).collect();
    Estimate { calls, total, named: named.len() }
}

impl CallEstimate {
    fn add(&mut self, other: &CallEstimate) {
        self.calls += other.calls;
        self.errors += other.errors;
        self.events += other.events;
        self.bytes += other.bytes;
        self.cpu += other.cpu;
        self.added_events += other.added_events;
        self.added_bytes += other.added_bytes;
        self.added_cpu += other.added_cpu;
        self.at_most |= other.at_most;
    }
}

fn rows_by_slot(measured: &Measured) -> BTreeMap<ContainerSlot, Vec<Row<'_>>> {
    let mut by_slot: BTreeMap<ContainerSlot, Vec<Row<'_>>> = BTreeMap::new();
    for (key, stats) in measured.calls.iter().filter(|(key, _)| measured.tried.contains_key(&key.slot)) {
        by_slot.entry(key.slot).or_default().push(Row { nr: native(key), stage: key.stage, stats });
    }
    by_slot
}

/// Adds what one container made. Whether it made any of the calls.
fn add_container(
    measured: &Measured,
    slot: ContainerSlot,
    rows: &[Row<'_>],
    window: Window,
    calls: &mut BTreeMap<u16, CallEstimate>,
) -> bool {
    let tried = measured.tried[&slot];
    let alone = selected(&measured.written, &tried.by_trial);
    let before = selected(&measured.in_force, &tried.by_set);
    // A policy that is tried takes the place of the one with its name.
    let stays = |policy: &&&CheckedPolicy| !measured.written.policies().iter().any(|new| new.name == policy.name);
    let after: Vec<&CheckedPolicy> = before.iter().filter(stays).chain(&alone).copied().collect();
    let of = |policies: &[&CheckedPolicy]| loads(policies, rows, window);
    let mut made = BTreeSet::new();
    let loads = of(&alone).into_iter().zip(of(&before)).zip(of(&after));
    for (row, ((alone, before), after)) in rows.iter().zip(loads).filter(|(_, ((alone, _), _))| !alone.want.is_none()) {
        let call = calls.entry(row.nr).or_default();
        call.containers += usize::from(made.insert(row.nr));
        call.calls += alone.calls / window.seconds;
        call.errors += row.stats.errors() as f64 / window.seconds;
        call.events += alone.events / window.seconds;
        call.added_events += (after.events - before.events) / window.seconds;
        call.cpu += cpu(measured, &alone, window);
        call.added_cpu += cpu(measured, &after, window) - paid(measured, &before, alone.calls, window);
        call.at_most |= is_at_most(&tried.by_trial, measured, row.nr);
    }
    !made.is_empty()
}

fn cpu(measured: &Measured, load: &Load, window: Window) -> Cpu {
    let percent = |ns: f64| ns / (window.seconds * 1e9) * 100.0;
    Cpu { kernel: percent(load.kernel_ns(&measured.prices)), user: percent(load.user_ns(&measured.prices)) }
}

/// What these calls cost before: where no policy named them, a raw tracepoint looked at them all the same.
fn paid(measured: &Measured, before: &Load, calls: f64, window: Window) -> Cpu {
    match before.want.is_none() {
        false => cpu(measured, before, window),
        true => {
            let ns = calls * measured.raw_before.passed_ns(&measured.prices);
            Cpu { kernel: ns / (window.seconds * 1e9) * 100.0, user: 0.0 }
        }
    }
}

/// Whether some policy that would tell of the call has a filter of which the table knows no more than a bound.
fn is_at_most(by_trial: &Selected, measured: &Measured, nr: u16) -> bool {
    selected(&measured.written, by_trial).iter().any(|policy| {
        let is_bounded = policy.filter.min_duration_ns.is_some() || !policy.filter.path_prefixes.is_empty();
        !policy.calls[nr].is_none() && policy.wants_events() && is_bounded
    })
}

fn selected<'a>(set: &'a PolicySet, selected: &Selected) -> Vec<&'a CheckedPolicy> {
    selected.iter().filter_map(|place| set.policies().get(place)).collect()
}

fn wanted(policy: &CheckedPolicy) -> impl Iterator<Item = u16> + '_ {
    policy.calls.iter().map(|(nr, _)| nr)
}

fn native(key: &CallKey) -> u16 {
    key.native.unwrap_or(UNLISTED)
}

fn union_want(set: &PolicySet, nr: u16) -> CallWant {
    set.policies().iter().fold(CallWant::NONE, |want, policy| want | policy.calls[nr])
}

fn names(set: &PolicySet, nr: u16) -> Arc<[Arc<str>]> {
    let naming = set.policies().iter().filter(|policy| !policy.calls[nr].is_none());
    naming.map(|policy| policy.name.clone()).collect()
}
