use k8s_openapi::jiff::Timestamp;

use super::*;
use crate::kubernetes::crd::RefusedEntry;

fn at(second: i64) -> Time {
    Time(Timestamp::from_second(second).expect("a moment"))
}

/// A word about generation 3.
fn word(reason: PolicyReason) -> NodePolicy {
    let is_ready = matches!(
        reason,
        PolicyReason::Applied
            | PolicyReason::PartlyAccepted
            | PolicyReason::Empty
            | PolicyReason::Suspended
            | PolicyReason::Expired
            | PolicyReason::NodeNotSelected
    );
    NodePolicy {
        name: "web".to_owned(),
        uid: "u1".to_owned(),
        observed_generation: 3,
        ready: is_ready,
        reason,
        message: format!("because {reason:?}"),
        calls: 5,
        selects_containers: true,
        covers_refused: true,
        refused: Vec::new(),
        refused_total: 0,
    }
}

fn sum_of(words: &[Option<NodePolicy>], old: &KubeWardStatus, agents: Agents) -> Summary {
    let names: Vec<String> = (1..=words.len()).map(|node| format!("n{node}")).collect();
    let nodes = names.iter().map(String::as_str).zip(words.iter().map(Option::as_ref));
    summarise(Policy { generation: 3, old }, nodes, agents, &at(100))
}

fn sum(words: &[Option<NodePolicy>]) -> KubeWardStatus {
    sum_of(words, &KubeWardStatus::default(), Agents::default()).status
}

/// Status, reason and message.
fn told<'a>(status: &'a KubeWardStatus, type_: &str) -> (&'a str, &'a str, &'a str) {
    let found = status.conditions.iter().find(|condition| condition.type_ == type_).expect("it is always told");
    (&found.status, &found.reason, &found.message)
}

#[test]
fn policy_in_force_on_all_nodes_is_applied() {
    let status = sum(&vec![Some(word(PolicyReason::Applied)); 12]);
    assert_eq!((&*status.ready, status.calls, &*status.reason), ("12/12", 5, "Applied"));
    assert_eq!(told(&status, "Accepted"), ("True", "Accepted", ""));
    assert_eq!(told(&status, "Ready"), ("True", "Applied", "as it should be on 12 nodes"));
    assert_eq!(told(&status, "SelectsContainers").0, "True");
    assert!(status.failing_nodes.is_empty());
    assert!(status.conditions.iter().all(|condition| condition.observed_generation == Some(3)));
}

#[test]
fn unknown_call_is_told_with_the_nearest_name() {
    let message = r#"spec.kprobe[0].name: unknown call "sys_opnat" (did you mean "sys_openat"?)"#;
    let entry = RefusedEntry { field: "spec.kprobe[0].name".to_owned(), message: message.to_owned() };
    let partly = NodePolicy { refused: vec![entry], refused_total: 1, calls: 4, ..word(PolicyReason::PartlyAccepted) };
    let status = sum(&[Some(partly.clone()), Some(partly)]);
    assert_eq!(told(&status, "Accepted"), ("True", "PartlyAccepted", &*format!("left out: {message}")));
    assert_eq!(told(&status, "Ready").0, "True");
    assert_eq!((&*status.ready, &*status.reason, status.calls), ("2/2", "PartlyAccepted", 4));
}

#[test]
fn nodes_of_another_mind_are_counted() {
    let status = sum(&[Some(word(PolicyReason::Applied)), Some(word(PolicyReason::Invalid))]);
    assert_eq!(told(&status, "Accepted"), ("False", "Invalid", "on 1 of 2 nodes: because Invalid"));
    assert_eq!((&*status.ready, &*status.reason), ("1/2", "Invalid"));
}

#[test]
fn word_of_an_earlier_generation_is_none() {
    let old_word = NodePolicy { observed_generation: 2, ..word(PolicyReason::Applied) };
    let summary = sum_of(
        &[Some(word(PolicyReason::Applied)), Some(old_word), None],
        &KubeWardStatus::default(),
        Agents::default(),
    );
    assert_eq!((summary.pending, &*summary.status.ready, &*summary.status.reason), (2, "1/3", "Applying"));
    assert_eq!(told(&summary.status, "Ready"), ("False", "Applying", "2 of 3 nodes have not told yet, n2 among them"));
    let failing: Vec<_> = summary.status.failing_nodes.iter().map(|node| (&*node.node, &*node.message)).collect();
    assert_eq!(failing, [("n2", "has not told of generation 3 yet"), ("n3", "has not told of generation 3 yet")]);
}

