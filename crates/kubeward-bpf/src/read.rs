//! Reads the ring in a thread of its own, on a timer.
//!
//! The kernel side never wakes the reader: a wake-up per record costs several times the record, and a level-triggered poll
//! would spin. Instead the ring is drained every few milliseconds, at once again while it was busy.

use std::io;
use std::os::fd::AsFd;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use libbpf_rs::MapCore;

use crate::object::Engine;
use crate::ring::Ring;
use crate::share::ReadBytes;

/// How long the ring is left alone when it was empty: one program that does nothing but call fills its share of 4 MiB in 4 ms.
const INTERVAL: Duration = Duration::from_millis(3);
/// And while it is written to.
const BUSY_INTERVAL: Duration = Duration::from_millis(1);
/// So many records since the ring was last left alone are a busy time: a twentieth of what it holds. At less, waking up more often
/// would only take more from the programs that are watched.
const BUSY: usize = 2048;
/// After this many records the drained() of the sink has its turn, so that output flows under full load. After fewer the ring
/// was read to its end.
pub const BATCH: usize = 4096;

/// What takes the records. Both methods are called from the reader's thread and must not block for long.
pub trait RecordSink {
    /// One record as [`crate::decode::decode`] takes it, in ring order.
    fn record(&mut self, bytes: &[u8]);
    /// The ring is empty, or a batch is full: a moment to flush.
    fn drained(&mut self);
}

#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    #[error("mapping the ring of records: {0}")]
    Map(io::Error),
    #[error("mapping the shares of the ring: {0}")]
    Shares(io::Error),
    #[error("starting the reader's thread: {0}")]
    Thread(#[from] io::Error),
}

/// The running reader. Dropping it without [`Reader::stop`] leaves what is in the ring unread.
#[derive(Debug)]
pub struct Reader<S> {
    stopping: Arc<AtomicBool>,
    thread: JoinHandle<(S, Result<(), ReadError>)>,
}

impl<S: RecordSink + Send + 'static> Reader<S> {
    pub fn spawn(engine: Arc<Engine>, sink: S) -> Result<Self, ReadError> {
        let stopping = Arc::new(AtomicBool::new(false));
        let flag = Arc::clone(&stopping);
        let thread =
            thread::Builder::new().name("kubeward-reader".to_owned()).spawn(move || run(&engine, sink, &flag))?;
        Ok(Self { stopping, thread })
    }

    /// Reads everything that is in the ring by now and gives the sink back. Silence the programs first
    /// ([`crate::maps::Maps::silence`]): while they write, there is always more.
    ///
    /// # Panics
    /// When the sink panicked: its panic goes on here.
    pub fn stop(self) -> (S, Result<(), ReadError>) {
        self.stopping.store(true, Ordering::Release);
        self.thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    }

    /// The thread has ended by itself, which only a panic or an unmappable ring can bring about.
    pub fn is_finished(&self) -> bool {
        self.thread.is_finished()
    }
}

fn run<S: RecordSink>(engine: &Engine, mut sink: S, stopping: &AtomicBool) -> (S, Result<(), ReadError>) {
    let drained = drain(engine, &mut sink, stopping);
    (sink, drained)
}

fn drain<S: RecordSink>(engine: &Engine, sink: &mut S, stopping: &AtomicBool) -> Result<(), ReadError> {
    let records = &engine.maps().records;
    let mut ring = Ring::map(records.as_fd(), records.max_entries() as usize).map_err(ReadError::Map)?;
    let mut read_bytes = ReadBytes::of(engine.maps()).map_err(ReadError::Shares)?;
    loop {
        // Read before draining: what was written before the flag is in the ring by now.
        let last = stopping.load(Ordering::Acquire);
        let mut empty = false;
        let mut found = 0;
        while !empty {
            let read = ring.read(BATCH, |bytes| {
                sink.record(bytes);
                if let Some(read_bytes) = &mut read_bytes {
                    read_bytes.add(bytes);
                }
            });
            empty = read < BATCH;
            found += read;
            if let Some(read_bytes) = &mut read_bytes {
                read_bytes.tell();
            }
            sink.drained();
        }
        if last {
            return Ok(());
        }
        thread::sleep(if found < BUSY { INTERVAL } else { BUSY_INTERVAL });
    }
}
