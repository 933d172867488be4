//! What must change in the kernel so that other policies, or other containers, are served. Pure.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use kubeward_bpf::wire::{CALLS, PROFILES};
use kubeward_core::container::{Container, ContainerSlot};
use kubeward_core::policy::{PolicySet, Profile, Selected};

use super::kernel::hook_bits;
use super::reused::Reused;
use super::wanted::{Tried, Wanted};

/// What is asked of the hooks, by native call number.
pub type HookBits = [u8; CALLS];

/// Number of a profile in the kernel's map. [`ProfileId::NOTHING`] wants nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ProfileId(pub u32);

impl ProfileId {
    pub const NOTHING: ProfileId = ProfileId(0);
    /// The highest is the self-test's.
    const FREE: std::ops::Range<u32> = 1..PROFILES - 1;
}

/// The policies in force and what of them each container gets.
#[derive(Debug, Clone)]
pub struct Plan {
    pub set: Arc<PolicySet>,
    /// What is tried beside it.
    pub trial: Arc<PolicySet>,
    pub hooks: HookBits,
    profiles: BTreeMap<ProfileId, Profile>,
    assigned: BTreeMap<ContainerSlot, (Selected, ProfileId)>,
    /// Every container that the trial has selected since it began, also those that ended; without those that were left out.
    tried: BTreeMap<ContainerSlot, Tried>,
    reused: Reused,
}

/// One change, in the order in which they are to be made.
#[derive(Debug, Clone, PartialEq)]
pub enum Step {
    /// Make the hooks be these: all of before, and what is new.
    Attach(Box<HookBits>),
    WriteProfile {
        id: ProfileId,
        profile: Profile,
    },
    /// From the container's next call on.
    SwitchProfile {
        slot: ContainerSlot,
        id: ProfileId,
    },
    /// Judge events by the plan's set from now on, and those that it does not want by the set before.
    Judge,
    /// No event is recorded for the set before any more.
    Switched,
    /// Make the hooks be these: what nobody asks for goes.
    Detach(Box<HookBits>),
}

/// More different profiles than the kernel's map has room for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the policies select containers in more than {} different ways; use fewer selectors", (PROFILES - 2) / 2)]
pub struct TooManyProfiles;

impl Plan {
    /// Nothing is wanted of nobody.
    pub fn empty() -> Self {
        Self::of(&Wanted::default())
    }

    /// Nobody is assigned yet.
    fn of(wanted: &Wanted) -> Self {
        Self {
            set: wanted.set.clone(),
            trial: wanted.trial.clone(),
            hooks: [0; CALLS],
            profiles: BTreeMap::new(),
            assigned: BTreeMap::new(),
            tried: BTreeMap::new(),
            reused: Reused::default(),
        }
    }

    fn wanted(&self) -> Wanted {
        Wanted { set: self.set.clone(), trial: self.trial.clone() }
    }

    pub fn has_trial(&self) -> bool {
        self.wanted().has_trial()
    }

    pub fn tried(&self) -> &BTreeMap<ContainerSlot, Tried> {
        &self.tried
    }

    /// Containers that the trial selected and that cannot be told apart from others in the kernel's counts.
    pub fn left_out(&self) -> usize {
        self.reused.left_out()
    }

    /// The slot is emptied, and may be another container's from now on.
    pub fn release(&mut self, slot: ContainerSlot) {
        if self.has_trial() {
            let was_tried = self.tried.remove(&slot).is_some();
            self.reused.released(slot, was_tried);
        }
    }

    fn note_tried(&mut self, slot: ContainerSlot, container: &Container, by_set: Selected) {
        let by_trial = self.trial.select(container);
        if !by_trial.is_empty() && self.reused.admits(slot) {
            self.tried.insert(slot, Tried { by_trial, by_set });
        }
    }

    /// Each container's policies, for the judge.
    pub fn selected(&self) -> Vec<(ContainerSlot, Selected)> {
        self.assigned.iter().map(|(&slot, &(selected, _))| (slot, selected)).collect()
    }

    pub fn is_selected(&self, slot: ContainerSlot) -> bool {
        self.assigned.get(&slot).is_some_and(|(selected, _)| !selected.is_empty())
    }

