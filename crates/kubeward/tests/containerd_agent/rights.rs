//! Rights as RBAC counts them, of requests and of the roles that `deployments/kubeward.yaml` installs.

use std::collections::BTreeSet;
use std::path::Path;

use kubeward_testkit::kubernetes::Request;
use serde_json::{json, Value};

/// One verb on one resource: in a namespace, or in the whole cluster.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Right {
    pub(crate) namespace: Option<String>,
    pub(crate) verb: String,
    pub(crate) group: String,
    /// The path, where a request is for no resource.
    pub(crate) resource: String,
}

impl Right {
    /// What a request needs.
    pub(crate) fn of(request: Request) -> Self {
        let Request { namespace, verb, group, resource, path, .. } = request;
        Self { namespace, verb, group, resource: if resource.is_empty() { path } else { resource } }
    }

    /// The role that grants this and nothing else.
    pub(crate) fn role(&self) -> Value {
        let kind = if self.namespace.is_some() { "Role" } else { "ClusterRole" };
        let rule = json!({"apiGroups": [self.group], "resources": [self.resource], "verbs": [self.verb]});
        json!({"kind": kind, "metadata": {"namespace": self.namespace}, "rules": [rule]})
    }
}

/// What the roles that are bound to a service account grant it.
pub(crate) fn granted(account: &str) -> BTreeSet<Right> {
    let objects = manifest();
    let bindings = objects.iter().filter(|object| kind(object).ends_with("Binding"));
    let bound = bindings.filter(|binding| items(&binding["subjects"]).iter().any(|subject| subject["name"] == account));
    bound.flat_map(|binding| rights_of(role_of(binding, &objects))).collect()
}

/// The role that a binding names. A ClusterRole that a RoleBinding names would grant less than it says: there is none.
fn role_of<'a>(binding: &Value, objects: &'a [Value]) -> &'a Value {
    let named = &binding["roleRef"];
    assert_eq!(format!("{}Binding", kind(named)), kind(binding), "{binding}");
    let is_it = |object: &&Value| kind(object) == kind(named) && object["metadata"]["name"] == named["name"];
    objects.iter().find(is_it).unwrap_or_else(|| panic!("no role of {binding}"))
}

fn rights_of(role: &Value) -> Vec<Right> {
    let namespace = role["metadata"]["namespace"].as_str().filter(|_| kind(role) == "Role");
    let mut rights = Vec::new();
    for rule in items(&role["rules"]) {
        for (group, resource, verb) in combinations(rule) {
            rights.push(Right { namespace: namespace.map(str::to_owned), verb, group, resource });
        }
    }
    rights
}

fn combinations(rule: &Value) -> Vec<(String, String, String)> {
    let texts = |list: &str| items(&rule[list]).iter().filter_map(Value::as_str).map(str::to_owned).collect::<Vec<_>>();
    let mut all = Vec::new();
    for group in texts("apiGroups") {
        for resource in texts("resources") {
            all.extend(texts("verbs").into_iter().map(|verb| (group.clone(), resource.clone(), verb)));
        }
    }
    all
}

fn manifest() -> Vec<Value> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../deployments/kubeward.yaml");
    let text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    serde_saphyr::from_multiple(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn kind(object: &Value) -> &str {
    object["kind"].as_str().unwrap_or_default()
}

fn items(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}
