//! The thread that writes what the queue holds.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use kubeward_core::container::ContainerSlot;

use super::output::Losses;
use crate::sinks::{LineSink, Output, Pushed, ROOM};

/// Between two tries to write to an output that fails.
const RETRY_EVERY: Duration = Duration::from_secs(1);

/// Batches whose memory is used again: what is at hand on both sides while the output keeps up.
const SPARE_BATCHES: usize = 4;

/// A batch that has grown beyond this while it waited gives its memory back.
const SPARE_BYTES: usize = 1 << 20;

type Sink = LineSink<Box<dyn Output + Send>, Option<ContainerSlot>>;

#[derive(Debug, Default)]
pub(super) struct Batch {
    pub(super) bytes: Vec<u8>,
    /// Length and owner of each line.
    pub(super) lines: Vec<(usize, Option<ContainerSlot>)>,
    /// The latest mark that its lines are followed by; 0: none.
    pub(super) marked_ns: u64,
}

impl Batch {
    pub(super) fn has_news(&self) -> bool {
        !self.lines.is_empty() || self.marked_ns != 0
    }
}

pub(super) enum Message {
    Batch(Batch),
    Reopen,
    /// Write all there is, then answer.
    Settle(SyncSender<()>),
}

/// What the writer says to the queue.
#[derive(Debug, Clone)]
pub(super) struct Shared {
    /// Empty batches.
    pub(super) spare: Arc<Mutex<Vec<Batch>>>,
    /// Events that it dropped.
    pub(super) losses: Arc<Mutex<Losses>>,
    /// Bytes of batches that were handed over and are not yet in the sink.
    pub(super) handed_bytes: Arc<AtomicUsize>,
    /// Of events that it is done with, ever, by slot: written, dropped, or kept by the sink while the output fails.
    pub(super) done: Arc<[AtomicUsize]>,
    /// The latest mark before which everything is written.
    pub(super) written_until: Arc<AtomicU64>,
}

pub(super) struct Writer {
    sink: Sink,
    /// What the sink keeps of each container's events, while the output fails.
    kept: Option<BTreeMap<ContainerSlot, usize>>,
    /// When it was tried last, while it fails.
    failing: Option<Instant>,
    /// The latest mark that came.
    marked_ns: u64,
    shared: Shared,
}

impl Shared {
    pub(super) fn new(slots: u32) -> Self {
        Self {
            spare: Arc::default(),
            losses: Arc::default(),
            handed_bytes: Arc::default(),
            done: (0..slots).map(|_| AtomicUsize::new(0)).collect(),
            written_until: Arc::default(),
        }
    }
}

impl Writer {
    pub(super) fn new(output: Box<dyn Output + Send>, shared: Shared) -> Self {
        Self { sink: LineSink::new(output), kept: None, failing: None, marked_ns: 0, shared }
    }

    pub(super) fn run(mut self, messages: &Receiver<Message>) {
        loop {
            match messages.recv_timeout(RETRY_EVERY) {
                Ok(Message::Batch(batch)) => {
                    self.push(&batch);
                    self.shared.handed_bytes.fetch_sub(batch.bytes.len(), Ordering::Relaxed);
                    self.marked_ns = self.marked_ns.max(batch.marked_ns);
                    self.recycle(batch);
                    self.flush_when_due();
                }
                Ok(Message::Reopen) => {
                    self.kept = None;
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

    fn recycle(&self, mut batch: Batch) {
        if batch.bytes.capacity() > SPARE_BYTES {
            return;
        }
        batch.bytes.clear();
        batch.lines.clear();
        batch.marked_ns = 0;
        let mut spare = self.shared.spare.lock().unwrap_or_else(PoisonError::into_inner);
        if spare.len() < SPARE_BATCHES {
            spare.push(batch);
        }
    }

    /// Room is given back only for what the output took: a stalled one would else let a container have twice its share.
    fn push(&mut self, batch: &Batch) {
        let mut taken = 0;
        if self.sink.failure().is_none() {
            self.kept = None;
            taken = self.sink.write_all(&batch.bytes, &batch.lines);
            self.done_with(&batch.lines[..taken]);
        }
        let mut losses = Losses::new();
        let mut start = batch.lines[..taken].iter().map(|(length, _)| length).sum();
        for &(length, owner) in &batch.lines[taken..] {
            let line = &batch.bytes[start..start + length];
            let pushed = match owner {
                Some(slot) => self.push_event(line, slot),
                None => self.sink.push_reserved(line, owner),
            };
            if let Some(slot) = owner {
                self.shared.done[slot.0 as usize].fetch_add(length, Ordering::Relaxed);
            }
            if pushed == Pushed::Dropped {
                lose(&mut losses, owner);
            }
            start += length;
        }
        if !losses.is_empty() {
            self.add(losses);
        }
    }

    /// Lines of one container mostly stand beside each other: it is told once of them.
    fn done_with(&self, lines: &[(usize, Option<ContainerSlot>)]) {
        for run in lines.chunk_by(|(_, before), (_, owner)| before == owner) {
            if let Some(slot) = run[0].1 {
                let bytes = run.iter().map(|(length, _)| length).sum();
                self.shared.done[slot.0 as usize].fetch_add(bytes, Ordering::Relaxed);
            }
        }
    }

    /// While the output fails a container keeps no more than there is room left.
    fn push_event(&mut self, line: &[u8], slot: ContainerSlot) -> Pushed {
        if self.sink.failure().is_none() {
            self.kept = None;
            return self.sink.push(line, Some(slot));
        }
        let kept = self.kept.get_or_insert_with(|| kept_by_container(&self.sink));
        let of_owner = kept.entry(slot).or_default();
        if self.sink.kept_bytes() + *of_owner + line.len() > ROOM {
            return Pushed::Dropped;
        }
        *of_owner += line.len();
        self.sink.push(line, Some(slot))
    }

    fn flush_when_due(&mut self) {
        if self.failing.is_none_or(|tried| tried.elapsed() >= RETRY_EVERY) {
            self.try_flush();
        }
    }

    fn try_flush(&mut self) {
        match (self.sink.flush(), self.failing) {
            (Ok(()), failing) => {
                self.shared.written_until.store(self.marked_ns, Ordering::Relaxed);
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
                // Some of it may have been written.
                self.kept = None;
            }
        }
    }

    /// The end has come and the output still fails.
    fn give_up(self, answer: &SyncSender<()>) {
        let mut losses = Losses::new();
        self.sink.close().unwritten.into_iter().for_each(|owner| lose(&mut losses, owner));
        let mut losses_told = self.shared.losses.lock().unwrap_or_else(PoisonError::into_inner);
        losses.into_iter().for_each(|(slot, count)| *losses_told.entry(slot).or_default() += count);
        let _ = answer.try_send(());
    }

    fn add(&self, losses: Losses) {
        let mut losses_told = self.shared.losses.lock().unwrap_or_else(PoisonError::into_inner);
        losses.into_iter().for_each(|(slot, count)| *losses_told.entry(slot).or_default() += count);
    }
}

fn kept_by_container(sink: &Sink) -> BTreeMap<ContainerSlot, usize> {
    let mut kept = BTreeMap::new();
    for (length, owner) in sink.kept() {
        if let Some(slot) = owner {
            *kept.entry(*slot).or_default() += length;
        }
    }
    kept
}

pub(super) fn lose(losses: &mut Losses, owner: Option<ContainerSlot>) {
    if let Some(slot) = owner {
        *losses.entry(slot).or_default() += 1;
    }
}
