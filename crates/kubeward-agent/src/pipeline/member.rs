//! A container of whose records the pipeline knows whose they are.

use std::sync::Arc;

use kubeward_bpf::accounts::Losses;
use kubeward_core::container::Container;
use kubeward_core::ledger::LossReason;
use kubeward_core::policy::Selected;

use super::account::UserCounts;
use super::books::Shortages;
use super::command::Watched;

/// A container whose records may come.
pub(super) struct Member {
    pub(super) container: Arc<Container>,
    pub(super) selected: Selected,
    pub(super) watched: Watched,
    /// Some policy has selected it, so that the stream speaks of it.
    pub(super) is_told: bool,
    pub(super) counts: UserCounts,
    pub(super) gap: Gap,
    pub(super) shortages: Shortages,
    /// Drains since the kernel side stopped looking at it.
    pub(super) closing: Option<u32>,
}

/// What gap lines have told of a container's losses.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Gap {
    pub(super) ring_told: u64,
    pub(super) share_told: u64,
    pub(super) output_told: u64,
    /// Lost by the output when last looked at: a loss that still grows is told when it is over.
    pub(super) output_seen: u64,
    /// CLOCK_MONOTONIC when last looked at.
    pub(super) looked_ns: u64,
    /// Something was read of it since, or its output's loss may have ended.
    pub(super) is_due: bool,
}

impl Gap {
    /// What was lost since the last look, by reason.
    pub(super) fn look(&mut self, kernel: &Losses, by_output: u64, now_ns: u64) -> [(LossReason, u64); 3] {
        let in_ring = kernel.lost_ring.saturating_sub(self.ring_told);
        let in_share = kernel.lost_share.saturating_sub(self.share_told);
        (self.ring_told, self.share_told, self.looked_ns) = (kernel.lost_ring, kernel.lost_share, now_ns);
        let is_over = by_output == std::mem::replace(&mut self.output_seen, by_output);
        let in_output = if is_over { by_output - self.output_told } else { 0 };
        self.output_told += in_output;
        self.is_due = !is_over;
        [(LossReason::Ring, in_ring), (LossReason::Share, in_share), (LossReason::Output, in_output)]
    }
}

impl Member {
    /// `counts` is what was counted before it was known whose the slot is; for gaps it was looked at last at `looked_ns`.
    pub(super) fn new(
        container: Arc<Container>,
        selected: Selected,
        watched: Watched,
        counts: UserCounts,
        looked_ns: u64,
    ) -> Self {
        Self {
            container,
            selected,
            watched,
            is_told: false,
            counts,
            gap: Gap { looked_ns, ..Gap::default() },
            shortages: Shortages::default(),
            closing: None,
        }
    }
}
