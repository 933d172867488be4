//! What the kernel side is told of the hooks: which kind serves each call, and since when.

use kubeward_core::syscall;

use crate::maps::{self, MapError};
use crate::object::Engine;
use crate::wire::{CALLS, HOOK_ENTER, HOOK_EXIT};
use crate::{process, shapes};

/// What some kind of hook serves, by native call number: [`HOOK_ENTER`], [`HOOK_EXIT`].
pub(super) type Bits = [u8; CALLS];

/// The hooks that are looked at, as last shown to the kernel.
#[derive(Debug, Clone, Copy)]
pub(super) struct Tables {
    /// What the raw tracepoints serve of each call.
    pub(super) raw: Bits,
    /// What the hooks on its function serve: of a call that both serve, moments are told by the hook that sees them first.
    pub(super) function: Bits,
    /// The number of the move that goes on; 0: none does.
    move_nr: u32,
    last_move_nr: u32,
    since: [Since; CALLS],
}

/// CLOCK_MONOTONIC since when a call's entries and returns are shown without a gap; 0: they are not.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Since {
    enter_ns: u64,
    exit_ns: u64,
}

impl Tables {
    pub(super) const NOTHING: Self = Self {
        raw: [0; CALLS],
        function: [0; CALLS],
        move_nr: 0,
        last_move_nr: 0,
        since: [Since { enter_ns: 0, exit_ns: 0 }; CALLS],
    };

    pub(super) fn is_moving(&self) -> bool {
        self.move_nr != 0
    }

    /// From here on hooks leave marks for each other and heed them: calls may be shown by both kinds.
    pub(super) fn begin_move(&mut self, engine: &Engine) -> Result<(), MapError> {
        if self.is_moving() {
            return Ok(());
        }
        self.last_move_nr = self.last_move_nr.checked_add(1).unwrap_or(1);
        let nr = self.last_move_nr;
        engine.maps().change_settings(|settings| settings.move_nr = nr)?;
        self.move_nr = nr;
        process::let_pass();
        Ok(())
    }

    /// No call is shown by both kinds of hook any more.
    pub(super) fn end_move(&mut self, engine: &Engine) -> Result<(), MapError> {
        if self.is_moving() {
            engine.maps().change_settings(|settings| settings.move_nr = 0)?;
            self.move_nr = 0;
        }
        Ok(())
    }

    /// Shows new tables to the kernel. A call that goes from one kind of hook to the other must be in both for a while, during a
    /// move.
    pub(super) fn show(&mut self, engine: &Engine, raw: &Bits, function: &Bits) -> Result<(), MapError> {
        let now = maps::clock_ns(libc::CLOCK_MONOTONIC).unwrap_or(u64::MAX);
        for nr in 0..CALLS {
            let bits = raw[nr] | function[nr];
            let before = self.since[nr];
            let since = Since {
                enter_ns: since(bits & HOOK_ENTER != 0, before.enter_ns, now),
                exit_ns: since(bits & HOOK_EXIT != 0, before.exit_ns, now),
            };
            if since != before {
                shapes::show_since(engine.maps(), nr as u16, since.enter_ns, since.exit_ns)?;
                self.since[nr] = since;
            }
        }
        let mut shown = *raw;
        // An exec that succeeds may return under another number than it entered with: execveat under execve's.
        if let Some([execve, execveat]) = execs() {
            shown[execve] |= raw[execveat] & HOOK_EXIT;
        }
        engine.maps().change_settings(|settings| {
            settings.raw_hooks = shown;
            settings.function_hooks = *function;
        })?;
        self.raw = *raw;
        self.function = *function;
        if self.is_moving() {
            process::let_pass();
        }
        Ok(())
    }
}

/// The two calls that are served by one kind of hook together, since one may return as the other.
pub(super) fn execs() -> Option<[usize; 2]> {
    Some([syscall::by_name("execve")?.nr.into(), syscall::by_name("execveat")?.nr.into()])
}

fn since(is_shown: bool, before: u64, now: u64) -> u64 {
    match (is_shown, before) {
        (false, _) => 0,
        (true, 0) => now,
        (true, before) => before,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hook_that_stays_keeps_its_beginning() {
        assert_eq!(since(true, 0, 7), 7);
        assert_eq!(since(true, 5, 7), 5);
        assert_eq!(since(false, 5, 7), 0);
    }
}
