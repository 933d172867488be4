//! What the kernel is to serve: the policies in force, and those that are only tried beside them. Pure.
//!
//! A trial has its calls counted where nothing else is wanted of them, and changes nothing else: no event is made more, less or in
//! another shape, and the judge never hears of it.

use std::sync::Arc;

use kubeward_core::container::Container;
use kubeward_core::policy::{hooks, CallWants, PolicySet, Profile, Selected};

/// What the kernel is to serve.
#[derive(Debug, Clone, Default)]
pub struct Wanted {
    /// The policies to be in force.
    pub set: Arc<PolicySet>,
    /// Those that are only tried: each counts, and nobody but who asked is told. Empty: none.
    pub trial: Arc<PolicySet>,
}

/// The policies that select a container, each set's by its own places.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Tried {
    pub by_trial: Selected,
    pub by_set: Selected,
}

impl Wanted {
    /// What the kernel does for a container. `None`: nobody has named it yet, and any policy may select it.
    pub(super) fn profile(&self, container: Option<&Container>) -> Profile {
        let select = |set: &PolicySet| container.map_or_else(|| set.active(), |container| set.select(container));
        let mut profile = self.set.profile(&select(&self.set));
        if self.has_trial() {
            profile.count_too(&self.trial.profile(&select(&self.trial)).want);
        }
        profile
    }

    pub(super) fn hooks(&self) -> CallWants {
        let profiles = [&self.set, &self.trial].map(|set| set.profile(&set.active()));
        hooks(&profiles)
    }

    pub fn has_trial(&self) -> bool {
        !self.trial.policies().is_empty()
    }
}
