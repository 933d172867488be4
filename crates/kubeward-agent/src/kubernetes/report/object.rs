//! The object as it is applied, and what counts as a change of it.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use serde_json::{json, Value};

use super::claim::{HELD, RUN};
use super::Identity;
use crate::kubernetes::crd::{NodeStatus, GROUP, VERSION};

/// The whole object for a server-side apply.
///
/// `answered` is the claim that is answered with it. With `version` the write is done only while the object is still the
/// one of that version.
pub(super) fn body(us: &Identity, status: &NodeStatus, answered: Option<&str>, version: Option<&str>) -> Value {
    let mut annotations = json!({ RUN: us.run });
    if let Some(claim) = answered {
        annotations[HELD] = json!(claim);
    }
    let mut metadata = json!({ "name": us.node, "namespace": us.namespace, "annotations": annotations });
    if let Some(pod) = &us.pod {
        metadata["ownerReferences"] = json!([{ "apiVersion": "v1", "kind": "Pod", "name": pod.name, "uid": pod.uid }]);
    }
    if let Some(version) = version {
        metadata["resourceVersion"] = json!(version);
    }
    json!({
        "apiVersion": format!("{GROUP}/{VERSION}"),
        "kind": "KubeWardNode",
        "metadata": metadata,
        "spec": {},
        "status": status,
    })
}

/// Whether they say the same: when a condition came to hold is no news by itself.
pub(super) fn says_the_same(one: &NodeStatus, other: &NodeStatus) -> bool {
    let timeless = |status: &NodeStatus| {
        let mut status = status.clone();
        for condition in &mut status.conditions {
            condition.last_transition_time = Time(Default::default());
        }
        status
    };
    timeless(one) == timeless(other)
}

/// Gives each condition the moment since when it has its status: `now`, unless it had it in `before` already.
pub(in crate::kubernetes) fn date(conditions: &mut [Condition], before: &[Condition], now: &Time) {
    for condition in conditions {
        let held = before.iter().find(|old| old.type_ == condition.type_ && old.status == condition.status);
        condition.last_transition_time = held.map_or_else(|| now.clone(), |old| old.last_transition_time.clone());
    }
}

#[cfg(test)]
mod tests {
    use super::super::OwnerPod;
    use super::*;
    use k8s_openapi::jiff::Timestamp;

    fn at(second: i64) -> Time {
        Time(Timestamp::from_second(second).expect("a moment"))
    }

    fn condition(type_: &str, status: &str, second: i64) -> Condition {
        Condition {
            type_: type_.to_owned(),
            status: status.to_owned(),
            last_transition_time: at(second),
            message: String::new(),
            observed_generation: None,
            reason: "Because".to_owned(),
        }
    }

    #[test]
    fn moment_of_a_condition_moves_only_with_its_status() {
        let before = [condition("Ready", "True", 10), condition("Output", "True", 10)];
        let mut now = [condition("Ready", "True", 0), condition("Output", "False", 0), condition("Probes", "True", 0)];
        date(&mut now, &before, &at(20));
        let seconds = now.map(|condition| condition.last_transition_time.0.as_second());
        assert_eq!(seconds, [10, 20, 20]);
    }

    #[test]
    fn moments_alone_are_no_change() {
        let status = |second| NodeStatus { conditions: vec![condition("Ready", "True", second)], ..Default::default() };
        assert!(says_the_same(&status(1), &status(2)));
        let other = NodeStatus { conditions: vec![condition("Ready", "False", 1)], ..Default::default() };
        assert!(!says_the_same(&status(1), &other));
    }

    #[test]
    fn object_belongs_to_the_agents_pod() {
        let us = Identity {
            node: "n1".to_owned(),
            namespace: "kubeward".to_owned(),
            pod: Some(OwnerPod { name: "kubeward-1".to_owned(), uid: "u1".to_owned() }),
            run: "r1".to_owned(),
        };
        let body = body(&us, &NodeStatus::default(), Some("r2 1"), Some("7"));
        let expected = json!({
            "name": "n1", "namespace": "kubeward", "resourceVersion": "7",
            "annotations": { "kubeward.kubeward/run": "r1", "kubeward.kubeward/held": "r2 1" },
            "ownerReferences": [{ "apiVersion": "v1", "kind": "Pod", "name": "kubeward-1", "uid": "u1" }],
        });
        assert_eq!(body["metadata"], expected);
    }
}
