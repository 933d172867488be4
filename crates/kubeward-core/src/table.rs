//! The exact table: container x call x errno -> count, and how long the calls took.
//!
//! The kernel counts, at the moment that a call's result is known: what is lost or left out on the way to the output is
//! counted here all the same. This is its table as read at one moment, for everything that shows or sends it.

use std::collections::btree_map::{BTreeMap, Entry};

use crate::container::ContainerSlot;
use crate::event::{Call, Stage, Via};

/// A call of a container, by number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct CallKey {
    pub slot: ContainerSlot,
    pub stage: Stage,
    pub via: Via,
    pub nr: u32,
    /// What it does, by native number: one number of the 32-bit table stands for many calls.
    pub native: Option<u16>,
}

impl CallKey {
    pub fn new(slot: ContainerSlot, stage: Stage, call: &Call) -> CallKey {
        CallKey { slot, stage, via: call.via, nr: call.nr, native: call.entry.map(|entry| entry.nr) }
    }
}

/// How a call ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum CallResult {
    /// No return was seen: it does not return, or has not yet.
    Unfinished,
    Success,
    /// Failed with this errno.
    Errno(u16),
    /// Failed with one that no kernel returns, which a seccomp filter may make up: all of them are counted together.
    OtherErrno,
}

/// All that is known of one call of one container.
#[derive(Debug, Clone)]
pub struct CallStats {
    pub call: Call,
    results: BTreeMap<CallResult, u64>,
    /// Absent where no call was timed.
    pub latency: Option<Box<Latency>>,
}

impl CallStats {
    /// Counts by result, in order.
    pub fn results(&self) -> impl Iterator<Item = (CallResult, u64)> + '_ {
        self.results.iter().map(|(&result, &count)| (result, count))
    }

    pub fn calls(&self) -> u64 {
        self.results.values().sum()
    }

    pub fn errors(&self) -> u64 {
        let is_error = |result| matches!(result, CallResult::Errno(_) | CallResult::OtherErrno);
        self.results().filter(|(result, _)| is_error(*result)).map(|(_, count)| count).sum()
    }

    /// What came since `before`; counts that fell have begun anew.
    fn since(&self, before: Option<&CallStats>) -> CallStats {
        let earlier = |result| before.and_then(|before| before.results.get(&result)).copied().unwrap_or_default();
        let more = self.results().map(|(result, count)| (result, count.saturating_sub(earlier(result))));
        let latency = self.latency.as_deref().map(|now| match before.and_then(|before| before.latency.as_deref()) {
            Some(before) => Box::new(now.since(before)),
            None => Box::new(now.clone()),
        });
        CallStats { call: self.call, results: more.filter(|(_, count)| *count > 0).collect(), latency }
    }

    /// Adds the numbers of another container's same call.
    pub(crate) fn merge(&mut self, other: &CallStats) {
        for (result, count) in other.results() {
            *self.results.entry(result).or_default() += count;
        }
        if let Some(latency) = &other.latency {
            self.latency.get_or_insert_default().merge(latency);
        }
    }
}

/// Durations by powers of two.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Latency {
    /// Sum of all durations.
    pub total_ns: u64,
    /// Bucket `i` counts durations from 2^i up to, not including, 2^(i+1) ns; bucket 0 also those of 0 ns.
    pub buckets: [u64; 64],
}

impl Default for Latency {
    fn default() -> Self {
        Latency { total_ns: 0, buckets: [0; 64] }
    }
}

impl Latency {
    /// Adds `calls` durations of bucket `power`, of `total_ns` together.
    pub fn add(&mut self, power: usize, calls: u64, total_ns: u64) {
        self.total_ns = self.total_ns.saturating_add(total_ns);
        if let Some(bucket) = self.buckets.get_mut(power) {
            *bucket += calls;
        }
    }

    pub fn merge(&mut self, other: &Latency) {
        self.total_ns = self.total_ns.saturating_add(other.total_ns);
        for (count, more) in self.buckets.iter_mut().zip(other.buckets) {
            *count += more;
        }
    }

    fn since(&self, before: &Latency) -> Latency {
        Latency {
            total_ns: self.total_ns.saturating_sub(before.total_ns),
            buckets: std::array::from_fn(|power| self.buckets[power].saturating_sub(before.buckets[power])),
        }
    }

