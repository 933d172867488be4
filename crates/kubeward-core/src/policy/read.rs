//! From a document's tree to a [`Policy`]: everything that can be judged without knowing the kernel.

use std::sync::Arc;

use super::duration;
use super::fault::{nearest, Fault, Problem, Source};
use super::fields::{At, Object, Reader};
use super::glob::Glob;
use super::labels::{is_dns_subdomain, is_label_key, is_label_value, Expression, LabelSelector, Operator};
use super::model::{Capture, FilterSpec, Limits, Mode, Policy, Spec};
use super::selector::Selector;
use super::yaml::{self, Document};
use crate::syscall::Category;

/// The greatest `eventsPerSecond` and `burst`.
pub const MAX_EVENTS: u32 = 1_000_000;
/// The greatest `capture.argBytes`: no path is longer.
pub const MAX_ARG_BYTES: u32 = 4096;
/// The greatest `capture.argvBytes`: what one output line can hold.
pub const MAX_ARGV_BYTES: u32 = 16_384;

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
const SPEC: &[&str] = &[
    "kprobe",
    "kretprobe",
    "syscalls",
    "categories",
    "exclude",
    "timing",
    "refused",
    "mode",
    "selector",
    "nodeSelector",
    "filter",
    "limits",
    "capture",
    "suspend",
    "expireAfter",
];
const CATEGORIES: &[&str] =
    &["file", "network", "process", "fd", "memory", "signal", "timer", "user", "system", "other"];

/// Reads the policies of one file; `file` is its name for messages.
///
/// Every document is judged alone: those without fault are returned beside the faults of the others. Text after a
/// YAML error is lost, since nobody knows where it belongs.
pub fn parse(file: &str, bytes: &[u8]) -> (Vec<Policy>, Vec<Fault>) {
    let file: Arc<str> = file.into();
    let source = |document| Source { file: file.clone(), document };
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
        Some(at) => spec(reader, at),
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

fn spec(reader: &mut Reader, at: At<'_>) -> Option<Spec> {
    let spec = reader.object(at, SPEC)?;
    let mode = match spec.get("mode") {
        Some(at) => word(reader, &at, "mode", &["Events", "Count"])?,
        None => "Events",
    };
    Some(Spec {
        kprobe: names(reader, &spec, "kprobe"),
        kretprobe: names(reader, &spec, "kretprobe"),
        syscalls: names(reader, &spec, "syscalls"),
        categories: reader.list_of(spec.get("categories"), "a list like [network, process]", category),
        exclude: names(reader, &spec, "exclude"),
        timing: reader.boolean(spec.get("timing")),
        refused: reader.boolean(spec.get("refused")),
        mode: if mode == "Count" { Mode::Count } else { Mode::Events },
        selector: spec.get("selector").map(|at| selector(reader, at)).unwrap_or_default(),
        node_selector: spec.get("nodeSelector").map(|at| label_selector(reader, at)),
        filter: spec.get("filter").map(|at| filter(reader, at)).unwrap_or_default(),
        limits: spec.get("limits").and_then(|at| limits(reader, at)),
        capture: spec.get("capture").map(|at| capture(reader, at)).unwrap_or_default(),
        suspend: reader.boolean(spec.get("suspend")),
        expire_after: spec.get("expireAfter").and_then(|at| duration(reader, &at)),
    })
}

fn names(reader: &mut Reader, spec: &Object<'_>, list: &str) -> Vec<String> {
    reader.list_of(spec.get(list), "a list like [{name: openat}]", |reader, at| {
        let entry = reader.object(at, &["name"])?;
        let Some(at) = entry.get("name") else {
            reader.missing(&entry, "name", "{name: openat}");
            return None;
        };
        let is_name = |name: &str| {
            let letter = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
            !name.is_empty() && name.len() <= 64 && name.chars().all(letter)
        };
        reader.text_like(&at, "a system call's name: at most 64 of a-z, 0-9 and '_', like openat", is_name)
    })
}

fn category(reader: &mut Reader, at: At<'_>) -> Option<Category> {
    let name = word(reader, &at, "category", CATEGORIES)?;
    name.parse().ok()
}

/// The entry of `known` that the text at `at` is.
fn word(reader: &mut Reader, at: &At<'_>, what: &'static str, known: &'static [&'static str]) -> Option<&'static str> {
    let text = reader.text(at, "a text")?;
    let found = known.iter().find(|word| **word == text).copied();
    if found.is_none() {
        let problem = Problem::UnknownWord { what, name: text.to_owned(), nearest: nearest(text, known), known };
        reader.fault(at, problem);
    }
    found
}

