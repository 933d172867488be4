//! Tests of the whole flow, from a document's text to the verdict on an event.

mod check;
mod documents;
mod judging;
mod kernel_limits;
mod scope;
mod union;

use super::*;

/// A document with this `spec`, each line of it indented by two blanks.
fn document(name: &str, spec: &str) -> String {
    format!("apiVersion: kubeward.kubeward/v1\nkind: KubeWard\nmetadata: {{name: {name}}}\nspec:\n{spec}\n")
}

/// The one policy of a document with this `spec`.
fn policy(name: &str, spec: &str) -> CheckedPolicy {
    let (mut policies, faults) = load("test.yaml", document(name, spec).as_bytes());
    assert_eq!(faults, []);
    policies.remove(0)
}

/// What is wrong with a document with this `spec`, as a user reads it.
fn faults_of(spec: &str) -> Vec<String> {
    let (policies, faults) = load("test.yaml", document("web", spec).as_bytes());
    assert!(policies.is_empty(), "{policies:?}");
    faults.iter().map(ToString::to_string).collect()
}

/// The wants by call name, in number order.
fn wants(calls: &CallWants) -> Vec<(&'static str, CallWant)> {
    let name = |nr: u16| crate::syscall::by_nr(nr.into()).expect("only known calls are wanted").name;
    calls.iter().map(|(nr, want)| (name(nr), want)).collect()
}

fn set_of(policies: Vec<CheckedPolicy>) -> PolicySet {
    let (set, faults) = PolicySet::new(policies);
    assert_eq!(faults, []);
    set
}
