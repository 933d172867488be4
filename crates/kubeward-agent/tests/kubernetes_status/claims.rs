//! Two agents with one node name.

use std::time::{Duration, Instant};

use kubeward_agent::kubernetes::report::Reporting;
use serde_json::json;

use crate::harness::{Cluster, NODES};

const RUN: &str = "kubeward.kubeward/run";

#[test]
fn kubernetes_later_agent_of_the_same_name_is_refused_until_the_first_has_ended() {
    let cluster = Cluster::start();
    let mut first = cluster.agent("pod-1", "run-1");
    first.say("first", Vec::new());
    first.wait_for(&cluster, |state| *state == Reporting::Held);
    let mut later = cluster.agent("pod-2", "run-2");
    later.say("later", Vec::new());
    let refused = later.wait_for(&cluster, |state| matches!(state, Reporting::Refused { .. }));
    assert_eq!(refused, Reporting::Refused { by: "pod kubeward-pod-1 (run run-1)".to_owned() });
    let object = cluster.node_now("n1");
    assert_eq!(
        (&object["status"]["kernel"], &object["metadata"]["annotations"][RUN]),
        (&"first".into(), &"run-1".into())
    );
    first.say("still here", Vec::new());
    cluster.node("n1", |object| object["status"]["kernel"] == "still here");
    first.end(&cluster);
    later.wait_for(&cluster, |state| *state == Reporting::Held);
    cluster.node("n1", |object| object["status"]["kernel"] == "later");
}

#[test]
fn kubernetes_object_of_an_agent_that_does_not_answer_is_taken_over() {
    let cluster = Cluster::start();
    leave_object(&cluster);
    let mut agent = cluster.agent("pod-2", "run-2");
    let started = Instant::now();
    agent.say("6.1", Vec::new());
    agent.wait_for(&cluster, |state| *state == Reporting::Held);
    assert!(started.elapsed() >= Duration::from_secs(10), "the dead have ten seconds too");
    let object =
        cluster.node("n1", |object| object["metadata"]["annotations"].as_object().is_some_and(|all| all.len() == 1));
    let owner = &object["metadata"]["ownerReferences"];
    assert_eq!((&object["metadata"]["annotations"][RUN], &owner[0]["uid"]), (&"run-2".into(), &"pod-2".into()));
    assert_eq!(owner.as_array().map(Vec::len), Some(1), "the dead one's pod does not own it any more");
}

#[test]
fn kubernetes_container_started_again_in_its_pod_goes_on_at_once() {
    let cluster = Cluster::start();
    leave_object(&cluster);
    let mut agent = cluster.agent("pod-1", "run-2");
    let started = Instant::now();
    agent.say("6.1", Vec::new());
    agent.wait_for(&cluster, |state| *state == Reporting::Held);
    assert!(started.elapsed() < Duration::from_secs(10), "nobody was asked");
    assert_eq!(cluster.node_now("n1")["metadata"]["annotations"], json!({ RUN: "run-2" }));
}

#[test]
fn kubernetes_holder_that_is_pushed_out_stops_writing_and_says_who_did_it() {
    let cluster = Cluster::start();
    let mut agent = cluster.agent("pod-1", "run-1");
    agent.say("6.1", Vec::new());
    agent.wait_for(&cluster, |state| *state == Reporting::Held);
    // Even by another run of its own pod: of two that live, one must give way for good.
    let push = json!({"metadata": {"annotations": { RUN: "run-2" }}, "status": {"run": "run-2", "kernel": "other"}});
    cluster.server.api().patch(&format!("{NODES}/n1"), &push).expect("it is pushed out");
    agent.say("6.2", Vec::new());
    agent.wait_for(&cluster, |state| matches!(state, Reporting::Refused { by } if by.contains("run-2")));
    assert_eq!(cluster.node_now("n1")["status"]["kernel"], "other");
}

/// As the agent `run-1` in `pod-1` leaves it when it is killed.
fn leave_object(cluster: &Cluster) {
    let mut agent = cluster.agent("pod-1", "run-1");
    agent.say("6.1", Vec::new());
    agent.wait_for(cluster, |state| *state == Reporting::Held);
    let mut object = cluster.node_now("n1");
    agent.end(cluster);
    for of_the_server in ["uid", "resourceVersion", "creationTimestamp", "generation", "managedFields"] {
        object["metadata"].as_object_mut().expect("metadata").remove(of_the_server);
    }
    // By the manager that agents apply with, so that they own what it says.
    let path = format!("{NODES}/n1?fieldManager=kubeward-agent");
    let apply = [("content-type", "application/apply-patch+yaml")];
    let answer = cluster.server.api().call(http::Method::PATCH, &path, &apply, Some(&object)).expect("an answer");
    assert_eq!(answer.code, 201, "{}", answer.refusal());
}
