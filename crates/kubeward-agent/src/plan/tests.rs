use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use kubeward_core::container::ContainerSlot;
use kubeward_core::cost::Prices;
use kubeward_core::event::{Call, Stage, Via};
use kubeward_core::policy::{load, PolicySet, Selected};
use kubeward_core::render::json::JsonLines;
use kubeward_core::render::line::Stream;
use kubeward_core::syscall::by_name;
use kubeward_core::table::{CallKey, CallResult, CallTable};

use super::{estimate, CallEstimate, Estimate, Measured, Raw};
use crate::control::Tried;
use crate::pipeline::Lines;

const A: ContainerSlot = ContainerSlot(1);
const B: ContainerSlot = ContainerSlot(2);
const ENOENT: CallResult = CallResult::Errno(2);

/// In which the calls of the tables are made.
const SECONDS: u64 = 2;

fn set(policies: &[(&str, &str)]) -> Arc<PolicySet> {
    let documents = policies.iter().map(|(name, spec)| {
        format!("apiVersion: kubeward.kubeward/v1\nkind: KubeWard\nmetadata: {{name: {name}}}\nspec: {spec}\n")
    });
    let (policies, faults) = load("a.yaml", documents.collect::<Vec<_>>().join("---\n").as_bytes());
    assert!(faults.is_empty() || policies.is_empty(), "{faults:?}");
    Arc::new(PolicySet::new(policies).0)
}

fn key(slot: ContainerSlot, name: &str, stage: Stage) -> (CallKey, Call) {
    let entry = by_name(name).expect("the catalogue has it");
    let call = Call { via: Via::Syscall, nr: entry.nr.into(), entry: Some(entry) };
    (CallKey::new(slot, stage, &call), call)
}

fn counts(rows: &[(ContainerSlot, &str, CallResult, u64)]) -> CallTable {
    let mut table = CallTable::new(100);
    for (slot, name, result, count) in rows {
        let (key, call) = key(*slot, name, Stage::Run);
        table.add(key, call, *result, *count);
    }
    table
}

/// All containers of the table are selected by all policies.
fn measured(written: &Arc<PolicySet>, in_force: &Arc<PolicySet>, calls: CallTable) -> Measured {
    let all = Tried { by_trial: written.active(), by_set: in_force.active() };
    let stream = Stream { node: "n".into(), cluster: None, run: "r".into(), event_labels: Vec::new() };
    Measured {
        written: written.clone(),
        in_force: in_force.clone(),
        tried: calls.iter().map(|(key, _)| (key.slot, all)).collect(),
        left_out: 0,
        calls,
        window: Duration::from_secs(SECONDS),
        uncounted: 0,
        raw_before: Raw::None,
        raw: Raw::Exit,
        unhooked: Vec::new(),
        prices: Prices::BENCHED,
        lines: Lines::Json(JsonLines::new(&stream)),
        example: None,
        emits_setup: false,
        others: Vec::new(),
    }
}

fn of(policies: &[(&str, &str)], in_force: &[(&str, &str)], calls: CallTable) -> Estimate {
    estimate(&mut measured(&set(policies), &set(in_force), calls))
}

fn call(estimate: &Estimate, name: &str) -> CallEstimate {
    estimate.calls[&by_name(name).expect("the catalogue has it").nr]
}

/// Nanoseconds a second as percent of a CPU.
fn percent(ns: f64) -> f64 {
    ns / 1e9 * 100.0
}

fn assert_near(found: f64, expected: f64) {
    assert!((found - expected).abs() < 1e-9, "{found}, expected {expected}");
}

