//! A file stands for the kernel's map: it is laid out and mapped alike, and the test writes what the kernel would.

use std::fs::File;
use std::os::fd::AsFd;
use std::os::unix::fs::FileExt;

use super::*;

const RING_BYTES: usize = 64 << 10;
/// An eighth of it is less than [`TELL_AFTER`].
const TOLD_AFTER: usize = RING_BYTES / 8;

struct Kernel {
    file: File,
    written: usize,
}

impl Kernel {
    /// A ring of which everything up to `position` was read.
    fn at(position: usize) -> (Self, Ring) {
        let file = tempfile::tempfile().unwrap();
        file.set_len((2 * page_bytes() + RING_BYTES) as u64).unwrap();
        let kernel = Self { file, written: position };
        kernel.put(0, &position.to_ne_bytes());
        kernel.tell_written();
        let ring = Ring::map(kernel.file.as_fd(), RING_BYTES).unwrap();
        (kernel, ring)
    }

    /// Where the record is.
    fn write(&mut self, record: &[u8], flags: u32) -> usize {
        let position = self.written;
        self.set_header(position, record.len() as u32 | flags);
        for (nr, byte) in record.iter().enumerate() {
            self.put_data(position + HEADER_BYTES + nr, &[*byte]);
        }
        self.written += bytes_in_ring(record.len());
        self.tell_written();
        position
    }

    fn set_header(&self, position: usize, header: u32) {
        self.put_data(position, &header.to_ne_bytes());
    }

    fn tell_written(&self) {
        self.put(page_bytes(), &self.written.to_ne_bytes());
    }

    fn put_data(&self, position: usize, bytes: &[u8]) {
        self.put(2 * page_bytes() + position % RING_BYTES, bytes);
    }

    fn put(&self, offset: usize, bytes: &[u8]) {
        self.file.write_all_at(bytes, offset as u64).unwrap();
    }

    /// What the reader told of.
    fn read(&self) -> usize {
        let mut bytes = [0; size_of::<usize>()];
        self.file.read_exact_at(&mut bytes, 0).unwrap();
        usize::from_ne_bytes(bytes)
    }
}

fn all(ring: &mut Ring) -> Vec<Vec<u8>> {
    let mut records = Vec::new();
    let read = ring.read(usize::MAX, |record| records.push(record.to_vec()));
    assert_eq!(read, records.len());
    records
}

#[test]
fn record_takes_its_header_and_is_aligned() {
    assert_eq!([0, 1, 8, 9, 160].map(bytes_in_ring), [8, 16, 16, 24, 168]);
}

#[test]
fn records_come_in_the_order_in_which_they_were_written() {
    let (mut kernel, mut ring) = Kernel::at(0);
    assert_eq!(all(&mut ring), Vec::<Vec<u8>>::new());
    kernel.write(b"one", 0);
    kernel.write(b"", 0);
    kernel.write(b"eight...", 0);
    assert_eq!(all(&mut ring), [&b"one"[..], b"", b"eight..."]);
    assert_eq!(kernel.read(), kernel.written);
    kernel.write(b"later", 0);
    assert_eq!(all(&mut ring), [b"later"]);
}

#[test]
fn record_that_is_cut_at_the_end_is_whole() {
    // At each place where it can be cut, and where its header is the last of the ring.
    for before_end in (8..=32).step_by(8) {
        let (mut kernel, mut ring) = Kernel::at(3 * RING_BYTES - before_end);
        kernel.write(b"abcdefghijklmnopqrstuvwxyz", 0);
        kernel.write(b"next", 0);
        assert_eq!(all(&mut ring), [&b"abcdefghijklmnopqrstuvwxyz"[..], b"next"], "{before_end} bytes before the end");
        assert_eq!(kernel.read(), kernel.written);
    }
}

#[test]
fn record_that_is_being_written_holds_up_those_behind_it() {
    let (mut kernel, mut ring) = Kernel::at(0);
    kernel.write(b"done", 0);
    let busy = kernel.write(b"busy", BUSY);
    kernel.write(b"behind", 0);
    assert_eq!(all(&mut ring), [b"done"]);
    assert_eq!(kernel.read(), busy);
    assert_eq!(all(&mut ring), Vec::<Vec<u8>>::new());
    kernel.set_header(busy, 4);
    assert_eq!(all(&mut ring), [&b"busy"[..], b"behind"]);
}

#[test]
fn record_that_was_given_up_is_passed_over_and_not_counted() {
    let (mut kernel, mut ring) = Kernel::at(0);
    kernel.write(b"given up", DISCARDED);
    kernel.write(b"kept", 0);
    kernel.write(b"given up too", DISCARDED);
    assert_eq!(all(&mut ring), [b"kept"]);
    assert_eq!(kernel.read(), kernel.written);
}

#[test]
fn batch_ends_after_as_many_records_as_were_asked_for() {
    let (mut kernel, mut ring) = Kernel::at(0);
    let second = {
        kernel.write(b"first", 0);
        kernel.write(b"second", 0)
    };
    assert_eq!(ring.read(1, |record| assert_eq!(record, b"first")), 1);
    assert_eq!(kernel.read(), second);
    assert_eq!(all(&mut ring), [b"second"]);
}

#[test]
fn kernel_is_told_after_some_bytes_and_at_the_end() {
    let (mut kernel, mut ring) = Kernel::at(0);
    let record = [7; 1000];
    for _ in 0..40 {
        kernel.write(&record, 0);
    }
    let mut told = Vec::new();
    ring.read(usize::MAX, |_| told.push(kernel.read()));
    told.dedup();
    // What was told while records were read: never less than the bytes after which to tell, and then the rest.
    let each = TOLD_AFTER.div_ceil(bytes_in_ring(record.len())) * bytes_in_ring(record.len());
    assert_eq!(told, [0, each, 2 * each, 3 * each, 4 * each]);
    assert_eq!(kernel.read(), 40 * bytes_in_ring(record.len()));
}

#[test]
fn reader_begins_where_another_ended() {
    let (mut kernel, mut ring) = Kernel::at(0);
    kernel.write(b"of the first", 0);
    all(&mut ring);
    drop(ring);
    kernel.write(b"of the second", 0);
    let mut second = Ring::map(kernel.file.as_fd(), RING_BYTES).unwrap();
    assert_eq!(all(&mut second), [b"of the second"]);
}

#[test]
fn data_is_mapped_once() {
    let (_kernel, ring) = Kernel::at(0);
    assert_eq!(ring.told.bytes + ring.written.bytes, 2 * page_bytes() + RING_BYTES);
}
