//! The exact table as the kernel holds it: read whole, and emptied of slots that nobody counts for any more.

use std::collections::{BTreeMap, BTreeSet};

use kubeward_core::container::ContainerSlot;
use kubeward_core::event::{Call, Stage};
use kubeward_core::syscall::{self, UNLISTED};
use kubeward_core::table::{CallKey, CallResult, CallTable};
use libbpf_rs::{MapCore, MapFlags, MapHandle};

use crate::batch::{each_entry, each_place};
use crate::decode::call_of;
use crate::maps::{self, MapError, Maps};
use crate::process;
use crate::wire::{self, FirstCounts, FirstResults, TableKey, Times, TimesKey, Wire};

/// The table at one moment, CPUs summed. While calls run, its numbers are of slightly different moments.
#[derive(Debug, Clone, Default)]
pub struct TableRows {
    /// How many calls ended so and were not timed.
    pub counts: Vec<(TableKey, u64)>,
    /// The same of calls whose entry was watched too, in stage run.
    pub times: Vec<(TimesKey, Times)>,
}

impl TableRows {
    /// The same in the terms of everybody else.
    pub fn calls(&self, room: TableRoom) -> CallTable {
        let mut table = CallTable::new(room.counts as usize);
        for (key, count) in self.results() {
            let result = match (key.flags & wire::TABLE_UNFINISHED, key.error) {
                (0, 0) => CallResult::Success,
                (0, wire::ERRNO_OTHER) => CallResult::OtherErrno,
                (0, errno) => CallResult::Errno(errno),
                _ => CallResult::Unfinished,
            };
            let (key, call) = row(key.slot, key.nr, key.flags, key.stage);
            table.add(key, call, result, count);
        }
        for (key, times) in &self.times {
            let (row, _) = self::row(key.slot, key.nr, key.flags, wire::STAGE_RUN as u8);
            table.add_times(row, key.power.into(), times.calls, times.total_ns);
        }
        table
    }

    /// How many calls ended so, timed or not.
    pub fn results(&self) -> BTreeMap<TableKey, u64> {
        let timed = self.times.iter().map(|(key, times)| (key.result(), times.calls));
        let mut results = BTreeMap::new();
        for (key, calls) in self.counts.iter().copied().chain(timed) {
            *results.entry(key).or_default() += calls;
        }
        results
    }
}

impl FirstResults {
    const NONE: Self = Self { key: [0; wire::FIRST_RESULTS] };
}

impl TimesKey {
    /// The same call and result, whatever time it took.
    fn result(&self) -> TableKey {
        let Self { slot, nr, error, flags, .. } = *self;
        TableKey { slot, nr, error, flags, stage: wire::STAGE_RUN as u8 }
    }
}

fn row(slot: u16, nr: u16, flags: u8, stage: u8) -> (CallKey, Call) {
    let mut call = call_of(nr, flags, nr.into());
    // The numbers that no table has are counted in one row, however many a program makes up.
    if nr == UNLISTED {
        call.entry = syscall::by_nr(nr.into());
    }
    let stage = if u32::from(stage) == wire::STAGE_RUN { Stage::Run } else { Stage::Setup };
    (CallKey::new(ContainerSlot(slot.into()), stage, &call), call)
}

/// How many entries the two maps have room for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TableRoom {
    pub counts: u32,
    pub times: u32,
}

impl TableRoom {
    /// Bytes that each of the two maps may take.
    const BUDGET: usize = 16 << 20;
    /// What the kernel needs for an entry beside its values: the element, and a pointer to each CPU's value.
    const ENTRY_BYTES: usize = 80;
    const LEAST: usize = 8_192;
    const MOST_COUNTS: usize = 65_536;
    /// Policies that ask for durations are few beside those that only count.
    const MOST_TIMES: usize = 32_768;