#[test]
fn calls_become_events_bytes_and_time() {
    let calls = counts(&[(A, "mkdir", CallResult::Success, 100), (A, "mkdir", ENOENT, 20), (B, "mkdir", ENOENT, 40)]);
    let estimate = of(&[("new", "{syscalls: [{name: mkdir}, {name: rmdir}]}")], &[], calls);
    let mkdir = call(&estimate, "mkdir");
    assert_eq!((mkdir.containers, mkdir.calls, mkdir.errors, mkdir.events), (2, 80.0, 30.0, 80.0));
    let prices = Prices::BENCHED;
    assert_near(mkdir.cpu.kernel, percent(80.0 * prices.moment_record_ns));
    assert_near(mkdir.cpu.user, percent(80.0 * prices.event_ns));
    assert_eq!((mkdir.added_events, mkdir.added_cpu, mkdir.at_most), (80.0, mkdir.cpu, false));
    let line = mkdir.bytes / mkdir.events;
    assert!((300.0..1000.0).contains(&line), "a line of {line} bytes");
    assert_eq!((estimate.calls.len(), estimate.named, estimate.total), (1, 2, mkdir));
}

#[test]
fn filters_decide_on_results_and_the_rest_is_only_counted() {
    let calls = counts(&[(A, "mkdir", CallResult::Success, 100), (A, "mkdir", ENOENT, 20)]);
    let estimate = of(&[("new", "{syscalls: [{name: mkdir}], filter: {errors: [ENOENT]}}")], &[], calls);
    let (mkdir, prices) = (call(&estimate, "mkdir"), Prices::BENCHED);
    assert_eq!((mkdir.calls, mkdir.events), (60.0, 10.0));
    assert_near(mkdir.cpu.kernel, percent(10.0 * prices.moment_record_ns + 50.0 * prices.moment_count_ns));
    assert_near(mkdir.cpu.user, percent(10.0 * prices.event_ns));
}

#[test]
fn policies_that_want_the_same_make_one_event() {
    let calls = counts(&[(A, "mkdir", CallResult::Success, 100), (A, "mkdir", ENOENT, 20)]);
    let policies = [
        ("one", "{syscalls: [{name: mkdir}], filter: {errors: [ENOENT]}}"),
        ("two", "{syscalls: [{name: mkdir}], filter: {errors: [ENOENT, EEXIST]}}"),
        ("three", "{mode: Count, syscalls: [{name: mkdir}]}"),
    ];
    assert_eq!(call(&of(&policies, &[], calls), "mkdir").events, 10.0);
}

#[test]
fn counting_makes_no_event() {
    let calls = counts(&[(A, "mkdir", CallResult::Success, 100)]);
    let mkdir = call(&of(&[("new", "{mode: Count, timing: true, syscalls: [{name: mkdir}]}")], &[], calls), "mkdir");
    assert_eq!((mkdir.calls, mkdir.events, mkdir.bytes, mkdir.cpu.user), (50.0, 0.0, 0.0, 0.0));
    assert_near(mkdir.cpu.kernel, percent(50.0 * Prices::BENCHED.call_count_ns));
}

#[test]
fn limits_are_of_each_container_and_of_all_its_calls() {
    let rows = [
        (A, "mkdir", CallResult::Success, 300),
        (A, "rmdir", CallResult::Success, 100),
        (B, "mkdir", CallResult::Success, 10),
    ];
    let spec = "{syscalls: [{name: mkdir}, {name: rmdir}], limits: {eventsPerSecond: 50, burst: 50}}";
    let estimate = of(&[("new", spec)], &[], counts(&rows));
    // 100 of the first container's 400 are let through in two seconds.
    assert_near(call(&estimate, "mkdir").events, (75.0 + 10.0) / 2.0);
    assert_near(call(&estimate, "rmdir").events, 25.0 / 2.0);
}

#[test]
fn durations_and_paths_are_bounds() {
    let (key, named) = key(A, "mkdir", Stage::Run);
    let mut calls = counts(&[(A, "mkdir", CallResult::Success, 100)]);
    // 60 of about a microsecond, 40 of about a millisecond.
    calls.add_times(key, 10, 60, 60 << 10);
    calls.add_times(key, 20, 40, 40 << 20);
    assert_eq!(named.nr, key.nr);
    let slow = call(&of(&[("new", "{syscalls: [{name: mkdir}], filter: {minDuration: 100us}}")], &[], calls), "mkdir");
    assert!(slow.at_most);
    assert_near(slow.events, 20.0);
    let untimed = counts(&[(A, "mkdir", CallResult::Success, 100)]);
    let untimed = of(&[("new", "{syscalls: [{name: mkdir}], filter: {minDuration: 100us}}")], &[], untimed);
    assert_near(call(&untimed, "mkdir").events, 50.0);
    let calls = counts(&[(A, "mkdir", CallResult::Success, 100)]);
    let below = call(&of(&[("new", "{syscalls: [{name: mkdir}], filter: {pathPrefix: [/etc]}}")], &[], calls), "mkdir");
    assert!(below.at_most);
    assert_near(below.events, 50.0);
}

