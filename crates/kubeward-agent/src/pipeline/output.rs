//! The end of the pipeline: something that takes lines and owns up to those it could not pass on.

use std::collections::BTreeMap;

use kubeward_core::container::ContainerSlot;

use crate::sinks::{LineSink, Output, OutputError, Pushed};

/// Events that were taken and did not get out, by container.
pub type Losses = BTreeMap<ContainerSlot, u64>;

/// Takes lines in order. Each event's line has an owner, other lines have none.
pub trait EventOutput: Send {
    /// Takes the line that `render` appends.
    fn line(&mut self, owner: Option<ContainerSlot>, render: &mut dyn FnMut(&mut Vec<u8>));

    /// A good moment to write what was taken.
    fn flush(&mut self);

    /// Everything that was in the ring at this moment of CLOCK_BOOTTIME has been taken.
    fn mark(&mut self, _moment_ns: u64) {}

    /// The latest of these moments of which everything is written or counted as lost; 0 before the first, and where nobody
    /// wants to know.
    fn written_until(&self) -> u64 {
        0
    }

    /// What was lost since this was last asked.
    fn take_losses(&mut self) -> Losses;

    /// Writes all that was taken, however long that takes. Afterwards every loss is known.
    fn settle(&mut self);

    fn reopen(&mut self);
}

/// Writes in the reader's own thread: `trace`, which would rather wait than drop. Ends with its first failure.
pub struct Direct {
    /// Absent once it failed.
    sink: Option<LineSink<Box<dyn Output + Send>, Option<ContainerSlot>>>,
    losses: Losses,
    on_failure: Box<dyn FnMut(&OutputError) + Send>,
    scratch: Vec<u8>,
}

impl Direct {
    /// `on_failure` is called once, when the output takes nothing any more.
    pub fn new(output: Box<dyn Output + Send>, on_failure: impl FnMut(&OutputError) + Send + 'static) -> Self {
        Self {
            sink: Some(LineSink::new(output)),
            losses: Losses::new(),
            on_failure: Box::new(on_failure),
            scratch: Vec::new(),
        }
    }

    fn lose(&mut self, owner: Option<ContainerSlot>) {
        if let Some(slot) = owner {
            *self.losses.entry(slot).or_default() += 1;
        }
    }

    fn give_up(&mut self) {
        let Some(sink) = self.sink.take() else { return };
        let closed = sink.close();
        closed.unwritten.into_iter().for_each(|owner| self.lose(owner));
        if let Some(failure) = closed.failure {
            (self.on_failure)(&failure);
        }
    }
}

impl EventOutput for Direct {
    fn line(&mut self, owner: Option<ContainerSlot>, render: &mut dyn FnMut(&mut Vec<u8>)) {
        self.scratch.clear();
        render(&mut self.scratch);
        if self.scratch.is_empty() {
            return;
        }
        let Some(sink) = &mut self.sink else { return self.lose(owner) };
        let pushed = sink.push(&self.scratch, owner);
        if sink.failure().is_some() {
            self.give_up();
        }
        if pushed == Pushed::Dropped {
            self.lose(owner);
        }
    }

    fn flush(&mut self) {
        if self.sink.as_mut().is_some_and(|sink| sink.flush().is_err()) {
            self.give_up();
        }
    }

    fn take_losses(&mut self) -> Losses {
        std::mem::take(&mut self.losses)
    }

    fn settle(&mut self) {
        self.flush();
    }

    fn reopen(&mut self) {
        if self.sink.as_mut().is_some_and(|sink| sink.reopen().is_err()) {
            self.give_up();
        }
    }
}
