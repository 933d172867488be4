//! What becomes of single events.

use std::sync::Arc;

use super::*;
use crate::container::ContainerSlot;
use crate::event::{Arg, ArgValue, Call, Identity, Phase, Probe, Process, SockAddr, Stage, SyscallEvent, Text, Via};
use crate::syscall::{self, ArgKind};

const SECOND_NS: u64 = 1_000_000_000;

pub(super) fn event(name: &str, phase: Phase) -> SyscallEvent {
    let entry = syscall::by_name(name).expect("a call");
    SyscallEvent {
        seq: 1,
        time_ns: 0,
        mono_ns: 0,
        phase,
        stage: Stage::Run,
        probe: Probe::TpBtf,
        identity: Identity::Task,
        call: Call { via: Via::Syscall, nr: entry.nr.into(), entry: Some(entry) },
        args: Vec::new(),
        path: None,
        ret: (phase != Phase::Enter).then_some(0),
        duration_ns: (phase == Phase::Call).then_some(1_000),
        repeated: None,
        refused_by_seccomp: false,
        io_uring: None,
        process: Process {
            pid: 1,
            tid: 1,
            ppid: 0,
            container_pid: 1,
            start_time_ns: 0,
            uid: 0,
            gid: 0,
            comm: Text::default(),
            exe: None,
        },
        slot: ContainerSlot(1),
        container: None,
        policies: Arc::new([]),
    }
}

fn judge(policies: Vec<CheckedPolicy>) -> (Judge, Selected) {
    let set = set_of(policies);
    let selected = set.active();
    (Judge::new(Arc::new(set)), selected)
}

fn wanted(names: &[&str]) -> Verdict {
    let names = names.iter().map(|name| Arc::from(*name)).collect();
    Verdict::Wanted(Wanting { names, coalesce: false })
}

#[test]
fn exactly_the_wanting_policies_are_named_in_name_order() {
    let (mut judge, selected) = judge(vec![
        policy("web", "  syscalls: [{name: openat}]"),
        policy("audit", "  categories: [file]"),
        policy("net", "  categories: [network]"),
        policy("off", "  categories: [file]\n  suspend: true"),
    ]);
    assert_eq!(judge.judge(&event("openat", Phase::Exit), &selected, 0), wanted(&["audit", "web"]));
    assert_eq!(judge.judge(&event("connect", Phase::Exit), &selected, 0), wanted(&["net"]));
    assert_eq!(judge.judge(&event("getpid", Phase::Exit), &selected, 0), Verdict::Filtered(Unwanted::NoPolicy));
}

#[test]
fn events_coalesce_only_where_all_that_want_them_ask_for_it() {
    let (mut judge, selected) = judge(vec![
        policy("a", "  categories: [file]\n  coalesce: true"),
        policy("b", "  syscalls: [{name: openat}]\n  coalesce: true"),
        policy("c", "  syscalls: [{name: mkdir}]"),
        policy("d", "  mode: Count\n  categories: [file]"),
    ]);
    let mut coalesces = |name| match judge.judge(&event(name, Phase::Exit), &selected, 0) {
        Verdict::Wanted(wanting) => wanting.coalesce,
        other => panic!("{name}: {other:?}"),
    };
    assert!(coalesces("openat") && coalesces("rename"));
    assert!(!coalesces("mkdir"), "of which c wants every call");
    assert!(coalesces("openat"), "whichever was asked for before");
}

#[test]
fn only_policies_that_select_the_container_are_asked() {
    let set = set_of(vec![policy("a", "  syscalls: [{name: openat}]"), policy("b", "  syscalls: [{name: openat}]")]);
    let mut only_b = Selected::default();
    only_b.insert(1);
    let mut judge = Judge::new(Arc::new(set));
    assert_eq!(judge.judge(&event("openat", Phase::Exit), &only_b, 0), wanted(&["b"]));
}

#[test]
fn moments_decide_whose_a_record_is() {
    let (mut judge, selected) = judge(vec![
        policy("entry", "  kprobe: [{name: openat}]"),
        policy("return", "  kretprobe: [{name: openat}]"),
        policy("whole", "  syscalls: [{name: openat}]\n  timing: true"),
    ]);
    assert_eq!(judge.judge(&event("openat", Phase::Call), &selected, 0), wanted(&["entry", "return", "whole"]));
    assert_eq!(judge.judge(&event("openat", Phase::Exit), &selected, 0), wanted(&["return", "whole"]));
    assert_eq!(judge.judge(&event("openat", Phase::Enter), &selected, 0), wanted(&["entry", "whole"]));
}

