//! The agent's output: a thread of its own writes, so that a slow or full output never holds up the reader.
//!
//! Between the two is one channel of [`BATCHES_WAITING`] batches. While it is full the batch at hand grows; from
//! [`HELD_BYTES`] on, in all, an event is dropped and counted as lost, and other lines have [`RESERVE_BYTES`] more. When the
//! output fails the writer keeps what it has room for and tries again.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, SyncSender, TrySendError};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use kubeward_core::container::ContainerSlot;

use super::output::{EventOutput, Losses};
use crate::sinks::{LineSink, Output, Pushed};

/// Batches between reader and writer, each as small as one line: what bounds memory is [`HELD_BYTES`].
const BATCHES_WAITING: usize = 64;

/// Most bytes of events that wait for the output, in the channel, before it and in the writer's hands.
const HELD_BYTES: usize = 16 << 20;

/// On top of these for lines that are no event (accounts, gaps, containers): events go first.
const RESERVE_BYTES: usize = 1 << 20;

/// Bytes from which on a batch is handed over before the ring is drained.
const BATCH_BYTES: usize = 256 << 10;

/// Between two tries to write to an output that fails.
const RETRY_EVERY: Duration = Duration::from_secs(1);

/// How long the end of the agent waits for an output that takes nothing.
const SETTLE_WITHIN: Duration = Duration::from_secs(5);

type Sink = LineSink<Box<dyn Output + Send>, Option<ContainerSlot>>;

#[derive(Debug, Default)]
struct Batch {
    bytes: Vec<u8>,
    /// Length and owner of each line.
    lines: Vec<(usize, Option<ContainerSlot>)>,
    /// The latest mark that its lines are followed by; 0: none.
    marked_ns: u64,
}

impl Batch {
    fn has_news(&self) -> bool {
        !self.lines.is_empty() || self.marked_ns != 0
    }
}

enum Message {
    Batch(Batch),
    Reopen,
    /// Write all there is, then answer.
    Settle(SyncSender<()>),
}

/// The reader's side.
pub struct Queue {
    batch: Batch,
    /// Of events; [`HELD_BYTES`] but in tests.
    room_bytes: usize,
    /// In batches that were handed over and that the writer is not done with.
    handed_bytes: Arc<AtomicUsize>,
    losses: Losses,
    /// Lines without an owner that were dropped; the first is told.
    dropped_others: u64,
    written: Arc<Mutex<Losses>>,
    /// The latest mark before which everything is written.
    written_until: Arc<AtomicU64>,
    sender: Option<SyncSender<Message>>,
    thread: Option<JoinHandle<()>>,
}

impl Queue {
    /// Starts the writer.
    pub fn spawn(output: Box<dyn Output + Send>) -> std::io::Result<Self> {
        Self::with_room(output, HELD_BYTES)
    }

    fn with_room(output: Box<dyn Output + Send>, room_bytes: usize) -> std::io::Result<Self> {
        let (sender, receiver) = mpsc::sync_channel(BATCHES_WAITING);
        let written = Arc::new(Mutex::new(Losses::new()));
        let handed_bytes = Arc::new(AtomicUsize::new(0));
        let written_until = Arc::new(AtomicU64::new(0));
        let writer = Writer {
            sink: LineSink::new(output),
            losses: Arc::clone(&written),
            held: Arc::clone(&handed_bytes),
            failing: None,
            marked_ns: 0,
            written_until: Arc::clone(&written_until),
        };
        let thread = thread::Builder::new().name("kubeward-writer".to_owned()).spawn(move || writer.run(&receiver))?;
        Ok(Self {
            batch: Batch::default(),
            room_bytes,
            handed_bytes,
            losses: Losses::new(),
            dropped_others: 0,
            written,
            written_until,
            sender: Some(sender),
            thread: Some(thread),
        })
    }