    /// As many entries as the budget gives on so many CPUs, since each has a value of its own of every entry.
    pub fn on(cpus: usize) -> Self {
        let entries = |value: usize, most| (Self::BUDGET / (Self::ENTRY_BYTES + cpus * value)).clamp(Self::LEAST, most);
        Self {
            counts: entries(size_of::<u64>(), Self::MOST_COUNTS) as u32,
            times: entries(size_of::<Times>(), Self::MOST_TIMES) as u32,
        }
    }
}

impl Maps {
    /// Reads the whole table: some 0.3 µs for each entry in use and for each slot.
    pub fn table(&self) -> Result<TableRows, MapError> {
        let mut rows = TableRows::default();
        let add = |one: u64, more: u64| one.saturating_add(more);
        self.each_first(|key, calls| rows.counts.push((key, calls)))?;
        each_entry(&self.call_table, "call_table", |key: TableKey, cpus: &[u64]| {
            rows.counts.push((key, cpus.iter().copied().fold(0, add)));
        })?;
        each_entry(&self.call_times, "call_times", |key: TimesKey, cpus: &[Times]| {
            let sum = cpus.iter().fold(Times { calls: 0, total_ns: 0 }, |sum, cpu| Times {
                calls: add(sum.calls, cpu.calls),
                total_ns: add(sum.total_ns, cpu.total_ns),
            });
            rows.times.push((key, sum));
        })?;
        Ok(rows)
    }

    /// Calls `visit` with each of the first results of each container.
    fn each_first(&self, mut visit: impl FnMut(TableKey, u64)) -> Result<(), MapError> {
        let mut keys = BTreeMap::new();
        each_place(&self.first_results, "first_results", |slot, values: &[FirstResults]| {
            keys.extend(values.iter().filter(|keys| keys.key != FirstResults::NONE.key).map(|keys| (slot, *keys)));
        })?;
        self.each_first_counts(keys.keys().copied(), |slot, counts| {
            let Some(keys) = keys.get(&slot) else { return };
            for (place, key) in keys.key.iter().enumerate().filter(|(_, key)| **key != 0) {
                let calls = counts.iter().fold(0_u64, |sum, cpu| sum.saturating_add(cpu.calls[place]));
                TableKey::read_from(&key.to_ne_bytes()).into_iter().for_each(|key| visit(key, calls));
            }
        })
    }

    /// Calls `visit` with what each CPU has counted among the first results of these slots, and maybe of others.
    pub(crate) fn each_first_counts(
        &self,
        slots: impl ExactSizeIterator<Item = u32>,
        mut visit: impl FnMut(u32, &[FirstCounts]),
    ) -> Result<(), MapError> {
        let (map, name) = (&self.first_counts, "first_counts");
        if is_read_whole(slots.len(), map)? {
            return each_place(map, name, visit);
        }
        for slot in slots.filter(|slot| *slot < map.max_entries()) {
            let counts = map.lookup_percpu(&slot.to_ne_bytes(), MapFlags::ANY).map_err(maps::kernel(name))?;
            let counts = counts.unwrap_or_default();
            visit(slot, &counts.iter().filter_map(|bytes| FirstCounts::read_from(bytes)).collect::<Vec<_>>());
        }
        Ok(())
    }

    fn clear_first(&self, slot: ContainerSlot) -> Result<(), MapError> {
        let slot = slot.0;
        if slot >= self.first_results.max_entries() {
            return Ok(());
        }
        let cpus = libbpf_rs::num_possible_cpus().map_err(maps::kernel("first_counts"))?;
        let zeros = vec![vec![0_u8; size_of::<FirstCounts>()]; cpus];
        maps::put(&self.first_results, "first_results", slot, &FirstResults::NONE)?;
        let cleared = self.first_counts.update_percpu(&slot.to_ne_bytes(), &zeros, MapFlags::ANY);
        cleared.map_err(maps::kernel("first_counts"))
    }