#[test]
fn call_that_ended_its_caller_is_whose_its_return_would_have_been() {
    let (mut judge, selected) = judge(vec![
        policy("return", "  kretprobe: [{name: reboot}]"),
        policy("some", "  syscalls: [{name: reboot}]"),
        policy("failed", "  syscalls: [{name: reboot}]\n  filter: {errors: [EPERM]}"),
    ]);
    assert_eq!(judge.judge(&event("reboot", Phase::Enter), &selected, 0), wanted(&["return", "some"]));
}

#[test]
fn refused_call_is_also_theirs_who_asked_for_refusals() {
    let (mut judge, selected) = judge(vec![
        policy("asked", "  kprobe: [{name: openat}]\n  refused: true"),
        policy("entry", "  kprobe: [{name: openat}]"),
        policy("return", "  syscalls: [{name: openat}]"),
    ]);
    let mut refused = event("openat", Phase::Exit);
    refused.refused_by_seccomp = true;
    assert_eq!(judge.judge(&refused, &selected, 0), wanted(&["asked", "return"]));
}

#[test]
fn filters_narrow_and_the_reason_is_the_last_hurdle() {
    let spec = "  syscalls: [{name: openat}]\n  filter: {errors: [EACCES], minDuration: 5us, pathPrefix: [/etc]}";
    let (mut judge, selected) = judge(vec![policy("strict", spec)]);
    let mut openat = event("openat", Phase::Call);
    assert_eq!(judge.judge(&openat, &selected, 0), Verdict::Filtered(Unwanted::Error));
    openat.ret = Some(-13);
    assert_eq!(judge.judge(&openat, &selected, 0), Verdict::Filtered(Unwanted::Duration));
    openat.duration_ns = Some(5_000);
    assert_eq!(judge.judge(&openat, &selected, 0), Verdict::Filtered(Unwanted::Path));
    openat.path = Some(Text { bytes: b"/etc/shadow"[..].into(), ..Text::default() });
    assert_eq!(judge.judge(&openat, &selected, 0), wanted(&["strict"]));
}

#[test]
fn a_policy_that_counts_wants_no_event() {
    let counts = || policy("counts", "  mode: Count\n  categories: [file]");
    let (mut alone, selected) = judge(vec![counts()]);
    let openat = event("openat", Phase::Call);
    assert_eq!(alone.judge(&openat, &selected, 0), Verdict::Filtered(Unwanted::NoPolicy));
    let (mut both, selected) = judge(vec![counts(), policy("tells", "  syscalls: [{name: openat}]")]);
    assert_eq!(both.judge(&openat, &selected, 0), wanted(&["tells"]));
}

#[test]
fn a_path_may_be_the_opened_files_an_argument_or_a_socket() {
    let spec = "  categories: [file, network]\n  filter: {pathPrefix: [/run]}";
    let (mut judge, selected) = judge(vec![policy("run", spec)]);
    let text = |path: &str| Text { bytes: path.as_bytes().into(), ..Text::default() };
    let with = |kind, value| {
        let mut event = event("connect", Phase::Exit);
        event.args = vec![Arg { name: "x", kind, raw: 1, value }];
        event
    };
    let unix = |path: &str, is_abstract| ArgValue::Sockaddr(SockAddr::Unix { path: text(path), is_abstract });
    let sockaddr = ArgKind::SockaddrIn { len: 2 };
    let cases = [
        (with(ArgKind::Path, ArgValue::Str(text("/run/x"))), true),
        (with(ArgKind::Path, ArgValue::Str(text("run/x"))), false),
        (with(ArgKind::Str, ArgValue::Str(text("/run/x"))), false),
        (with(sockaddr, unix("/run/docker.sock", false)), true),
        (with(sockaddr, unix("/run/docker.sock", true)), false),
        (with(ArgKind::Path, ArgValue::Unreadable), false),
    ];
    for (event, is_wanted) in cases {
        let verdict = judge.judge(&event, &selected, 0);
        let expected = if is_wanted { wanted(&["run"]) } else { Verdict::Filtered(Unwanted::Path) };
        assert_eq!(verdict, expected, "{:?}", event.args);
    }
}

