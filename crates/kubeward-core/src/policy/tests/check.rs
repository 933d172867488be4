//! What a policy wants of this kernel, and which of its entries are left out.

use super::*;
use crate::syscall::{self, Category};

fn refusals(policy: &CheckedPolicy) -> Vec<String> {
    policy.refusals.iter().map(ToString::to_string).collect()
}

#[test]
fn lists_say_the_moment() {
    let checked = policy(
        "web",
        "  kprobe: [{name: openat}, {name: close}]\n  kretprobe: [{name: sys_openat}, {name: __x64_sys_read}]\n  syscalls: [{name: unlinkat}]",
    );
    assert_eq!(
        wants(&checked.calls),
        [
            ("read", CallWant::EXIT),
            ("close", CallWant::ENTER),
            ("openat", CallWant::CALL),
            ("unlinkat", CallWant::EXIT)
        ]
    );
}

#[test]
fn timing_and_a_duration_ask_for_both_moments() {
    for spec in ["  timing: true", "  filter: {minDuration: 1ms}"] {
        let checked = policy("web", &format!("  kprobe: [{{name: openat}}]\n  syscalls: [{{name: read}}]\n{spec}"));
        assert_eq!(wants(&checked.calls), [("read", CallWant::CALL), ("openat", CallWant::CALL)]);
    }
}

#[test]
fn calls_that_never_return_have_an_entry_alone() {
    let checked = policy("web", "  kretprobe: [{name: exit}]\n  syscalls: [{name: exit_group}]\n  timing: true");
    assert_eq!(wants(&checked.calls), [("exit", CallWant::ENTER), ("exit_group", CallWant::ENTER)]);
}

#[test]
fn categories_are_all_their_calls_minus_the_excluded() {
    let checked = policy("web", "  categories: [network]\n  exclude: [{name: recvfrom}]");
    let expected: Vec<_> = syscall::in_category(Category::Network)
        .filter(|call| call.name != "recvfrom")
        .map(|call| (call.name, CallWant::EXIT))
        .collect();
    assert_eq!(wants(&checked.calls), expected);
}

#[test]
fn refused_calls_are_asked_for_on_every_call() {
    let checked = policy("web", "  kprobe: [{name: openat}]\n  refused: true");
    assert_eq!(wants(&checked.calls), [("openat", CallWant::CALL | CallWant::REFUSED)]);
}

#[test]
fn unknown_names_are_left_out_and_the_rest_applies() {
    let checked = policy("web", "  kprobe: [{name: sys_opnat}, {name: sys_read}]\n  exclude: [{name: zzzzzzzz}]");
    assert_eq!(wants(&checked.calls), [("read", CallWant::ENTER)]);
    assert_eq!(
        refusals(&checked),
        [
            "spec.kprobe[0].name: unknown call \"sys_opnat\" (did you mean \"sys_openat\"?)",
            "spec.exclude[0].name: unknown call \"zzzzzzzz\" (`kubeward syscalls` lists them)",
        ]
    );
}

#[test]
fn calls_that_no_filter_lets_through_are_refused_if_named() {
    let checked = policy(
        "web",
        "  kprobe: [{name: openat}, {name: read}]\n  syscalls: [{name: read}, {name: exit}]\n  categories: [process]\n  filter: {errors: [EPERM]}",
    );
    assert_eq!(
        refusals(&checked),
        [
            "spec.syscalls[1]: the call never returns, so spec.filter.errors can never let it through (\"exit\")",
            "spec.kprobe[0]: spec.filter.errors needs the call's return; name it under kretprobe or syscalls too (\"openat\")",
        ]
    );
    assert_eq!(checked.calls[syscall::by_name("exit_group").expect("a call")], CallWant::NONE);
    assert_eq!(checked.calls[syscall::by_name("read").expect("a call")], CallWant::CALL);
}

#[test]
fn features_that_are_not_there_are_refused_by_name() {
    let cases = [
        ("  capture: {dataBytes: 64}", "spec.capture.dataBytes: capture.dataBytes is not"),
        ("  capture: {env: [PATH]}", "spec.capture.env: capture.env is not"),
    ];
    for (spec, expected) in cases {
        let faults = faults_of(spec);
        let [fault] = &faults[..] else { panic!("{faults:?}") };
        assert!(fault.contains(expected), "{fault}");
    }
}

