//! One agent and its object.

use kubeward_agent::kubernetes::report::Reporting;

use crate::harness::{Cluster, NODES};

#[test]
fn kubernetes_agents_object_is_one_write_belongs_to_its_pod_and_goes_with_it() {
    let cluster = Cluster::start();
    let mut agent = cluster.agent("pod-1", "run-1");
    agent.say("6.1", Vec::new());
    agent.wait_for(&cluster, |state| *state == Reporting::Held);
    let object = cluster.node_now("n1");
    // The generation counts writes of an object without a status subresource.
    assert_eq!((&object["metadata"]["generation"], &object["status"]["kernel"]), (&1.into(), &"6.1".into()));
    let owner = &object["metadata"]["ownerReferences"][0];
    assert_eq!((&owner["kind"], &owner["uid"]), (&"Pod".into(), &"pod-1".into()));
    assert!(object["metadata"]["finalizers"].is_null());
    agent.end(&cluster);
    assert!(cluster.server.api().list(NODES).expect("a list").is_empty());
}

#[test]
fn kubernetes_hundred_changes_are_few_writes_and_the_last_is_there() {
    let cluster = Cluster::start();
    let agent = cluster.agent("pod-1", "run-1");
    agent.say("0", Vec::new());
    cluster.node("n1", |object| object["status"]["kernel"] == "0");
    for change in 1..=100 {
        agent.say(&change.to_string(), Vec::new());
    }
    let object = cluster.node("n1", |object| object["status"]["kernel"] == "100");
    let generation = object["metadata"]["generation"].as_i64().expect("a generation");
    assert!((2..=3).contains(&generation), "{generation} writes");
    // The same again is none: the next is the very next generation.
    agent.say("100", Vec::new());
    agent.say("101", Vec::new());
    let object = cluster.node("n1", |object| object["status"]["kernel"] == "101");
    assert_eq!(object["metadata"]["generation"].as_i64(), Some(generation + 1));
}

#[test]
fn kubernetes_agent_writes_its_newest_word_when_a_lost_server_is_back() {
    let mut cluster = Cluster::start();
    let mut agent = cluster.agent("pod-1", "run-1");
    agent.say("before", Vec::new());
    agent.wait_for(&cluster, |state| *state == Reporting::Held);
    cluster.server.stop().expect("it stops");
    agent.say("while it was away", Vec::new());
    agent.wait_for(&cluster, |state| matches!(state, Reporting::Unreachable { .. }));
    agent.say("newest", Vec::new());
    cluster.server.start_again().expect("it starts");
    agent.wait_for(&cluster, |state| *state == Reporting::Held);
    cluster.node("n1", |object| object["status"]["kernel"] == "newest");
}

#[test]
fn kubernetes_agent_that_starts_before_the_definitions_waits_for_them_and_says_so() {
    let cluster = Cluster::without_definitions();
    let mut agent = cluster.agent("pod-1", "run-1");
    agent.say("6.1", Vec::new());
    let state = agent.wait_for(&cluster, |state| matches!(state, Reporting::Unreachable { .. }));
    let Reporting::Unreachable { why } = state else { panic!("it was just that") };
    assert!(why.contains("kubewardnodes") && why.contains("deployments/kubeward.yaml"), "{why}");
    cluster.install();
    agent.wait_for(&cluster, |state| *state == Reporting::Held);
    assert_eq!(cluster.node_now("n1")["status"]["kernel"], "6.1");
}

#[test]
fn kubernetes_object_that_somebody_edits_or_deletes_is_written_again() {
    let cluster = Cluster::start();
    let mut agent = cluster.agent("pod-1", "run-1");
    agent.say("6.1", Vec::new());
    agent.wait_for(&cluster, |state| *state == Reporting::Held);
    let path = format!("{NODES}/n1");
    cluster.server.api().patch(&path, &serde_json::json!({"status": {"kernel": "forged"}})).expect("it is edited");
    cluster.node("n1", |object| object["status"]["kernel"] == "6.1" && object["metadata"]["generation"] == 3);
    let uid = cluster.node_now("n1")["metadata"]["uid"].clone();
    cluster.server.api().delete(&path).expect("it is deleted");
    cluster.node("n1", |object| object["metadata"]["uid"] != uid && object["status"]["kernel"] == "6.1");
}