#[test]
fn node_that_is_not_selected_is_left_out() {
    let status = sum(&[Some(word(PolicyReason::Applied)), Some(word(PolicyReason::NodeNotSelected))]);
    assert_eq!((&*status.ready, &*status.reason), ("1/1", "Applied"));
    let nowhere = sum(&[Some(word(PolicyReason::NodeNotSelected))]);
    assert_eq!((&*nowhere.ready, &*nowhere.reason), ("0/0", "NoNodes"));
    assert_eq!(told(&nowhere, "Accepted").0, "Unknown");
}

#[test]
fn failing_nodes_are_ten_at_most_and_come_before_those_that_wait() {
    let mut words = vec![None];
    words.extend(vec![Some(word(PolicyReason::ProbeRefused)); 3]);
    let status = sum(&words);
    let nodes: Vec<_> = status.failing_nodes.iter().map(|node| (&*node.node, &*node.reason)).collect();
    assert_eq!(nodes, [("n2", "ProbeRefused"), ("n3", "ProbeRefused"), ("n4", "ProbeRefused"), ("n1", "Applying")]);
    let message = "not in force on 3 of 4 nodes, n2: because ProbeRefused";
    assert_eq!(told(&status, "Ready"), ("False", "NodesFailing", message));
    assert_eq!(sum(&vec![Some(word(PolicyReason::ApplyFailed)); 1000]).failing_nodes.len(), 10);
}

#[test]
fn selector_that_matches_nothing_is_told() {
    let idle = NodePolicy { selects_containers: false, ..word(PolicyReason::Applied) };
    let status = sum(&[Some(idle)]);
    let message = "no container on any node is selected yet";
    assert_eq!(told(&status, "SelectsContainers"), ("False", "NoMatch", message));
    assert_eq!(status.reason, "NoMatch");
}

#[test]
fn suspended_expired_and_empty_are_ready_and_say_what_they_are() {
    for reason in [PolicyReason::Suspended, PolicyReason::Expired, PolicyReason::Empty] {
        let idle = NodePolicy { selects_containers: false, ..word(reason) };
        let status = sum(&[Some(idle)]);
        assert_eq!((&*status.ready, &*status.reason), ("1/1", &*format!("{reason:?}")));
        assert_eq!(told(&status, "Ready").0, "True");
    }
}

#[test]
fn policy_without_any_agent_is_nobodys() {
    let status = sum(&[]);
    assert_eq!((&*status.ready, &*status.reason), ("0/0", "NoNodes"));
    assert_eq!(told(&status, "Accepted").0, "Unknown");
}

#[test]
fn moment_of_a_condition_stays_while_its_status_does() {
    let first = sum(&[Some(word(PolicyReason::Applied))]);
    let old = KubeWardStatus {
        conditions: first
            .conditions
            .iter()
            .map(|condition| Condition { last_transition_time: at(7), ..condition.clone() })
            .collect(),
        ..first
    };
    let same = sum_of(&[Some(word(PolicyReason::Applied))], &old, Agents::default()).status;
    assert!(says_the_same(&old, &same), "a later look at the same is no change");
    let failing = sum_of(&[Some(word(PolicyReason::ApplyFailed))], &old, Agents::default()).status;
    let moments: Vec<_> =
        failing.conditions.iter().map(|one| (&*one.type_, one.last_transition_time.0.as_second())).collect();
    assert_eq!(moments, [("Accepted", 7), ("Ready", 100), ("SelectsContainers", 7)]);
}

#[test]
fn agents_that_never_reported_are_told() {
    let agents = Agents { wanted: Some(12), reporting: 10 };
    let status = sum_of(&vec![Some(word(PolicyReason::Applied)); 10], &KubeWardStatus::default(), agents).status;
    let message = "as it should be on 10 nodes; 2 of 12 agents have not reported: see their pods (kubectl get pods -l app=kubeward -A)";
    assert_eq!(told(&status, "Ready"), ("True", "Applied", message));
}
