//! What was read of the ring, by container: the kernel side weighs it against what it wrote (`bpf/share.bpf.h`).

use std::io;
use std::mem::{offset_of, size_of};
use std::os::fd::{AsFd, AsRawFd};
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::maps::Maps;
use crate::wire::{Record, Wire, SLOTS};

/// What the kernel puts before each record (`BPF_RINGBUF_HDR_SZ`); both together are aligned to 8 bytes.
const HEADER_BYTES: usize = 8;

const MAPPED_BYTES: usize = SLOTS as usize * size_of::<u64>();

/// After so many bytes the kernel side is told of them. Each telling takes the word from the CPU that writes records: one for each
/// record would cost the watched program more than the sharing itself. It is little beside any ring.
const TELL_AFTER: u64 = 16 << 10;

/// Bytes of the ring that each slot's records took and that were read. Alive in the kernel's map; one thread adds.
#[derive(Debug)]
pub(crate) struct ReadBytes {
    words: NonNull<AtomicU64>,
    /// Of each slot, what was read and not told yet.
    untold: Vec<u64>,
    /// The slots that have some.
    slots: Vec<u32>,
    untold_bytes: u64,
}

impl ReadBytes {
    /// `None` where nobody shares the ring.
    pub(crate) fn of(maps: &Maps) -> io::Result<Option<Self>> {
        if !maps.is_ring_shared() {
            return Ok(None);
        }
        let map = maps.ring_read.as_fd().as_raw_fd();
        // SAFETY: a new mapping, wherever the kernel likes, of a descriptor that is open; it aliases nothing of ours.
        let address = unsafe {
            libc::mmap(std::ptr::null_mut(), MAPPED_BYTES, libc::PROT_READ | libc::PROT_WRITE, libc::MAP_SHARED, map, 0)
        };
        if address == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        let untold = vec![0; SLOTS as usize];
        Ok(NonNull::new(address.cast()).map(|words| Self { words, untold, slots: Vec::new(), untold_bytes: 0 }))
    }

    /// `record` is about to leave the ring. One too short to name its slot cannot come: the kernel side writes whole records.
    pub(crate) fn add(&mut self, record: &[u8]) {
        let slot = record.get(offset_of!(Record, slot)..).and_then(u32::read_from);
        let Some((slot, untold)) = slot.and_then(|slot| Some((slot, self.untold.get_mut(slot as usize)?))) else {
            return;
        };
        let bytes = bytes_in_ring(record.len());
        if *untold == 0 {
            self.slots.push(slot);
        }
        *untold += bytes;
        self.untold_bytes += bytes;
        if self.untold_bytes >= TELL_AFTER {
            self.tell();
        }
    }

    /// Tells the kernel side of all that was added.
    pub(crate) fn tell(&mut self) {
        while let Some(slot) = self.slots.pop() {
            let bytes = std::mem::take(&mut self.untold[slot as usize]);
            self.of_slot(slot).fetch_add(bytes, Ordering::Relaxed);
        }
        self.untold_bytes = 0;
    }

    fn of_slot(&self, slot: u32) -> &AtomicU64 {
        debug_assert!(slot < SLOTS);
        // SAFETY: the mapping has a word for each of the slots, of which this is one.
        let word = unsafe { self.words.add(slot as usize) };
        // SAFETY: the word is aligned, mapped as long as `self` lives, and reached as an atomic alone.
        unsafe { word.as_ref() }
    }
}

impl Drop for ReadBytes {
    fn drop(&mut self) {
        // SAFETY: the address and length are those of the mapping, and nothing borrows from it any more.
        unsafe { libc::munmap(self.words.as_ptr().cast(), MAPPED_BYTES) };
    }
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
