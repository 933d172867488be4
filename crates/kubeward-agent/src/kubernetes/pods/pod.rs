//! What is kept of a pod's metadata. Pure.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kubeward_core::container::{Container, Labels, PodRef, PodSource, Workload};

/// On the object that kubelet makes of a static pod, so that the API server shows it.
const MIRROR: &str = "kubernetes.io/config.mirror";

/// The uid of a static pod as kubelet chose it; containers carry that one, not the uid of the mirror object.
const STATIC_UID: &str = "kubernetes.io/config.hash";

/// Put by a Deployment on the pods of each of its ReplicaSets, whose names end with it.
const TEMPLATE_HASH: &str = "pod-template-hash";

/// One pod, for all time: a later one of the same name has another uid.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct PodKey {
    pub namespace: String,
    pub name: String,
    /// As the pod's containers carry it.
    pub uid: String,
}

/// A pod as the API server tells of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pod {
    pub key: PodKey,
    pub labels: Labels,
    pub workload: Option<Workload>,
}

impl PodKey {
    /// The pod that a container is part of, if that can be believed: any container may carry labels that name a pod, only a
    /// record of the CRI plugin proves it.
    pub fn of(container: &Container) -> Option<Self> {
        let PodRef { namespace, name, uid, .. } =
            container.pod.as_ref().filter(|pod| pod.source == PodSource::Cri && !pod.uid.is_empty())?;
        Some(Self { namespace: namespace.clone(), name: name.clone(), uid: uid.clone() })
    }
}

impl Pod {
    /// `None` for an object that names no pod, which no API server sends.
    pub fn of(metadata: ObjectMeta) -> Option<Self> {
        let workload = workload(&metadata);
        let uid = static_uid(&metadata).cloned().or(metadata.uid)?;
        let key = PodKey { namespace: metadata.namespace?, name: metadata.name?, uid };
        Some(Self { key, labels: metadata.labels.unwrap_or_default().into(), workload })
    }
}

/// Anybody who may make a pod may write these annotations. That gains nothing: a container is its pod's only if namespace and
/// name are the same too.
fn static_uid(metadata: &ObjectMeta) -> Option<&String> {
    let annotations = metadata.annotations.as_ref()?;
    annotations.get(STATIC_UID).filter(|_| annotations.contains_key(MIRROR))
}

fn workload(metadata: &ObjectMeta) -> Option<Workload> {
    let owner = metadata.owner_references.iter().flatten().find(|owner| owner.controller == Some(true))?;
    let template_hash = metadata.labels.as_ref().and_then(|labels| labels.get(TEMPLATE_HASH));
    let of_deployment = || owner.name.strip_suffix(template_hash?)?.strip_suffix('-').filter(|name| !name.is_empty());
    match owner.kind.as_str() {
        // It owns the mirrors of its static pods: that is where they run, not what made them.
        "Node" => None,
        "ReplicaSet" => Some(match of_deployment() {
            Some(name) => Workload { kind: "Deployment".to_owned(), name: name.to_owned() },
            None => Workload { kind: owner.kind.clone(), name: owner.name.clone() },
        }),
        _ => Some(Workload { kind: owner.kind.clone(), name: owner.name.clone() }),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{json, Value};

    use super::*;

    fn pod(metadata: Value) -> Option<Pod> {
        let mut whole = json!({"namespace": "shop", "name": "web-0", "uid": "5f2c"});
        whole.as_object_mut().expect("an object").extend(metadata.as_object().expect("an object").clone());
        Pod::of(serde_json::from_value(whole).expect("it is metadata"))
    }

    fn owner(kind: &str, name: &str) -> Value {
        json!([{"apiVersion": "v1", "kind": kind, "name": name, "uid": "1", "controller": true}])
    }

    fn workload_of(metadata: Value) -> Option<(String, String)> {
        pod(metadata).expect("it is a pod").workload.map(|workload| (workload.kind, workload.name))
    }

    fn named(kind: &str, name: &str) -> Option<(String, String)> {
        Some((kind.to_owned(), name.to_owned()))
    }

    #[test]
    fn pod_of_a_replica_set_is_its_deployments() {
        let owned = |hash: &str, name: &str| {
            workload_of(json!({"labels": {"pod-template-hash": hash}, "ownerReferences": owner("ReplicaSet", name)}))
        };
        assert_eq!(owned("7d4b9", "web-api-7d4b9"), named("Deployment", "web-api"));
        // Somebody changed the label, or made the ReplicaSet himself.
        assert_eq!(owned("other", "web-api-7d4b9"), named("ReplicaSet", "web-api-7d4b9"));
        assert_eq!(owned("7d4b9", "-7d4b9"), named("ReplicaSet", "-7d4b9"));
        assert_eq!(owned("7d4b9", "x7d4b9"), named("ReplicaSet", "x7d4b9"));
        let unlabelled = json!({"ownerReferences": owner("ReplicaSet", "web-7d4b9")});
        assert_eq!(workload_of(unlabelled), named("ReplicaSet", "web-7d4b9"));
    }

    #[test]
    fn other_owners_are_the_workload_as_they_are() {
        for kind in ["StatefulSet", "DaemonSet", "Job", "SparkApplication"] {
            assert_eq!(workload_of(json!({"ownerReferences": owner(kind, "x")})), named(kind, "x"));
        }
    }

    #[test]
    fn node_and_owner_that_does_not_control_are_no_workload() {
        assert_eq!(workload_of(json!({})), None);
        assert_eq!(workload_of(json!({"ownerReferences": owner("Node", "n1")})), None);
        let beside = json!([{"apiVersion": "v1", "kind": "Thing", "name": "t", "uid": "1"}]);
        assert_eq!(workload_of(json!({"ownerReferences": beside})), None);
    }

    #[test]
    fn mirror_has_the_uid_of_its_static_pod() {
        let hash = "kubernetes.io/config.hash";
        let mirror = json!({"annotations": {hash: "c0ffee", "kubernetes.io/config.mirror": "c0ffee"}});
        assert_eq!(pod(mirror).expect("a pod").key.uid, "c0ffee");
        assert_eq!(pod(json!({"annotations": {hash: "c0ffee"}})).expect("a pod").key.uid, "5f2c");
    }

    #[test]
    fn object_that_names_no_pod_is_none() {
        for absent in ["namespace", "name", "uid"] {
            assert_eq!(pod(json!({absent: null})), None, "{absent}");
        }
    }
}