    /// The whole table, at the same cost.
    pub fn call_table(&self) -> Result<CallTable, MapError> {
        Ok(self.table()?.calls(self.table_room()))
    }

    /// Room for entries, as the maps were made.
    pub fn table_room(&self) -> TableRoom {
        TableRoom { counts: self.call_table.max_entries(), times: self.call_times.max_entries() }
    }

    /// No container has more keys of the table than are free, so that one which makes up results leaves room for those of others.
    /// To be called before anything is hooked; without it one container may fill the table.
    pub fn share_table(&self) -> Result<(), MapError> {
        let TableRoom { counts, times } = self.table_room();
        self.change_settings(|settings| (settings.shared_results, settings.shared_durations) = (counts, times))
    }

    /// Takes everything out of table and accounts that was counted for these slots. No task may carry their tag any more:
    /// the kernel gives an entry to another key as soon as it is deleted, so that a program that still held it would count
    /// for that one.
    pub fn clean_slots(&self, slots: &BTreeSet<ContainerSlot>) -> Result<(), MapError> {
        let _cleaning = self.cleaning.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        // Programs that had found an entry before are over now.
        process::wait_for_rcu();
        let is_theirs = |slot: u16| slots.contains(&ContainerSlot(slot.into()));
        let mut results = Vec::new();
        each_entry(&self.call_table, "call_table", |key: TableKey, _: &[u64]| results.push(key))?;
        results.retain(|key| is_theirs(key.slot));
        self.delete_keys(&self.call_table, "call_table", &results, wire::RESULT_KEYS, |key| key.slot)?;
        let mut times = Vec::new();
        each_entry(&self.call_times, "call_times", |key: TimesKey, _: &[Times]| times.push(key))?;
        times.retain(|key| is_theirs(key.slot));
        self.delete_keys(&self.call_times, "call_times", &times, wire::DURATION_KEYS, |key| key.slot)?;
        slots.iter().try_for_each(|slot| self.clear_first(*slot))?;
        slots.iter().try_for_each(|slot| self.clear_account(*slot))
    }

    /// Deletes the keys, and gives back to each slot, and to all, the room that they took; `table` is which of a
    /// slot's counts are this map's.
    fn delete_keys<K: Wire>(
        &self,
        map: &MapHandle,
        name: &'static str,
        keys: &[K],
        table: u32,
        slot_of: impl Fn(&K) -> u16,
    ) -> Result<(), MapError> {
        let mut deleted: BTreeMap<u32, u32> = BTreeMap::new();
        let all = keys.iter().try_for_each(|key| {
            if delete(map, name, key)? {
                *deleted.entry(2 * u32::from(slot_of(key)) + table).or_default() += 1;
                *deleted.entry(table).or_default() += 1;
            }
            Ok(())
        });
        // Also of those before one that failed.
        for (index, more) in deleted {
            let index = index.to_ne_bytes();
            let before = self.keys_deleted.lookup(&index, MapFlags::ANY).map_err(maps::kernel("keys_deleted"))?;
            let before = before.and_then(|bytes| u32::read_from(&bytes)).unwrap_or_default();
            let now = before.wrapping_add(more).to_ne_bytes();
            self.keys_deleted.update(&index, &now, MapFlags::ANY).map_err(maps::kernel("keys_deleted"))?;
        }
        all
    }
}

/// Whether so many places of an array per CPU are read sooner by reading all of it.
pub(crate) fn is_read_whole(places: usize, map: &MapHandle) -> Result<bool, MapError> {
    let cpus = libbpf_rs::num_possible_cpus().map_err(maps::kernel("counting CPUs"))?;
    Ok(is_sooner_whole(places, map.max_entries() as usize, cpus))
}

/// A place costs the copy from each CPU, and alone a system call too, which takes as long as some twenty copies: measured on two CPUs, where
/// ten places of an array that is read whole cost what one does alone.
fn is_sooner_whole(places: usize, all: usize, cpus: usize) -> bool {
    const CALL: usize = 20;
    places * (CALL + cpus) > all * cpus
}