fn selector(reader: &mut Reader, at: At<'_>) -> Selector {
    let known = &["namespaces", "excludeNamespaces", "podSelector", "containers"];
    let Some(selector) = reader.object(at, known) else { return Selector::default() };
    Selector {
        namespaces: reader.list_of(selector.get("namespaces"), "a list like [default, \"team-*\"]", namespace),
        exclude_namespaces: reader.list_of(selector.get("excludeNamespaces"), "a list like [kube-system]", namespace),
        pod_selector: selector.get("podSelector").map(|at| label_selector(reader, at)),
        containers: reader.list_of(selector.get("containers"), "a list like [app]", |reader, at| {
            let wanted = "a container's name: 1 to 253 letters without blanks";
            let is_name = |name: &str| {
                !name.is_empty() && name.len() <= 253 && !name.contains(|c: char| c.is_whitespace() || c.is_control())
            };
            reader.text_like(&at, wanted, is_name)
        }),
    }
}

fn namespace(reader: &mut Reader, at: At<'_>) -> Option<Glob> {
    let is_pattern = |text: &str| {
        let letter = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '-' | '*' | '?');
        !text.is_empty() && text.len() <= 63 && text.chars().all(letter)
    };
    reader.text_like(&at, "a namespace or pattern: at most 63 of a-z, 0-9, '-', '*' and '?'", is_pattern).map(Glob)
}

fn label_selector(reader: &mut Reader, at: At<'_>) -> LabelSelector {
    let Some(selector) = reader.object(at, &["matchLabels", "matchExpressions"]) else {
        return LabelSelector::default();
    };
    let labels = selector.get("matchLabels").map(|at| reader.entries(&at)).unwrap_or_default();
    let mut match_labels = std::collections::BTreeMap::new();
    for (key, at) in labels {
        check_label_key(reader, &at, key);
        if let Some(value) = label_value(reader, at) {
            match_labels.insert(key.to_owned(), value);
        }
    }
    let match_expressions =
        reader.list_of(selector.get("matchExpressions"), "a list of {key, operator, values}", expression);
    LabelSelector { match_labels, match_expressions }
}

fn check_label_key(reader: &mut Reader, at: &At<'_>, key: &str) {
    if !is_label_key(key) {
        let wanted = "a label's key: at most 63 of A-Z, a-z, 0-9, '-', '_' and '.', after an optional DNS name and '/'";
        reader.fault(at, Problem::Malformed { found: key.to_owned(), wanted });
    }
}

fn label_value(reader: &mut Reader, at: At<'_>) -> Option<String> {
    let wanted = "a label's value in quotes: at most 63 of A-Z, a-z, 0-9, '-', '_' and '.'";
    reader.text_like(&at, wanted, is_label_value)
}

