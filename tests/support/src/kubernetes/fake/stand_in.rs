//! Resources that the CRD server lacks, stood in for by custom resources of another group: so lists, watches, bookmarks,
//! versions, selectors and partial metadata are Kubernetes' own code here too. What is faked is the group's name.

use serde_json::{json, Value};

/// A resource and how it is asked for.
struct StandIn {
    group: &'static str,
    kind: &'static str,
    plural: &'static str,
    namespaced: bool,
    /// What a field selector may name beside the object's name.
    selectable: &'static [&'static str],
}

const STAND_INS: [StandIn; 7] = [
    StandIn {
        group: "",
        kind: "Pod",
        plural: "pods",
        namespaced: true,
        selectable: &[".spec.nodeName", ".status.phase"],
    },
    StandIn { group: "", kind: "Node", plural: "nodes", namespaced: false, selectable: &[] },
    StandIn { group: "", kind: "Namespace", plural: "namespaces", namespaced: false, selectable: &[] },
    StandIn { group: "", kind: "Event", plural: "events", namespaced: true, selectable: &[] },
    StandIn { group: "apps", kind: "DaemonSet", plural: "daemonsets", namespaced: true, selectable: &[] },
    StandIn { group: "events.k8s.io", kind: "Event", plural: "events", namespaced: true, selectable: &[] },
    StandIn { group: "coordination.k8s.io", kind: "Lease", plural: "leases", namespaced: true, selectable: &[] },
];

/// Where a uid lives that a test has chosen: the server gives each object one of its own.
const UID: &str = "fake.kubeward/uid";

/// `core.fake` for the group without a name, `apps.fake` for apps, ...
fn fake_group(group: &str) -> String {
    let first = group.split('.').next().filter(|first| !first.is_empty());
    format!("{}.fake", first.unwrap_or("core"))
}

fn api_version(group: &str) -> String {
    if group.is_empty() {
        "v1".to_owned()
    } else {
        format!("{group}/v1")
    }
}

pub(super) fn definitions() -> Vec<Value> {
    STAND_INS.iter().map(StandIn::definition).collect()
}

impl StandIn {
    fn definition(&self) -> Value {
        let group = fake_group(self.group);
        let any = |properties: Value| json!({ "type": "object", "x-kubernetes-preserve-unknown-fields": true, "properties": properties });
        let spec = any(json!({ "nodeName": { "type": "string" } }));
        let status = any(json!({ "phase": { "type": "string" } }));
        let selectable: Vec<Value> = self.selectable.iter().map(|path| json!({ "jsonPath": path })).collect();
        json!({
            "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
            "metadata": { "name": format!("{}.{group}", self.plural) },
            "spec": {
                "group": group,
                "scope": if self.namespaced { "Namespaced" } else { "Cluster" },
                "names": { "plural": self.plural, "kind": self.kind, "listKind": format!("{}List", self.kind) },
                "versions": [{
                    "name": "v1", "served": true, "storage": true, "selectableFields": selectable,
                    "schema": { "openAPIV3Schema": any(json!({ "spec": spec, "status": status })) },
                }],
            },
        })
    }
}

/// The group and the kind of each.
pub(super) fn kinds() -> impl Iterator<Item = (&'static str, &'static str)> {
    STAND_INS.iter().map(|each| (each.group, each.kind))
}

/// The group that a path asks for, when another stands in for it.
pub(super) fn group_of_path(path: &str) -> Option<&'static str> {
    let group = match path.strip_prefix("/apis/") {
        Some(rest) => rest.split('/').next()?,
        None if path == "/api/v1" || path.starts_with("/api/v1/") => "",
        None => return None,
    };
    STAND_INS.iter().map(|each| each.group).find(|each| *each == group)
}

/// The path at the CRD server.
pub(super) fn path_of_stand_in(path: &str, group: &str) -> String {
    let rest = path.strip_prefix(&format!("/apis/{group}/v1")).or_else(|| path.strip_prefix("/api/v1"));
    format!("/apis/{}/v1{}", fake_group(group), rest.unwrap_or_default())
}

/// Where an object is, of a kind that is stood in for.
pub(super) fn path_of(object: &Value) -> Option<String> {
    let each =
        STAND_INS.iter().find(|each| object["kind"] == each.kind && object["apiVersion"] == api_version(each.group))?;
    let prefix = if each.group.is_empty() { "/api/v1".to_owned() } else { format!("/apis/{}/v1", each.group) };
    let collection = match object["metadata"]["namespace"].as_str() {
        Some(namespace) if each.namespaced => format!("{prefix}/namespaces/{namespace}/{}", each.plural),
        None if !each.namespaced => format!("{prefix}/{}", each.plural),
        _ => return None,
    };
    Some(format!("{collection}/{}", object["metadata"]["name"].as_str()?))
}

/// An object on its way to the server.
pub(super) fn disguise(object: &mut Value, group: &str) {
    if object["apiVersion"] == api_version(group) {
        object["apiVersion"] = api_version(&fake_group(group)).into();
    }
    let Some(metadata) = object.get_mut("metadata").and_then(Value::as_object_mut) else { return };
    if let Some(uid) = metadata.remove("uid") {
        let annotations = metadata.entry("annotations").or_insert_with(|| json!({}));
        annotations[UID] = uid;
    }
}

/// An object, a list or a watch's event on its way back.
pub(super) fn undisguise(answer: &mut Value, group: &str) {
    if let Some(items) = answer.get_mut("items").and_then(Value::as_array_mut) {
        items.iter_mut().for_each(|item| undisguise(item, group));
    }
    if let Some(object) = answer.get_mut("object") {
        undisguise(object, group);
    }
    // The latter in a list of resources.
    for version in ["apiVersion", "groupVersion"] {
        if answer[version] == api_version(&fake_group(group)) {
            answer[version] = api_version(group).into();
        }
    }
    let Some(metadata) = answer.get_mut("metadata").and_then(Value::as_object_mut) else { return };
    let Some(annotations) = metadata.get_mut("annotations").and_then(Value::as_object_mut) else { return };
    if let Some(uid) = annotations.remove(UID) {
        if annotations.is_empty() {
            metadata.remove("annotations");
        }
        metadata.insert("uid".to_owned(), uid);
    }
}
