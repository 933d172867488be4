//! The exact table: container x call x errno -> count, and how long the calls took.
//!
//! Fed from events one by one, or from the kernel's own table by sums. Room: [`CallTable::ROOM`] results; what
//! comes after that is counted in [`CallTable::overflow`] and nowhere else.

use std::collections::btree_map::{BTreeMap, Entry};

use crate::container::ContainerSlot;
use crate::event::{Call, SyscallEvent, Via};

/// A call of a container, by number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct CallKey {
    pub slot: ContainerSlot,
    pub via: Via,
    pub nr: u32,
    /// What it does, by native number: one number of the 32-bit table stands for many calls.
    pub native: Option<u16>,
}

impl CallKey {
    pub fn new(slot: ContainerSlot, call: &Call) -> CallKey {
        CallKey { slot, via: call.via, nr: call.nr, native: call.entry.map(|entry| entry.nr) }
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
        self.results().filter(|(result, _)| matches!(result, CallResult::Errno(_))).map(|(_, count)| count).sum()
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
    pub fn record(&mut self, duration_ns: u64) {
        self.total_ns = self.total_ns.saturating_add(duration_ns);
        self.buckets[(duration_ns | 1).ilog2() as usize] += 1;
    }

    pub fn merge(&mut self, other: &Latency) {
        self.total_ns = self.total_ns.saturating_add(other.total_ns);
        for (count, more) in self.buckets.iter_mut().zip(other.buckets) {
            *count += more;
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

/// Counts and latencies by container and call.
#[derive(Debug, Default)]
pub struct CallTable {
    calls: BTreeMap<CallKey, CallStats>,
    /// Results in use, of [`CallTable::ROOM`].
    used: usize,
    overflow: u64,
}

impl CallTable {
    /// Most container x call x errno results kept: 4 MiB or so without latencies. A program can make up numbers
    /// of calls without end.
    pub const ROOM: usize = 65_536;

    /// Counts one event.
    pub fn record(&mut self, event: &SyscallEvent) {
        let result = match (event.ret, event.errno()) {
            (None, _) => CallResult::Unfinished,
            (Some(_), None) => CallResult::Success,
            (Some(_), Some(errno)) => CallResult::Errno(errno),
        };
        if let Some(stats) = self.add(event.slot, &event.call, result, 1) {
            if let Some(duration_ns) = event.duration_ns {
                stats.latency.get_or_insert_default().record(duration_ns);
            }
        }
    }

    /// Adds `count` calls with this result. Returns the call's entry, `None` when there was no room.
    pub fn add(&mut self, slot: ContainerSlot, call: &Call, result: CallResult, count: u64) -> Option<&mut CallStats> {
        let key = CallKey::new(slot, call);
        let has_room = self.used < Self::ROOM;
        let stats = match self.calls.entry(key) {
            Entry::Occupied(stats) => stats.into_mut(),
            Entry::Vacant(place) if has_room => {
                place.insert(CallStats { call: *call, results: BTreeMap::new(), latency: None })
            }
            Entry::Vacant(_) => {
                self.overflow += count;
                return None;
            }
        };
        match stats.results.entry(result) {
            Entry::Occupied(mut counted) => *counted.get_mut() += count,
            Entry::Vacant(place) if has_room => {
                place.insert(count);
                self.used += 1;
            }
            Entry::Vacant(_) => {
                self.overflow += count;
                return None;
            }
        }
        Some(stats)
    }

    /// Forgets a container that is gone.
    pub fn remove(&mut self, slot: ContainerSlot) {
        self.calls.retain(|key, stats| {
            let stays = key.slot != slot;
            if !stays {
                self.used -= stats.results.len();
            }
            stays
        });
    }

    /// Every call of every container, in order of container and number.
    pub fn iter(&self) -> impl Iterator<Item = (&CallKey, &CallStats)> {
        self.calls.iter()
    }

    /// Calls that were not counted for want of room.
    pub fn overflow(&self) -> u64 {
        self.overflow
    }

    /// Results in use, of [`CallTable::ROOM`].
    pub fn used(&self) -> usize {
        self.used
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

    #[test]
    fn results_are_counted_apart() {
        let mut table = CallTable::default();
        for result in [CallResult::Success, CallResult::Errno(2), CallResult::Errno(2), CallResult::Unfinished] {
            table.add(SLOT, &call(257), result, 2).expect("there is room");
        }
        let (key, stats) = table.iter().next().expect("one call");
        assert_eq!(*key, CallKey { slot: SLOT, via: Via::Syscall, nr: 257, native: None });
        assert_eq!(
            stats.results().collect::<Vec<_>>(),
            [(CallResult::Unfinished, 2), (CallResult::Success, 2), (CallResult::Errno(2), 4)]
        );
        assert_eq!((stats.calls(), stats.errors(), table.used()), (8, 4, 3));
        assert!(stats.latency.is_none());
    }

    #[test]
    fn ways_to_a_call_are_apart() {
        let mut table = CallTable::default();
        let compat = Call { via: Via::Compat, ..call(5) };
        table.add(SLOT, &call(5), CallResult::Success, 1);
        let uring = Call { via: Via::IoUring, ..call(5) };
        table.add(SLOT, &compat, CallResult::Success, 1);
        table.add(SLOT, &uring, CallResult::Success, 1);
        assert_eq!(table.iter().count(), 3);
    }

    #[test]
    fn full_table_counts_overflow_and_goes_on_with_what_it_has() {
        let mut table = CallTable::default();
        for nr in 0..CallTable::ROOM as u32 {
            table.add(SLOT, &call(nr), CallResult::Success, 1).expect("there is room");
        }
        assert!(table.add(SLOT, &call(u32::MAX), CallResult::Success, 3).is_none());
        assert!(table.add(SLOT, &call(0), CallResult::Errno(1), 4).is_none());
        assert!(table.add(SLOT, &call(0), CallResult::Success, 1).is_some());
        assert_eq!((table.overflow(), table.used()), (7, CallTable::ROOM));

        table.remove(SLOT);
        assert_eq!((table.iter().count(), table.used()), (0, 0));
        assert!(table.add(SLOT, &call(u32::MAX), CallResult::Success, 1).is_some());
    }

    #[test]
    fn buckets_are_powers_of_two() {
        let mut latency = Latency::default();
        for duration_ns in [0, 1, 2, 3, 4, 1_023, 1_024, u64::MAX] {
            latency.record(duration_ns);
        }
        let filled: Vec<_> = latency.buckets.iter().enumerate().filter(|(_, count)| **count > 0).collect();
        assert_eq!(filled, [(0, &2), (1, &2), (2, &1), (9, &1), (10, &1), (63, &1)]);
        assert_eq!((latency.count(), latency.total_ns), (8, u64::MAX));
    }

    #[test]
    fn percentile_is_none_without_a_measurement() {
        assert_eq!(Latency::default().percentile(50), None);
    }

    #[test]
    fn percentiles_of_known_durations() {
        let mut latency = Latency::default();
        (0..99).for_each(|_| latency.record(1_000));
        latency.record(1_000_000);
        // 1,000 ns is in the bucket from 512 ns: half and all of it are reached at these ranks.
        assert_eq!(latency.percentile(50), Some(512 + 259));
        assert_eq!(latency.percentile(99), Some(1_024));
        assert_eq!(latency.percentile(100), Some(1 << 20));
    }

    #[test]
    fn percentile_of_one_call_is_its_duration() {
        let mut latency = Latency::default();
        latency.record(210_700);
        assert_eq!((latency.percentile(50), latency.percentile(99)), (Some(210_700), Some(210_700)));
    }

    proptest! {
        #[test]
        fn percentile_is_within_a_factor_of_two(durations in prop::collection::vec(1..u64::MAX / 2, 1..200), percent in 1..=100u32) {
            let mut latency = Latency::default();
            durations.iter().for_each(|&duration_ns| latency.record(duration_ns));
            let mut sorted = durations.clone();
            sorted.sort_unstable();
            let rank = (sorted.len() * percent as usize).div_ceil(100);
            let exact = sorted[rank - 1] as f64;
            let shown = latency.percentile(percent).expect("there are measurements") as f64;
            prop_assert!(shown >= exact / 2.0 && shown <= exact * 2.0, "{shown} for {exact}");
        }
    }
}
