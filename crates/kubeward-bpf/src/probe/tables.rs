//! What the kernel side is told of the hooks: which kind serves each call, and since when.

use kubeward_core::syscall;

use crate::maps::{self, MapError};
use crate::object::Engine;
use crate::shapes;
use crate::wire::{CALLS, HOOK_ENTER, HOOK_EXIT};

/// The hooks that are looked at, as last shown to the kernel.
#[derive(Debug, Clone, Copy)]
pub(super) struct Tables {
    /// What the raw tracepoints serve of each call.
    pub(super) raw: [u8; CALLS],
    /// What the hooks on its function serve: of no call both do.
    pub(super) function: [u8; CALLS],
    since: [Since; CALLS],
}

/// CLOCK_MONOTONIC since when a call's entries and returns are shown without a gap; 0: they are not.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Since {
    enter_ns: u64,
    exit_ns: u64,
}

impl Tables {
    pub(super) const NOTHING: Self =
        Self { raw: [0; CALLS], function: [0; CALLS], since: [Since { enter_ns: 0, exit_ns: 0 }; CALLS] };

    /// Shows new tables to the kernel. A call that moves from one kind of hook to another does so in one write; one that is
    /// between its function's return and sys_exit at that moment is shown by both.
    pub(super) fn show(&mut self, engine: &Engine, raw: &[u8; CALLS], function: &[u8; CALLS]) -> Result<(), MapError> {
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
        if let (Some(execve), Some(execveat)) = (syscall::by_name("execve"), syscall::by_name("execveat")) {
            shown[usize::from(execve.nr)] |= raw[usize::from(execveat.nr)] & HOOK_EXIT;
        }
        engine.maps().change_settings(|settings| {
            settings.raw_hooks = shown;
            settings.function_hooks = *function;
        })?;
        self.raw = *raw;
        self.function = *function;
        Ok(())
    }
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
