//! What the other tests rely on: the server forgets and comes back as they expect.

use http::Method;
use kubeward_agent::kubernetes::crd::definitions;
use kubeward_testkit::kubernetes::ApiServer;
use serde_json::{json, Value};

const POLICIES: &str = "/apis/kubeward.kubeward/v1/kubewards";

/// The first event of a watch that goes on from `version`.
fn first_event_since(server: &ApiServer, version: &Value) -> Value {
    let version = version.as_str().expect("an object has a version");
    let watch = format!("{POLICIES}?watch=true&resourceVersion={version}&timeoutSeconds=1");
    server.api().call(Method::GET, &watch, &[], None).expect("an answer").body
}

#[test]
fn kubernetes_watch_from_a_compacted_version_is_answered_410_gone() {
    let mut server = ApiServer::start().expect("an API server starts");
    server.install_crds(&definitions()).expect("the server takes our definitions");
    let policy = json!({ "apiVersion": "kubeward.kubeward/v1", "kind": "KubeWard", "metadata": { "name": "a" } });
    let created = server.api().create(POLICIES, &policy).expect("the policy is taken");
    let version = &created["metadata"]["resourceVersion"];
    server.api().patch(&format!("{POLICIES}/a"), &json!({ "spec": { "timing": true } })).expect("the change is taken");
    assert_eq!(first_event_since(&server, version)["type"], "MODIFIED");

    server.compact().expect("etcd forgets");
    server.stop().expect("the server ran");
    server.start_again().expect("the server starts again");

    let event = first_event_since(&server, version);
    assert_eq!((&event["type"], &event["object"]["code"]), (&json!("ERROR"), &json!(410)), "{event}");
    let kept = server.api().get(&format!("{POLICIES}/a")).expect("what it stored stays");
    assert_eq!(kept["spec"]["timing"], true);
}