/// Whether the entry was there.
fn delete(map: &MapHandle, name: &'static str, key: &impl Wire) -> Result<bool, MapError> {
    match map.delete(key.as_bytes()) {
        Ok(()) => Ok(true),
        Err(source) if source.kind() == libbpf_rs::ErrorKind::NotFound => Ok(false),
        Err(source) => Err(MapError::Kernel { map: name, source }),
    }
}

#[cfg(test)]
mod tests {
    use kubeward_core::event::Via;

    use super::*;

    #[test]
    fn more_cpus_make_reading_a_whole_array_dearer() {
        let least = |cpus| (1..=2_002).find(|places| is_sooner_whole(*places, 2_002, cpus));
        assert_eq!([1, 2, 64, 1_024].map(least), [Some(96), Some(183), Some(1_526), Some(1_964)]);
        assert!(is_sooner_whole(2_002, 2_002, 1 << 20), "all of them are read whole on any machine");
    }

    #[test]
    fn rows_become_results_of_calls() {
        let (run, setup) = (wire::STAGE_RUN as u8, wire::STAGE_SETUP as u8);
        let key = |error, flags, stage| TableKey { slot: 3, nr: 5, error, flags, stage };
        let counts = vec![
            (key(0, 0, run), 1),
            (key(2, 0, run), 1),
            (key(wire::ERRNO_OTHER, 0, run), 3),
            (key(0, wire::TABLE_UNFINISHED, run), 4),
            (key(0, wire::RECORD_COMPAT | wire::TABLE_UNFINISHED, run), 5),
            (key(0, wire::RECORD_IO_URING, run), 6),
            (key(0, 0, setup), 2),
        ];
        let timed = |error, power| TimesKey { slot: 3, nr: 5, error, flags: 0, power };
        let times =
            vec![(timed(0, 0), Times { calls: 6, total_ns: 5 }), (timed(2, 9), Times { calls: 2, total_ns: 1_500 })];
        let table = TableRows { counts, times }.calls(TableRoom { counts: 10, times: 10 });
        let told: Vec<_> = table
            .iter()
            .map(|(key, stats)| (key.slot.0, key.stage, key.via, key.nr, stats.results().collect::<Vec<_>>()))
            .collect();
        let results = vec![
            (CallResult::Unfinished, 4),
            (CallResult::Success, 7),
            (CallResult::Errno(2), 3),
            (CallResult::OtherErrno, 3),
        ];
        assert_eq!(
            told,
            [
                (3, Stage::Setup, Via::Syscall, 5, vec![(CallResult::Success, 2)]),
                (3, Stage::Run, Via::Syscall, 5, results),
                (3, Stage::Run, Via::Compat, 5, vec![(CallResult::Unfinished, 5)]),
                (3, Stage::Run, Via::IoUring, 5, vec![(CallResult::Success, 6)]),
            ]
        );
        let names: Vec<_> = table.iter().map(|(_, stats)| stats.call.entry.map(|entry| entry.name)).collect();
        assert_eq!(names, [Some("fstat"), Some("fstat"), Some("open"), Some("fstat")]);
        let latency = table.iter().find_map(|(_, stats)| stats.latency.as_deref()).expect("some were timed");
        assert_eq!((latency.count(), latency.total_ns, latency.buckets[0], latency.buckets[9]), (8, 1_505, 6, 2));
        assert_eq!((table.used(), table.room()), (7, 10));
    }

    #[test]
    fn room_follows_the_number_of_cpus_within_its_bounds() {
        assert_eq!(TableRoom::on(2), TableRoom { counts: 65_536, times: 32_768 });
        assert_eq!(TableRoom::on(64), TableRoom { counts: 28_339, times: 15_196 });
        assert_eq!(TableRoom::on(1024), TableRoom { counts: 8_192, times: 8_192 });
    }
}
