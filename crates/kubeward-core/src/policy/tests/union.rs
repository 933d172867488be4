//! What all policies together ask of the kernel: enough for each, and no more.

use proptest::prelude::*;

use super::judging::event;
use super::*;
use crate::container::{Container, ContainerId};
use crate::event::Phase;
use crate::syscall;

fn nr(name: &str) -> u16 {
    syscall::by_name(name).expect("a call").nr
}

fn profile_of(policies: Vec<CheckedPolicy>) -> Profile {
    let set = set_of(policies);
    set.profile(&set.active())
}

#[test]
fn richest_record_and_capture_win() {
    let profile = profile_of(vec![
        policy("a", "  kprobe: [{name: openat}, {name: read}]\n  capture: {argBytes: 1000, argvBytes: 1}"),
        policy("b", "  syscalls: [{name: openat}]"),
        policy("c", "  syscalls: [{name: close}]\n  suspend: true\n  capture: {argBytes: 4096}"),
    ]);
    assert_eq!(wants(&profile.want), [("read", CallWant::ENTER), ("openat", CallWant::CALL)]);
    assert_eq!((profile.arg_bytes, profile.argv_bytes), (1000, 4096));
}

#[test]
fn a_filter_reaches_the_kernel_only_if_all_have_it() {
    let profile = profile_of(vec![
        policy("a", "  syscalls: [{name: openat}, {name: read}]\n  filter: {errors: [EPERM]}"),
        policy("b", "  syscalls: [{name: openat}]\n  filter: {errors: [EACCES], minDuration: 1us}"),
        policy("c", "  syscalls: [{name: read}, {name: close}]\n  filter: {minDuration: 5us}"),
    ]);
    let expected = [
        ("read", CallWant::CALL),
        ("close", CallWant::CALL | CallWant::BY_DURATION),
        ("openat", CallWant::CALL | CallWant::BY_ERROR),
    ];
    assert_eq!(wants(&profile.want), expected);
    assert_eq!((0..600).filter(|errno| profile.errors.contains(*errno)).collect::<Vec<_>>(), [1, 13]);
    assert_eq!(profile.min_duration_ns, 5_000);
}

#[test]
fn counting_takes_no_event_from_another_policy() {
    let counts = || policy("a", "  mode: Count\n  timing: true\n  syscalls: [{name: openat}, {name: read}]");
    let profile = profile_of(vec![
        counts(),
        policy("b", "  syscalls: [{name: openat}]\n  filter: {errors: [EPERM]}\n  capture: {argBytes: 64}"),
    ]);
    // What is measured for the one is told to the other, and only its filter matters.
    let expected = [("read", CallWant::CALL | CallWant::COUNT), ("openat", CallWant::CALL | CallWant::BY_ERROR)];
    assert_eq!(wants(&profile.want), expected);
    assert_eq!((profile.arg_bytes, profile.errors.contains(1), profile.errors.contains(13)), (64, true, false));
    assert!(profile.lets_through(nr("openat").into(), Some(1), None));
    assert!(!profile.lets_through(nr("read").into(), None, Some(1)));
    assert_eq!(profile_of(vec![counts()]).arg_bytes, 0);
}

#[test]
fn no_policy_is_a_profile_that_wants_nothing() {
    assert_eq!(profile_of(Vec::new()), Profile::default());
}

#[test]
fn hooks_are_where_records_are_made() {
    let set = set_of(vec![
        policy("a", "  kprobe: [{name: openat}]\n  kretprobe: [{name: read}, {name: execve}, {name: rt_sigreturn}, {name: exit}]"),
        policy("b", "  syscalls: [{name: close}]\n  refused: true\n  selector: {namespaces: [none]}"),
    ]);
    let expected = [
        ("read", CallWant::EXIT),
        ("close", CallWant::CALL | CallWant::REFUSED),
        ("rt_sigreturn", CallWant::CALL),
        ("execve", CallWant::CALL),
        ("exit", CallWant::ENTER),
        ("openat", CallWant::ENTER),
    ];
    assert_eq!(wants(&set.hooks()), expected);
}

#[test]
fn names_are_unique_and_policies_bounded() {
    let named = |name: &str| policy(name, "  syscalls: [{name: openat}]");
    let mut policies: Vec<_> = (0..256).map(|number| named(&format!("p{number:03}"))).collect();
    policies.insert(1, named("p000"));
    policies.push(named("last"));
    let (set, faults) = PolicySet::new(policies);
    assert_eq!(set.policies().len(), MAX_POLICIES);
    let faults: Vec<String> = faults.iter().map(ToString::to_string).collect();
    assert_eq!(
        faults,
        [
            "test.yaml, document 1: metadata.name: a policy named \"p000\" is there already, from test.yaml, document 1; rename one of them",
            "test.yaml, document 1: metadata.name: policy \"last\" is one too many: at most 256 apply at a time; remove or join some",
        ]
    );
    let all: Vec<usize> = set.active().iter().collect();
    assert_eq!(all, (0..256).collect::<Vec<_>>());
}

