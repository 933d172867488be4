//! Pods and the node as the (fake) cluster tells of them, over real containers.

use anyhow::Result;
use kubeward_testkit::containerd::cri::{Cri, Pod};
use kubeward_testkit::containerd::Containerd;
use kubeward_testkit::kubernetes::{Fault, Request};
use serde_json::{json, Value};

use crate::cluster::Cluster;
use crate::containerd_with_image;
use crate::follow::LIMIT;
use crate::stream::{is_call, is_container_line};
use crate::told::Told;

/// Makes and removes a folder again and again.
const BEATS: [&str; 3] = ["/bin/sh", "-c", "while :; do mkdir /tmp/beat; rmdir /tmp/beat; sleep 0.05; done"];

pub(crate) fn pod(app: &str) -> Value {
    let owner =
        json!({"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "web-7d4b9", "uid": "r", "controller": true});
    let labels = json!({"app": app, "pod-template-hash": "7d4b9"});
    json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {"namespace": "shop", "name": "web-0", "uid": "1", "labels": labels, "ownerReferences": [owner]},
        "spec": {"nodeName": "n1"},
        "status": {"phase": "Running"},
    })
}

pub(crate) fn node(canary: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": "n1", "labels": {"canary": canary}}})
}

/// What is asked for only when the list has been read.
fn is_watch_of(request: &Request, resource: &str) -> bool {
    request.verb == "watch" && request.resource == resource
}

fn is_made(line: &Value, id: &str) -> bool {
    ["mkdir", "mkdirat"].iter().any(|call| is_call(line, id, call, "/tmp/beat"))
}

fn is_removed(line: &Value, id: &str) -> bool {
    ["rmdir", "unlinkat"].iter().any(|call| is_call(line, id, call, "/tmp/beat"))
}

#[test]
fn kubernetes_pod_that_is_relabelled_enters_and_leaves_a_policy_and_so_does_the_node() -> Result<()> {
    let (containerd, cluster) = (Containerd::start_with_cri()?, Cluster::start_fake()?);
    let making = json!([{"name": "mkdir"}, {"name": "mkdirat"}]);
    let removing = json!([{"name": "rmdir"}, {"name": "unlinkat"}]);
    cluster.create("web", json!({"syscalls": making, "selector": {"podSelector": {"matchLabels": {"app": "web"}}}}))?;
    cluster.create("all", json!({"syscalls": removing}))?;
    cluster.create("canary", json!({"syscalls": removing, "nodeSelector": {"matchLabels": {"canary": "true"}}}))?;
    cluster.server.put(&node("false"))?;
    cluster.server.put(&pod("db"))?;
    let mut agent = cluster.agent(&containerd, "n1")?;
    cluster.server.wait_for_request(0, LIMIT, |request| is_watch_of(request, "pods"))?;
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

    cluster.server.put(&pod("web"))?;
    let is_labelled =
        |line: &Value, app: &str| is_container_line(line, &id, "changed") && line["k8s"]["labels"]["app"] == app;
    agent.line("the container with its pod's new labels", |line| is_labelled(line, "web"));
    let made = agent.line("a folder made, now that the policy selects the pod", |line| is_made(line, &id));
    assert_eq!(made["policies"], json!(["web"]));

    let start = agent.now();
    cluster.server.put(&node("true"))?;
    let policies_now = |line: &Value| is_removed(line, &id) && line["policies"] == json!(["all", "canary"]);
    agent.line_after(start, "a folder removed, now that the node is a canary", policies_now);

    cluster.server.put(&pod("db"))?;
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

/// What a kubelet shows the API server of a pod whose description is a file on the node: its uid is another.
fn mirror(uid_of_containers: &str) -> Value {
    let annotations = json!({"kubernetes.io/config.mirror": "a", "kubernetes.io/config.hash": uid_of_containers});
    json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {"namespace": "kube-system", "name": "proxy-n1", "labels": {"tier": "node"}, "annotations": annotations},
        "spec": {"nodeName": "n1", "hostNetwork": true},
        "status": {"phase": "Pending"},
    })
}

