//! Maps read whole, many entries by each system call.

use std::io;
use std::mem::size_of;
use std::os::fd::{AsFd, AsRawFd};

use libbpf_rs::{libbpf_sys, MapCore, MapFlags, MapHandle, MapType};

use crate::maps::{self, MapError};
use crate::wire::Wire;

/// Entries that one system call reads; a bucket of the kernel's hash with more makes it more.
const BATCH: usize = 4096;

/// Bytes of an array's values that one system call reads.
const ARRAY_BYTES: usize = 1 << 20;

/// Calls `visit` with each entry of a per-CPU hash, its value on every CPU beside it.
pub(crate) fn each_entry<K: Wire, V: Wire>(
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

/// Calls `visit` with each index of an array, per CPU or not, and its value on every CPU. Where the kernel reads no such array by
/// batches (per CPU: before 5.13), each is looked up alone.
pub(crate) fn each_place<V: Wire>(
    map: &MapHandle,
    name: &'static str,
    mut visit: impl FnMut(u32, &[V]),
) -> Result<(), MapError> {
    let is_per_cpu = map.map_type() == MapType::PercpuArray;
    let copies = if is_per_cpu { libbpf_rs::num_possible_cpus().map_err(maps::kernel(name))? } else { 1 };
    let mut batch = Batch::of_array(map, copies * size_of::<V>());
    let mut values = Vec::with_capacity(copies);
    loop {
        let is_last = match batch.read(map) {
            Err(_) if batch.position.is_none() => return each_alone(map, name, is_per_cpu, visit),
            read => read.map_err(|error| maps::kernel(name)(error.into()))?,
        };
        for (key, bytes) in batch.entries() {
            let Some(key) = u32::read_from(key) else { continue };
            values.clear();
            values.extend(bytes.chunks_exact(size_of::<V>()).filter_map(V::read_from));
            visit(key, &values);
        }
        if is_last {
            return Ok(());
        }
    }
}

fn each_alone<V: Wire>(
    map: &MapHandle,
    name: &'static str,
    is_per_cpu: bool,
    mut visit: impl FnMut(u32, &[V]),
) -> Result<(), MapError> {
    for place in 0..map.max_entries() {
        let key = place.to_ne_bytes();
        let values = match is_per_cpu {
            true => map.lookup_percpu(&key, MapFlags::ANY),
            false => map.lookup(&key, MapFlags::ANY).map(|value| value.map(|value| vec![value])),
        };
        let values = values.map_err(maps::kernel(name))?.unwrap_or_default();
        visit(place, &values.iter().filter_map(|bytes| V::read_from(bytes)).collect::<Vec<_>>());
    }
    Ok(())
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
    /// The kernel's position: for a hash the number of a bucket, for an array the last index.
    position: Option<u32>,
}

impl Batch {
    fn new(room: usize, key_bytes: usize, value_bytes: usize) -> Self {
        let (keys, values) = (vec![0; room * key_bytes], vec![0; room * value_bytes]);
        Self { room, key_bytes, value_bytes, keys, values, count: 0, position: None }
    }

    /// With buffers of [`ARRAY_BYTES`] at most, or for one entry.
    fn of_array(map: &MapHandle, value_bytes: usize) -> Self {
        let room = (ARRAY_BYTES / value_bytes).min(map.max_entries() as usize).max(1);
        Self::new(room, size_of::<u32>(), value_bytes)
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
        // SAFETY: the buffers hold `count` keys and as many values of each CPU; a position in a hash or an array is a u32.
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
    use libbpf_rs::MapType;

    use super::*;

    #[test]
    fn root_array_is_read_by_batches_as_one_by_one() {
        let options = libbpf_sys::bpf_map_create_opts {
            sz: size_of::<libbpf_sys::bpf_map_create_opts>() as _,
            ..Default::default()
        };
        // More than a batch has room for, so that several are put together.
        let places = (ARRAY_BYTES / size_of::<u64>() + 7) as u32;
        for kind in [MapType::Array, MapType::PercpuArray] {
            let map = MapHandle::create(kind, Some("places"), 4, 8, places, &options).expect("an array can be made");
            let cpus = libbpf_rs::num_possible_cpus().expect("there is a CPU");
            let is_per_cpu = kind == MapType::PercpuArray;
            let copies = if is_per_cpu { cpus } else { 1 };
            for place in [0, 1, places / 2, places - 1] {
                let values: Vec<u64> = (0..copies as u64).map(|cpu| u64::from(place) * 100 + cpu + 1).collect();
                let bytes: Vec<Vec<u8>> = values.iter().map(|value| value.to_ne_bytes().to_vec()).collect();
                let put = match is_per_cpu {
                    true => map.update_percpu(&place.to_ne_bytes(), &bytes, MapFlags::ANY),
                    false => map.update(&place.to_ne_bytes(), &bytes[0], MapFlags::ANY),
                };
                put.expect("the place can be written");
            }
            let (mut batched, mut alone) = (Vec::new(), Vec::new());
            each_place(&map, "places", |place, values: &[u64]| batched.push((place, values.to_vec())))
                .expect("the array can be read");
            each_alone(&map, "places", is_per_cpu, |place, values: &[u64]| alone.push((place, values.to_vec())))
                .expect("each place can be read");
            assert!(batched == alone, "{kind:?}: {} and {} places", batched.len(), alone.len());
            assert_eq!(batched.iter().filter(|(_, values)| values[0] != 0).count(), 4, "{kind:?}");
            assert_eq!(batched.len(), places as usize, "{kind:?}");
        }
    }
}
