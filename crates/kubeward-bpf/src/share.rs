//! What was read of the ring, by container: the kernel side weighs it against what it wrote (`bpf/share.bpf.h`).

use std::io;
use std::mem::{offset_of, size_of};
use std::os::fd::{AsFd, AsRawFd};
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU64, Ordering};

use libbpf_rs::MapCore;

use crate::maps::Maps;
use crate::ring::bytes_in_ring;
use crate::wire::{Record, Wire};

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
        let (map, slots) = (maps.ring_read.as_fd().as_raw_fd(), maps.ring_read.max_entries());
        let (bytes, access) = (mapped_bytes(slots as usize), libc::PROT_READ | libc::PROT_WRITE);
        // SAFETY: a new mapping, wherever the kernel likes, of a descriptor that is open; it aliases nothing of ours.
        let address = unsafe { libc::mmap(std::ptr::null_mut(), bytes, access, libc::MAP_SHARED, map, 0) };
        if address == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        let untold = vec![0; slots as usize];
        Ok(NonNull::new(address.cast()).map(|words| Self { words, untold, slots: Vec::new(), untold_bytes: 0 }))
    }

    /// `record` is about to leave the ring. One too short to name its slot cannot come: the kernel side writes whole records.
    pub(crate) fn add(&mut self, record: &[u8]) {
        let slot = record.get(offset_of!(Record, slot)..).and_then(u32::read_from);
        let Some((slot, untold)) = slot.and_then(|slot| Some((slot, self.untold.get_mut(slot as usize)?))) else {
            return;
        };
        let bytes = bytes_in_ring(record.len()) as u64;
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
        debug_assert!((slot as usize) < self.untold.len());
        // SAFETY: the mapping has a word for each of the slots, of which this is one.
        let word = unsafe { self.words.add(slot as usize) };
        // SAFETY: the word is aligned, mapped as long as `self` lives, and reached as an atomic alone.
        unsafe { word.as_ref() }
    }
}

impl Drop for ReadBytes {
    fn drop(&mut self) {
        // SAFETY: the address and length are those of the mapping, and nothing borrows from it any more.
        unsafe { libc::munmap(self.words.as_ptr().cast(), mapped_bytes(self.untold.len())) };
    }
}

fn mapped_bytes(slots: usize) -> usize {
    slots * size_of::<u64>()
}
