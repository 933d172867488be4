//! Which policies apply on a node at a moment.

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime};

use super::*;

const CREATED: SystemTime = SystemTime::UNIX_EPOCH;

fn after(secs: u64) -> SystemTime {
    CREATED + Duration::from_secs(secs)
}

fn labels(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs.iter().map(|(key, value)| (key.to_string(), value.to_string())).collect()
}

/// A policy that was made at [`CREATED`].
fn created(name: &str, spec: &str) -> CheckedPolicy {
    CheckedPolicy { created: Some(CREATED), ..policy(name, &format!("  syscalls: [{{name: openat}}]\n{spec}")) }
}

fn standing(spec: &str, now: SystemTime, node_labels: Option<&[(&str, &str)]>) -> Standing {
    let node_labels = node_labels.map(labels);
    created("web", spec).standing(Here { now, node_labels: node_labels.as_ref() })
}

const CANARY: &str = "  nodeSelector: {matchLabels: {canary: 'true'}}";

#[test]
fn node_selector_goes_by_the_nodes_labels() {
    assert_eq!(standing(CANARY, CREATED, Some(&[("canary", "true"), ("x", "y")])), Standing::Active);
    assert_eq!(standing(CANARY, CREATED, Some(&[("canary", "false")])), Standing::NodeNotSelected);
    assert_eq!(standing(CANARY, CREATED, Some(&[])), Standing::NodeNotSelected);
    let absent = "  nodeSelector: {matchExpressions: [{key: canary, operator: DoesNotExist}]}";
    assert_eq!(standing(absent, CREATED, Some(&[])), Standing::Active);
}

#[test]
fn node_whose_labels_nobody_told_is_not_guessed_about() {
    assert_eq!(standing(CANARY, CREATED, None), Standing::NodeUnknown);
    // Every node is this one too.
    assert_eq!(standing("  nodeSelector: {}", CREATED, None), Standing::Active);
    assert_eq!(standing("", CREATED, None), Standing::Active);
}

#[test]
fn policy_ends_when_its_time_has_passed_and_not_before() {
    assert_eq!(standing("  expireAfter: 1h", after(3599), None), Standing::Active);
    assert_eq!(standing("  expireAfter: 1h", after(3600), None), Standing::Expired);
    assert_eq!(standing("  expireAfter: 0s", CREATED, None), Standing::Expired);
    // Clocks of two machines differ: made after now.
    assert_eq!(standing("  expireAfter: 1h", CREATED - Duration::from_secs(60), None), Standing::Active);
}

#[test]
fn policy_of_unknown_age_never_ends() {
    let of_unknown_age = CheckedPolicy { created: None, ..created("web", "  expireAfter: 1s") };
    assert_eq!(of_unknown_age.expires_at(), None);
    assert_eq!(of_unknown_age.standing(Here { now: after(10), node_labels: None }), Standing::Active);
}

#[test]
fn what_cannot_change_any_more_is_told_first() {
    let all = format!("{CANARY}\n  suspend: true\n  expireAfter: 1m");
    assert_eq!(standing(&all, after(60), None), Standing::Expired);
    assert_eq!(standing(&all, CREATED, Some(&[])), Standing::NodeNotSelected);
    assert_eq!(standing(&all, CREATED, None), Standing::Suspended);
    assert_eq!(standing(&all, CREATED, Some(&[("canary", "true")])), Standing::Suspended);
}

#[test]
fn next_change_is_the_first_end_that_is_still_to_come() {
    let policies = [
        created("a", "  expireAfter: 1m"),
        created("b", "  expireAfter: 2m\n  suspend: true"),
        created("c", "  expireAfter: 3m"),
        created("d", ""),
    ];
    assert_eq!(next_change(&policies, CREATED), Some(after(60)));
    assert_eq!(next_change(&policies, after(60)), Some(after(120)));
    assert_eq!(next_change(&policies, after(150)), Some(after(180)));
    assert_eq!(next_change(&policies, after(180)), None);
}

#[test]
fn agent_without_kubernetes_refuses_a_node_selector_and_nothing_else() {
    let fault = created("web", CANARY).fault_without_node_labels().expect("it cannot be judged");
    assert_eq!(
        fault.to_string(),
        "test.yaml, document 1: spec.nodeSelector: nodeSelector goes by labels that Kubernetes keeps, and this agent runs without it; remove it and give each node its own file"
    );
    for spec in ["", "  nodeSelector: {}", "  expireAfter: 1h", "  suspend: true"] {
        assert_eq!(created("web", spec).fault_without_node_labels(), None, "{spec}");
    }
}
