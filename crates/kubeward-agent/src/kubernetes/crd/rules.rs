//! What texts and lists of the custom resources may hold. For policies these are the reader's rules, said as patterns; a test
//! holds the two against each other.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kubeward_core::policy::limits::{
    CATEGORIES, MAX_CALL_NAME, MAX_CONTAINER_NAME, MAX_DNS_NAME, MAX_DURATION_TEXT, MAX_ENTRIES, MAX_ENV_PATTERN,
    MAX_LABEL, MAX_NAMESPACE, MAX_PATH, OPERATORS,
};
use schemars::{json_schema, JsonSchema, Schema, SchemaGenerator};
use serde_json::json;

/// Letters of a message in a status.
pub const MAX_MESSAGE: usize = 1024;
/// Letters of a status's shorter texts: names of nodes and policies are the longest.
pub const MAX_WORD: usize = MAX_DNS_NAME;
/// Conditions of one status.
pub const MAX_CONDITIONS: usize = 8;
/// Nodes that a policy's status names as failing.
pub const MAX_FAILING_NODES: usize = 10;
/// Policies in a node's status: all that apply at a time, and some that do not.
pub const MAX_NODE_POLICIES: usize = 300;
/// Hooks in a node's status, and calls without one: more than there are calls.
pub const MAX_NODE_PROBES: usize = 512;
/// Entries of one policy that a node's status names as left out.
pub const MAX_REFUSED_ENTRIES: usize = 10;

/// A list of names of calls. A name is a pattern here, not an entry of the catalogue, which depends on kernel and
/// architecture: unknown names are the agent's to report.
pub(super) fn call_names(generator: &mut SchemaGenerator) -> Schema {
    let entry = generator.subschema_for::<super::spec::CallName>();
    json_schema!({"type": "array", "maxItems": MAX_ENTRIES, "items": entry})
}

pub(super) fn call_name(_: &mut SchemaGenerator) -> Schema {
    text(1, MAX_CALL_NAME, "^[a-z0-9_]+$")
}

pub(super) fn categories(_: &mut SchemaGenerator) -> Schema {
    list_of(json_schema!({"type": "string", "enum": CATEGORIES}))
}

pub(super) fn namespaces(_: &mut SchemaGenerator) -> Schema {
    list_of(text(1, MAX_NAMESPACE, "^[a-z0-9*?-]+$"))
}

pub(super) fn container_names(_: &mut SchemaGenerator) -> Schema {
    list_of(text(1, MAX_CONTAINER_NAME, r"^[^\p{Z}\p{Cc}]+$"))
}

pub(super) fn match_labels(_: &mut SchemaGenerator) -> Schema {
    json_schema!({"type": "object", "maxProperties": MAX_ENTRIES, "additionalProperties": label_value()})
}

/// The prefix's length cannot be said beside the whole key's.
pub(super) fn label_key(_: &mut SchemaGenerator) -> Schema {
    const DNS_LABEL: &str = "[a-z0-9]([a-z0-9-]*[a-z0-9])?";
    let pattern = format!(r"^({DNS_LABEL}(\.{DNS_LABEL})*/)?[A-Za-z0-9]([A-Za-z0-9_.-]{{0,61}}[A-Za-z0-9])?$");
    text(1, MAX_DNS_NAME + 1 + MAX_LABEL, &pattern)
}

pub(super) fn operator(_: &mut SchemaGenerator) -> Schema {
    json_schema!({"type": "string", "enum": OPERATORS})
}

pub(super) fn label_values(_: &mut SchemaGenerator) -> Schema {
    list_of(label_value())
}

/// A rule over two members, which patterns cannot say; Kubernetes before 1.25 leaves it to the agent.
pub(super) fn values_as_the_operator_takes() -> serde_json::Value {
    json!([{
        "rule": "self.operator in ['In', 'NotIn'] ? has(self.values) && size(self.values) > 0 \
                 : !has(self.values) || size(self.values) == 0",
        "message": "operators In and NotIn need values, Exists and DoesNotExist take none",
    }])
}

pub(super) fn errors(_: &mut SchemaGenerator) -> Schema {
    list_of(text(2, 32, "^E[A-Z0-9_]+$"))
}

/// Whole numbers with a unit each. Only the reader sees that they add up to more than 584 years.
pub(super) fn duration(_: &mut SchemaGenerator) -> Schema {
    text(2, MAX_DURATION_TEXT, "^([0-9]+(ns|us|\u{b5}s|\u{3bc}s|ms|s|m|h))+$")
}

pub(super) fn path_prefixes(_: &mut SchemaGenerator) -> Schema {
    list_of(text(1, MAX_PATH, r"^/[^\x00]*$"))
}

pub(super) fn env_patterns(_: &mut SchemaGenerator) -> Schema {
    list_of(text(1, MAX_ENV_PATTERN, "^[^=]+$"))
}

/// Merged by type when several write them. The bounds are those of the type's own documentation, but for the message's.
pub(super) fn conditions(generator: &mut SchemaGenerator) -> Schema {
    let mut entry = <Condition as JsonSchema>::json_schema(generator);
    let rules = [
        ("type", json!({"minLength": 1, "maxLength": 316})),
        ("status", json!({"enum": ["True", "False", "Unknown"]})),
        ("reason", json!({"minLength": 1, "maxLength": 128, "pattern": "^[A-Za-z]([A-Za-z0-9_,:]*[A-Za-z0-9_])?$"})),
        ("message", json!({"maxLength": MAX_MESSAGE})),
        ("observedGeneration", json!({"minimum": 0})),
    ];
    for (member, rule) in rules {
        let found = entry.pointer_mut(&format!("/properties/{member}")).and_then(|schema| schema.as_object_mut());
        let schema = found.expect("a condition has this member");
        schema.extend(rule.as_object().expect("written as one above").clone());
    }
    json_schema!({
        "type": "array",
        "maxItems": MAX_CONDITIONS,
        "items": entry,
        "x-kubernetes-list-type": "map",
        "x-kubernetes-list-map-keys": ["type"],
    })
}

fn label_value() -> Schema {
    text(0, MAX_LABEL, "^([A-Za-z0-9]([A-Za-z0-9_.-]*[A-Za-z0-9])?)?$")
}

fn list_of(entry: Schema) -> Schema {
    json_schema!({"type": "array", "maxItems": MAX_ENTRIES, "items": entry})
}

fn text(min: usize, max: usize, pattern: &str) -> Schema {
    let mut schema = json_schema!({"type": "string", "maxLength": max, "pattern": pattern});
    if min > 0 {
        schema.insert("minLength".to_owned(), min.into());
    }
    schema
}
