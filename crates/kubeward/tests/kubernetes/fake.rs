//! The fake cluster stands in for a real one as the agent's tests expect.

use std::io::ErrorKind;
use std::process::Command;
use std::time::Duration;

use http::Method;
use kubeward_agent::kubernetes::crd::definitions;
use kubeward_testkit::kubernetes::{Answer, Api, FakeCluster, Fault};
use serde_json::{json, Value};

const SOON: Duration = Duration::from_secs(20);

fn pod(name: &str, node: &str, app: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": { "name": name, "namespace": "default", "uid": format!("uid-of-{name}"), "labels": { "app": app } },
        "spec": { "nodeName": node, "containers": [{ "name": "app", "image": "web:1" }] },
        "status": { "phase": "Running" },
    })
}

fn get(api: &Api, path: &str, accept: &str) -> Answer {
    api.call(Method::GET, path, &[("accept", accept)], None).expect("an answer")
}

#[test]
fn kubernetes_fake_lists_the_pods_of_one_node_with_metadata_alone() {
    let cluster = FakeCluster::start().expect("a fake cluster starts");
    cluster.put(&pod("a", "n1", "web")).expect("a pod");
    cluster.put(&pod("b", "n2", "web")).expect("a pod of another node");
    let agent = cluster.user("agent").expect("a user");

    let accept = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1";
    let list = get(&agent, "/api/v1/pods?fieldSelector=spec.nodeName%3Dn1&resourceVersion=0", accept).body;
    assert_eq!(list["kind"], "PartialObjectMetadataList");
    assert_eq!(list["items"].as_array().map(Vec::len), Some(1), "{list}");
    let found = &list["items"][0];
    assert_eq!((&found["metadata"]["name"], &found["metadata"]["uid"]), (&json!("a"), &json!("uid-of-a")));
    assert_eq!(found["spec"], Value::Null);
    let whole = agent.get("/api/v1/namespaces/default/pods/b").expect("a pod");
    assert_eq!(
        (&whole["apiVersion"], &whole["kind"], &whole["status"]["phase"]),
        (&json!("v1"), &json!("Pod"), &json!("Running"))
    );
}

#[test]
fn kubernetes_fake_tells_a_watch_of_relabelled_and_removed_pods() {
    let cluster = FakeCluster::start().expect("a fake cluster starts");
    let agent = cluster.user("agent").expect("a user");
    let path = "/api/v1/namespaces/default/pods/a";
    cluster.put(&pod("a", "n1", "web")).expect("a pod");
    agent.wait_until(path, SOON, |pod| pod["metadata"]["labels"]["app"] == "web").expect("the watch begins with it");
    std::thread::scope(|scope| {
        let relabelled = scope.spawn(|| agent.wait_until(path, SOON, |pod| pod["metadata"]["labels"]["app"] == "db"));
        cluster.wait_for_request(1, SOON, |request| request.verb == "watch").expect("a second watch");
        cluster.put(&pod("a", "n1", "db")).expect("new labels");
        let pod = relabelled.join().expect("no panic").expect("the watch tells");
        assert_eq!((&pod["apiVersion"], &pod["metadata"]["uid"]), (&json!("v1"), &json!("uid-of-a")));
    });
    cluster.remove(&pod("a", "n1", "db")).expect("removed");
    assert_eq!(get(&agent, path, "application/json").code, 404);
}

#[test]
fn kubernetes_fake_refuses_as_a_real_server_and_says_why() {
    let cluster = FakeCluster::start().expect("a fake cluster starts");
    let agent = cluster.user("agent").expect("a user");
    let role =
        json!({ "kind": "ClusterRole", "rules": [{ "apiGroups": [""], "resources": ["pods"], "verbs": ["list"] }] });
    cluster.grant("agent", &[role]);
    assert_eq!(get(&agent, "/api/v1/pods", "application/json").code, 200);
    let refused = get(&agent, "/api/v1/nodes", "application/json");
    assert_eq!(refused.code, 403);
    let message =
        "nodes is forbidden: User \"agent\" cannot list resource \"nodes\" in API group \"\" at the cluster scope";
    assert_eq!(refused.refusal(), message);

    // An apply that would have to create: the refusal names no verb.
    let role =
        json!({ "kind": "ClusterRole", "rules": [{ "apiGroups": [""], "resources": ["nodes"], "verbs": ["patch"] }] });
    cluster.grant("agent", &[role]);
    let node = json!({ "apiVersion": "v1", "kind": "Node", "metadata": { "name": "n1" } });
    let apply = [("content-type", "application/apply-patch+yaml")];
    let path = "/api/v1/nodes/n1?fieldManager=agent";
    let answer = || agent.call(Method::PATCH, path, &apply, Some(&node)).expect("an answer");
    assert_eq!((answer().code, answer().refusal()), (403, "nodes \"n1\" is forbidden: "));
    cluster.put(&node).expect("a node");
    assert_eq!(answer().code, 200);
    cluster.grant(
        "agent",
        &[json!({ "kind": "ClusterRole", "rules": [{ "apiGroups": [""], "resources": ["pods"], "verbs": ["list"] }] })],
    );

    cluster.set_fault("/api/v1/pods", Fault::Code(500));
    assert_eq!(get(&agent, "/api/v1/pods", "application/json").code, 500);
    cluster.set_fault("/api/v1/pods", Fault::Drop);
    assert!(agent.call(Method::GET, "/api/v1/pods", &[], None).is_err(), "the connection is closed");
    cluster.clear_faults();
    cluster.expire_token("agent");
    let refused = get(&agent, "/api/v1/pods", "application/json");
    assert_eq!((refused.code, refused.refusal()), (401, "Unauthorized"));
}

