//! How big the maps are made: by the containers that there is to be room for, and by the number of CPUs.
//!
//! All of it is taken at loading and stays as it is: what a node runs and which policies it has change nothing of it, but for
//! entries of hashes that are made as they are needed (`BPF_F_NO_PREALLOC`) and what the kernel keeps with each task.

use crate::object::LoadOptions;
use crate::table::TableRoom;
use crate::wire;

/// Containers at a time that most machines never come to: 500, that many that ended a moment ago and those that wait for a name.
pub const DEFAULT_CONTAINERS: u32 = 2_000;

/// The most: keys of the exact table hold 16 bits of a slot, and each slot has an account on every CPU.
pub const MOST_CONTAINERS: u32 = wire::MOST_SLOTS - NOT_FOR_CONTAINERS;

/// The slot of nobody, and the one in which this process looks at itself.
const NOT_FOR_CONTAINERS: u32 = 2;

/// A ring is a power of two of at least a page. The kernel's own limit is far above this.
pub const RING_BYTES: std::ops::RangeInclusive<u32> = 4_096..=1 << 30;

/// What one CPU needs of the ring: about 25,000 records, the 25 ms for which the reader may be kept from running.
const RING_BYTES_A_CPU: usize = 4 << 20;

/// The default ring for so many CPUs. Beyond 16 of them it grows no more: the one thread that reads it is the limit then.
pub fn ring_bytes(cpus: usize) -> u32 {
    (RING_BYTES_A_CPU * cpus.clamp(2, 16)).next_power_of_two() as u32
}

/// CPUs that run now, of which a machine may have fewer than it could have (`possible`).
pub fn online_cpus() -> usize {
    // SAFETY: the call takes a number and gives a number.
    let cpus = unsafe { libc::sysconf(libc::_SC_NPROCESSORS_ONLN) };
    usize::try_from(cpus).unwrap_or(1).max(1)
}

/// Most bytes of the counts of first results, of which each CPU has its own. What is counted there is counted in the table without
/// them, at the price of one look-up in a hash: on more CPUs than leave room for all, containers of later slots have none.
const FIRST_BYTES: usize = 16 << 20;

/// Slots whose first results have a place of their own on so many CPUs.
fn first_slots(slots: u32, cpus: usize) -> u32 {
    let most = FIRST_BYTES / (size_of::<wire::FirstCounts>() * cpus.max(1));
    slots.min(u32::try_from(most).unwrap_or(u32::MAX).max(1))
}

/// Keys and values of a slot in the maps that are neither accounts nor first results, once for all CPUs.
const SLOT_BYTES: u64 = 232;

/// Kernel memory that goes with the room for containers, on a machine that could have so many CPUs.
pub fn container_bytes(containers: u32, cpus: usize) -> u64 {
    let slots = containers + NOT_FOR_CONTAINERS;
    let by_cpu = cpus as u64 * size_of::<wire::Account>() as u64;
    let first = u64::from(first_slots(slots, cpus)) * (cpus as u64 + 1) * size_of::<wire::FirstCounts>() as u64;
    u64::from(slots) * (SLOT_BYTES + by_cpu) + first
}

/// Entries of the map called `name`, where they are not written in it. Many have a value for each of so many CPUs.
pub(crate) fn entries(name: &str, options: &LoadOptions, cpus: usize) -> Option<u32> {
    let (slots, room) = (options.containers + NOT_FOR_CONTAINERS, TableRoom::on(cpus));
    Some(match name {
        "records" => options.ring_bytes,
        "first_results" | "first_counts" if !options.has_first_results => 1,
        "first_results" | "first_counts" => first_slots(slots, cpus),
        "call_table" => options.table_entries.unwrap_or(room.counts),
        "call_times" => options.table_entries.unwrap_or(room.times),
        "containers" | "stages" | "accounts" | "limit_buckets" | "ring_written" | "ring_read" => slots,
        "container_map" | "namespace_map" | "own_pid_namespaces" | "free_slots" => slots,
        "keys_made" | "keys_deleted" => 2 * slots,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ring_grows_with_the_cpus_within_its_bounds() {
        let mib = |cpus| ring_bytes(cpus) >> 20;
        assert_eq!([1, 2, 3, 4, 8, 12, 16, 17, 256].map(mib), [8, 8, 16, 16, 32, 64, 64, 64, 64]);
    }

    #[test]
    fn every_slot_fits_into_a_key_of_the_table() {
        assert!(u16::try_from(MOST_CONTAINERS + NOT_FOR_CONTAINERS - 1).is_ok());
    }

    #[test]
    fn first_results_of_every_container_have_a_place_until_many_cpus_make_it_dear() {
        assert_eq!([2, 16, 32, 64, 256].map(|cpus| first_slots(2_002, cpus)), [2_002, 2_002, 2_002, 1_024, 256]);
        assert_eq!([2, 4, 64, 8_192].map(|cpus| first_slots(16_385, cpus)), [16_385, 16_384, 1_024, 8]);
        assert_eq!(first_slots(2_002, 1 << 20), 1);
    }

    #[test]
    fn room_for_containers_takes_what_the_maps_by_slot_take() {
        let sum = |containers: u32, cpus: usize| {
            let options = LoadOptions { containers, ..LoadOptions::default() };
            let object = object();
            let bytes = object.maps().filter_map(|map| {
                let name = map.name().to_string_lossy().into_owned();
                let entries = u64::from(entries(&name, &options, cpus)?);
                let values = match map.map_type() {
                    libbpf_rs::MapType::PercpuArray => cpus as u64,
                    _ => 1,
                };
                let is_by_slot = !["records", "call_table", "call_times"].contains(&&*name);
                is_by_slot.then_some(entries * (u64::from(map.value_size()) * values + u64::from(map.key_size())))
            });
            bytes.sum::<u64>()
        };
        for (containers, cpus) in [(2_000, 2), (2_000, 64), (16_383, 2), (16_383, 64), (16_383, 256)] {
            let (said, truth) = (container_bytes(containers, cpus), sum(containers, cpus));
            assert!(said.abs_diff(truth) * 10 <= truth, "{containers} on {cpus} CPUs: {said} instead of {truth}");
        }
    }

    fn object() -> libbpf_rs::OpenObject {
        libbpf_rs::ObjectBuilder::default()
            .open_memory(include_bytes!(concat!(env!("OUT_DIR"), "/monitor.bpf.o")))
            .expect("the object is one")
    }

    /// One entry, which the object has, would be no room at all.
    #[test]
    fn every_map_that_is_by_slot_is_sized() {
        let options = LoadOptions { containers: 100, ..LoadOptions::default() };
        let object = object();
        // Truly of one entry: settings, buffers and counts of the node.
        let single = ["settings", "exec_buffer", "adopt_buffer", "tags_made_up", "run_times"];
        for map in object.maps() {
            let name = map.name().to_string_lossy().into_owned();
            let is_small = map.max_entries() <= 2 && !single.contains(&&*name) && !name.starts_with('.');
            let is_storage = map.map_type() == libbpf_rs::MapType::TaskStorage;
            if is_small && !is_storage && !name.contains(".rodata") && !name.contains(".bss") {
                assert!(entries(&name, &options, 2).is_some_and(|entries| entries > 2), "{name}");
            }
        }
    }
}
