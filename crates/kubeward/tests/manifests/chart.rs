//! The Helm chart, rendered by Helm's own code.

use std::collections::BTreeMap;
use std::process::Command;

use serde_json::{json, Value};

use crate::typed::faults;
use crate::{documents, items, manifest, object, root, title};

/// The chart's objects with these values.
fn rendered(values: &Value) -> Vec<Value> {
    let fetched = Command::new(root().join("tests/helm/fetch.sh")).output().expect("sh is there");
    assert!(fetched.status.success(), "{}", String::from_utf8_lossy(&fetched.stderr));
    let python = String::from_utf8(fetched.stdout).expect("a path");
    let output = Command::new(python.trim_end())
        .arg(root().join("tests/helm/render.py"))
        .arg(root().join("deployments/helm/kubeward"))
        .arg(values.to_string())
        .output()
        .expect("fetch.sh prints a program");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let objects = documents(&String::from_utf8(output.stdout).expect("YAML is UTF-8"));
    let faults: Vec<String> = objects.iter().flat_map(faults).collect();
    assert!(faults.is_empty(), "{}", faults.join("\n"));
    objects
}

fn by_title(objects: Vec<Value>) -> BTreeMap<String, Value> {
    let count = objects.len();
    let named: BTreeMap<String, Value> = objects.into_iter().map(|object| (title(&object), sorted(object))).collect();
    assert_eq!(named.len(), count, "two objects have one kind and name");
    named
}

/// The order of environment variables means nothing here, since none refers to another.
fn sorted(mut object: Value) -> Value {
    let containers = object.pointer_mut("/spec/template/spec/containers").and_then(Value::as_array_mut);
    for container in containers.into_iter().flatten() {
        if let Some(variables) = container["env"].as_array_mut() {
            variables.sort_by_key(|variable| variable["name"].to_string());
        }
    }
    object
}

#[test]
fn helm_chart_renders_the_objects_of_the_manifest() {
    let (ours, charts) = (by_title(manifest()), by_title(rendered(&json!({}))));
    assert_eq!(ours.keys().collect::<Vec<_>>(), charts.keys().collect::<Vec<_>>());
    for (title, object) in &ours {
        assert_eq!(object, &charts[title], "{title}");
    }
}

#[test]
fn helm_values_reach_their_objects() {
    let objects = rendered(&json!({
        "image": "registry.example/kubeward@sha256:0",
        "imagePullSecrets": [{"name": "registry"}],
        "namespace": {"name": "watch", "create": false},
        "priorityClass": {"name": "system-node-critical", "create": false},
        "agent": {
            "extraArgs": ["--log-level", "debug"],
            "extraEnv": [{"name": "KUBEWARD_CLUSTER_NAME", "value": "prod"}],
            "podAnnotations": {"container.apparmor.security.beta.kubernetes.io/kubeward": "unconfined"},
            "nodeSelector": {"canary": "true"},
            "tolerations": [],
            "resources": {"limits": {"memory": "1Gi"}},
            "maxUnavailable": 1,
            "microk8s": false,
            "privileged": true,
            "seLinuxOptions": {"type": "spc_t"},
            "seccompProfile": "Unconfined",
        },
        "controller": {
            "extraArgs": ["--log-level", "debug"],
            "podAnnotations": {"note": "x"},
            "nodeSelector": {"canary": "true"},
            "tolerations": [{"operator": "Exists"}],
            "resources": {"limits": {"memory": "64Mi"}},
        },
    }));
    let titles: Vec<String> = objects.iter().map(title).collect();
    for absent in ["Namespace watch", "PriorityClass system-node-critical", "DaemonSet kubeward-microk8s"] {
        assert!(!titles.iter().any(|title| title == absent), "{titles:?}");
    }
    let namespaces = objects.iter().filter_map(|object| object["metadata"].get("namespace"));
    assert!(namespaces.clone().count() > 4 && namespaces.clone().all(|namespace| namespace == "watch"));

    let agent = object(&objects, "DaemonSet kubeward");
    let (pod, container) = (&agent["spec"]["template"]["spec"], &agent["spec"]["template"]["spec"]["containers"][0]);
    assert_eq!(container["image"], "registry.example/kubeward@sha256:0");
    assert_eq!(container["args"], json!(["agent", "--log-level", "debug"]));
    assert!(items(&container["env"]).contains(&json!({"name": "KUBEWARD_CLUSTER_NAME", "value": "prod"})));
    assert_eq!(
        container["securityContext"],
        json!({"privileged": true, "readOnlyRootFilesystem": true, "seLinuxOptions": {"type": "spc_t"}})
    );
    assert_eq!(container["resources"]["limits"]["memory"], "1Gi");
    assert_eq!(pod["securityContext"]["seccompProfile"]["type"], "Unconfined");
    assert_eq!(pod["nodeSelector"], json!({"canary": "true"}));
    assert_eq!(pod["imagePullSecrets"], json!([{"name": "registry"}]));
    assert_eq!(pod["priorityClassName"], "system-node-critical");
    assert!(pod.get("tolerations").is_none());
    assert_eq!(agent["spec"]["updateStrategy"]["rollingUpdate"]["maxUnavailable"], 1);
    let annotations = &agent["spec"]["template"]["metadata"]["annotations"];
    assert_eq!(annotations["container.apparmor.security.beta.kubernetes.io/kubeward"], "unconfined");

    let controller = object(&objects, "Deployment kubeward-controller");
    let pod = &controller["spec"]["template"]["spec"];
    assert_eq!(pod["nodeSelector"]["canary"], "true");
    assert_eq!(pod["nodeSelector"]["kubernetes.io/os"], "linux");
    assert_eq!(pod["tolerations"], json!([{"operator": "Exists"}]));
    assert_eq!(pod["containers"][0]["args"], json!(["controller", "--log-level", "debug"]));
    assert_eq!(pod["containers"][0]["resources"]["limits"]["memory"], "64Mi");
    assert_eq!(controller["spec"]["template"]["metadata"]["annotations"]["note"], "x");
}
