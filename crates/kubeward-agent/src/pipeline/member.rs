//! A container of whose records the pipeline knows whose they are.

use std::sync::Arc;

use kubeward_core::container::Container;
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
}

impl Member {
    /// `counts` is what was counted before it was known whose the slot is.
    pub(super) fn new(container: Arc<Container>, selected: Selected, watched: Watched, counts: UserCounts) -> Self {
        Self {
            container,
            selected,
            watched,
            is_told: false,
            counts,
            gap: Gap::default(),
            shortages: Shortages::default(),
            closing: None,
        }
    }
}
