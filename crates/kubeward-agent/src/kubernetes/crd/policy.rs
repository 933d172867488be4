//! `KubeWard`: the policy, and what the controller sums up of it.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::rules::{self, MAX_FAILING_NODES, MAX_MESSAGE, MAX_WORD};

pub use super::spec::KubeWard;

/// What all nodes together say of a policy; written by `kubeward controller` alone, at most once in ten seconds and never
/// when nothing changed.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct KubeWardStatus {
    /// The generation that this status is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0))]
    pub observed_generation: Option<i64>,
    /// Nodes where it is in force, of those that it selects: `12/12`.
    #[serde(default)]
    #[schemars(length(max = MAX_WORD))]
    pub ready: String,
    /// Calls that it hooks, on the node where it hooks most.
    #[serde(default)]
    #[schemars(range(min = 0))]
    pub calls: i64,
    /// One word for how it stands: the reason of the condition that matters most.
    #[serde(default)]
    #[schemars(length(max = MAX_WORD))]
    pub reason: String,
    /// Accepted, Ready and SelectsContainers.
    #[serde(default)]
    #[schemars(schema_with = "rules::conditions")]
    pub conditions: Vec<Condition>,
    /// At most ten of the nodes where it is not in force, by name.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = MAX_FAILING_NODES))]
    pub failing_nodes: Vec<FailingNode>,
    /// When this status last changed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_update_time: Option<Time>,
}

/// A node where a policy is not in force.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct FailingNode {
    /// Name of the node.
    #[schemars(length(max = MAX_WORD))]
    pub node: String,
    /// One word for why.
    #[schemars(length(max = MAX_WORD))]
    pub reason: String,
    /// The same in a sentence.
    #[schemars(length(max = MAX_MESSAGE))]
    pub message: String,
}
