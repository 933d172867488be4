//! The time in which two sets of policies are in force: events that were recorded for the old one are still in the ring
//! when the new one is judged by.

use std::collections::BTreeMap;
use std::sync::Arc;

use kubeward_core::container::ContainerSlot;
use kubeward_core::event::SyscallEvent;
use kubeward_core::policy::{Judge, PolicySet, Selected, Unwanted, Verdict};

/// The policies before those in force.
pub(super) struct Previous {
    /// With limits of its own: a switch may let through one burst more.
    judge: Judge,
    selected: BTreeMap<ContainerSlot, Selected>,
    /// CLOCK_MONOTONIC when the kernel side had switched every container; absent until it has.
    until_ns: Option<u64>,
}

impl Previous {
    pub(super) fn new(set: Arc<PolicySet>, selected: BTreeMap<ContainerSlot, Selected>) -> Self {
        Self { judge: Judge::new(set), selected, until_ns: None }
    }

    pub(super) fn end(&mut self, now_ns: u64) {
        self.until_ns.get_or_insert(now_ns);
    }

    pub(super) fn forget(&mut self, slot: ContainerSlot) {
        self.selected.remove(&slot);
        self.judge.forget(slot);
    }

    /// Judges an event that no policy in force names.
    pub(super) fn judge(&mut self, event: &SyscallEvent, now_ns: u64) -> Verdict {
        let unwanted = Verdict::Filtered(Unwanted::NoPolicy);
        if self.until_ns.is_some_and(|until_ns| event.mono_ns > until_ns) {
            return unwanted;
        }
        match self.selected.get(&event.slot) {
            Some(selected) => self.judge.judge(event, selected, now_ns),
            None => unwanted,
        }
    }
}
