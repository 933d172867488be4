use kubeward_bpf::wire::HOOK_EXIT;
use kubeward_core::container::ContainerId;
use kubeward_core::policy::{load, CallWant, CheckedPolicy};
use kubeward_core::syscall::by_name;

use super::*;

const A: ContainerSlot = ContainerSlot(1);
const B: ContainerSlot = ContainerSlot(2);

/// Without a trial.
fn reconcile<'a>(
    old: &Plan,
    set: Arc<PolicySet>,
    containers: impl IntoIterator<Item = (ContainerSlot, Option<&'a Container>)>,
    upgrades_exit: bool,
) -> Result<(Plan, Vec<Step>), TooManyProfiles> {
    super::reconcile(old, &Wanted { set, trial: Arc::default() }, containers, upgrades_exit)
}

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
    Container::bare(ContainerId(id.to_owned()), "containerd")
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
    let (plan, steps) = reconcile(&Plan::empty(), set(&[("one", "mkdir", "a")]), both(), false).expect("there is room");
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
    let (plan, steps) = reconcile(&plan, set(&[("one", "rmdir", "a")]), [(A, Some(&a))], false).expect("there is room");
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
    let (_, steps) = reconcile(&plan, set(&[("two", "mkdir", "a")]), [(A, Some(&a))], false).expect("there is room");
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

fn tried(policies: &[(&str, &str, &str)], trial: &[(&str, &str, &str)]) -> Wanted {
    let mut trial = set(trial).policies().to_vec();
    trial.iter_mut().for_each(CheckedPolicy::count_only);
    Wanted { set: set(policies), trial: Arc::new(PolicySet::new(trial).0) }
}

fn want(plan: &Plan, slot: ContainerSlot, call: &str) -> CallWant {
    let (_, id) = plan.assigned[&slot];
    plan.profiles.get(&id).map(|profile| profile.want[by_name(call).expect("it exists")]).unwrap_or_default()
}

#[test]
fn trial_is_counted_where_nothing_else_is_wanted_and_nobody_is_told() {
    let (a, b) = (container("a"), container("b"));
    let both = || [(A, Some(&a)), (B, Some(&b))];
    let before = set(&[("one", "mkdir", "a")]);
    let (plan, _) = reconcile(&Plan::empty(), before.clone(), both(), false).expect("there is room");
    let mut wanted = tried(&[("one", "mkdir", "a")], &[("try", "mkdir", "a, b"), ("more", "rmdir", "a")]);
    wanted.set = before.clone();
    let (plan, steps) = super::reconcile(&plan, &wanted, both(), false).expect("there is room");
    assert_eq!(kinds(&steps), ["attach", "write", "write", "switch", "switch"], "no word to the judge");
    assert_eq!(want(&plan, A, "mkdir"), CallWant::EXIT, "its events stay as they are");
    let counted = CallWant::EXIT | CallWant::COUNT;
    assert_eq!((want(&plan, A, "rmdir"), want(&plan, B, "mkdir")), (counted, counted));
    assert_eq!(plan.hooks, hooks(&["mkdir", "rmdir"]));
    assert!(plan.is_selected(A) && !plan.is_selected(B), "a trial selects for nobody else");
    assert_eq!(plan.tried().keys().copied().collect::<Vec<_>>(), [A, B]);
    assert_eq!(plan.tried()[&A].by_set.iter().count(), 1);

    let (plan, steps) = reconcile(&plan, before, both(), false).expect("there is room");
    assert_eq!(kinds(&steps), ["write", "switch", "switch", "detach"]);
    assert_eq!((plan.hooks, plan.tried().len()), (hooks(&["mkdir"]), 0));
}

#[test]
fn trial_keeps_containers_that_ended_and_takes_those_that_come() {
    let (a, b) = (container("a"), container("b"));
    let wanted = tried(&[("one", "mkdir", "a")], &[("try", "rmdir", "a, b")]);
    let (mut plan, _) = super::reconcile(&Plan::empty(), &wanted, [(A, Some(&a))], false).expect("there is room");
    plan.remove(A);
    plan.assign(B, Some(&b)).expect("there is room");
    assert_eq!(plan.tried().keys().copied().collect::<Vec<_>>(), [A, B]);
    // Another edit meanwhile: of what ended nobody knows whom that selects.
    let edited = Wanted { set: set(&[("two", "mkdir", "b")]), trial: wanted.trial };
    let (plan, _) = super::reconcile(&plan, &edited, [(B, Some(&b))], false).expect("there is room");
    let selecting = |slot| plan.tried()[&slot].by_set.iter().count();
    assert_eq!((selecting(A), selecting(B)), (0, 1));
}

#[test]
fn trial_takes_no_room_from_policies_in_force() {
    let (a, b) = (container("a"), container("b"));
    let wanted = tried(&[("one", "mkdir", "a, b")], &[("try", "rmdir", "b")]);
    let (mut plan, _) = super::reconcile(&Plan::empty(), &wanted, [(A, Some(&a))], false).expect("there is room");
    let other = set(&[("other", "rmdir", "c")]);
    let other = other.profile(&other.active());
    for id in ProfileId::FREE {
        plan.profiles.entry(ProfileId(id)).or_insert_with(|| other.clone());
    }
    let (selected, id, steps) = plan.assign(B, Some(&b)).expect("its policy's profile is there");
    assert_eq!((selected.iter().count(), id, steps), (1, plan.assigned[&A].1, vec![]));
    assert!(plan.tried().is_empty(), "what is not counted is not said to be");
}

#[test]
fn nameless_container_is_counted_for_the_trial_too() {
    let wanted = tried(&[("one", "mkdir", "a")], &[("try", "rmdir", "a")]);
    let (plan, _) = super::reconcile(&Plan::empty(), &wanted, [(A, None)], false).expect("there is room");
    assert_eq!(want(&plan, A, "rmdir"), CallWant::EXIT | CallWant::COUNT);
    assert!(plan.tried().is_empty());
}

#[test]
fn container_whose_slot_becomes_anothers_is_left_out_of_a_trial_and_so_is_the_other() {
    let wanted = tried(&[("one", "rmdir", "a")], &[("try", "mkdir", "a, b")]);
    let (mut plan, _) = super::reconcile(&Plan::empty(), &wanted, [], true).expect("there is room");
    for (slot, namespace) in [(A, "a"), (B, "b")] {
        plan.assign(slot, Some(&container(namespace))).expect("there is room");
    }
    plan.remove(A);
    assert_eq!((plan.tried().len(), plan.left_out()), (2, 0), "what was counted of it is still there");
    plan.release(A);
    plan.assign(A, Some(&container("a"))).expect("there is room");
    assert_eq!((plan.tried().keys().collect::<Vec<_>>(), plan.left_out()), (vec![&B], 2));
    // An edit meanwhile changes nothing about that, and the next trial begins anew.
    let edited = Wanted { trial: wanted.trial.clone(), set: set(&[("two", "rmdir", "a")]) };
    let entries = [(A, "a"), (B, "b")].map(|(slot, namespace)| (slot, container(namespace)));
    let watched = || entries.iter().map(|(slot, container)| (*slot, Some(container)));
    let (plan, _) = super::reconcile(&plan, &edited, watched(), true).expect("there is room");
    assert_eq!((plan.tried().keys().collect::<Vec<_>>(), plan.left_out()), (vec![&B], 2));
    let (plan, _) =
        super::reconcile(&plan, &tried(&[("one", "rmdir", "a")], &[("next", "mkdir", "a, b")]), watched(), true)
            .expect("there is room");
    assert_eq!((plan.tried().len(), plan.left_out()), (2, 0));
}
