//! The raw syscall tracepoints: one pair of programs for every call, told by a table which calls to look at.

use kubeward_core::event::Probe;
use libbpf_rs::{Link, TracepointCategory};

use super::attach::{self, AttachError};
use crate::object::Engine;
use crate::wire::{CALLS, HOOK_ENTER, HOOK_EXIT};

/// The raw hooks as they stand.
#[derive(Debug)]
pub(super) struct RawHooks {
    probe: Probe,
    enter: Option<Link>,
    exit: Option<Link>,
}

impl RawHooks {
    /// `probe` is [`Probe::TpBtf`] or [`Probe::Tracepoint`].
    pub(super) fn new(probe: Probe) -> Self {
        Self { probe, enter: None, exit: None }
    }

    pub(super) fn probe(&self) -> Probe {
        self.probe
    }

    /// Attaches what the table needs. Nothing is looked at before the table is shown to the kernel.
    pub(super) fn attach(&mut self, engine: &Engine, bits: &[u8; CALLS]) -> Result<(), AttachError> {
        if needs(bits, HOOK_EXIT) && self.exit.is_none() {
            self.exit = Some(self.link(engine, "exit")?);
        }
        if needs(bits, HOOK_ENTER) && self.enter.is_none() {
            self.enter = Some(self.link(engine, "enter")?);
        }
        Ok(())
    }

    /// Detaches what the table, which the kernel has seen by now, does not need.
    pub(super) fn detach(&mut self, bits: &[u8; CALLS]) {
        if !needs(bits, HOOK_EXIT) {
            self.exit = None;
        }
        if !needs(bits, HOOK_ENTER) {
            self.enter = None;
        }
    }

    fn link(&self, engine: &Engine, moment: &str) -> Result<Link, AttachError> {
        match self.probe {
            Probe::Tracepoint => {
                let (program, event) = (format!("classic_{moment}"), format!("sys_{moment}"));
                attach::tracepoint(engine, &program, TracepointCategory::RawSyscalls, &event)
            }
            _ => attach::trace(engine, &format!("raw_{moment}")),
        }
    }
}

fn needs(bits: &[u8; CALLS], moment: u8) -> bool {
    bits.iter().any(|bits| bits & moment != 0)
}