    /// How many durations were measured.
    pub fn count(&self) -> u64 {
        self.buckets.iter().sum()
    }

    /// The duration that `percent` of the calls did not exceed, `None` without a measurement.
    ///
    /// Taken as evenly spread within its bucket, so at most a factor of two from the truth; never more than the
    /// total allows, so that one call's percentile is its duration.
    pub fn percentile(&self, percent: u32) -> Option<u64> {
        let count = u128::from(self.count());
        let rank = (count * u128::from(percent.min(100))).div_ceil(100).max(1);
        let mut below = 0u128;
        for (exponent, &in_bucket) in self.buckets.iter().enumerate() {
            let in_bucket = u128::from(in_bucket);
            if in_bucket > 0 && below + in_bucket >= rank {
                let width = 1u128 << exponent;
                let start = if exponent == 0 { 0 } else { width };
                let reached = start + (width * (rank - below)).div_ceil(in_bucket);
                // This duration and all that are longer make at most the total.
                let at_most = u128::from(self.total_ns) / (count - rank + 1);
                return Some(u64::try_from(reached.min(at_most.max(start))).unwrap_or(u64::MAX));
            }
            below += in_bucket;
        }
        None
    }
}

/// Counts and latencies by container, stage and call.
#[derive(Debug, Default)]
pub struct CallTable {
    calls: BTreeMap<CallKey, CallStats>,
    /// Results in use, of `room`.
    used: usize,
    room: usize,
}

impl CallTable {
    /// `room`: how many results the kernel's table has room for. Here there is always room.
    pub fn new(room: usize) -> CallTable {
        CallTable { room, ..CallTable::default() }
    }

    /// Adds `count` calls with this result.
    pub fn add(&mut self, key: CallKey, call: Call, result: CallResult, count: u64) {
        let stats =
            self.calls.entry(key).or_insert_with(|| CallStats { call, results: BTreeMap::new(), latency: None });
        match stats.results.entry(result) {
            Entry::Occupied(mut counted) => *counted.get_mut() += count,
            Entry::Vacant(place) => {
                place.insert(count);
                self.used += 1;
            }
        }
    }

    /// Adds `calls` durations of the bucket 2^`power`, of `total_ns` together. Of a call that is not counted they are left out.
    pub fn add_times(&mut self, key: CallKey, power: usize, calls: u64, total_ns: u64) {
        if let Some(stats) = self.calls.get_mut(&key) {
            stats.latency.get_or_insert_default().add(power, calls, total_ns);
        }
    }

    /// What was counted since `before`, the same table at an earlier moment. Calls that were not made meanwhile are not in it.
    pub fn since(&self, before: &CallTable) -> CallTable {
        let mut since = CallTable::new(self.room);
        for (key, stats) in &self.calls {
            let more = stats.since(before.calls.get(key));
            if more.calls() > 0 {
                since.used += more.results.len();
                since.calls.insert(*key, more);
            }
        }
        since
    }

    /// Every call of every container, in order of container, stage and number.
    pub fn iter(&self) -> impl Iterator<Item = (&CallKey, &CallStats)> {
        self.calls.iter()
    }

    /// Results in use.
    pub fn used(&self) -> usize {
        self.used
    }

