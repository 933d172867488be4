//! How big the maps are made, and that what has no room is refused by name. Needs root.

use std::collections::BTreeMap;
use std::fs;

use kubeward_bpf::maps::MapError;
use kubeward_bpf::object::{Engine, LoadError, LoadOptions};
use kubeward_bpf::size;
use kubeward_bpf::wire::{self, Container};
use kubeward_core::container::{CgroupId, ContainerSlot};

/// Goal for all maps of an agent on a machine of two CPUs; those of io_uring take 1 MiB of it.
const MOST_MAP_BYTES: u64 = 23 << 20;

fn with_containers(containers: u32) -> Result<Engine, LoadError> {
    let (ring_bytes, table_entries) = (64 << 10, Some(64));
    Engine::load(&LoadOptions {
        ring_bytes,
        table_entries,
        containers,
        has_first_results: false,
        ..LoadOptions::default()
    })
}

#[test]
fn root_each_container_that_was_asked_for_has_a_slot_and_no_other_has() {
    for containers in [1, 3, size::MOST_CONTAINERS] {
        let engine = with_containers(containers).expect("the object loads");
        let maps = engine.maps();
        assert_eq!(maps.slots(), containers + 2, "nobody's and the engine's own beside them");
        let last = ContainerSlot(containers);
        maps.open_slot(last, &Container::watched(1, 0), wire::STAGE_RUN).expect("the last container's slot opens");
        maps.bind_cgroup(CgroupId(u64::MAX), last).expect("it can be bound");
        maps.clean_slots(&[last].into()).expect("it can be cleaned");
        for slot in [0, containers + 2] {
            let refused = maps.close_slot(ContainerSlot(slot)).expect_err("nobody's slot, and one there is not");
            assert!(matches!(refused, MapError::Slot { .. }), "{refused}");
        }
    }
}

#[test]
fn root_number_of_containers_outside_its_bounds_is_refused() {
    for containers in [0, size::MOST_CONTAINERS + 1] {
        let refused = with_containers(containers).expect_err("out of bounds").to_string();
        assert_eq!(refused, format!("there can be room for 1 to 16383 containers, not {containers}"));
    }
}

/// What the kernel says of each map that this process has a descriptor of.
fn map_bytes() -> BTreeMap<String, u64> {
    let descriptors = fs::read_dir("/proc/self/fdinfo").expect("procfs is mounted");
    let texts = descriptors.filter_map(|entry| fs::read_to_string(entry.ok()?.path()).ok());
    let maps = texts.filter_map(|text| {
        let field = |name: &str| text.lines().find_map(|line| Some(line.strip_prefix(name)?.trim().to_owned()));
        Some((field("map_id:")?, field("memlock:")?.parse().ok()?))
    });
    maps.collect()
}

#[test]
fn root_maps_of_the_default_size_take_no_more_than_their_budget() {
    let before = map_bytes();
    let options = LoadOptions { ring_bytes: size::ring_bytes(2), ..LoadOptions::default() };
    let engine = Engine::load(&options).expect("the object loads");
    let taken: u64 = map_bytes().iter().filter(|(id, _)| !before.contains_key(*id)).map(|(_, bytes)| bytes).sum();
    println!("{taken} bytes in maps, {} slots", engine.maps().slots());
    let cpus = fs::read_to_string("/sys/devices/system/cpu/possible").expect("sysfs is mounted");
    if cpus.trim() == "0-1" {
        assert!(taken <= MOST_MAP_BYTES, "{taken} bytes");
    } else {
        println!("not run: the budget of maps (it is for two CPUs, and this machine could have {})", cpus.trim());
    }
    assert!(taken > 16 << 20, "the ring and the exact table alone take more than the {taken} bytes that were found");
}