#[test]
fn kubernetes_init_container_of_a_static_pod_in_the_hosts_network_is_selected_by_its_mirrors_labels() -> Result<()> {
    let (containerd, cluster) = (Containerd::start_with_cri()?, Cluster::start_fake()?);
    let node_pods = json!({"matchLabels": {"tier": "node"}});
    let making = json!([{"name": "mkdir"}, {"name": "mkdirat"}]);
    let selector = json!({"podSelector": node_pods, "containers": ["init"]});
    cluster.create("init", json!({"syscalls": making, "selector": selector}))?;
    let removing = json!([{"name": "rmdir"}, {"name": "unlinkat"}]);
    cluster.create("pod", json!({"syscalls": removing, "selector": {"podSelector": node_pods}}))?;
    cluster.server.put(&mirror("5f2c"))?;
    let mut agent = cluster.agent(&containerd, "n1")?;
    cluster.server.wait_for_request(0, LIMIT, |request| is_watch_of(request, "pods"))?;
    // The init container is brief: nothing may be late for it.
    cluster.node_policy("n1", "init", "Applied")?;
    cluster.node_policy("n1", "pod", "Applied")?;
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    let (init, app) = runtime.block_on(async {
        let cri = Cri::connect(&containerd).await?;
        let pod = Pod { namespace: "kube-system", name: "proxy-n1", uid: "5f2c", labels: &[] };
        let sandbox = cri.run_sandbox(&pod).await?;
        let once = ["/bin/sh", "-c", "mkdir /tmp/beat; rmdir /tmp/beat"];
        let init = cri.run_container(&pod, &sandbox, "init", &once).await?;
        anyhow::Ok((init, cri.run_container(&pod, &sandbox, "app", &BEATS).await?))
    })?;
    let made = agent.line("the folder that init made", |line| is_made(line, &init));
    assert_eq!((&made["policies"], &made["container"]["name"]), (&json!(["init"]), &json!("init")));
    assert_eq!(made["k8s"], json!({"namespace": "kube-system", "pod": "proxy-n1", "uid": "5f2c"}));
    let removed = agent.line("the folder that init removed", |line| is_removed(line, &init));
    assert_eq!(removed["policies"], json!(["pod"]));
    // Twice removed: between the two it was made.
    agent.line("a folder removed by app", |line| is_removed(line, &app));
    let start = agent.now();
    agent.line_after(start, "the next folder removed by app", |line| is_removed(line, &app));

    let stream = agent.stop().stream;
    assert!(!stream.0.iter().any(|line| is_made(line, &app)), "the policy names the container init");
    let is_of_others = |line: &&Value| {
        line["kind"] == "syscall" && ![&init, &app].iter().any(|id| line["container"]["id"] == id.as_str())
    };
    assert_eq!(stream.0.iter().find(is_of_others), None, "the host's network makes nobody else part of the pod");
    [&init, &app].iter().for_each(|id| stream.assert_whole(id));
    Ok(())
}

#[test]
fn kubernetes_agent_that_may_not_list_pods_says_so_and_goes_on_when_it_may() -> Result<()> {
    let (containerd, cluster) = (containerd_with_image()?, Cluster::start_fake()?);
    cluster.server.set_fault("/api/v1/pods", Fault::Code(403));
    cluster.create("web", json!({"syscalls": [{"name": "mkdirat"}]}))?;
    let mut agent = cluster.agent(&containerd, "n1")?;
    agent.logged("pods: not allowed to list (403): grant our role the verb list on pods", 0);
    let mut told = Told::start(&containerd, "web")?;
    agent.sees(&mut told, "mkdirat")?;
    cluster.server.clear_faults();
    agent.logged("pods: the API server answers again", 0);
    agent.stop().stream.assert_whole(&told.id);
    Ok(())
}
