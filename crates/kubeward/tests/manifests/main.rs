//! What is installed in a cluster: `deployments/kubeward.yaml` and the Helm chart, as Kubernetes would read them.
//!
//! Tests that start `helm_` need the Helm that `tests/helm/fetch.sh` gets; the others need nothing.

mod chart;
mod committed;
mod privileges;
mod roles;
mod typed;

use std::path::{Path, PathBuf};

use serde_json::Value;

/// The folder of the whole project.
fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// The documents of a YAML text, empty ones left out.
fn documents(yaml: &str) -> Vec<Value> {
    let all: Vec<Value> = serde_saphyr::from_multiple(yaml).unwrap_or_else(|error| panic!("{error}\nin:\n{yaml}"));
    all.into_iter().filter(|document| !document.is_null()).collect()
}

/// What one `kubectl apply` installs.
fn manifest() -> Vec<Value> {
    let path = root().join("deployments/kubeward.yaml");
    documents(&std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display())))
}

/// Kind and name: `DaemonSet kubeward`.
fn title(object: &Value) -> String {
    let text = |value: &Value| value.as_str().unwrap_or("?").to_owned();
    format!("{} {}", text(&object["kind"]), text(&object["metadata"]["name"]))
}

fn object(objects: &[Value], wanted: &str) -> Value {
    objects.iter().find(|object| title(object) == wanted).unwrap_or_else(|| panic!("no {wanted}")).clone()
}

/// The objects that make pods.
fn workloads(objects: &[Value]) -> Vec<Value> {
    let of_pods = |object: &&Value| object["spec"]["template"].is_object();
    objects.iter().filter(of_pods).cloned().collect()
}

/// The items of a list, none where there is no list.
fn items(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}
