//! The table by call, and policies that count only.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use crate::tracer::{kubeward, trace};
use crate::witness::witness;

/// What the witness counts: tests/witness/results.c.
const COUNTED: &str = "getppid,dup,lseek,openat,mkdir,kill,pread64,getcwd,exit,exit_group";

/// Calls and errors by name.
type Rows = BTreeMap<String, (u64, u64)>;

fn rows_of_witness(text: &str) -> Rows {
    let mut rows = Rows::new();
    for line in text.lines() {
        let [name, result, count] = line.split(' ').collect::<Vec<_>>()[..] else { panic!("{line}") };
        let (calls, errors) = rows.entry(name.to_owned()).or_default();
        let count: u64 = count.parse().expect("a number");
        *calls += count;
        *errors += if ["0", "unfinished"].contains(&result) { 0 } else { count };
    }
    rows
}

fn rows_of_summary(text: &str) -> Rows {
    let mut rows = Rows::new();
    for line in text.lines().skip(2).filter(|line| !line.starts_with("---")) {
        let mut words: Vec<&str> = line.split_whitespace().collect();
        let name = words.pop().expect("a row has a name");
        let numbers: Vec<u64> = words[4..].iter().map(|word| word.parse().expect("a count")).collect();
        let [calls, ref errors @ ..] = numbers[..] else { panic!("{line}") };
        rows.insert(name.to_owned(), (calls, errors.first().copied().unwrap_or(0)));
    }
    let total = rows.remove("total").expect("the last row");
    let sums = rows.values().fold((0, 0), |(calls, errors), row| (calls + row.0, errors + row.1));
    assert_eq!(total, sums, "{text}");
    rows
}

fn policy(dir: &Path, spec: &str) -> String {
    let file = dir.join("policy.yaml");
    let text = format!("apiVersion: kubeward.kubeward/v1\nkind: KubeWard\nmetadata: {{name: counts}}\nspec: {spec}\n");
    fs::write(&file, text).expect("a file");
    file.display().to_string()
}

#[test]
fn root_trace_summary_is_what_the_program_counted() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let (table, start) = (dir.path().join("table"), dir.path().join("start"));
    fs::write(&start, "x").expect("a file");
    let output = kubeward(["trace", "-c", "-e", COUNTED, "-o"])
        .arg(&table)
        .arg("--")
        .arg(witness("results"))
        .args(["8", "2000"])
        .stdin(fs::File::open(&start).expect("it was written"))
        .output()
        .expect("kubeward runs");
    assert!(output.status.success(), "{output:?}");
    let counted = rows_of_witness(&String::from_utf8_lossy(&output.stdout));
    let told = fs::read_to_string(&table).expect("the table");
    assert_eq!(rows_of_summary(&told), counted, "{told}");
    assert_eq!(counted.values().map(|(calls, _)| calls).sum::<u64>(), 8 * 2000 * 16 + 9);
    // What returned was timed; exit_group, which does not, is told without a time.
    let words = |name: &str| -> Vec<String> {
        let line = told.lines().find(|line| line.ends_with(&format!(" {name}"))).expect("it was called");
        line.split_whitespace().map(str::to_owned).collect()
    };
    assert_eq!(words("exit_group"), ["-", "-", "-", "-", "1", "exit_group"]);
    assert!(words("dup")[..4].iter().all(|cell| cell != "-"), "{told}");
}

#[test]
fn root_trace_of_a_counting_policy_tells_the_ledger_alone() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let file = policy(dir.path(), "{mode: Count, syscalls: [{name: mkdir}], filter: {errors: [EPERM]}}");
    let traced = trace(&["-f", &file], ["/bin/sh", "-c", "mkdir a; mkdir a; mkdir b"]);
    assert_eq!(traced.stream.events.len(), 0, "{}", traced.stderr());
    traced.stream.assert_nothing_lost();
    let ledger = &traced.stream.ledgers[0];
    assert_eq!((&ledger["seen"], &ledger["filtered"]["count"]), (&3.into(), &3.into()), "{ledger}");
}

#[test]
fn root_counting_policy_takes_no_event_from_another() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let file = policy(dir.path(), "{mode: Count, syscalls: [{name: mkdir}, {name: rmdir}]}");
    let traced = trace(&["-f", &file, "-e", "mkdir"], ["/bin/sh", "-c", "mkdir a; rmdir a"]);
    let told: Vec<_> =
        traced.stream.events.iter().map(|event| (&*event.syscall.name, event.policies.join(" "))).collect();
    assert_eq!(told, [("mkdir", "-e".to_owned())], "{}", traced.stderr());
    let ledger = &traced.stream.ledgers[0];
    assert_eq!((&ledger["seen"], &ledger["filtered"]["count"]), (&2.into(), &1.into()), "{ledger}");
}
