//! What `kubectl` begins with and the CRD server does not have: the lists of groups, and that a server checks fields itself.
//! What a group holds, the server knows.

use serde_json::{json, Map, Value};

use super::stand_in::kinds;

/// Kinds that the server behind serves by its own name. Ours are listed before they are installed.
const REAL: [(&str, &str); 3] = [
    ("apiextensions.k8s.io", "CustomResourceDefinition"),
    ("kubeward.kubeward", "KubeWard"),
    ("kubeward.kubeward", "KubeWardNode"),
];

/// The answer to a path of discovery that the server behind cannot give.
pub(super) fn answer(path: &str) -> Option<Value> {
    match path.trim_end_matches('/') {
        "/api" => Some(json!({ "kind": "APIVersions", "versions": ["v1"] })),
        "/apis" => Some(json!({ "kind": "APIGroupList", "apiVersion": "v1", "groups": named_groups() })),
        "/openapi/v3" => Some(json!({ "paths": descriptions() })),
        path => description(path.strip_prefix("/openapi/v3/")?),
    }
}

/// Groups with one of their kinds, as often as they have kinds.
fn all() -> impl Iterator<Item = (&'static str, &'static str)> {
    kinds().chain(REAL)
}

fn named_groups() -> Vec<Value> {
    let mut names: Vec<_> = all().map(|(group, _)| group).filter(|group| !group.is_empty()).collect();
    names.dedup();
    let group = |name| {
        let version = json!({ "groupVersion": format!("{name}/v1"), "version": "v1" });
        json!({ "name": name, "versions": [version], "preferredVersion": version })
    };
    names.into_iter().map(group).collect()
}

fn place(group: &str) -> String {
    if group.is_empty() {
        "api/v1".to_owned()
    } else {
        format!("apis/{group}/v1")
    }
}

fn descriptions() -> Map<String, Value> {
    all()
        .map(|(group, _)| (place(group), json!({ "serverRelativeURL": format!("/openapi/v3/{}", place(group)) })))
        .collect()
}

/// Only that a patch of each kind may ask the server to check its fields: then kubectl needs no schema.
fn description(of: &str) -> Option<Value> {
    let checked = json!([
        { "name": "fieldValidation", "in": "query", "schema": { "type": "string" } },
        { "name": "dryRun", "in": "query", "schema": { "type": "string" } },
    ]);
    let patch = |(group, kind): (&str, &str)| {
        let whole_kind = json!({ "group": group, "version": "v1", "kind": kind });
        let patch = json!({ "parameters": checked, "x-kubernetes-group-version-kind": whole_kind });
        (format!("/{kind}"), json!({ "patch": patch }))
    };
    let paths: Map<String, Value> = all().filter(|(group, _)| place(group) == of).map(patch).collect();
    let info = json!({ "title": "fake cluster", "version": "v1" });
    (!paths.is_empty()).then(|| json!({ "openapi": "3.0.0", "info": info, "paths": paths }))
}