    /// The batch stays and grows while the channel is full.
    fn hand_over(&mut self) {
        let Some(sender) = self.sender.as_ref().filter(|_| self.batch.has_news()) else { return };
        let batch = std::mem::take(&mut self.batch);
        let length = batch.bytes.len();
        // Before the writer can take it off again.
        self.handed_bytes.fetch_add(length, Ordering::Relaxed);
        match sender.try_send(Message::Batch(batch)) {
            Ok(()) => return,
            Err(TrySendError::Full(Message::Batch(batch))) => self.batch = batch,
            Err(TrySendError::Disconnected(Message::Batch(batch))) => {
                batch.lines.into_iter().for_each(|(_, owner)| lose(&mut self.losses, owner));
            }
            Err(_) => unreachable!("a batch was sent, and comes back"),
        }
        self.handed_bytes.fetch_sub(length, Ordering::Relaxed);
    }

    fn drop_last(&mut self, start: usize, owner: Option<ContainerSlot>) {
        self.batch.bytes.truncate(start);
        lose(&mut self.losses, owner);
        if owner.is_none() {
            self.dropped_others += 1;
            if self.dropped_others == 1 {
                tracing::error!("the output is so far behind that accounts and notices are dropped too");
            }
        }
    }
}

impl EventOutput for Queue {
    fn line(&mut self, owner: Option<ContainerSlot>, render: &mut dyn FnMut(&mut Vec<u8>)) {
        let start = self.batch.bytes.len();
        render(&mut self.batch.bytes);
        let length = self.batch.bytes.len() - start;
        if length == 0 {
            return;
        }
        let room_bytes = self.room_bytes + if owner.is_none() { RESERVE_BYTES } else { 0 };
        if self.batch.bytes.len() + self.handed_bytes.load(Ordering::Relaxed) > room_bytes {
            return self.drop_last(start, owner);
        }
        self.batch.lines.push((length, owner));
        if self.batch.bytes.len() >= BATCH_BYTES {
            self.hand_over();
        }
    }

    fn flush(&mut self) {
        self.hand_over();
    }

    fn mark(&mut self, moment_ns: u64) {
        self.batch.marked_ns = moment_ns;
    }

    fn written_until(&self) -> u64 {
        self.written_until.load(Ordering::Relaxed)
    }

    fn take_losses(&mut self) -> Losses {
        let mut losses = std::mem::take(&mut self.losses);
        let written = std::mem::take(&mut *self.written.lock().unwrap_or_else(PoisonError::into_inner));
        written.into_iter().for_each(|(slot, count)| *losses.entry(slot).or_default() += count);
        losses
    }

    fn settle(&mut self) {
        let (answer, answered) = mpsc::sync_channel(1);
        let Some(sender) = &self.sender else { return };
        let end = Instant::now() + SETTLE_WITHIN;
        let batch = std::mem::take(&mut self.batch);
        self.handed_bytes.fetch_add(batch.bytes.len(), Ordering::Relaxed);
        for message in [Message::Batch(batch), Message::Settle(answer)] {
            if !send_until(sender, message, end) {
                tracing::error!(
                    "the output takes nothing: what waits for it is left unwritten, and is not in the account"
                );
                return;
            }
        }
        let left = end.saturating_duration_since(Instant::now());
        if answered.recv_timeout(left) == Err(RecvTimeoutError::Timeout) {
            tracing::error!("the output takes nothing: what waits for it is left unwritten, and is not in the account");
        }
    }

    fn reopen(&mut self) {
        self.hand_over();
        if let Some(sender) = &self.sender {
            if sender.try_send(Message::Reopen).is_err() {
                tracing::warn!("the output is too far behind to be opened anew; send the signal again later");
            }
        }
    }
}

impl Drop for Queue {
    fn drop(&mut self) {
        self.sender = None;
        if let Some(thread) = self.thread.take().filter(JoinHandle::is_finished) {
            // A writer that hangs in its output is left to the end of the process.
            let _ = thread.join();
        }
    }
}

