//! `KubeWard.spec` as the API server is to check it.
//!
//! The agent does not read policies through these types: what the server let through is read by the one reader that policy
//! files have, so that both are judged alike. A test holds the two against each other.

use std::collections::BTreeMap;

use kube::CustomResource;
use kubeward_core::policy::limits::{MAX_ARGV_BYTES, MAX_ARG_BYTES, MAX_ENTRIES, MAX_EVENTS, MODES};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::policy::KubeWardStatus;
use super::rules;

/// Which system calls of which containers are recorded. Nothing is required: an empty spec watches nothing.
#[derive(CustomResource, Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
#[kube(
    group = "kubeward.kubeward",
    version = "v1",
    kind = "KubeWard",
    plural = "kubewards",
    shortname = "kw",
    doc = "A policy: which system calls of which containers are recorded.",
    status = "KubeWardStatus",
    derive = "PartialEq",
    printcolumn = r#"{"name":"Ready","type":"string","jsonPath":".status.ready","description":"Nodes where it is in force, of those that it selects."}"#,
    printcolumn = r#"{"name":"Calls","type":"integer","jsonPath":".status.calls","description":"Calls that it hooks."}"#,
    printcolumn = r#"{"name":"Mode","type":"string","jsonPath":".spec.mode","description":"Events, or Count."}"#,
    printcolumn = r#"{"name":"Age","type":"date","jsonPath":".metadata.creationTimestamp"}"#,
    printcolumn = r#"{"name":"Reason","type":"string","jsonPath":".status.reason","description":"One word for how it stands."}"#
)]
pub struct KubeWardSpec {
    /// Calls to record at entry.
    #[schemars(schema_with = "rules::call_names")]
    pub kprobe: Vec<CallName>,
    /// Calls to record at return. Named under kprobe too, a call is one record with its duration.
    #[schemars(schema_with = "rules::call_names")]
    pub kretprobe: Vec<CallName>,
    /// Calls to record once, when they return.
    #[schemars(schema_with = "rules::call_names")]
    pub syscalls: Vec<CallName>,
    /// The same for all calls of these categories.
    #[schemars(schema_with = "rules::categories")]
    pub categories: Vec<String>,
    /// Calls to take away from all of the above.
    #[schemars(schema_with = "rules::call_names")]
    pub exclude: Vec<CallName>,
    /// Record the duration of every call named here.
    pub timing: bool,
    /// Record also calls that seccomp refused, whatever hook serves the policy.
    pub refused: bool,
    /// Events records each call. Count counts the calls by their results and records none: filter, limits, coalesce and
    /// capture are not looked at then.
    #[schemars(extend("enum" = MODES, "default" = MODES[0]))]
    pub mode: Option<String>,
    /// Which containers; absent: every container.
    pub selector: Option<ContainerSelector>,
    /// Which nodes, by the node's labels; absent: every node.
    pub node_selector: Option<Labels>,
    /// Which of the calls: an event must pass every member that is there.
    pub filter: Option<Filter>,
    /// How many events, for each container on its own; absent: all of them.
    pub limits: Option<Limits>,
    /// True: identical calls of a thread in a row are one event with their count, where every policy that wants them says so.
    pub coalesce: bool,
    /// How much of what arguments point to is read.
    pub capture: Option<Capture>,
    /// True: the policy wants nothing for now.
    pub suspend: bool,
    /// How long after its creation the policy stops to want anything, like 1h or 30m.
    #[schemars(schema_with = "rules::duration")]
    pub expire_after: Option<String>,
}

/// A system call, by name.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct CallName {
    /// The call's name: openat, sys_openat and __x64_sys_openat are the same.
    #[schemars(schema_with = "rules::call_name")]
    pub name: String,
}

/// Which containers: every member that is there must hold.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct ContainerSelector {
    /// Namespaces of pods; * and ? are wildcards.
    #[schemars(schema_with = "rules::namespaces")]
    pub namespaces: Vec<String>,
    /// Namespaces to leave out.
    #[schemars(schema_with = "rules::namespaces")]
    pub exclude_namespaces: Vec<String>,
    /// Labels of the pod; {} is every pod, and no container outside a pod.
    pub pod_selector: Option<Labels>,
    /// Names of containers in their pods.
    #[schemars(schema_with = "rules::container_names")]
    pub containers: Vec<String>,
}

/// A label selector: all requirements must hold.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct Labels {
    /// Labels and the values they must have.
    #[schemars(schema_with = "rules::match_labels")]
    pub match_labels: BTreeMap<String, String>,
    /// Further requirements.
    #[schemars(length(max = MAX_ENTRIES))]
    pub match_expressions: Vec<Expression>,
}

/// A requirement on one label.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[schemars(extend("x-kubernetes-validations" = rules::values_as_the_operator_takes()))]
pub struct Expression {
    /// The label's key.
    #[schemars(schema_with = "rules::label_key")]
    pub key: String,
    /// In, NotIn, Exists or DoesNotExist.
    #[schemars(schema_with = "rules::operator")]
    pub operator: String,
    /// Values for In and NotIn.
    #[serde(default)]
    #[schemars(schema_with = "rules::label_values")]
    pub values: Vec<String>,
}

/// Which calls are recorded.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct Filter {
    /// The call must have failed with one of these errors, like EPERM.
    #[schemars(schema_with = "rules::errors")]
    pub errors: Vec<String>,
    /// The call must have taken at least this long, like 250us.
    #[schemars(schema_with = "rules::duration")]
    pub min_duration: Option<String>,
    /// A path of the call must be one of these or below it.
    #[schemars(schema_with = "rules::path_prefixes")]
    pub path_prefix: Vec<String>,
}

/// How many events, for each container on its own.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Limits {
    /// Events a second.
    #[schemars(range(min = 1, max = MAX_EVENTS))]
    pub events_per_second: u32,
    /// Events that may come at once after a quiet time; absent: as many as a second's.
    #[serde(default)]
    #[schemars(range(min = 1, max = MAX_EVENTS))]
    pub burst: Option<u32>,
}

/// How much of what arguments point to is read.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct Capture {
    /// Bytes of each string or path; absent: 256.
    #[schemars(range(min = 1, max = MAX_ARG_BYTES))]
    pub arg_bytes: Option<u32>,
    /// Bytes of an argument vector's strings together; absent: 4096.
    #[schemars(range(min = 1, max = MAX_ARGV_BYTES))]
    pub argv_bytes: Option<u32>,
    /// Bytes of payload; absent: 0.
    #[schemars(range(min = 0, max = MAX_ARG_BYTES))]
    pub data_bytes: Option<u32>,
    /// Environment variables of a new program, by name or pattern.
    #[schemars(schema_with = "rules::env_patterns")]
    pub env: Vec<String>,
}