#[test]
fn containers_of_the_same_policies_share_a_key() {
    let set = set_of(vec![
        policy("all", "  syscalls: [{name: openat}]"),
        policy("one", "  syscalls: [{name: read}]\n  selector: {containers: [c1]}"),
    ]);
    let container = |id: &str| Container::bare(ContainerId(id.to_owned()), "containerd");
    let selected: Vec<Selected> = ["c1", "c2", "c3"].iter().map(|id| set.select(&container(id))).collect();
    assert_eq!(selected[1], selected[2]);
    assert_ne!(selected[0], selected[1]);
    assert_eq!(wants(&set.profile(&selected[1]).want), [("openat", CallWant::EXIT)]);
}

/// Specs over few calls, so that policies meet on them.
fn spec() -> impl Strategy<Value = String> {
    let call = prop::sample::select(vec!["openat", "read", "execve", "exit", "connect"]);
    let list = || proptest::collection::vec(call.clone(), 0..4);
    let errors = proptest::collection::vec(prop::sample::select(vec!["EPERM", "EACCES", "ENOENT"]), 0..3);
    let flags = (any::<bool>(), any::<bool>(), any::<bool>(), any::<bool>());
    (list(), list(), list(), errors, proptest::option::of(0..4_u64), flags).prop_map(
        |(kprobe, kretprobe, syscalls, errors, least_us, (timing, refused, suspend, counts))| {
            let names =
                |list: Vec<&str>| list.iter().map(|name| format!("{{name: {name}}}")).collect::<Vec<_>>().join(", ");
            let least = least_us.map(|us| format!(", minDuration: {us}us")).unwrap_or_default();
            let mode = if counts { "Count" } else { "Events" };
            format!(
                "  mode: {mode}\n  kprobe: [{}]\n  kretprobe: [{}]\n  syscalls: [{}]\n  timing: {timing}\n  refused: {refused}\n  \
                 suspend: {suspend}\n  filter: {{errors: [{}]{least}}}",
                names(kprobe),
                names(kretprobe),
                names(syscalls),
                errors.join(", "),
            )
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]

    /// A call happens; the kernel makes the record that its profile says, or none. Whatever a policy alone would have
    /// wanted of the call must be wanted of that record too.
    #[test]
    fn the_kernels_union_never_drops_what_a_policy_wants(
        specs in proptest::collection::vec(spec(), 1..5),
        name in prop::sample::select(vec!["openat", "read", "execve", "connect"]),
        ret in prop::sample::select(vec![0_i64, 3, -1, -13, -2, -22]),
        duration_us in 0..5_u64,
        is_refused in any::<bool>(),
    ) {
        let policies: Vec<_> = specs.iter().enumerate().map(|(n, spec)| policy(&format!("p{n}"), spec)).collect();
        let set = set_of(policies);
        let selected = set.active();
        let profile = set.profile(&selected);
        let record = |shape: CallWant, refused: bool| {
            let phase = match shape.moments() {
                _ if refused => Phase::Exit,
                CallWant::ENTER => Phase::Enter,
                CallWant::EXIT => Phase::Exit,
                _ => Phase::Call,
            };
            let mut event = event(name, phase);
            event.refused_by_seccomp = refused;
            event.ret = event.ret.map(|_| ret);
            event.duration_ns = event.duration_ns.map(|_| duration_us * 1000);
            event
        };
        let shape = profile.want[nr(name)];
        let made = record(shape, is_refused);
        let lets_through = !shape.is_none()
            && !shape.contains(CallWant::COUNT)
            && (made.phase == Phase::Enter || profile.lets_through(nr(name).into(), made.errno(), made.duration_ns));
        for place in selected.iter() {
            let mut alone = Selected::default();
            alone.insert(place);
            let own = set.policies()[place].calls[nr(name)];
            let wants_own = !own.is_none() && set.wanting(&record(own, is_refused), &alone).is_ok();
            let gets = lets_through && set.wanting(&made, &alone).is_ok();
            prop_assert!(!wants_own || gets, "{place}: {own:?} of {shape:?}: {specs:#?}");
        }
        if let Ok(wanting) = set.wanting(&made, &selected) {
            prop_assert!(lets_through, "{wanting:?} of {shape:?}: {specs:#?}");
        }
    }

    #[test]
    fn every_hook_serves_a_policy_and_every_policy_has_its_hooks(
        specs in proptest::collection::vec(spec(), 0..5),
    ) {
        let policies: Vec<_> = specs.iter().enumerate().map(|(n, spec)| policy(&format!("p{n}"), spec)).collect();
        let set = set_of(policies);
        let hooks = set.hooks();
        let active: Vec<_> = set.policies().iter().filter(|policy| !policy.suspend).collect();
        for number in 0..CALL_NUMBERS as u16 {
            let wanted = active.iter().fold(CallWant::NONE, |want, policy| want | policy.calls[number]);
            prop_assert!(hooks[number].contains(wanted));
            prop_assert_eq!(hooks[number].is_none(), wanted.is_none());
        }
    }
}
