//! The kernel's ring of records in this process's memory (`BPF_MAP_TYPE_RINGBUF`), its data mapped once.
//!
//! libbpf maps the data twice in a row, so that no record is cut at the end of the ring, and all of it counts as this process's
//! memory twice. Here the one record in some ten thousand that is cut is put together in a buffer.
//!
//! The format is the kernel's (`kernel/bpf/ringbuf.c`): a page with the reader's position, a page with the writers', and the data. A
//! position is a count of bytes that never falls. A record is a header of 8 bytes, whose first word is the length and two flags, and
//! the bytes of the record, together aligned to 8 bytes.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};

/// What the kernel puts before each record (`BPF_RINGBUF_HDR_SZ`); both together are aligned to it.
pub(crate) const HEADER_BYTES: usize = 8;

/// The record is being written (`BPF_RINGBUF_BUSY_BIT`): those behind it have to wait for it.
const BUSY: u32 = 1 << 31;
/// The record was given up (`BPF_RINGBUF_DISCARD_BIT`).
const DISCARDED: u32 = 1 << 30;

/// After so many bytes the kernel is told that they are free, of a small ring after an eighth of it. Each telling takes the line of
/// memory from the CPU that writes records, which looks at it for each of them.
const TELL_AFTER: usize = 16 << 10;

/// What one record takes of the ring.
pub(crate) const fn bytes_in_ring(record_bytes: usize) -> usize {
    (record_bytes + HEADER_BYTES).next_multiple_of(8)
}

/// One reader at a time for each ring: the kernel keeps one position.
#[derive(Debug)]
pub(crate) struct Ring {
    /// The reader's page.
    told: Mapping,
    /// The writers' page and the data.
    written: Mapping,
    page_bytes: usize,
    /// Of the data: a power of two.
    ring_bytes: usize,
    /// Up to here everything is read, and up to `told` the kernel knows of it.
    position: usize,
    /// A record that was cut at the end of the ring.
    joined: Vec<u8>,
}

// SAFETY: the mappings belong to the process, not to a thread, and are reached through `&mut self` alone.
unsafe impl Send for Ring {}

impl Ring {
    /// `ring_bytes`: the map's `max_entries`.
    pub(crate) fn map(map: BorrowedFd<'_>, ring_bytes: usize) -> io::Result<Self> {
        let page_bytes = page_bytes();
        let told = Mapping::of(map, 0, page_bytes, libc::PROT_READ | libc::PROT_WRITE)?;
        let written = Mapping::of(map, page_bytes, page_bytes + ring_bytes, libc::PROT_READ)?;
        let mut ring = Self { told, written, page_bytes, ring_bytes, position: 0, joined: Vec::new() };
        ring.position = ring.told_position().load(Ordering::Relaxed);
        Ok(ring)
    }

    /// Hands up to `most` records to `take`, oldest first, and says how many there were. Fewer than `most`: the ring is empty, or
    /// its oldest record is still being written.
    pub(crate) fn read(&mut self, most: usize, mut take: impl FnMut(&[u8])) -> usize {
        let tell_after = TELL_AFTER.min(self.ring_bytes / 8);
        let mut taken = 0;
        let mut told = self.position;
        // Looked at again only when all that was known of is read: it is on a line that each record changes.
        let mut written = self.position;
        while taken < most {
            if self.position == written {
                written = self.written_position().load(Ordering::Acquire);
                if self.position == written {
                    break;
                }
            }
            let header = self.header().load(Ordering::Acquire);
            if header & BUSY != 0 {
                break;
            }
            let bytes = (header & !(BUSY | DISCARDED)) as usize;
            if header & DISCARDED == 0 {
                take(self.record(bytes));
                taken += 1;
            }
            self.position = self.position.wrapping_add(bytes_in_ring(bytes));
            if self.position.wrapping_sub(told) >= tell_after {
                told = self.tell();
            }
        }
        if self.position != told {
            self.tell();
        }
        taken
    }