#[test]
fn kubernetes_fake_records_requests_as_rbac_names_them() {
    let cluster = FakeCluster::start().expect("a fake cluster starts");
    let agent = cluster.user("agent").expect("a user");
    cluster.put(&pod("a", "n1", "web")).expect("the test's own calls are not recorded");
    agent.list("/api/v1/pods").expect("a list");
    let lease =
        json!({ "apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": { "name": "l" }, "spec": {} });
    agent.apply("/apis/coordination.k8s.io/v1/namespaces/kubeward/leases/l", &lease).expect("a lease");
    let _ = agent.patch("/apis/kubeward.kubeward/v1/kubewards/web/status", &json!({}));

    let asked: Vec<_> = cluster
        .requests()
        .into_iter()
        .map(|request| {
            (request.user, request.verb, request.group, request.resource, request.namespace.unwrap_or_default())
        })
        .collect();
    let expected = [
        ("list", "", "pods", ""),
        ("patch", "coordination.k8s.io", "leases", "kubeward"),
        ("create", "coordination.k8s.io", "leases", "kubeward"),
        ("patch", "kubeward.kubeward", "kubewards/status", ""),
    ];
    let expected = expected.map(|(verb, group, resource, namespace)| {
        ("agent".to_owned(), verb.to_owned(), group.to_owned(), resource.to_owned(), namespace.to_owned())
    });
    assert_eq!(asked, expected);
}

/// What `kubectl` prints, as the user of that name; `None` where there is no kubectl.
fn kubectl(cluster: &FakeCluster, args: &[&str]) -> Option<String> {
    let kubeconfig = cluster.kubeconfig("kubectl").expect("a kubeconfig");
    let cache = kubeconfig.with_file_name("kubectl-cache");
    let mut command = Command::new("kubectl");
    command.arg("--kubeconfig").arg(kubeconfig).arg("--cache-dir").arg(cache).args(args);
    match command.output() {
        Err(error) if error.kind() == ErrorKind::NotFound => None,
        output => {
            let output = output.expect("kubectl can be run");
            let said = String::from_utf8_lossy(&output.stderr);
            assert!(output.status.success(), "kubectl {}: {said}", args.join(" "));
            Some(String::from_utf8_lossy(&output.stdout).into_owned())
        }
    }
}

#[test]
fn kubernetes_kubectl_applies_shows_and_deletes_a_policy() {
    let mut cluster = FakeCluster::start().expect("a fake cluster starts");
    cluster.server().install_crds(&definitions()).expect("the server takes our definitions");
    let seed = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/policies/good/seed.yaml");
    let Some(said) = kubectl(&cluster, &["apply", "-f", seed]) else {
        println!("not run: kubectl against the API server (kubectl is not installed)");
        return;
    };
    assert_eq!(said, "kubeward.kubeward.kubeward/monitor-policy created\n");
    let shown = kubectl(&cluster, &["get", "kw"]).expect("kubectl ran before");
    let columns: Vec<_> = shown.lines().next().unwrap_or_default().split_whitespace().collect();
    assert_eq!(columns, ["NAME", "READY", "CALLS", "MODE", "AGE", "REASON"]);
    cluster.put(&pod("web", "n1", "web")).expect("a pod");
    let shown = kubectl(&cluster, &["get", "pods", "-l", "app=web", "-o", "name"]).expect("kubectl ran before");
    assert_eq!(shown, "pod/web\n");
    let said = kubectl(&cluster, &["delete", "kw", "monitor-policy"]).expect("kubectl ran before");
    assert!(said.starts_with("kubeward.kubeward.kubeward \"monitor-policy\" deleted"), "{said}");
}