fn expression(reader: &mut Reader, at: At<'_>) -> Option<Expression> {
    let expression = reader.object(at, &["key", "operator", "values"])?;
    let example = "{key: tier, operator: In, values: [web]}";
    let (Some(key_at), Some(operator_at)) = (expression.get("key"), expression.get("operator")) else {
        let absent = if expression.get("key").is_none() { "key" } else { "operator" };
        reader.missing(&expression, absent, example);
        return None;
    };
    let key = reader.text(&key_at, "a label's key")?;
    check_label_key(reader, &key_at, key);
    let operator = match word(reader, &operator_at, "operator", &["In", "NotIn", "Exists", "DoesNotExist"])? {
        "In" => Operator::In,
        "NotIn" => Operator::NotIn,
        "Exists" => Operator::Exists,
        _ => Operator::DoesNotExist,
    };
    let values = reader.list_of(expression.get("values"), "a list like [web]", label_value);
    let takes_values = matches!(operator, Operator::In | Operator::NotIn);
    if takes_values && expression.get("values").is_none_or(|at| at.is_empty_list()) {
        reader.missing(&expression, "values", example);
    }
    if let Some(values_at) = expression.get("values").filter(|at| !takes_values && !at.is_empty_list()) {
        reader.wrong_type(&values_at, "absent with operator Exists or DoesNotExist");
    }
    Some(Expression { key: key.to_owned(), operator, values })
}

fn filter(reader: &mut Reader, at: At<'_>) -> FilterSpec {
    let Some(filter) = reader.object(at, &["errors", "minDuration", "pathPrefix"]) else {
        return FilterSpec::default();
    };
    FilterSpec {
        errors: reader.list_of(filter.get("errors"), "a list like [EPERM, EACCES]", |reader, at| {
            let name = reader.text(&at, "an error's name like EPERM")?;
            if crate::syscall::errno_by_name(name).is_none() {
                reader.fault(&at, Problem::UnknownErrno { name: name.to_owned() });
            }
            Some(name.to_owned())
        }),
        min_duration: filter.get("minDuration").and_then(|at| duration(reader, &at)),
        path_prefix: reader.list_of(filter.get("pathPrefix"), "a list like [/etc]", |reader, at| {
            let is_absolute = |path: &str| path.starts_with('/') && path.len() <= 4095 && !path.contains('\0');
            reader.text_like(&at, "an absolute path of at most 4095 bytes, like /etc", is_absolute)
        }),
    }
}

fn duration(reader: &mut Reader, at: &At<'_>) -> Option<std::time::Duration> {
    let wanted = "a duration with its unit, like 250us, 5s or 1h30m";
    let text = reader.text(at, wanted)?;
    let duration = duration::parse(text);
    if duration.is_none() {
        reader.fault(at, Problem::Malformed { found: text.to_owned(), wanted });
    }
    duration
}

fn limits(reader: &mut Reader, at: At<'_>) -> Option<Limits> {
    let limits = reader.object(at, &["eventsPerSecond", "burst"])?;
    let Some(rate_at) = limits.get("eventsPerSecond") else {
        reader.missing(&limits, "eventsPerSecond", "limits: {eventsPerSecond: 1000, burst: 2000}");
        return None;
    };
    let events_per_second = reader.number(&rate_at, 1, MAX_EVENTS)?;
    let burst = match limits.get("burst") {
        Some(at) => reader.number(&at, 1, MAX_EVENTS)?,
        None => events_per_second,
    };
    Some(Limits { events_per_second, burst })
}

fn capture(reader: &mut Reader, at: At<'_>) -> Capture {
    let absent = Capture::default();
    let Some(capture) = reader.object(at, &["argBytes", "argvBytes", "dataBytes", "env"]) else { return absent };
    let mut number =
        |name, max, default| capture.get(name).and_then(|at| reader.number(&at, 0, max)).unwrap_or(default);
    Capture {
        arg_bytes: number("argBytes", MAX_ARG_BYTES, absent.arg_bytes),
        argv_bytes: number("argvBytes", MAX_ARGV_BYTES, absent.argv_bytes),
        data_bytes: number("dataBytes", MAX_ARG_BYTES, absent.data_bytes),
        env: reader.list_of(capture.get("env"), "a list like [PATH]", |reader, at| {
            reader
                .text_like(&at, "a variable's name or pattern", |name| !name.is_empty() && !name.contains('='))
                .map(Glob)
        }),
    }
}
