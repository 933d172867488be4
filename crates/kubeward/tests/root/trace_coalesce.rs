//! Identical calls in a row, as one event with their count.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use crate::events::Event;
use crate::tracer::{kubeward, trace};
use crate::witness::witness;

/// Calls of each thread of tests/witness/loop.c.
const ROUNDS: u64 = 1000;

/// Far more events than seconds that the program runs: a run of calls goes on for a second.
const FEW: usize = 100;

fn policy(dir: &Path) -> String {
    let file = dir.join("policy.yaml");
    let text = "apiVersion: kubeward.kubeward/v1\nkind: KubeWard\nmetadata: {name: folds}\n\
                spec: {coalesce: true, syscalls: [{name: getppid}, {name: dup}]}\n";
    fs::write(&file, text).expect("a file");
    file.display().to_string()
}

/// The command that makes the calls with so many threads.
fn calls(threads: &str, names: &[&str]) -> Vec<String> {
    let program = [witness("loop").display().to_string(), threads.to_owned(), ROUNDS.to_string()];
    program.into_iter().chain(names.iter().map(|name| (*name).to_owned())).collect()
}

fn count(event: &Event) -> u64 {
    event.count.unwrap_or(1)
}

#[test]
fn root_identical_calls_of_each_thread_are_few_events_whose_counts_add_up() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let traced = trace(&["-f", &policy(dir.path())], calls("2", &["getppid"]));
    assert_eq!(traced.code(), 0, "{}", traced.stderr());
    traced.stream.assert_nothing_lost();
    let mut of_thread = BTreeMap::<i64, u64>::new();
    for event in &traced.stream.events {
        *of_thread.entry(event.process.tid).or_default() += count(event);
        assert_eq!(event.count.is_some(), event.last_time.is_some(), "{event:?}");
        assert!(event.last_time.as_ref().is_none_or(|last| *last > event.time), "{event:?}");
        let (one, all) = (event.syscall.duration_ns, event.syscall.total_duration_ns);
        assert!(event.count.is_none() || all > one, "{event:?}");
    }
    assert_eq!(of_thread.values().copied().collect::<Vec<_>>(), [ROUNDS; 2]);
    let events = traced.stream.events.len();
    assert!(events < FEW, "{events} events");
    let ledger = traced.stream.ledgers.iter().find(|ledger| ledger["scope"] == "container").expect("it has one");
    assert_eq!(ledger["filtered"]["coalesced"], 2 * ROUNDS - events as u64, "{ledger}");
}

#[test]
fn root_calls_that_alternate_are_events_of_their_own() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let traced = trace(&["-f", &policy(dir.path())], calls("1", &["getppid", "dup"]));
    assert_eq!(traced.code(), 0, "{}", traced.stderr());
    traced.stream.assert_nothing_lost();
    let names: Vec<&str> = traced.stream.events.iter().map(|event| event.syscall.name.as_str()).collect();
    assert_eq!(names.len() as u64, 2 * ROUNDS);
    assert!(names.chunks(2).all(|pair| pair == ["getppid", "dup"]), "in the order in which they were made");
    assert!(traced.stream.events.iter().all(|event| event.count.is_none()));
}

#[test]
fn root_text_lines_end_with_the_count() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let lines = dir.path().join("lines");
    let output = kubeward(["trace", "-f", &policy(dir.path()), "-o"])
        .arg(&lines)
        .arg("--")
        .args(calls("1", &["dup"]))
        .output()
        .expect("kubeward runs");
    assert!(output.status.success(), "{output:?}");
    let text = fs::read_to_string(&lines).expect("the lines");
    let calls = text.lines().filter(|line| line.contains(" dup("));
    let counts: Vec<u64> =
        calls.map(|line| line.rsplit_once(" x ").map_or(1, |(_, count)| count.parse().expect("a number"))).collect();
    assert!(counts.len() < FEW && counts.iter().sum::<u64>() == ROUNDS, "{text}");
}
