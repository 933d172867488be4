//! Kernel memory of the BPF maps that this process holds, as the kernel tells it of each map's descriptor.

use std::collections::BTreeMap;
use std::fs;
use std::io;

/// BPF_MAP_TYPE_* of include/uapi/linux/bpf.h: those that have a value for each CPU, and the ring.
const PER_CPU: [u32; 4] = [5, 6, 10, 21];
const RING: u32 = 27;

/// One map, as its descriptor's fdinfo says.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct MapInfo {
    kind: u32,
    max_entries: u64,
    memlock: u64,
}

/// In bytes, each map once. What tasks carry (task storage) is not in it. Some 10 µs for each descriptor of a map.
pub fn map_bytes() -> io::Result<u64> {
    let mut maps = BTreeMap::new();
    for entry in fs::read_dir("/proc/self/fd")? {
        let fd = entry?;
        // One that was closed meanwhile is no map's any more.
        let is_map = fs::read_link(fd.path()).is_ok_and(|target| target.as_os_str() == "anon_inode:bpf-map");
        let told = || fs::read_to_string(format!("/proc/self/fdinfo/{}", fd.file_name().to_string_lossy())).ok();
        maps.extend(is_map.then(told).flatten().as_deref().and_then(read));
    }
    Ok(total(maps.values().copied(), cpus()? as u64))
}

/// CPUs that the machine could have (`possible`): so many values has each entry of a per-CPU map.
pub fn cpus() -> io::Result<usize> {
    libbpf_rs::num_possible_cpus().map_err(io::Error::other)
}

/// The map's id and what is told of it. `None`: not a map's.
fn read(fdinfo: &str) -> Option<(u32, MapInfo)> {
    let number = |key: &str| {
        let line = fdinfo.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(':'));
        line.and_then(|text| text.trim().parse::<u64>().ok())
    };
    let small = |key| number(key).and_then(|number| u32::try_from(number).ok());
    let info = MapInfo { kind: small("map_type")?, max_entries: number("max_entries")?, memlock: number("memlock")? };
    Some((small("map_id")?, info))
}

/// Kernels before 6.4 reckon entries times their size: nothing for a ring, and per-CPU values once.
fn total(maps: impl Iterator<Item = MapInfo> + Clone, cpus: u64) -> u64 {
    let is_reckoned = maps.clone().any(|map| map.kind == RING && map.memlock == 0);
    let bytes = maps.map(|map| match map {
        MapInfo { kind: RING, max_entries, memlock: 0 } => max_entries,
        MapInfo { kind, memlock, .. } if is_reckoned && PER_CPU.contains(&kind) => memlock * cpus,
        MapInfo { memlock, .. } => memlock,
    });
    bytes.sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    const FDINFO: &str = "pos:\t0\nflags:\t02000002\nmap_type:\t6\nkey_size:\t4\nvalue_size:\t8\nmax_entries:\t7\n\
                          map_flags:\t0x0\nmap_extra:\t0x0\nmemlock:\t4096\nmap_id:\t9\nfrozen:\t0\n";

    #[test]
    fn map_is_read_from_its_descriptors_information() {
        assert_eq!(read(FDINFO), Some((9, MapInfo { kind: 6, max_entries: 7, memlock: 4096 })));
        assert_eq!(read("pos:\t0\nprog_type:\t26\nmemlock:\t4096\n"), None);
    }

    #[test]
    fn kernel_that_reckons_is_corrected_for_rings_and_cpus() {
        let ring = |memlock| MapInfo { kind: RING, max_entries: 8192, memlock };
        let (array, per_cpu) =
            (MapInfo { kind: 2, max_entries: 1, memlock: 100 }, MapInfo { kind: 6, max_entries: 1, memlock: 10 });
        assert_eq!(total([ring(9000), array, per_cpu].into_iter(), 4), 9110);
        assert_eq!(total([ring(0), array, per_cpu].into_iter(), 4), 8192 + 100 + 40);
    }
}
