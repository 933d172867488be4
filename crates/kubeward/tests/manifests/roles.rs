//! Who may ask the API server for what.

use serde_json::Value;

use crate::{items, manifest, object, title, workloads};

fn of_kind(suffix: &str) -> Vec<Value> {
    manifest().into_iter().filter(|object| object["kind"].as_str().is_some_and(|kind| kind.ends_with(suffix))).collect()
}

#[test]
fn no_rule_has_a_wildcard() {
    for role in of_kind("Role") {
        for rule in items(&role["rules"]) {
            for member in ["apiGroups", "resources", "verbs"] {
                assert!(!items(&rule[member]).is_empty(), "{}: {rule}", title(&role));
                assert!(!items(&rule[member]).contains(&"*".into()), "{}: {rule}", title(&role));
            }
        }
    }
}

/// Nobody may write anything of the cluster but what is ours.
#[test]
fn only_our_own_resources_are_written() {
    const READING: [&str; 3] = ["get", "list", "watch"];
    for role in of_kind("Role") {
        for rule in items(&role["rules"]) {
            let writes = items(&rule["verbs"]).iter().any(|verb| !READING.iter().any(|&reading| verb == reading));
            let is_ours = items(&rule["apiGroups"]) == ["kubeward.kubeward"];
            assert!(!writes || is_ours, "{}: {rule}", title(&role));
        }
    }
}

#[test]
fn every_binding_joins_a_role_and_an_account_that_are_there() {
    let objects = manifest();
    let bindings = of_kind("Binding");
    assert_eq!(bindings.len(), 4);
    for binding in bindings {
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let role = &binding["roleRef"];
        object(&objects, &format!("{} {}", text(&role["kind"]), text(&role["name"])));
        for subject in items(&binding["subjects"]) {
            object(&objects, &format!("{} {}", text(&subject["kind"]), text(&subject["name"])));
        }
    }
    for workload in workloads(&objects) {
        let account = &workload["spec"]["template"]["spec"]["serviceAccountName"];
        object(&objects, &format!("ServiceAccount {}", account.as_str().unwrap_or_default()));
    }
}

/// The first KubeWard bound a role for everything, `kubeward-cr`, by `kubeward-rb`. Applied over it, ours takes its place.
#[test]
fn the_first_kubewards_role_for_everything_is_replaced_by_the_agents() {
    let objects = manifest();
    let binding = object(&objects, "ClusterRoleBinding kubeward-rb");
    assert_eq!(binding["roleRef"]["name"], "kubeward-cr");
    let accounts: Vec<&Value> = items(&binding["subjects"]).iter().map(|subject| &subject["name"]).collect();
    assert_eq!(accounts, ["kubeward"]);
    assert!(!items(&object(&objects, "ClusterRole kubeward-cr")["rules"]).is_empty());
}
