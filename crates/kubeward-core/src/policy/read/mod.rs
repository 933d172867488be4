//! From a file's text to [`Policy`]: everything that can be judged without knowing the kernel.

mod selector;
mod spec;

use std::sync::Arc;

use super::fault::{Fault, Problem, Source};
use super::fields::{At, Reader};
use super::labels::is_dns_subdomain;
use super::model::{Policy, Spec};
use super::yaml::{self, Document};

const ROOT: &[&str] = &["apiVersion", "kind", "metadata", "spec", "status"];
/// What an API server may write beside the name; read by nobody here, so that `kubectl get -o yaml` can be fed back.
const METADATA: &[&str] = &[
    "name",
    "annotations",
    "creationTimestamp",
    "deletionGracePeriodSeconds",
    "deletionTimestamp",
    "finalizers",
    "generateName",
    "generation",
    "labels",
    "managedFields",
    "ownerReferences",
    "resourceVersion",
    "selfLink",
    "uid",
];

/// Reads the policies of one file; `file` is its name for messages.
///
/// Every document is judged alone: those without fault are returned beside the faults of the others. Text after a
/// YAML error is lost, since nobody knows where it belongs.
pub fn parse(file: &str, bytes: &[u8]) -> (Vec<Policy>, Vec<Fault>) {
    let file: Arc<str> = file.into();
    let source = |document| Source { file: file.clone(), document: Some(document) };
    let (documents, stop) = yaml::documents(bytes);
    let mut policies = Vec::new();
    let mut faults = Vec::new();
    for document in &documents {
        match policy(source(document.number), document) {
            Ok(policy) => policies.push(policy),
            Err(mut found) => faults.append(&mut found),
        }
    }
    let whole_file = |line, document, problem| Fault { source: source(document), line, field: String::new(), problem };
    match stop {
        Some(stop) => faults.push(whole_file(stop.line, stop.document, stop.problem)),
        None if documents.is_empty() => faults.push(whole_file(None, 1, Problem::Empty)),
        None => (),
    }
    (policies, faults)
}

/// Reads one object of the API server, given as JSON; `name` is what messages call it.
pub fn parse_object(name: &str, json: &[u8]) -> Result<Policy, Vec<Fault>> {
    let source = Source { file: name.into(), document: None };
    let (documents, stop) = yaml::documents(json);
    let read = match (documents.first(), stop) {
        (Some(document), None) => policy(source, document),
        (_, stop) => {
            let problem = stop.map_or(Problem::Empty, |stop| stop.problem);
            Err(vec![Fault { source, line: None, field: String::new(), problem }])
        }
    };
    // Lines of a JSON text that nobody wrote.
    read.map_err(|faults| faults.into_iter().map(|fault| Fault { line: None, ..fault }).collect())
}

fn policy(source: Source, document: &Document) -> Result<Policy, Vec<Fault>> {
    let mut reader = Reader { source, faults: Vec::new() };
    let policy = root(&mut reader, document);
    match policy {
        Some(policy) if reader.faults.is_empty() => Ok(policy),
        _ => Err(reader.faults),
    }
}

/// `None` only after a fault was noted.
fn root(reader: &mut Reader, document: &Document) -> Option<Policy> {
    let at = At::root(&document.root);
    // Judged first and alone: in another kind of object, every field would be a fault.
    let of_this_kind = reader.entries(&at);
    let find = |name: &str| of_this_kind.iter().find(|(key, _)| *key == name).map(|(_, at)| at.clone());
    if !reader.faults.is_empty() {
        return None;
    }
    expect_word(reader, find("kind"), "KubeWard", |found| Problem::WrongKind { found })?;
    expect_word(reader, find("apiVersion"), "kubeward.kubeward/v1", |found| Problem::WrongApiVersion { found })?;
    let root = reader.object(at, ROOT)?;
    let name = match root.get("metadata") {
        Some(at) => metadata_name(reader, at),
        None => {
            reader.missing(&root, "metadata", "metadata: {name: web}");
            None
        }
    };
    let spec = match root.get("spec") {
        Some(at) => spec::spec(reader, at),
        None => Some(Spec::default()),
    };
    Some(Policy { source: reader.source.clone(), name: name?, spec: spec? })
}

fn expect_word(
    reader: &mut Reader,
    at: Option<At<'_>>,
    word: &str,
    problem: impl FnOnce(String) -> Problem,
) -> Option<()> {
    let Some(at) = at else {
        let problem = problem(String::new());
        let (source, field) = (reader.source.clone(), String::new());
        reader.faults.push(Fault { source, line: None, field, problem });
        return None;
    };
    let found = reader.text(&at, "a text")?;
    if found != word {
        let problem = problem(found.to_owned());
        reader.fault(&at, problem);
        return None;
    }
    Some(())
}

fn metadata_name(reader: &mut Reader, at: At<'_>) -> Option<String> {
    let metadata = reader.object(at, METADATA)?;
    let Some(at) = metadata.get("name") else {
        reader.missing(&metadata, "name", "metadata: {name: web}");
        return None;
    };
    reader.text_like(&at, "a name: at most 253 of a-z, 0-9, '-' and '.', first and last a letter or digit", |name| {
        is_dns_subdomain(name)
    })
}
