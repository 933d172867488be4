//! The committed manifest against its parts.

use std::process::Command;

use serde_json::Value;

use crate::{items, manifest, object, root, workloads};

#[test]
fn the_committed_manifest_is_what_make_manifests_prints() {
    let image = default_image();
    let printed = Command::new(root().join("scripts/manifests.sh"))
        .args(["--print", env!("CARGO_PKG_VERSION"), &image])
        .output()
        .expect("bash is there");
    assert!(printed.status.success(), "{}", String::from_utf8_lossy(&printed.stderr));
    let committed = std::fs::read(root().join("deployments/kubeward.yaml")).expect("the manifest is committed");
    assert!(printed.stdout == committed, "deployments/kubeward.yaml is not what its parts say: run `make manifests`");
}

fn default_image() -> String {
    format!("kubeward:{}", env!("CARGO_PKG_VERSION"))
}

#[test]
fn every_container_runs_the_one_image() {
    let images: Vec<Value> = workloads(&manifest())
        .iter()
        .flat_map(|workload| items(&workload["spec"]["template"]["spec"]["containers"]).to_vec())
        .map(|container| container["image"].clone())
        .collect();
    assert_eq!(images, vec![Value::from(default_image()); 3]);
}

#[test]
fn the_guides_names_are_there() {
    let agent = object(&manifest(), "DaemonSet kubeward");
    assert_eq!(agent["metadata"]["namespace"], "kubeward");
    assert_eq!(agent["spec"]["template"]["metadata"]["labels"]["app"], "kubeward");
    assert_eq!(agent["spec"]["template"]["spec"]["containers"][0]["name"], "kubeward");
    object(&manifest(), "Namespace kubeward");
    object(&manifest(), "CustomResourceDefinition kubewards.kubeward.kubeward");
    object(&manifest(), "CustomResourceDefinition kubewardnodes.kubeward.kubeward");
}

#[test]
fn every_workload_selects_its_own_pods_and_no_others() {
    let workloads = workloads(&manifest());
    let selects = |workload: &Value, other: &Value| {
        let labels = &other["spec"]["template"]["metadata"]["labels"];
        let wanted = workload["spec"]["selector"]["matchLabels"].as_object().expect("labels");
        wanted.iter().all(|(key, value)| &labels[key] == value)
    };
    for (index, workload) in workloads.iter().enumerate() {
        for (other_index, other) in workloads.iter().enumerate() {
            assert_eq!(selects(workload, other), index == other_index, "{workload}\n{other}");
        }
    }
}

/// A node has exactly one agent, whether it is MicroK8s' or not.
#[test]
fn the_two_daemonsets_share_no_node_and_leave_none_out() {
    let operator = |name: &str| {
        let daemonset = object(&manifest(), name);
        let affinity = &daemonset["spec"]["template"]["spec"]["affinity"]["nodeAffinity"];
        let terms = &affinity["requiredDuringSchedulingIgnoredDuringExecution"]["nodeSelectorTerms"];
        assert_eq!(items(terms).len(), 1);
        let expressions = items(&terms[0]["matchExpressions"]);
        let of_microk8s = expressions.iter().find(|expression| expression["key"] == "microk8s.io/cluster");
        let others: Vec<Value> =
            expressions.iter().filter(|expression| expression["key"] != "microk8s.io/cluster").cloned().collect();
        (of_microk8s.expect("a rule for MicroK8s")["operator"].clone(), others)
    };
    let (plain, microk8s) = (operator("DaemonSet kubeward"), operator("DaemonSet kubeward-microk8s"));
    assert_eq!((plain.0, microk8s.0), ("DoesNotExist".into(), "Exists".into()));
    assert_eq!(plain.1, microk8s.1);
}
