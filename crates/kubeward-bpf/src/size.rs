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

/// Entries of the map called `name`, where they are not written in it.
pub(crate) fn entries(name: &str, options: &LoadOptions, room: TableRoom) -> Option<u32> {
    let slots = options.containers + NOT_FOR_CONTAINERS;
    Some(match name {
        "records" => options.ring_bytes,
        "first_results" | "first_counts" if !options.has_first_results => 1,
        "first_results" | "first_counts" => slots,
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

    /// One entry, which the object has, would be no room at all.
    #[test]
    fn every_map_that_is_by_slot_is_sized() {
        let options = LoadOptions { containers: 100, ..LoadOptions::default() };
        let object = libbpf_rs::ObjectBuilder::default()
            .open_memory(include_bytes!(concat!(env!("OUT_DIR"), "/monitor.bpf.o")))
            .expect("the object is one");
        // Truly of one entry: settings, buffers and counts of the node.
        let single = ["settings", "exec_buffer", "adopt_buffer", "tags_made_up", "run_times"];
        for map in object.maps() {
            let name = map.name().to_string_lossy().into_owned();
            let is_small = map.max_entries() <= 2 && !single.contains(&&*name) && !name.starts_with('.');
            let is_storage = map.map_type() == libbpf_rs::MapType::TaskStorage;
            if is_small && !is_storage && !name.contains(".rodata") && !name.contains(".bss") {
                assert!(entries(&name, &options, TableRoom::on(2)).is_some_and(|entries| entries > 2), "{name}");
            }
        }
    }
}
