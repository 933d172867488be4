//! From when to when containers were watched: the gap before this agent, and what the next one is to know.

use super::clock::boot_ns;
use super::output::EventOutput;
use crate::watch_file::WatchFile;

/// Between two marks for the output and writes of the file.
const KEEP_EVERY_NS: u64 = 250_000_000;

/// How far the watch is, with the file that says so; all moments are of CLOCK_BOOTTIME.
#[derive(Debug, Default)]
pub struct Coverage {
    /// Absent where no file is kept.
    file: Option<WatchFile>,
    /// Until when the agent before this one watched; absent when it is not known, or told.
    before_ns: Option<u64>,
    /// Hooks and containers are covered, and the end has not begun.
    is_covering: bool,
    /// The last drain.
    drained_ns: u64,
    /// What was in the ring until then has been read.
    whole_ns: u64,
    kept_ns: u64,
}

impl Coverage {
    pub fn new(file: Option<WatchFile>, before_ns: Option<u64>) -> Self {
        Self { file, before_ns, ..Self::default() }
    }

    /// Hooks and containers are covered from now on. The end of the watch before, where that is to be told.
    pub(super) fn begin(&mut self) -> Option<u64> {
        self.is_covering = true;
        self.drained_ns = boot_ns();
        self.before_ns.take()
    }

    /// Nothing is recorded any more, from a moment on that comes after the last drain.
    pub(super) fn end(&mut self) {
        if self.is_covering {
            self.whole_ns = self.drained_ns;
        }
        self.is_covering = false;
    }

    /// The ring was read: to its end, or not. What was in it at the drain before this one has been taken if it was.
    /// `none_waits_until` says when the first call was taken that is not yet told, while there is one.
    pub(super) fn drained(
        &mut self,
        is_empty: bool,
        none_waits_until: impl FnOnce() -> Option<u64>,
        output: &mut dyn EventOutput,
    ) {
        let now_ns = boot_ns();
        if self.is_covering {
            if is_empty {
                self.whole_ns = self.drained_ns;
            }
            if self.file.is_some() && now_ns.saturating_sub(self.kept_ns) >= KEEP_EVERY_NS {
                self.kept_ns = now_ns;
                output.mark(none_waits_until().map_or(self.whole_ns, |until_ns| until_ns.min(self.whole_ns)));
                self.keep(output);
            }
        }
        self.drained_ns = now_ns;
    }

    /// What was in the ring until this moment of CLOCK_BOOTTIME has been taken.
    pub(super) fn whole_ns(&self) -> u64 {
        self.whole_ns
    }

    /// As if the time between two marks had gone by.
    #[cfg(test)]
    pub(super) fn keep_at_each_drain(&mut self) {
        self.kept_ns = 0;
    }

    /// The ring was read to its end, and everything was taken. Where the watch never began, the end of the one before.
    pub(super) fn finish(&mut self, output: &mut dyn EventOutput) -> Option<u64> {
        output.mark(self.whole_ns);
        self.before_ns.take()
    }

    /// Keeps what the output says is written.
    pub(super) fn keep(&mut self, output: &dyn EventOutput) {
        if let Some(file) = &mut self.file {
            file.keep(output.written_until());
        }
    }
}
