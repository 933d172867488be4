//! The exact table as the kernel holds it: read whole, and emptied of slots that nobody counts for any more.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::os::fd::{AsFd, AsRawFd};

use kubeward_core::container::ContainerSlot;
use kubeward_core::event::{Call, Stage};
use kubeward_core::syscall::{self, UNLISTED};
use kubeward_core::table::{CallKey, CallResult, CallTable};
use libbpf_rs::{libbpf_sys, MapCore, MapFlags, MapHandle};

use crate::decode::call_of;
use crate::maps::{self, MapError, Maps};
use crate::process;
use crate::wire::{self, FirstCounts, FirstResults, TableKey, Times, TimesKey, Wire};

/// Entries that one system call reads; a bucket of the kernel's hash with more makes it more.
const BATCH: usize = 4096;

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
    const MOST: usize = 65_536;

    /// As many entries as the budget gives on so many CPUs, since each has a value of its own of every entry.
    pub fn on(cpus: usize) -> Self {
        let entries = |value: usize| (Self::BUDGET / (Self::ENTRY_BYTES + cpus * value)).clamp(Self::LEAST, Self::MOST);
        Self { counts: entries(size_of::<u64>()) as u32, times: entries(size_of::<Times>()) as u32 }
    }
}

impl Maps {
    /// Reads the whole table: some 0.3 µs for each entry in use.
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
        for slot in 1..self.first_results.max_entries() {
            let keys = self.first_results.lookup(&slot.to_ne_bytes(), MapFlags::ANY);
            let keys = keys.map_err(maps::kernel("first_results"))?;
            let Some(keys) = keys.and_then(|bytes| FirstResults::read_from(&bytes)) else { continue };
            if keys.key == FirstResults::NONE.key {
                continue;
            }
            let counts = self.first_counts.lookup_percpu(&slot.to_ne_bytes(), MapFlags::ANY);
            let counts = counts.map_err(maps::kernel("first_counts"))?.unwrap_or_default();
            let counts: Vec<_> = counts.iter().filter_map(|bytes| FirstCounts::read_from(bytes)).collect();
            for (place, key) in keys.key.iter().enumerate().filter(|(_, key)| **key != 0) {
                let calls = counts.iter().fold(0_u64, |sum, cpu| sum.saturating_add(cpu.calls[place]));
                TableKey::read_from(&key.to_ne_bytes()).into_iter().for_each(|key| visit(key, calls));
            }
        }
        Ok(())
    }

    /// Calls that are counted among the first results of a slot.
    pub(crate) fn first_calls(&self, slot: ContainerSlot) -> Result<u64, MapError> {
        if slot.0 >= self.first_counts.max_entries() {
            return Ok(0);
        }
        let counts = self.first_counts.lookup_percpu(&slot.0.to_ne_bytes(), MapFlags::ANY);
        let counts = counts.map_err(maps::kernel("first_counts"))?.unwrap_or_default();
        Ok(counts.iter().filter_map(|bytes| FirstCounts::read_from(bytes)).flat_map(|cpu| cpu.calls).sum())
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

    /// Deletes the keys, and gives back to each slot, and to all, the room that they took; `base` is where this map's counts begin.
    fn delete_keys<K: Wire>(
        &self,
        map: &MapHandle,
        name: &'static str,
        keys: &[K],
        base: u32,
        slot_of: impl Fn(&K) -> u16,
    ) -> Result<(), MapError> {
        let mut deleted: BTreeMap<u32, u32> = BTreeMap::new();
        let all = keys.iter().try_for_each(|key| {
            if delete(map, name, key)? {
                *deleted.entry(base + u32::from(slot_of(key))).or_default() += 1;
                *deleted.entry(base).or_default() += 1;
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

/// Whether the entry was there.
fn delete(map: &MapHandle, name: &'static str, key: &impl Wire) -> Result<bool, MapError> {
    match map.delete(key.as_bytes()) {
        Ok(()) => Ok(true),
        Err(source) if source.kind() == libbpf_rs::ErrorKind::NotFound => Ok(false),
        Err(source) => Err(MapError::Kernel { map: name, source }),
    }
}

/// Calls `visit` with each entry of a per-CPU hash, its value on every CPU beside it.
fn each_entry<K: Wire, V: Wire>(
    map: &MapHandle,
    name: &'static str,
    visit: impl FnMut(K, &[V]),
) -> Result<(), MapError> {
    let cpus = libbpf_rs::num_possible_cpus().map_err(|source| MapError::Kernel { map: name, source })?;
    each_batch(map, name, cpus, visit)
}

/// Calls `visit` with each entry of a hash that is not per CPU.
pub(crate) fn each_value<K: Wire, V: Wire>(
    map: &MapHandle,
    name: &'static str,
    mut visit: impl FnMut(K, V),
) -> Result<(), MapError> {
    each_batch(map, name, 1, |key, values: &[V]| values.iter().for_each(|value| visit(key, *value)))
}

/// An entry that comes or goes meanwhile may be there or not; none that stays is left out or seen twice, since the kernel goes by
/// the hash's buckets.
fn each_batch<K: Wire, V: Wire>(
    map: &MapHandle,
    name: &'static str,
    copies: usize,
    mut visit: impl FnMut(K, &[V]),
) -> Result<(), MapError> {
    let failed = |source| MapError::Kernel { map: name, source };
    let mut batch = Batch::new(BATCH.min(map.max_entries() as usize), size_of::<K>(), copies * size_of::<V>());
    let mut values = Vec::with_capacity(copies);
    loop {
        let is_last = batch.read(map).map_err(|error| failed(error.into()))?;
        for (key, cpu_values) in batch.entries() {
            let Some(key) = K::read_from(key) else { continue };
            values.clear();
            values.extend(cpu_values.chunks_exact(size_of::<V>()).filter_map(V::read_from));
            visit(key, &values);
        }
        if is_last {
            return Ok(());
        }
    }
}

/// Buffers for many entries at once, and where the kernel is to go on.
///
/// libbpf-rs has a batched read too, whose buffers do not hold the values of a per-CPU map.
struct Batch {
    room: usize,
    key_bytes: usize,
    value_bytes: usize,
    keys: Vec<u8>,
    values: Vec<u8>,
    count: usize,
    /// The kernel's position: for a hash the number of a bucket.
    position: Option<u32>,
}

impl Batch {
    fn new(room: usize, key_bytes: usize, value_bytes: usize) -> Self {
        let (keys, values) = (vec![0; room * key_bytes], vec![0; room * value_bytes]);
        Self { room, key_bytes, value_bytes, keys, values, count: 0, position: None }
    }

    /// Fills the buffers with the next entries. Whether they are the last.
    fn read(&mut self, map: &MapHandle) -> io::Result<bool> {
        loop {
            match self.try_read(map) {
                Err(error) if error.raw_os_error() == Some(libc::ENOSPC) => {
                    *self =
                        Self { position: self.position, ..Self::new(2 * self.room, self.key_bytes, self.value_bytes) };
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                read => return read,
            }
        }
    }

    fn try_read(&mut self, map: &MapHandle) -> io::Result<bool> {
        let mut from = self.position.unwrap_or_default();
        let mut next = 0_u32;
        let mut count = self.room as u32;
        let from_pointer =
            if self.position.is_some() { std::ptr::from_mut(&mut from).cast() } else { std::ptr::null_mut() };
        let options = libbpf_sys::bpf_map_batch_opts {
            sz: size_of::<libbpf_sys::bpf_map_batch_opts>() as _,
            ..Default::default()
        };
        // SAFETY: the buffers hold `count` keys and as many values of each CPU; a position in a hash is a u32.
        let status = unsafe {
            libbpf_sys::bpf_map_lookup_batch(
                map.as_fd().as_raw_fd(),
                from_pointer,
                std::ptr::from_mut(&mut next).cast(),
                self.keys.as_mut_ptr().cast(),
                self.values.as_mut_ptr().cast(),
                &mut count,
                &options,
            )
        };
        // The end is told as an error, with the last entries.
        let is_last = -status == libc::ENOENT;
        if status < 0 && !is_last {
            return Err(io::Error::from_raw_os_error(-status));
        }
        self.count = (count as usize).min(self.room);
        self.position = Some(next);
        Ok(is_last)
    }

    fn entries(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        self.keys.chunks_exact(self.key_bytes).zip(self.values.chunks_exact(self.value_bytes)).take(self.count)
    }
}

#[cfg(test)]
mod tests {
    use kubeward_core::event::Via;

    use super::*;

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
        assert_eq!(TableRoom::on(2), TableRoom { counts: 65_536, times: 65_536 });
        assert_eq!(TableRoom::on(64), TableRoom { counts: 28_339, times: 15_196 });
        assert_eq!(TableRoom::on(1024), TableRoom { counts: 8_192, times: 8_192 });
    }
}
