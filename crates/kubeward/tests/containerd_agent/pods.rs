//! Pods and the node as a (fake) API server tells of them, over real containers; and policies that end by themselves.

use anyhow::Result;
use kubeward_testkit::containerd::cri::{Cri, Pod};
use kubeward_testkit::containerd::Containerd;
use serde_json::{json, Value};

use crate::agent::Agent;
use crate::containerd_with_image;
use crate::fake_api::{FakeApi, NODE};
use crate::policy::Policies;
use crate::stream::{is_call, is_container_line, is_notice};

/// Makes and removes a folder again and again.
const BEATS: [&str; 3] = ["/bin/sh", "-c", "while :; do mkdir /tmp/beat; rmdir /tmp/beat; sleep 0.05; done"];

fn pod(app: &str) -> Value {
    let owner =
        json!({"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "web-7d4b9", "uid": "r", "controller": true});
    let labels = json!({"app": app, "pod-template-hash": "7d4b9"});
    json!({"namespace": "shop", "name": "web-0", "uid": "1", "labels": labels, "ownerReferences": [owner]})
}

fn node(canary: &str) -> Value {
    json!({"name": NODE, "uid": "n", "labels": {"canary": canary}})
}

fn is_made(line: &Value, id: &str) -> bool {
    ["mkdir", "mkdirat"].iter().any(|call| is_call(line, id, call, "/tmp/beat"))
}

fn is_removed(line: &Value, id: &str) -> bool {
    ["rmdir", "unlinkat"].iter().any(|call| is_call(line, id, call, "/tmp/beat"))
}

#[test]
fn containerd_pod_that_is_relabelled_enters_and_leaves_a_policy_and_so_does_the_node() -> Result<()> {
    let containerd = Containerd::start_with_cri()?;
    let policies = Policies::new(&[
        ("web", "{syscalls: [{name: mkdir}, {name: mkdirat}], selector: {podSelector: {matchLabels: {app: web}}}}"),
        ("all", "{syscalls: [{name: rmdir}, {name: unlinkat}]}"),
        ("canary", "{syscalls: [{name: rmdir}, {name: unlinkat}], nodeSelector: {matchLabels: {canary: 'true'}}}"),
    ])?;
    let api = FakeApi::start()?;
    api.put("nodes", node("false"));
    api.put("pods", pod("db"));
    let mut agent = Agent::start_in_fake_cluster(&containerd.socket(), policies.folder(), &api)?;
    agent.ready();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    let id = runtime.block_on(async {
        let cri = Cri::connect(&containerd).await?;
        let pod = Pod { namespace: "shop", name: "web-0", uid: "1", labels: &[("app", "created")] };
        let sandbox = cri.run_sandbox(&pod).await?;
        cri.run_container(&pod, &sandbox, "app", &BEATS).await
    })?;
    // The pod was known before its container came, with labels that are younger than the runtime's.
    let came = agent.container(&id, "came");
    assert_eq!(came["k8s"]["labels"], json!({"app": "db", "pod-template-hash": "7d4b9"}));
    let removed = agent.line("a folder removed", |line| is_removed(line, &id));
    assert_eq!(removed["k8s"]["workload"], json!({"kind": "Deployment", "name": "web"}));
    assert_eq!(removed["policies"], json!(["all"]), "the node is no canary");

    api.put("pods", pod("web"));
    let is_labelled =
        |line: &Value, app: &str| is_container_line(line, &id, "changed") && line["k8s"]["labels"]["app"] == app;
    agent.line("the container with its pod's new labels", |line| is_labelled(line, "web"));
    let made = agent.line("a folder made, now that the policy selects the pod", |line| is_made(line, &id));
    assert_eq!(made["policies"], json!(["web"]));

    let start = agent.now();
    api.put("nodes", node("true"));
    let policies_now = |line: &Value| is_removed(line, &id) && line["policies"] == json!(["all", "canary"]);
    agent.line_after(start, "a folder removed, now that the node is a canary", policies_now);

    api.put("pods", pod("db"));
    agent.line_after(start, "the container with its pod's old labels", |line| is_labelled(line, "db"));
    let start = agent.now();
    // Twice removed: between the two it was made.
    agent.line_after(start, "a folder removed", |line| is_removed(line, &id));
    let start = agent.now();
    agent.line_after(start, "the next folder removed", |line| is_removed(line, &id));

    let ended = agent.stop();
    let left = ended.stream.0.iter().rposition(|line| is_labelled(line, "db")).expect("it was awaited above");
    assert!(!ended.stream.0[left..].iter().any(|line| is_made(line, &id)), "the policy selects the pod no more");
    ended.stream.assert_whole(&id);
    Ok(())
}

#[test]
fn containerd_agent_that_may_not_list_pods_says_so_and_goes_on_when_it_may() -> Result<()> {
    let containerd = containerd_with_image()?;
    let policies = Policies::new(&[])?;
    let api = FakeApi::start()?;
    api.forbid(Some("pods"));
    let mut agent = Agent::start_in_fake_cluster(&containerd.socket(), policies.folder(), &api)?;
    agent.ready();
    agent.logged("pods: not allowed to list (403): grant our role the verb list on pods", 0);
    api.forbid(None);
    agent.logged("pods: the API server answers again", 0);
    agent.stop();
    Ok(())
}

#[test]
fn containerd_policy_file_ends_by_itself() -> Result<()> {
    let containerd = containerd_with_image()?;
    let policies = Policies::new(&[])?;
    let mut agent = Agent::start(&containerd.socket(), policies.folder())?;
    agent.ready();
    policies.write("brief", "{syscalls: [{name: mkdirat}], expireAfter: 3s}")?;
    let idle = agent.line("that the policy expired", |line| is_notice(line, "policy_idle"));
    assert_eq!(idle["message"], "policy brief wants nothing here: expired");
    let start = agent.stop().stream;
    let last = start.0.iter().rfind(|line| is_notice(line, "policies")).expect("policies were put in force");
    assert!(last["message"].as_str().is_some_and(|message| message.contains("nothing is attached")), "{last}");
    Ok(())
}
