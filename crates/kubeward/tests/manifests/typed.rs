//! Objects held against Kubernetes' own types, of the oldest version that we promise and of the newest.

use serde::de::DeserializeOwned;
use serde::Serialize;
use serde_json::Value;

use crate::{manifest, title};

/// What is wrong with the object for a Kubernetes of either age.
pub(crate) fn faults(object: &Value) -> Vec<String> {
    let read = [("1.24", through_1_24(object)), ("the newest", through_newest(object))];
    let told = |(age, fault)| format!("{}, for Kubernetes {age}: {fault}", title(object));
    read.into_iter().flat_map(|(age, faults)| faults.into_iter().map(move |fault| told((age, fault)))).collect()
}

macro_rules! through {
    ($name:ident, $crate_name:ident) => {
        fn $name(object: &Value) -> Vec<String> {
            use $crate_name::api::{apps, core, rbac, scheduling};
            use $crate_name::apiextensions_apiserver::pkg::apis::apiextensions;
            let (version, kind) = (&object["apiVersion"], &object["kind"]);
            let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
            match (text(version).as_str(), text(kind).as_str()) {
                ("v1", "Namespace") => dropped::<core::v1::Namespace>(object),
                ("v1", "ServiceAccount") => dropped::<core::v1::ServiceAccount>(object),
                ("apps/v1", "DaemonSet") => dropped::<apps::v1::DaemonSet>(object),
                ("apps/v1", "Deployment") => dropped::<apps::v1::Deployment>(object),
                ("scheduling.k8s.io/v1", "PriorityClass") => dropped::<scheduling::v1::PriorityClass>(object),
                ("rbac.authorization.k8s.io/v1", "ClusterRole") => dropped::<rbac::v1::ClusterRole>(object),
                ("rbac.authorization.k8s.io/v1", "Role") => dropped::<rbac::v1::Role>(object),
                ("rbac.authorization.k8s.io/v1", "RoleBinding") => dropped::<rbac::v1::RoleBinding>(object),
                ("rbac.authorization.k8s.io/v1", "ClusterRoleBinding") => {
                    dropped::<rbac::v1::ClusterRoleBinding>(object)
                }
                ("apiextensions.k8s.io/v1", "CustomResourceDefinition") => {
                    dropped::<apiextensions::v1::CustomResourceDefinition>(object)
                }
                _ => vec![format!("no type is known for {version} {kind}")],
            }
        }
    };
}
through!(through_1_24, k8s_openapi_1_24);
through!(through_newest, k8s_openapi);

/// What of the object the type `T` does not know, or why it is none.
fn dropped<T: DeserializeOwned + Serialize>(object: &Value) -> Vec<String> {
    let typed: T = match serde_json::from_value(object.clone()) {
        Ok(typed) => typed,
        Err(error) => return vec![error.to_string()],
    };
    let mut lost = Vec::new();
    compare(object, &serde_json::to_value(typed).expect("it was JSON"), &mut String::new(), &mut lost);
    lost
}

fn compare(written: &Value, read: &Value, path: &mut String, lost: &mut Vec<String>) {
    let length = path.len();
    match (written, read) {
        (Value::Object(written), Value::Object(read)) => {
            for (key, value) in written {
                path.push_str(&format!(".{key}"));
                match read.get(key) {
                    Some(kept) => compare(value, kept, path, lost),
                    None => lost.push(format!("unknown field {path}")),
                }
                path.truncate(length);
            }
        }
        (Value::Array(written), Value::Array(read)) if written.len() == read.len() => {
            for (index, (value, kept)) in written.iter().zip(read).enumerate() {
                path.push_str(&format!("[{index}]"));
                compare(value, kept, path, lost);
                path.truncate(length);
            }
        }
        _ if written == read => {}
        // A bound of a schema is a floating-point number to Kubernetes.
        (Value::Number(written), Value::Number(read)) if written.as_f64() == read.as_f64() => {}
        _ => lost.push(format!("{path} is {written}, and is read as {read}")),
    }
}

#[test]
fn every_object_is_one_of_kubernetes_1_24_and_of_the_newest() {
    let faults: Vec<String> = manifest().iter().flat_map(faults).collect();
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

#[test]
fn a_field_that_kubernetes_does_not_know_is_named() {
    let mut agent = crate::object(&manifest(), "DaemonSet kubeward");
    agent["spec"]["template"]["spec"]["containers"][0]["securityContext"]["readonlyRootFilesystem"] = true.into();
    agent["spec"]["template"]["spec"]["hostUsers"] = false.into();
    let named = faults(&agent).join("\n");
    let unknown = |field: &str, age: &str| {
        named.contains(&format!("Kubernetes {age}: unknown field .spec.template.spec.{field}"))
    };
    for age in ["1.24", "the newest"] {
        assert!(unknown("containers[0].securityContext.readonlyRootFilesystem", age), "{named}");
    }
    assert!(unknown("hostUsers", "1.24") && !unknown("hostUsers", "the newest"), "{named}");
}