#[test]
fn what_is_paid_already_is_not_added() {
    let calls = || counts(&[(A, "mkdir", CallResult::Success, 100), (A, "rmdir", CallResult::Success, 100)]);
    let new = [("new", "{syscalls: [{name: mkdir}, {name: rmdir}]}")];
    let estimate = of(&new, &[("old", "{syscalls: [{name: mkdir}]}")], calls());
    let (mkdir, rmdir) = (call(&estimate, "mkdir"), call(&estimate, "rmdir"));
    assert_eq!((mkdir.events, mkdir.added_events, mkdir.added_cpu.total()), (50.0, 0.0, 0.0));
    assert_eq!((rmdir.events, rmdir.added_events, rmdir.added_cpu), (50.0, 50.0, rmdir.cpu));

    // A policy of the same name goes.
    let counted = [("new", "{mode: Count, syscalls: [{name: mkdir}]}")];
    let less = call(&of(&counted, &[("new", "{syscalls: [{name: mkdir}]}")], calls()), "mkdir");
    assert!(less.added_events == -50.0 && less.added_cpu.total() < 0.0, "{less:?}");
}

#[test]
fn calls_that_a_raw_tracepoint_looks_at_anyway_cost_less_more() {
    let written = set(&[("new", "{syscalls: [{name: mkdir}]}")]);
    let mut measured = measured(&written, &set(&[]), counts(&[(A, "mkdir", CallResult::Success, 100)]));
    measured.raw_before = Raw::Exit;
    let mkdir = call(&estimate(&mut measured), "mkdir");
    assert_near(mkdir.cpu.total() - mkdir.added_cpu.total(), percent(50.0 * Prices::BENCHED.passed_exit_ns));
}

#[test]
fn only_selected_containers_and_named_calls_are_in_it() {
    let written = set(&[("new", "{syscalls: [{name: mkdir}]}")]);
    let rows = [(A, "mkdir", CallResult::Success, 10), (B, "mkdir", CallResult::Success, 90), (A, "rmdir", ENOENT, 7)];
    let mut measured = measured(&written, &set(&[]), counts(&rows));
    measured.tried = BTreeMap::from([(A, Tried { by_trial: written.active(), by_set: Selected::default() })]);
    let estimate = estimate(&mut measured);
    assert_eq!((call(&estimate, "mkdir").calls, estimate.calls.len(), estimate.total.containers), (5.0, 1, 1));
}

#[test]
fn runtimes_work_makes_events_only_where_it_is_emitted() {
    let table = || {
        let (key, call) = key(A, "mkdir", Stage::Setup);
        let mut table = CallTable::new(1);
        table.add(key, call, CallResult::Success, 100);
        table
    };
    let (written, nothing) = (set(&[("new", "{syscalls: [{name: mkdir}]}")]), set(&[]));
    let mut quiet = measured(&written, &nothing, table());
    assert_eq!(call(&estimate(&mut quiet), "mkdir").events, 0.0);
    let mut told = Measured { emits_setup: true, ..measured(&written, &nothing, table()) };
    assert_eq!(call(&estimate(&mut told), "mkdir").events, 50.0);
}

#[test]
fn entries_are_events_before_there_is_a_return() {
    let rows = [(A, "mkdir", CallResult::Unfinished, 60), (A, "rmdir", CallResult::Unfinished, 60)];
    let estimate = of(&[("new", "{kprobe: [{name: mkdir}], syscalls: [{name: rmdir}]}")], &[], counts(&rows));
    assert_eq!((call(&estimate, "mkdir").events, call(&estimate, "rmdir").events), (30.0, 0.0));
}
