//! What the API server makes of our definitions: which documents it takes, and what it shows of them.

use kubeward_agent::kubernetes::crd::definitions;
use kubeward_testkit::kubernetes::ApiServer;
use serde_json::{json, Value};

const POLICIES: &str = "/apis/kubeward.kubeward/v1/kubewards";

fn server() -> ApiServer {
    let server = ApiServer::start().expect("an API server starts");
    server.install_crds(&definitions()).expect("the server takes our definitions");
    server
}

fn policy(name: &str, spec: &Value) -> Value {
    json!({ "apiVersion": "kubeward.kubeward/v1", "kind": "KubeWard", "metadata": { "name": name }, "spec": spec })
}

#[test]
fn kubernetes_server_takes_the_seeds_policy_and_shows_its_columns() {
    let server = server();
    let spec = json!({
        "kprobe": [{ "name": "sys_openat" }, { "name": "sys_execve" }, { "name": "sys_connect" }],
        "kretprobe": [{ "name": "sys_openat" }, { "name": "sys_execve" }],
    });
    let created = server.api().create(POLICIES, &policy("example", &spec)).expect("the policy is taken");
    assert_eq!(created["spec"]["kprobe"], spec["kprobe"]);
    assert_eq!(created["spec"]["kretprobe"], spec["kretprobe"]);
    let table = server.api().table(POLICIES).expect("a table");
    assert_eq!(table[0], ["Name", "Ready", "Calls", "Mode", "Age", "Reason"]);
    assert_eq!(table[1][0], "example");
}