    /// Gives everything up to the position back to the kernel, which writes over it from now on.
    fn tell(&self) -> usize {
        self.told_position().store(self.position, Ordering::Release);
        self.position
    }

    fn told_position(&self) -> &AtomicUsize {
        // SAFETY: the start of a page that is mapped, readable and writable, as long as `self` lives; the kernel's `unsigned long`.
        unsafe { self.told.address.cast().as_ref() }
    }

    fn written_position(&self) -> &AtomicUsize {
        // SAFETY: the start of a page that is mapped and readable as long as `self` lives; it is only loaded from.
        unsafe { self.written.address.cast().as_ref() }
    }

    /// Of the record at the position. It never is cut: positions are multiples of 8.
    fn header(&self) -> &AtomicU32 {
        let address = self.data(self.offset());
        // SAFETY: aligned, and 8 bytes that are mapped as long as `self` lives; it is only loaded from.
        unsafe { address.cast().as_ref() }
    }

    /// The record of so many bytes at the position, whose header was seen without [`BUSY`].
    fn record(&mut self, bytes: usize) -> &[u8] {
        assert!(
            bytes_in_ring(bytes) <= self.ring_bytes,
            "a record of {bytes} bytes cannot be in a ring of {}",
            self.ring_bytes
        );
        let begin = (self.offset() + HEADER_BYTES) & (self.ring_bytes - 1);
        let until_end = self.ring_bytes - begin;
        if bytes <= until_end {
            return self.part(begin, bytes);
        }
        let mut joined = std::mem::take(&mut self.joined);
        joined.clear();
        joined.extend_from_slice(self.part(begin, until_end));
        joined.extend_from_slice(self.part(0, bytes - until_end));
        self.joined = joined;
        &self.joined
    }

    /// A part of the record at the position.
    fn part(&self, begin: usize, bytes: usize) -> &[u8] {
        assert!(begin + bytes <= self.ring_bytes, "a part ends with the ring");
        let address = self.data(begin).as_ptr();
        // SAFETY: within the data, which is mapped; nobody writes to a finished record before the kernel is told that it was
        // read, which takes `&mut self`, and so comes after this borrow.
        unsafe { std::slice::from_raw_parts(address, bytes) }
    }

    fn data(&self, offset: usize) -> NonNull<u8> {
        debug_assert!(offset < self.ring_bytes);
        // SAFETY: the page and the data behind it are one mapping, and the offset is within the data.
        unsafe { self.written.address.add(self.page_bytes + offset) }
    }

    fn offset(&self) -> usize {
        self.position & (self.ring_bytes - 1)
    }
}

/// A part of a file in memory, shared with whoever else has it.
#[derive(Debug)]
struct Mapping {
    address: NonNull<u8>,
    bytes: usize,
}

impl Mapping {
    fn of(file: BorrowedFd<'_>, offset: usize, bytes: usize, access: libc::c_int) -> io::Result<Self> {
        let (file, offset) = (file.as_raw_fd(), offset as libc::off_t);
        // SAFETY: a new mapping, wherever the kernel likes, of a descriptor that is open; it aliases nothing of ours.
        let address = unsafe { libc::mmap(std::ptr::null_mut(), bytes, access, libc::MAP_SHARED, file, offset) };
        if address == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        let address = NonNull::new(address.cast()).ok_or(io::ErrorKind::InvalidInput)?;
        Ok(Self { address, bytes })
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: the address and length are those of the mapping, and nothing borrows from it any more.
        unsafe { libc::munmap(self.address.as_ptr().cast(), self.bytes) };
    }
}

fn page_bytes() -> usize {
    // SAFETY: the call takes a number and gives a number.
    let bytes = unsafe { libc::sysconf(libc::_SC_PAGESIZE) };
    usize::try_from(bytes).expect("every Linux knows the size of its pages")
}

#[cfg(test)]
mod tests;
