//! What the pods may do to their node. Whoever adds something here adds it to docs/deployment.md, too.

use serde_json::{json, Value};

use crate::{items, manifest, object, workloads};

const AGENTS: [(&str, &str); 2] =
    [("DaemonSet kubeward", "/run"), ("DaemonSet kubeward-microk8s", "/var/snap/microk8s/common/run")];

fn pod(title: &str) -> Value {
    object(&manifest(), title)["spec"]["template"]["spec"].clone()
}

#[test]
fn an_agent_has_two_capabilities_the_hosts_pids_and_nothing_else() {
    for (title, _) in AGENTS {
        let pod = pod(title);
        let of_host: Vec<&str> = ["hostPID", "hostNetwork", "hostIPC", "shareProcessNamespace"]
            .into_iter()
            .filter(|&member| pod.get(member).is_some())
            .collect();
        assert_eq!(of_host, ["hostPID"]);
        let containers = items(&pod["containers"]);
        assert_eq!(containers.len(), 1);
        assert_eq!(
            containers[0]["securityContext"],
            json!({
                "allowPrivilegeEscalation": false,
                "readOnlyRootFilesystem": true,
                "capabilities": {"drop": ["ALL"], "add": ["BPF", "PERFMON"]},
            })
        );
        assert_eq!(
            pod["securityContext"],
            json!({"runAsUser": 0, "runAsGroup": 0, "seccompProfile": {"type": "RuntimeDefault"}})
        );
    }
}

#[test]
fn an_agent_sees_two_folders_of_the_host_and_writes_neither() {
    for (title, run) in AGENTS {
        let pod = pod(title);
        let of_host: Vec<&Value> =
            items(&pod["volumes"]).iter().filter(|volume| volume.get("hostPath").is_some()).collect();
        // Directory: a folder that is not there is no reason to make one on the host.
        let expected = [("run", run), ("tracing", "/sys/kernel/tracing")]
            .map(|(name, path)| json!({"name": name, "hostPath": {"path": path, "type": "Directory"}}));
        assert_eq!(of_host, expected.iter().collect::<Vec<_>>());
        for (name, path) in [("run", run), ("tracing", "/sys/kernel/tracing")] {
            let mounts = items(&pod["containers"][0]["volumeMounts"]);
            let mount = mounts.iter().find(|mount| mount["name"] == name).expect("it is mounted");
            assert_eq!((&mount["mountPath"], &mount["readOnly"]), (&path.into(), &true.into()));
        }
    }
}

#[test]
fn the_controller_has_no_privilege() {
    let pod = pod("Deployment kubeward-controller");
    for member in ["hostPID", "hostNetwork", "hostIPC", "shareProcessNamespace", "tolerations"] {
        assert!(pod.get(member).is_none(), "{member}");
    }
    assert!(items(&pod["volumes"]).iter().all(|volume| volume.get("hostPath").is_none()));
    assert_eq!(pod["securityContext"]["runAsNonRoot"], true);
    assert_eq!(pod["securityContext"]["seccompProfile"]["type"], "RuntimeDefault");
    let expected = json!({
        "allowPrivilegeEscalation": false, "readOnlyRootFilesystem": true, "capabilities": {"drop": ["ALL"]},
    });
    assert_eq!(pod["containers"][0]["securityContext"], expected);
}

#[test]
fn every_container_has_a_memory_limit_and_no_cpu_limit() {
    for workload in workloads(&manifest()) {
        for container in items(&workload["spec"]["template"]["spec"]["containers"]) {
            let resources = &container["resources"];
            assert!(resources["limits"]["memory"].is_string(), "{resources}");
            assert!(resources["limits"].get("cpu").is_none(), "{resources}");
            assert!(resources["requests"]["cpu"].is_string() && resources["requests"]["memory"].is_string());
        }
    }
}

#[test]
fn no_variable_of_a_service_is_read_as_a_flag() {
    for workload in workloads(&manifest()) {
        assert_eq!(workload["spec"]["template"]["spec"]["enableServiceLinks"], false);
    }
}
