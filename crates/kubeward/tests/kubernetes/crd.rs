//! What Kubernetes' own server makes of our definitions: which documents it takes, and what it shows of them.

use std::fs;
use std::path::PathBuf;

use http::Method;
use kubeward_agent::kubernetes::crd::definitions;
use kubeward_testkit::kubernetes::{Answer, ApiServer};
use serde_json::{json, Value};

pub(super) const POLICIES: &str = "/apis/kubeward.kubeward/v1/kubewards";

fn server() -> ApiServer {
    let server = ApiServer::start().expect("an API server starts");
    server.install_crds(&definitions()).expect("the server takes our definitions");
    server
}

struct Document {
    name: String,
    text: String,
}

impl Document {
    /// What its comment says that the server's message holds.
    fn refusal(&self) -> &str {
        let line = self.text.lines().find_map(|line| line.strip_prefix("# server: "));
        line.unwrap_or_else(|| panic!("{} has no line \"# server: \"", self.name))
    }

    fn value(&self) -> Value {
        serde_saphyr::from_str(&self.text).unwrap_or_else(|error| panic!("{}: {error}", self.name))
    }

    /// Creates it as `kubectl` does: fields that the schema does not know are an error.
    fn create_at(&self, server: &ApiServer) -> Answer {
        let path = format!("{POLICIES}?fieldValidation=Strict");
        server.api().try_create(&path, &self.value()).expect("an answer")
    }
}

/// The documents of a folder of tests/policies.
fn documents(folder: &str) -> Vec<Document> {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../tests/policies").join(folder);
    let entries = fs::read_dir(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let read = entries.map(|entry| {
        let path = entry.expect("a folder's entry").path();
        let text = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        Document { name: path.display().to_string(), text }
    });
    read.collect()
}

#[test]
fn kubernetes_server_takes_good_policies_and_keeps_every_field() {
    let server = server();
    let good = documents("good");
    assert!(good.iter().any(|document| document.name.ends_with("/seed.yaml")), "the seed's own is among them");
    for document in &good {
        let answer = document.create_at(&server);
        assert_eq!(answer.code, 201, "{}: {}", document.name, answer.refusal());
        for (field, value) in document.value()["spec"].as_object().into_iter().flatten() {
            // A null is the same as an absent field, which the server may fill with its default.
            assert!(value.is_null() || holds(&answer.body["spec"][field], value), "{}: {field}", document.name);
        }
    }
    assert_eq!(server.api().list(POLICIES).expect("a list").len(), good.len());
}

/// Whether everything that was written is in what the server keeps; defaults may be there beside it.
fn holds(kept: &Value, written: &Value) -> bool {
    match (kept, written) {
        (_, Value::Null) => true,
        (Value::Object(kept), Value::Object(written)) => {
            written.iter().all(|(key, value)| value.is_null() || kept.get(key).is_some_and(|kept| holds(kept, value)))
        }
        (Value::Array(kept), Value::Array(written)) => {
            kept.len() == written.len() && kept.iter().zip(written).all(|(kept, written)| holds(kept, written))
        }
        _ => kept == written,
    }
}

#[test]
fn kubernetes_server_refuses_bad_policies_for_the_intended_reason() {
    let server = server();
    let mut wrong = Vec::new();
    for document in documents("bad") {
        let answer = document.create_at(&server);
        let intended = document.refusal();
        let as_intended = match intended.starts_with("accepts, ") {
            true => answer.code == 201,
            false => answer.code >= 400 && answer.refusal().contains(intended),
        };
        if !as_intended {
            wrong.push(format!(
                "{}\n  intended: {intended}\n  said: {} {}",
                document.name,
                answer.code,
                answer.refusal()
            ));
        }
    }
    assert!(wrong.is_empty(), "{} documents:\n{}", wrong.len(), wrong.join("\n"));
}

#[test]
fn kubernetes_columns_of_a_policy_are_those_of_its_status() {
    let server = server();
    let seed =
        documents("good").into_iter().find(|document| document.name.ends_with("/seed.yaml")).expect("good/seed.yaml");
    assert_eq!(seed.create_at(&server).code, 201);
    let status = json!({ "status": { "ready": "12/12", "calls": 5, "reason": "Applied" } });
    server.api().patch(&format!("{POLICIES}/monitor-policy/status"), &status).expect("status is a subresource");

    let table = server.api().table(POLICIES).expect("a table");
    assert_eq!(table[0], ["Name", "Ready", "Calls", "Mode", "Age", "Reason"]);
    let [name, ready, calls, mode, age, reason] = table[1].as_slice() else { panic!("six cells: {:?}", table[1]) };
    assert_eq!([name, ready, calls, reason], ["monitor-policy", "12/12", "5", "Applied"]);
    assert_eq!(mode, "Events", "the default is shown");
    assert!(age.ends_with('s'), "an age: {age}");
}

#[test]
fn kubernetes_status_is_not_changed_through_the_policy_itself() {
    let server = server();
    let policy = json!({
        "apiVersion": "kubeward.kubeward/v1", "kind": "KubeWard", "metadata": { "name": "forged" },
        "spec": {}, "status": { "ready": "1/1" },
    });
    let created = server.api().create(POLICIES, &policy).expect("the policy is taken");
    assert_eq!(created["status"], Value::Null);
    let path = format!("{POLICIES}/forged");
    let patched = server.api().patch(&path, &json!({ "status": { "ready": "1/1" } })).expect("the patch is taken");
    assert_eq!(patched["status"], Value::Null);
    assert_eq!(patched["metadata"]["generation"], 1, "and is no change");
}

#[test]
fn kubernetes_kubectl_finds_both_resources_by_their_short_names() {
    let server = server();
    let answer = server.api().call(Method::GET, "/apis/kubeward.kubeward/v1", &[], None).expect("an answer");
    let found: Vec<_> = answer.body["resources"]
        .as_array()
        .into_iter()
        .flatten()
        .map(|resource| {
            (
                resource["name"].as_str().unwrap_or_default(),
                resource["shortNames"].clone(),
                resource["namespaced"].clone(),
            )
        })
        .collect();
    let wanted = [
        ("kubewards", json!(["kw"]), json!(false)),
        ("kubewards/status", Value::Null, json!(false)),
        ("kubewardnodes", json!(["kwn"]), json!(true)),
    ];
    assert_eq!(found, wanted);
}