/// std's channel has no send with a limit of time. A writer that is gone has told why: that is no reason to wait.
fn send_until(sender: &SyncSender<Message>, mut message: Message, end: Instant) -> bool {
    loop {
        match sender.try_send(message) {
            Ok(()) | Err(TrySendError::Disconnected(_)) => return true,
            Err(TrySendError::Full(_)) if Instant::now() >= end => return false,
            Err(TrySendError::Full(back)) => message = back,
        }
        thread::sleep(Duration::from_millis(5));
    }
}

fn lose(losses: &mut Losses, owner: Option<ContainerSlot>) {
    if let Some(slot) = owner {
        *losses.entry(slot).or_default() += 1;
    }
}

struct Writer {
    sink: Sink,
    losses: Arc<Mutex<Losses>>,
    /// Bytes of batches that are not yet in the sink.
    held: Arc<AtomicUsize>,
    /// When it was tried last, while it fails.
    failing: Option<Instant>,
    /// The latest mark that came.
    marked_ns: u64,
    written_until: Arc<AtomicU64>,
}

impl Writer {
    fn run(mut self, messages: &Receiver<Message>) {
        loop {
            match messages.recv_timeout(RETRY_EVERY) {
                Ok(Message::Batch(batch)) => {
                    self.push(&batch);
                    self.held.fetch_sub(batch.bytes.len(), Ordering::Relaxed);
                    self.marked_ns = self.marked_ns.max(batch.marked_ns);
                    self.flush_when_due();
                }
                Ok(Message::Reopen) => {
                    if let Err(error) = self.sink.reopen() {
                        tracing::error!("{error}; events wait");
                        self.failing = Some(Instant::now());
                    }
                }
                Ok(Message::Settle(answer)) => {
                    self.try_flush();
                    if self.failing.is_some() {
                        return self.give_up(&answer);
                    }
                    // Whoever asked may have given up waiting.
                    let _ = answer.try_send(());
                }
                Err(RecvTimeoutError::Timeout) => self.flush_when_due(),
                Err(RecvTimeoutError::Disconnected) => return,
            }
        }
    }

    fn push(&mut self, batch: &Batch) {
        let mut losses = Losses::new();
        let mut start = 0;
        for &(length, owner) in &batch.lines {
            let line = &batch.bytes[start..start + length];
            let pushed = match owner {
                Some(_) => self.sink.push(line, owner),
                None => self.sink.push_reserved(line, owner),
            };
            if pushed == Pushed::Dropped {
                lose(&mut losses, owner);
            }
            start += length;
        }
        if !losses.is_empty() {
            self.add(losses);
        }
    }

    fn flush_when_due(&mut self) {
        if self.failing.is_none_or(|tried| tried.elapsed() >= RETRY_EVERY) {
            self.try_flush();
        }
    }

    fn try_flush(&mut self) {
        match (self.sink.flush(), self.failing) {
            (Ok(()), failing) => {
                self.written_until.store(self.marked_ns, Ordering::Relaxed);
                if failing.is_some() {
                    tracing::info!("the output takes events again");
                    self.failing = None;
                }
            }
            (Err(error), failing) => {
                if failing.is_none() {
                    tracing::error!(
                        "{error}; events wait, and are counted as lost when there is no more room for them"
                    );
                }
                self.failing = Some(Instant::now());
            }
        }
    }

    /// The end has come and the output still fails.
    fn give_up(self, answer: &SyncSender<()>) {
        let mut losses = Losses::new();
        self.sink.close().unwritten.into_iter().for_each(|owner| lose(&mut losses, owner));
        let mut shared = self.losses.lock().unwrap_or_else(PoisonError::into_inner);
        losses.into_iter().for_each(|(slot, count)| *shared.entry(slot).or_default() += count);
        let _ = answer.try_send(());
    }

    fn add(&self, losses: Losses) {
        let mut shared = self.losses.lock().unwrap_or_else(PoisonError::into_inner);
        losses.into_iter().for_each(|(slot, count)| *shared.entry(slot).or_default() += count);
    }
}

#[cfg(test)]
#[path = "queue_tests.rs"]
mod tests;