    /// Results that the kernel's table has room for.
    pub fn room(&self) -> usize {
        self.room
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SLOT: ContainerSlot = ContainerSlot(1);

    fn call(nr: u32) -> Call {
        Call { via: Via::Syscall, nr, entry: None }
    }

    fn key(nr: u32, stage: Stage) -> CallKey {
        CallKey::new(SLOT, stage, &call(nr))
    }

    fn latency(durations: impl IntoIterator<Item = u64>) -> Latency {
        let mut latency = Latency::default();
        durations.into_iter().for_each(|ns| latency.add((ns | 1).ilog2() as usize, 1, ns));
        latency
    }

    #[test]
    fn results_are_counted_apart() {
        let mut table = CallTable::new(100);
        for result in [CallResult::Success, CallResult::Errno(2), CallResult::Errno(2), CallResult::Unfinished] {
            table.add(key(257, Stage::Run), call(257), result, 2);
        }
        let (found, stats) = table.iter().next().expect("one call");
        assert_eq!(*found, CallKey { slot: SLOT, stage: Stage::Run, via: Via::Syscall, nr: 257, native: None });
        assert_eq!(
            stats.results().collect::<Vec<_>>(),
            [(CallResult::Unfinished, 2), (CallResult::Success, 2), (CallResult::Errno(2), 4)]
        );
        assert_eq!((stats.calls(), stats.errors(), table.used(), table.room()), (8, 4, 3, 100));
        assert!(stats.latency.is_none());
    }

    #[test]
    fn stages_and_ways_to_a_call_are_apart() {
        let mut table = CallTable::default();
        table.add(key(5, Stage::Setup), call(5), CallResult::Success, 1);
        for via in [Via::Syscall, Via::Compat, Via::IoUring] {
            let call = Call { via, ..call(5) };
            table.add(CallKey::new(SLOT, Stage::Run, &call), call, CallResult::Success, 1);
        }
        assert_eq!((table.iter().count(), table.used()), (4, 4));
    }

    #[test]
    fn durations_are_of_calls_that_are_counted() {
        let mut table = CallTable::default();
        table.add_times(key(5, Stage::Run), 3, 2, 20);
        assert_eq!(table.iter().count(), 0);
        table.add(key(5, Stage::Run), call(5), CallResult::Success, 2);
        table.add_times(key(5, Stage::Run), 3, 2, 20);
        let measured = table.iter().next().and_then(|(_, stats)| stats.latency.as_deref()).expect("it was timed");
        assert_eq!((measured.count(), measured.total_ns, measured.buckets[3]), (2, 20, 2));
    }

    #[test]
    fn what_came_since_is_the_difference() {
        let (made, failed) = (CallResult::Success, CallResult::Errno(2));
        let mut before = CallTable::default();
        before.add(key(5, Stage::Run), call(5), made, 3);
        before.add(key(6, Stage::Run), call(6), made, 1);
        before.add_times(key(5, Stage::Run), 4, 3, 60);
        let mut now = CallTable::new(9);
        now.add(key(5, Stage::Run), call(5), made, 5);
        now.add(key(5, Stage::Run), call(5), failed, 4);
        now.add(key(6, Stage::Run), call(6), made, 1);
        now.add_times(key(5, Stage::Run), 4, 4, 80);
        let since = now.since(&before);
        let told: Vec<_> = since.iter().map(|(key, stats)| (key.nr, stats.results().collect::<Vec<_>>())).collect();
        assert_eq!(told, [(5, vec![(made, 2), (failed, 4)])]);
        let timed = since.iter().find_map(|(_, stats)| stats.latency.as_deref()).expect("one was timed");
        assert_eq!((timed.count(), timed.total_ns, since.used(), since.room()), (1, 20, 2, 9));
    }

    #[test]
    fn sums_do_not_overflow() {
        assert_eq!(latency([u64::MAX, u64::MAX]).total_ns, u64::MAX);
    }

    #[test]
    fn percentile_is_none_without_a_measurement() {
        assert_eq!(Latency::default().percentile(50), None);
    }

    #[test]
    fn percentiles_of_known_durations() {
        let latency = latency(std::iter::repeat_n(1_000, 99).chain([1_000_000]));
        // 1,000 ns is in the bucket from 512 ns: half and all of it are reached at these ranks.
        assert_eq!(latency.percentile(50), Some(512 + 259));
        assert_eq!(latency.percentile(99), Some(1_024));
        assert_eq!(latency.percentile(100), Some(1 << 20));
    }

    #[test]
    fn percentile_of_one_call_is_its_duration() {
        let latency = latency([210_700]);
        assert_eq!((latency.percentile(50), latency.percentile(99)), (Some(210_700), Some(210_700)));
    }

    proptest! {
        #[test]
        fn percentile_is_within_a_factor_of_two(durations in prop::collection::vec(1..u64::MAX / 2, 1..200), percent in 1..=100u32) {
            let latency = latency(durations.iter().copied());
            let mut sorted = durations.clone();
            sorted.sort_unstable();
            let rank = (sorted.len() * percent as usize).div_ceil(100);
            let exact = sorted[rank - 1] as f64;
            let shown = latency.percentile(percent).expect("there are measurements") as f64;
            prop_assert!(shown >= exact / 2.0 && shown <= exact * 2.0, "{shown} for {exact}");
        }
    }
}
