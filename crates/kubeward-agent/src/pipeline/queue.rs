//! The agent's output: a thread of its own writes, so that a slow or full output never holds up the reader.
//!
//! Between the two is one channel of [`BATCHES_WAITING`] batches. While it is full the batch at hand grows, up to
//! [`HELD_BYTES`] in all. An event is taken while its container has no more waiting than there is room left, so that a noisy one
//! leaves room for the others, as in the ring; else it is dropped and counted as lost. Other lines have [`RESERVE_BYTES`] more.
//! When the output fails the writer keeps what it has room for, by the same rule, and tries again.

use std::sync::atomic::Ordering;
use std::sync::mpsc::{self, RecvTimeoutError, SyncSender, TrySendError};
use std::sync::PoisonError;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use kubeward_core::container::ContainerSlot;

use super::output::{EventOutput, Losses};
use super::writer::{lose, Batch, Message, Shared, Writer};
use crate::sinks::Output;

/// Batches between reader and writer, each as small as one line: what bounds memory is [`HELD_BYTES`].
const BATCHES_WAITING: usize = 64;

/// Most bytes of events that wait for the output, in the channel, before it and in the writer's hands.
const HELD_BYTES: usize = 16 << 20;

/// On top of these for lines that are no event (accounts, gaps, containers): events go first.
const RESERVE_BYTES: usize = 1 << 20;

/// Bytes from which on a batch is handed over before the ring is drained.
const BATCH_BYTES: usize = 256 << 10;

/// How long the end of the agent waits for an output that takes nothing.
const SETTLE_WITHIN: Duration = Duration::from_secs(5);

/// The reader's side.
pub struct Queue {
    batch: Batch,
    /// Of events; [`HELD_BYTES`] but in tests.
    room_bytes: usize,
    /// Bytes of events that were taken, ever, by slot.
    taken: Box<[usize]>,
    losses: Losses,
    /// Lines without an owner that were dropped; the first is told.
    dropped_others: u64,
    writer: Shared,
    sender: Option<SyncSender<Message>>,
    thread: Option<JoinHandle<()>>,
}

impl Queue {
    /// Starts the writer, for events of so many slots.
    pub fn spawn(output: Box<dyn Output + Send>, slots: u32) -> std::io::Result<Self> {
        Self::with_room(output, slots, HELD_BYTES)
    }

    fn with_room(output: Box<dyn Output + Send>, slots: u32, room_bytes: usize) -> std::io::Result<Self> {
        let (sender, receiver) = mpsc::sync_channel(BATCHES_WAITING);
        let shared = Shared::new(slots);
        let writer = Writer::new(output, shared.clone());
        let thread = thread::Builder::new().name("kubeward-writer".to_owned()).spawn(move || writer.run(&receiver))?;
        Ok(Self {
            batch: Batch::default(),
            room_bytes,
            taken: vec![0; slots as usize].into(),
            losses: Losses::new(),
            dropped_others: 0,
            writer: shared,
            sender: Some(sender),
            thread: Some(thread),
        })
    }

    /// The batch stays and grows while the channel is full.
    fn hand_over(&mut self) {
        let Some(sender) = self.sender.as_ref().filter(|_| self.batch.has_news()) else { return };
        let next = self.writer.spare.lock().unwrap_or_else(PoisonError::into_inner).pop().unwrap_or_default();
        let batch = std::mem::replace(&mut self.batch, next);
        let length = batch.bytes.len();
        // Before the writer can take it off again.
        self.writer.handed_bytes.fetch_add(length, Ordering::Relaxed);
        match sender.try_send(Message::Batch(batch)) {
            Ok(()) => return,
            Err(TrySendError::Full(Message::Batch(batch))) => self.batch = batch,
            Err(TrySendError::Disconnected(Message::Batch(batch))) => {
                batch.lines.into_iter().for_each(|(_, owner)| lose(&mut self.losses, owner));
            }
            Err(_) => unreachable!("a batch was sent, and comes back"),
        }
        self.writer.handed_bytes.fetch_sub(length, Ordering::Relaxed);
    }

    /// Whether the last line of the batch may stay.
    fn has_room(&self, owner: Option<ContainerSlot>) -> bool {
        let waiting = self.batch.bytes.len() + self.writer.handed_bytes.load(Ordering::Relaxed);
        let Some(slot) = owner else { return waiting <= self.room_bytes + RESERVE_BYTES };
        let slot = slot.0 as usize;
        let of_owner = self.taken[slot] - self.writer.done[slot].load(Ordering::Relaxed);
        waiting + of_owner <= self.room_bytes
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
        if !self.has_room(owner) {
            return self.drop_last(start, owner);
        }
        if let Some(slot) = owner {
            self.taken[slot.0 as usize] += length;
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
        self.writer.written_until.load(Ordering::Relaxed)
    }

    fn take_losses(&mut self) -> Losses {
        let mut losses = std::mem::take(&mut self.losses);
        let written = std::mem::take(&mut *self.writer.losses.lock().unwrap_or_else(PoisonError::into_inner));
        written.into_iter().for_each(|(slot, count)| *losses.entry(slot).or_default() += count);
        losses
    }

    fn settle(&mut self) {
        let (answer, answered) = mpsc::sync_channel(1);
        let Some(sender) = &self.sender else { return };
        let end = Instant::now() + SETTLE_WITHIN;
        let batch = std::mem::take(&mut self.batch);
        self.writer.handed_bytes.fetch_add(batch.bytes.len(), Ordering::Relaxed);
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

#[cfg(test)]
#[path = "queue_tests.rs"]
mod tests;