    /// Puts a container into the plan, or judges it anew; `None`: whose the slot is will be told later. The steps are to be made
    /// before the kernel is told of it.
    pub fn assign(
        &mut self,
        slot: ContainerSlot,
        container: Option<&Container>,
    ) -> Result<(Selected, ProfileId, Vec<Step>), TooManyProfiles> {
        let mut steps = Vec::new();
        let mut wanted = self.wanted();
        let (id, is_tried) = match self.number_of(wanted.profile(container), &BTreeSet::new(), &mut steps) {
            // Policies in force come before those that are tried.
            Err(TooManyProfiles) if wanted.has_trial() => {
                wanted.trial = Arc::default();
                (self.number_of(wanted.profile(container), &BTreeSet::new(), &mut steps)?, false)
            }
            id => (id?, true),
        };
        let selected = container.map(|container| self.set.select(container)).unwrap_or_default();
        let before = self.assigned.insert(slot, (selected, id));
        container.filter(|_| is_tried).into_iter().for_each(|container| self.note_tried(slot, container, selected));
        if let Some((_, before)) = before.filter(|(_, before)| *before != id) {
            self.forget_if_unused(before);
        }
        Ok((selected, id, steps))
    }

    pub fn remove(&mut self, slot: ContainerSlot) {
        if let Some((_, id)) = self.assigned.remove(&slot) {
            self.forget_if_unused(id);
        }
    }

    fn forget_if_unused(&mut self, id: ProfileId) {
        if !self.assigned.values().any(|(_, used)| *used == id) {
            self.profiles.remove(&id);
        }
    }

    /// Where the profile is: written already, or at a number that nobody uses.
    fn number_of(
        &mut self,
        profile: Profile,
        taken: &BTreeSet<ProfileId>,
        steps: &mut Vec<Step>,
    ) -> Result<ProfileId, TooManyProfiles> {
        if profile.want.is_empty() {
            return Ok(ProfileId::NOTHING);
        }
        if let Some((&id, _)) = self.profiles.iter().find(|(_, written)| **written == profile) {
            return Ok(id);
        }
        let is_free = |id: &ProfileId| !self.profiles.contains_key(id) && !taken.contains(id);
        let id = ProfileId::FREE.map(ProfileId).find(is_free).ok_or(TooManyProfiles)?;
        self.profiles.insert(id, profile.clone());
        steps.push(Step::WriteProfile { id, profile });
        Ok(id)
    }

    fn forget_unused(&mut self) {
        let used: BTreeSet<ProfileId> = self.assigned.values().map(|(_, id)| *id).collect();
        self.profiles.retain(|id, _| used.contains(id));
    }
}

/// The plan for other policies, and the way to it: new hooks are attached first, then the judge learns of the set,
/// then the containers switch, then the hooks that nobody needs go. A call that stays named misses nothing on that way, also
/// when it is recorded at another moment. Of a trial the judge learns nothing.
pub fn reconcile<'a>(
    old: &Plan,
    wanted: &Wanted,
    containers: impl IntoIterator<Item = (ContainerSlot, Option<&'a Container>)>,
    upgrades_exit: bool,
) -> Result<(Plan, Vec<Step>), TooManyProfiles> {
    let hooks = hook_bits(&wanted.hooks(), upgrades_exit);
    let both: HookBits = std::array::from_fn(|nr| old.hooks[nr] | hooks[nr]);
    let mut new = Plan { hooks, profiles: old.profiles.clone(), ..Plan::of(wanted) };
    if Arc::ptr_eq(&old.trial, &new.trial) {
        new.reused = old.reused.clone();
        // Of those that ended it is not known which policies of another set select them.
        let is_known = Arc::ptr_eq(&old.set, &new.set);
        let by_set = |tried: &Tried| if is_known { tried.by_set } else { Selected::default() };
        new.tried = old.tried.iter().map(|(&slot, tried)| (slot, Tried { by_set: by_set(tried), ..*tried })).collect();
    }
    let mut steps = Vec::new();
    if both != old.hooks {
        steps.push(Step::Attach(both.into()));
    }
    let taken: BTreeSet<ProfileId> = old.profiles.keys().copied().collect();
    let mut switches = Vec::new();
    for (slot, container) in containers {
        let id = new.number_of(wanted.profile(container), &taken, &mut steps)?;
        let selected = container.map(|container| new.set.select(container)).unwrap_or_default();
        new.assigned.insert(slot, (selected, id));
        container.into_iter().for_each(|container| new.note_tried(slot, container, selected));
        if old.assigned.get(&slot).map(|(_, id)| *id) != Some(id) {
            switches.push(Step::SwitchProfile { slot, id });
        }
    }
    new.forget_unused();
    let is_judged = Arc::ptr_eq(&old.set, &new.set);
    steps.extend((!is_judged).then_some(Step::Judge));
    steps.append(&mut switches);
    steps.extend((!is_judged).then_some(Step::Switched));
    if both != hooks {
        steps.push(Step::Detach(hooks.into()));
    }
    Ok((new, steps))
}

#[cfg(test)]
mod tests;
