//! What agents and the controller write fits the schema, whatever happened to them.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use k8s_openapi::jiff::Timestamp;
use kubeward_agent::kubernetes::crd::{
    definitions, FailingNode, KubeWard, KubeWardNode, KubeWardNodeSpec, KubeWardSpec, KubeWardStatus, NodePolicy,
    NodeProbe, NodeStatus, PolicyReason, RefusedEntry, RefusedProbe, MAX_MESSAGE, MAX_NODE_POLICIES,
    MAX_REFUSED_ENTRIES,
};

use super::server::refusals;

/// Longer than any bound, of letters that are two bytes long.
fn long() -> String {
    "é".repeat(MAX_MESSAGE + 1)
}

fn condition() -> Condition {
    Condition {
        type_: "Ready".to_owned(),
        status: "False".to_owned(),
        reason: "PartlyAccepted".to_owned(),
        message: long(),
        observed_generation: Some(3),
        last_transition_time: Time(Timestamp::UNIX_EPOCH),
    }
}

fn node_policy() -> NodePolicy {
    NodePolicy {
        name: "web".to_owned(),
        uid: "u".to_owned(),
        observed_generation: 1,
        ready: false,
        reason: PolicyReason::Invalid,
        message: long(),
        calls: 512,
        selects_containers: false,
        covers_refused: false,
        refused: vec![RefusedEntry { field: long(), message: long() }; MAX_REFUSED_ENTRIES + 1],
        refused_total: 2048,
    }
}

#[test]
fn the_fullest_node_status_fits_once_it_is_cut() {
    let mut node = KubeWardNode::new("node", KubeWardNodeSpec {});
    let status = NodeStatus {
        run: long(),
        version: long(),
        kernel: long(),
        architecture: long(),
        backend: long(),
        conditions: vec![condition(); 20],
        policies: vec![node_policy(); MAX_NODE_POLICIES + 1],
        probes: vec![NodeProbe { call: long(), backend: long(), symbol: long() }; 600],
        refused_probes: vec![RefusedProbe { call: long(), message: long() }; 600],
    };
    let [_, definition] = definitions();
    node.status = Some(status.clone());
    assert!(!refusals(&definition, &serde_json::to_value(&node).expect("plain data")).is_empty());
    node.status = Some(status.fitted());
    assert_eq!(refusals(&definition, &serde_json::to_value(&node).expect("plain data")), [""; 0]);
}

#[test]
fn the_fullest_policy_status_fits_once_it_is_cut() {
    let mut policy = KubeWard::new("web", KubeWardSpec::default());
    policy.spec.mode = Some("Events".to_owned());
    let status = KubeWardStatus {
        observed_generation: Some(1),
        ready: long(),
        calls: i64::MAX,
        reason: long(),
        conditions: vec![condition(); 20],
        failing_nodes: vec![FailingNode { node: long(), reason: long(), message: long() }; 600],
        last_update_time: Some(Time(Timestamp::UNIX_EPOCH)),
    };
    let [definition, _] = definitions();
    policy.status = Some(status.clone());
    assert!(!refusals(&definition, &serde_json::to_value(&policy).expect("plain data")).is_empty());
    policy.status = Some(status.fitted());
    assert_eq!(refusals(&definition, &serde_json::to_value(&policy).expect("plain data")), [""; 0]);
}

#[test]
fn what_fits_is_left_as_it_is() {
    let status = NodeStatus { run: "é".repeat(253), policies: vec![], ..NodeStatus::default() };
    assert_eq!(status.clone().fitted(), status);
    let mut policy = node_policy();
    policy.message = "é".repeat(1025);
    policy.refused.clear();
    let cut = NodeStatus { policies: vec![policy], ..NodeStatus::default() }.fitted();
    assert_eq!(cut.policies[0].message, "é".repeat(1023) + "…");
}
