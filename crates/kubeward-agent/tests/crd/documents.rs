//! The documents of `tests/policies`, judged by the reader and by the schema.

use std::path::PathBuf;

use kubeward_agent::kubernetes::crd::definitions;
use kubeward_core::policy::parse;
use serde_json::Value;

use super::server::refusals;

struct Document {
    name: String,
    text: String,
}

impl Document {
    /// What the comment line says that begins with `# {key}: `.
    fn says(&self, key: &str) -> &str {
        let prefix = format!("# {key}: ");
        let line = self.text.lines().find_map(|line| line.strip_prefix(&prefix));
        line.unwrap_or_else(|| panic!("{} has no line \"{prefix}\"", self.name))
    }

    fn value(&self) -> Value {
        serde_saphyr::from_str(&self.text).unwrap_or_else(|error| panic!("{}: {error}", self.name))
    }

    /// What the reader says of it, one line a fault.
    fn faults(&self) -> Vec<String> {
        parse(&self.name, self.text.as_bytes()).1.iter().map(ToString::to_string).collect()
    }
}

/// The documents of one folder, by name; there are at least `least` of them.
fn documents(folder: &str, least: usize) -> Vec<Document> {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../tests/policies").join(folder);
    let entries = std::fs::read_dir(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let mut found: Vec<Document> = entries
        .map(|entry| {
            let path = entry.expect("a folder's entry").path();
            let text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
            Document { name: path.display().to_string(), text }
        })
        .collect();
    found.sort_by(|a, b| a.name.cmp(&b.name));
    assert!(found.len() >= least, "{} documents in {}", found.len(), path.display());
    found
}

#[test]
fn good_documents_are_accepted_by_reader_and_schema() {
    let [policy, _] = definitions();
    for document in documents("good", 9) {
        assert_eq!(document.faults(), [""; 0], "{}", document.name);
        assert_eq!(refusals(&policy, &document.value()), [""; 0], "{}", document.name);
    }
}

#[test]
fn bad_documents_are_refused_by_the_reader_with_one_message() {
    for document in documents("bad", 40) {
        let faults = document.faults();
        assert_eq!(faults.len(), 1, "{}: {faults:?}", document.name);
        let expected = format!(": {}", document.says("error"));
        assert!(faults[0].ends_with(&expected), "{}\nsaid:     {}\nexpected: {expected}", document.name, faults[0]);
    }
}

#[test]
fn bad_documents_are_refused_by_the_schema_at_the_same_place() {
    let [policy, _] = definitions();
    for document in documents("bad", 40) {
        let (field, _) = document.says("error").split_once(": ").expect("a field, then the message");
        let server = document.says("server");
        let found = refusals(&policy, &document.value());
        // The server's own rule for names of objects and CEL are no part of the structural schema.
        let by_others = field == "metadata.name" || server.starts_with("operators In and NotIn");
        if server.starts_with("accepts, ") || by_others {
            assert_eq!(found, [""; 0], "{}", document.name);
        } else {
            assert!(!found.is_empty(), "{} is accepted", document.name);
            for refusal in found {
                assert!(refusal.starts_with(&format!("{field}: ")), "{}: {refusal}", document.name);
            }
            assert!(server.contains(field), "{}: {server} does not name {field}", document.name);
        }
    }
}

#[test]
fn seed_document_is_among_the_good() {
    let seed = documents("good", 1).into_iter().find(|document| document.name.ends_with("/seed.yaml"));
    let (policies, _) = parse("seed", seed.expect("good/seed.yaml").text.as_bytes());
    let spec = &policies[0].spec;
    assert_eq!(spec.kprobe, ["sys_openat", "sys_connect", "sys_execve"]);
    assert_eq!(spec.kretprobe, ["sys_openat", "sys_connect"]);
}
