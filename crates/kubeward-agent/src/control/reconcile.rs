//! What must change in the kernel so that other policies, or other containers, are served. Pure.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use kubeward_bpf::wire::{CALLS, PROFILES};
use kubeward_core::container::{Container, ContainerSlot};
use kubeward_core::policy::{PolicySet, Profile, Selected};

use super::kernel::hook_bits;

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
    pub hooks: HookBits,
    profiles: BTreeMap<ProfileId, Profile>,
    assigned: BTreeMap<ContainerSlot, (Selected, ProfileId)>,
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
        Self { set: Arc::default(), hooks: [0; CALLS], profiles: BTreeMap::new(), assigned: BTreeMap::new() }
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
        let id = self.profile_of(&select(&self.set, container), &BTreeSet::new(), &mut steps)?;
        let selected = container.map(|container| self.set.select(container)).unwrap_or_default();
        self.assigned.insert(slot, (selected, id));
        self.forget_unused();
        Ok((selected, id, steps))
    }

    pub fn remove(&mut self, slot: ContainerSlot) {
        self.assigned.remove(&slot);
        self.forget_unused();
    }

    /// The profile that serves these policies: one that is written already, or a number that nobody uses.
    fn profile_of(
        &mut self,
        selected: &Selected,
        taken: &BTreeSet<ProfileId>,
        steps: &mut Vec<Step>,
    ) -> Result<ProfileId, TooManyProfiles> {
        let profile = self.set.profile(selected);
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

/// The policies that a container's calls are recorded for: any may select one that nobody has named yet.
fn select(set: &PolicySet, container: Option<&Container>) -> Selected {
    container.map_or_else(|| set.active(), |container| set.select(container))
}

/// The plan for other policies, and the way to it: new hooks are attached first, then the judge learns of the set,
/// then the containers switch, then the hooks that nobody needs go. A call that stays named misses nothing on that way, also
/// when it is recorded at another moment.
pub fn reconcile<'a>(
    old: &Plan,
    set: Arc<PolicySet>,
    containers: impl IntoIterator<Item = (ContainerSlot, Option<&'a Container>)>,
    upgrades_exit: bool,
) -> Result<(Plan, Vec<Step>), TooManyProfiles> {
    let hooks = hook_bits(&set.hooks(), upgrades_exit);
    let both: HookBits = std::array::from_fn(|nr| old.hooks[nr] | hooks[nr]);
    let mut new = Plan { set, hooks, profiles: old.profiles.clone(), assigned: BTreeMap::new() };
    let mut steps = Vec::new();
    if both != old.hooks {
        steps.push(Step::Attach(both.into()));
    }
    let taken: BTreeSet<ProfileId> = old.profiles.keys().copied().collect();
    let mut switches = Vec::new();
    for (slot, container) in containers {
        let id = new.profile_of(&select(&new.set, container), &taken, &mut steps)?;
        let selected = container.map(|container| new.set.select(container)).unwrap_or_default();
        new.assigned.insert(slot, (selected, id));
        if old.assigned.get(&slot).map(|(_, id)| *id) != Some(id) {
            switches.push(Step::SwitchProfile { slot, id });
        }
    }
    new.forget_unused();
    steps.push(Step::Judge);
    steps.append(&mut switches);
    steps.push(Step::Switched);
    if both != hooks {
        steps.push(Step::Detach(hooks.into()));
    }
    Ok((new, steps))
}

#[cfg(test)]
mod tests {
    use kubeward_bpf::wire::HOOK_EXIT;
    use kubeward_core::container::ContainerId;
    use kubeward_core::policy::load;
    use kubeward_core::syscall::by_name;

    use super::*;

    const A: ContainerSlot = ContainerSlot(1);
    const B: ContainerSlot = ContainerSlot(2);

    /// Policies by name, calls and the containers that they select.
    fn set(policies: &[(&str, &str, &str)]) -> Arc<PolicySet> {
        let documents = policies.iter().map(|(name, call, container)| {
            format!(
                "apiVersion: kubeward.kubeward/v1\nkind: KubeWard\nmetadata: {{name: {name}}}\n\
                 spec: {{syscalls: [{{name: {call}}}], selector: {{containers: [{container}]}}}}\n"
            )
        });
        let text = documents.collect::<Vec<_>>().join("---\n");
        let (policies, faults) = load("a.yaml", text.as_bytes());
        assert!(faults.is_empty(), "{faults:?}");
        Arc::new(PolicySet::new(policies).0)
    }

    fn container(id: &str) -> Container {
        Container {
            id: ContainerId(id.to_owned()),
            name: None,
            image: None,
            image_digest: None,
            runtime: "containerd",
            runtime_namespace: None,
            labels: BTreeMap::new(),
            pod: None,
        }
    }

    fn hooks(names: &[&str]) -> HookBits {
        let mut bits = [0; CALLS];
        names.iter().for_each(|name| bits[usize::from(by_name(name).expect("it exists").nr)] = HOOK_EXIT);
        bits
    }

    fn kinds(steps: &[Step]) -> Vec<&'static str> {
        let kind = |step: &Step| match step {
            Step::Attach(_) => "attach",
            Step::Detach(_) => "detach",
            Step::Switched => "switched",
            Step::WriteProfile { .. } => "write",
            Step::SwitchProfile { .. } => "switch",
            Step::Judge => "judge",
        };
        steps.iter().map(kind).collect()
    }

    #[test]
    fn new_hooks_come_first_and_old_ones_go_last() {
        let (a, b) = (container("a"), container("b"));
        let both = || [(A, Some(&a)), (B, Some(&b))];
        let (plan, steps) =
            reconcile(&Plan::empty(), set(&[("one", "mkdir", "a")]), both(), false).expect("there is room");
        assert_eq!(kinds(&steps), ["attach", "write", "judge", "switch", "switch", "switched"]);
        assert!(plan.is_selected(A) && !plan.is_selected(B));
        assert!(steps.contains(&Step::SwitchProfile { slot: B, id: ProfileId::NOTHING }));

        let (plan, steps) = reconcile(&plan, set(&[("one", "rmdir", "a")]), both(), false).expect("there is room");
        assert_eq!(kinds(&steps), ["attach", "write", "judge", "switch", "switched", "detach"]);
        assert_eq!(steps[0], Step::Attach(hooks(&["mkdir", "rmdir"]).into()));
        assert_eq!(steps[5], Step::Detach(hooks(&["rmdir"]).into()));
        assert_eq!(plan.hooks, hooks(&["rmdir"]));
    }

    #[test]
    fn profile_is_never_rewritten_under_a_container() {
        let a = container("a");
        let (plan, _) =
            reconcile(&Plan::empty(), set(&[("one", "mkdir", "a")]), [(A, Some(&a))], false).expect("there is room");
        let (_, first) = plan.assigned[&A];
        let (plan, steps) =
            reconcile(&plan, set(&[("one", "rmdir", "a")]), [(A, Some(&a))], false).expect("there is room");
        let (_, second) = plan.assigned[&A];
        assert_ne!(first, second);
        assert!(!steps.iter().any(|step| matches!(step, Step::WriteProfile { id, .. } if *id == first)));
        assert_eq!(plan.profiles.keys().copied().collect::<Vec<_>>(), [second]);
    }

    #[test]
    fn what_stays_the_same_is_left_alone() {
        let a = container("a");
        let before = set(&[("one", "mkdir", "a")]);
        let (plan, _) = reconcile(&Plan::empty(), before, [(A, Some(&a))], false).expect("there is room");
        // Another name, the same wishes: only the judge must know.
        let (_, steps) =
            reconcile(&plan, set(&[("two", "mkdir", "a")]), [(A, Some(&a))], false).expect("there is room");
        assert_eq!(steps, [Step::Judge, Step::Switched]);
    }

    #[test]
    fn container_that_comes_later_shares_the_profile() {
        let (a, b) = (container("a"), container("b"));
        let set = set(&[("one", "mkdir", "a, b")]);
        let (mut plan, _) = reconcile(&Plan::empty(), set, [(A, Some(&a))], false).expect("there is room");
        let (selected, id, steps) = plan.assign(B, Some(&b)).expect("there is room");
        assert_eq!((selected.is_empty(), steps), (false, vec![]));
        assert_eq!(plan.assigned[&A].1, id);
        plan.remove(A);
        plan.remove(B);
        assert!(plan.profiles.is_empty());
    }

    #[test]
    fn nameless_container_is_wanted_by_every_policy() {
        let set = set(&[("one", "mkdir", "a"), ("two", "rmdir", "b")]);
        let wanted = set.profile(&set.active());
        let (mut plan, steps) = reconcile(&Plan::empty(), set, [(A, None)], false).expect("there is room");
        let written = |step: &&Step| matches!(step, Step::WriteProfile { profile, .. } if *profile == wanted);
        assert_eq!(steps.iter().filter(written).count(), 1);
        let (_, id, steps) = plan.assign(B, None).expect("there is room");
        assert_eq!((id, steps), (plan.assigned[&A].1, vec![]));
        assert!(!plan.is_selected(A), "no policy has selected it yet");
    }

    #[test]
    fn no_policies_detach_everything() {
        let a = container("a");
        let (plan, _) =
            reconcile(&Plan::empty(), set(&[("one", "mkdir", "a")]), [(A, Some(&a))], false).expect("there is room");
        let (_, steps) = reconcile(&plan, Arc::default(), [(A, Some(&a))], false).expect("there is room");
        assert_eq!(
            steps,
            [
                Step::Judge,
                Step::SwitchProfile { slot: A, id: ProfileId::NOTHING },
                Step::Switched,
                Step::Detach([0; CALLS].into())
            ]
        );
    }
}