#[test]
fn sampled_only_if_no_wanting_policy_has_a_token() {
    let limited = |name, rate| {
        let spec = format!("  syscalls: [{{name: openat}}]\n  limits: {{eventsPerSecond: {rate}, burst: {rate}}}");
        policy(name, &spec)
    };
    let (mut judge, selected) = judge(vec![limited("one", 1), limited("two", 2)]);
    let openat = event("openat", Phase::Exit);
    let now = SECOND_NS;
    assert_eq!(judge.judge(&openat, &selected, now), wanted(&["one", "two"]));
    // "one" is over its limit and still wants it.
    assert_eq!(judge.judge(&openat, &selected, now), wanted(&["one", "two"]));
    assert_eq!(judge.judge(&openat, &selected, now), Verdict::Sampled);
    let mut elsewhere = openat.clone();
    elsewhere.slot = ContainerSlot(2);
    assert_eq!(judge.judge(&elsewhere, &selected, now), wanted(&["one", "two"]));
    judge.forget(ContainerSlot(1));
    assert_eq!(judge.judge(&openat, &selected, now), wanted(&["one", "two"]));
}

#[test]
fn an_unlimited_policy_keeps_all_events() {
    let (mut judge, selected) = judge(vec![
        policy("limited", "  syscalls: [{name: openat}]\n  limits: {eventsPerSecond: 1}"),
        policy("unlimited", "  syscalls: [{name: openat}]"),
    ]);
    for _ in 0..10 {
        assert_eq!(judge.judge(&event("openat", Phase::Exit), &selected, 0), wanted(&["limited", "unlimited"]));
    }
}

#[test]
fn limits_survive_a_change_of_another_policy() {
    let limited = || policy("m", "  syscalls: [{name: openat}]\n  limits: {eventsPerSecond: 1}");
    let (mut judge, selected) = judge(vec![limited()]);
    let openat = event("openat", Phase::Exit);
    assert_eq!(judge.judge(&openat, &selected, SECOND_NS), wanted(&["m"]));
    let new = Arc::new(set_of(vec![policy("a", "  syscalls: [{name: read}]"), limited()]));
    let selected = new.active();
    judge.replace(new);
    assert_eq!(judge.judge(&openat, &selected, SECOND_NS), Verdict::Sampled);
    assert_eq!(judge.judge(&openat, &selected, 2 * SECOND_NS), wanted(&["m"]));
}

#[test]
fn compat_calls_go_by_their_entry_and_not_by_their_number() {
    let (mut judge, selected) = judge(vec![policy("web", "  syscalls: [{name: openat}]")]);
    let openat = syscall::by_name("openat").expect("a call");
    let mut compat = event("openat", Phase::Exit);
    compat.call = Call { via: Via::Compat, nr: 295, entry: Some(openat) };
    assert_eq!(judge.judge(&compat, &selected, 0), wanted(&["web"]));
    compat.call = Call { via: Via::Compat, nr: openat.nr.into(), entry: None };
    assert_eq!(judge.judge(&compat, &selected, 0), Verdict::Filtered(Unwanted::NoPolicy));
}

#[test]
fn numbers_outside_the_catalogue_are_the_category_others() {
    let (mut judge, selected) = judge(vec![
        policy("all", "  categories: [other]"),
        policy("named", "  syscalls: [{name: unlisted}]"),
        policy("web", "  syscalls: [{name: openat}]"),
    ]);
    let mut event = event("openat", Phase::Exit);
    event.call = Call { via: Via::Syscall, nr: 0x4000_0101, entry: None };
    assert_eq!(judge.judge(&event, &selected, 0), wanted(&["all", "named"]));
}

#[test]
fn what_one_event_was_answered_holds_for_others_only_where_nothing_hangs_on_them() {
    let policies = || {
        vec![
            policy("plain", "  syscalls: [{name: openat}]"),
            policy("strict", "  syscalls: [{name: openat}, {name: mkdir}]\n  filter: {errors: [EPERM]}"),
        ]
    };
    let (mut judge, all) = judge(policies());
    let mut only_plain = Selected::default();
    only_plain.insert(0);
    let failed = |name| SyscallEvent { ret: Some(-1), ..event(name, Phase::Exit) };
    // Twice each, so that the second is answered by what the first left.
    for _ in 0..2 {
        assert_eq!(judge.judge(&event("openat", Phase::Exit), &all, 0), wanted(&["plain"]));
        assert_eq!(judge.judge(&failed("openat"), &all, 0), wanted(&["plain", "strict"]));
        assert_eq!(judge.judge(&failed("openat"), &only_plain, 0), wanted(&["plain"]));
        assert_eq!(judge.judge(&failed("mkdir"), &all, 0), wanted(&["strict"]));
        assert_eq!(judge.judge(&failed("mkdir"), &only_plain, 0), Verdict::Filtered(Unwanted::NoPolicy));
    }
    judge.replace(Arc::new(set_of(vec![policy("new", "  syscalls: [{name: openat}]")])));
    let selected = judge.set().active();
    assert_eq!(judge.judge(&event("openat", Phase::Exit), &selected, 0), wanted(&["new"]));
}
