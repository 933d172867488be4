//! What was read of the ring, by container: the kernel side weighs it against what it wrote (`bpf/share.bpf.h`).

use std::io;
use std::mem::{offset_of, size_of};
use std::os::fd::{AsFd, AsRawFd};
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU64, Ordering};

use libbpf_rs::MapCore;

use crate::maps::Maps;
use crate::wire::{Record, Wire};

/// What the kernel puts before each record (`BPF_RINGBUF_HDR_SZ`); both together are aligned to 8 bytes.
const HEADER_BYTES: usize = 8;

/// Bytes of the ring that each slot's records took and that were read. Alive in the kernel's map; one thread adds.
#[derive(Debug)]
pub(crate) struct ReadBytes {
    first: NonNull<AtomicU64>,
    slots: u32,
}

impl ReadBytes {
    /// `None` where nobody shares the ring.
    pub(crate) fn of(maps: &Maps) -> io::Result<Option<Self>> {
        if !maps.is_ring_shared() {
            return Ok(None);
        }
        let (map, slots) = (maps.ring_read.as_fd().as_raw_fd(), maps.ring_read.max_entries());
        let (bytes, access) = (mapped_bytes(slots), libc::PROT_READ | libc::PROT_WRITE);
        // SAFETY: a new mapping, wherever the kernel likes, of a descriptor that is open; it aliases nothing of ours.
        let address = unsafe { libc::mmap(std::ptr::null_mut(), bytes, access, libc::MAP_SHARED, map, 0) };
        if address == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        Ok(NonNull::new(address.cast()).map(|first| Self { first, slots }))
    }

    /// `record` is about to leave the ring. One too short to name its slot cannot come: the kernel side writes whole records.
    pub(crate) fn add(&self, record: &[u8]) {
        let slot = record.get(offset_of!(Record, slot)..).and_then(u32::read_from);
        if let Some(slot) = slot.filter(|slot| *slot < self.slots) {
            self.of_slot(slot).fetch_add(bytes_in_ring(record.len()), Ordering::Relaxed);
        }
    }

    fn of_slot(&self, slot: u32) -> &AtomicU64 {
        debug_assert!(slot < self.slots);
        // SAFETY: the mapping has a word for each of the slots, of which this is one.
        let word = unsafe { self.first.add(slot as usize) };
        // SAFETY: the word is aligned, mapped as long as `self` lives, and reached as an atomic alone.
        unsafe { word.as_ref() }
    }
}

impl Drop for ReadBytes {
    fn drop(&mut self) {
        // SAFETY: the address and length are those of the mapping, and nothing borrows from it any more.
        unsafe { libc::munmap(self.first.as_ptr().cast(), mapped_bytes(self.slots)) };
    }
}

fn mapped_bytes(slots: u32) -> usize {
    slots as usize * size_of::<u64>()
}

fn bytes_in_ring(record_bytes: usize) -> u64 {
    (record_bytes + HEADER_BYTES).next_multiple_of(8) as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn record_takes_its_header_and_is_aligned() {
        assert_eq!([0, 1, 8, 9, 160].map(bytes_in_ring), [8, 16, 16, 24, 168]);
    }
}