#[test]
fn counting_needs_the_return_and_no_more() {
    let checked = policy(
        "web",
        "  mode: Count\n  kprobe: [{name: openat}, {name: exit}]\n  syscalls: [{name: close}, {name: execve}]\n  filter: {errors: [EPERM], minDuration: 1s}\n  limits: {eventsPerSecond: 10, burst: 5}\n  coalesce: true\n  capture: {argBytes: 9}",
    );
    let expected =
        [("close", CallWant::EXIT), ("execve", CallWant::CALL), ("exit", CallWant::ENTER), ("openat", CallWant::EXIT)];
    assert_eq!(wants(&checked.calls), expected);
    assert_eq!((checked.wants_events(), checked.limits, checked.arg_bytes, checked.argv_bytes), (false, None, 0, 0));
    assert_eq!(refusals(&checked), Vec::<String>::new());
    let warnings: Vec<String> = checked.warnings.iter().map(ToString::to_string).collect();
    let told = "spec.filter, spec.limits, spec.coalesce, spec.capture is not looked at: mode Count counts every call that is named";
    assert_eq!(warnings.last().map(String::as_str), Some(told));
    assert!(!warnings.iter().any(|warning| warning.contains("burst")), "{warnings:?}");

    let timed = policy("web", "  mode: Count\n  timing: true\n  kprobe: [{name: openat}]\n  syscalls: [{name: close}]");
    assert_eq!(wants(&timed.calls), [("close", CallWant::CALL), ("openat", CallWant::CALL)]);
    let refused = policy("web", "  mode: Count\n  refused: true\n  syscalls: [{name: close}]");
    assert_eq!(wants(&refused.calls), [("close", CallWant::EXIT | CallWant::REFUSED)]);
}

#[test]
fn likely_mistakes_are_told() {
    let checked = policy(
        "web",
        "  nodeSelector: {matchLabels: {canary: 'true'}}\n  expireAfter: 0s\n  syscalls: [{name: open}, {name: read}, {name: sys_open}, {name: execve}, {name: execveat}]\n  exclude: [{name: creat}, {name: readv}, {name: pread64}, {name: preadv}, {name: preadv2}]\n  filter: {pathPrefix: [/etc]}\n  limits: {eventsPerSecond: 10, burst: 5}",
    );
    let warnings: Vec<String> = checked.warnings.iter().map(ToString::to_string).collect();
    assert_eq!(
        warnings,
        [
            "spec.syscalls[2]: \"sys_open\" is named twice in this list",
            "open is named, but not openat, openat2: programs may use those instead",
            "spec.filter.pathPrefix never lets through read: no path is known of them",
            "spec.limits.burst 5 is below eventsPerSecond 10: bursts are cut to 5 events",
            "spec.nodeSelector goes by labels that Kubernetes keeps: an agent that runs without it refuses the policy",
            "spec.expireAfter is no time at all: the policy never wants anything",
        ]
    );
}

#[test]
fn the_command_lines_set_is_a_policy_of_its_own() {
    let set = syscall::parse_set(&["openat,exit"]).expect("two calls");
    let mut checked = CheckedPolicy::of_calls(&set);
    assert_eq!(&*checked.name, "-e");
    assert_eq!(wants(&checked.calls), [("exit", CallWant::ENTER), ("openat", CallWant::EXIT)]);
    checked.record_whole_calls();
    assert_eq!(wants(&checked.calls), [("exit", CallWant::ENTER), ("openat", CallWant::CALL)]);
}

#[test]
fn description_reads_as_text() {
    let set = set_of(vec![
        policy("web", "  kprobe: [{name: openat}]\n  syscalls: [{name: opnat}, {name: connect}]\n  coalesce: true\n  selector: {namespaces: [default]}"),
        policy("audit", "  kretprobe: [{name: openat}, {name: openat2}]\n  suspend: true"),
        policy("count", "  kretprobe: [{name: connect}, {name: listen}]\n  mode: Count"),
        policy("canary", "  syscalls: [{name: read}]\n  exclude: [{name: readv}, {name: pread64}, {name: preadv}, {name: preadv2}]\n  nodeSelector: {matchLabels: {canary: 'true'}}\n  expireAfter: 90m"),
    ]);
    let expected = "\
policy audit (test.yaml, document 1), suspended
  containers: every container
  calls: 2 at return
  warning: openat is named, but not open, creat: programs may use those instead
policy canary (test.yaml, document 1)
  containers: every container
  nodes: canary=true
  calls: 1 at return
  ends: 1h30m after its creation, or its file's last change
  warning: spec.nodeSelector goes by labels that Kubernetes keeps: an agent that runs without it refuses the policy
policy count (test.yaml, document 1)
  containers: every container
  calls: 2 at return, counted only: they make no events
policy web (test.yaml, document 1)
  containers: namespaces default
  calls: 1 at entry, 1 at return
  identical calls in a row: one event, where every policy that wants them asks for it
  left out: spec.syscalls[0].name: unknown call \"opnat\" (did you mean \"openat\"?)
  warning: openat is named, but not open, openat2, creat: programs may use those instead
together:
  at entry (1): openat
  at return (3): read connect listen
  of these only counted (1): listen
";
    assert_eq!(set.describe().to_string(), expected);
}
