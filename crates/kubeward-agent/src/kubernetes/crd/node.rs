//! `KubeWardNode`: what the agent of one node says of itself. Written by that agent alone, no live numbers in it: an agent
//! at rest writes nothing.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::rules::{self, MAX_MESSAGE, MAX_NODE_POLICIES, MAX_NODE_PROBES, MAX_REFUSED_ENTRIES, MAX_WORD};

/// Nothing is configured in it.
#[derive(CustomResource, Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[kube(
    group = "kubeward.kubeward",
    version = "v1",
    kind = "KubeWardNode",
    plural = "kubewardnodes",
    shortname = "kwn",
    doc = "What the agent of one node says of itself. Written by that agent alone.",
    namespaced,
    status = "NodeStatus",
    derive = "PartialEq",
    printcolumn = r#"{"name":"Ready","type":"string","jsonPath":".status.conditions[?(@.type==\"Ready\")].status","description":"Whether the agent watches as its policies ask."}"#,
    printcolumn = r#"{"name":"Backend","type":"string","jsonPath":".status.backend","description":"The hooks that were asked for."}"#,
    printcolumn = r#"{"name":"Version","type":"string","jsonPath":".status.version","description":"Version of the agent."}"#,
    printcolumn = r#"{"name":"Kernel","type":"string","jsonPath":".status.kernel","priority":1,"description":"Release of the node's kernel."}"#,
    printcolumn = r#"{"name":"Age","type":"date","jsonPath":".metadata.creationTimestamp"}"#,
    printcolumn = r#"{"name":"Reason","type":"string","jsonPath":".status.conditions[?(@.type==\"Ready\")].reason","description":"One word for how the node stands."}"#
)]
pub struct KubeWardNodeSpec {}

/// What the agent of this node does. Changes when that changes, never with time alone.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct NodeStatus {
    /// The agent's run, as `run` in its events; another run's writes are refused while this one lives.
    #[schemars(length(max = MAX_WORD))]
    pub run: String,
    /// Version of the agent.
    #[schemars(length(max = MAX_WORD))]
    pub version: String,
    /// Release of the node's kernel.
    #[schemars(length(max = MAX_WORD))]
    pub kernel: String,
    /// Architecture of the node, as the kernel names it.
    #[schemars(length(max = MAX_WORD))]
    pub architecture: String,
    /// What --probe-backend asked for.
    #[schemars(length(max = MAX_WORD))]
    pub backend: String,
    /// Ready, Containerd, Probes, FeedbackLoop and CostAboveLimit, with reasons to act on.
    #[serde(default)]
    #[schemars(schema_with = "rules::conditions")]
    pub conditions: Vec<Condition>,
    /// Each policy that this agent knows of.
    #[serde(default)]
    #[schemars(length(max = MAX_NODE_POLICIES))]
    pub policies: Vec<NodePolicy>,
    /// The calls that are hooked, and by what.
    #[serde(default)]
    #[schemars(length(max = MAX_NODE_PROBES))]
    pub probes: Vec<NodeProbe>,
    /// Calls that a policy wants and no hook of this kernel serves.
    #[serde(default)]
    #[schemars(length(max = MAX_NODE_PROBES))]
    pub refused_probes: Vec<RefusedProbe>,
}

/// One policy on this node.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct NodePolicy {
    /// Name of the KubeWard.
    #[schemars(length(max = MAX_WORD))]
    pub name: String,
    /// Its uid: a policy that was deleted and made again is another.
    #[schemars(length(max = MAX_WORD))]
    pub uid: String,
    /// Its generation that this entry is about.
    #[schemars(range(min = 0))]
    pub observed_generation: i64,
    /// True: what can apply of it applies here, or rightly nothing does.
    pub ready: bool,
    /// One word for how it stands.
    pub reason: PolicyReason,
    /// The same in a sentence, with the remedy.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    #[schemars(length(max = MAX_MESSAGE))]
    pub message: String,
    /// Calls that it names and that are hooked here.
    #[schemars(range(max = 512))]
    pub calls: u16,
    /// False: no container of this node is selected by it now.
    pub selects_containers: bool,
    /// False: calls that seccomp refused are not seen by the hooks that serve it.
    pub covers_refused: bool,
    /// Entries that are left out, at most ten of them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = MAX_REFUSED_ENTRIES))]
    pub refused: Vec<RefusedEntry>,
    /// How many entries are left out in all.
    #[serde(default)]
    #[schemars(range(max = 100_000))]
    pub refused_total: u32,
}

/// How a policy stands on a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
pub enum PolicyReason {
    /// All of it is in force.
    Applied,
    /// Some entries are left out, the rest is in force.
    PartlyAccepted,
    /// It names no call; nothing attaches.
    Empty,
    /// `suspend: true`.
    Suspended,
    /// `expireAfter` has passed.
    Expired,
    /// `nodeSelector` does not select this node.
    NodeNotSelected,
    /// There is a `nodeSelector`, and the labels of this node are not known yet.
    NodeUnknown,
    /// Being put in force.
    Applying,
    /// Nothing of it can apply; an earlier generation that could stays in force.
    Invalid,
    /// It asks for what this version does not have.
    NotSupported,
    /// 256 policies apply already, older ones.
    TooManyPolicies,
    /// A policy file of the agent has the same name.
    NameTaken,
    /// No hook of this kernel serves some call that it names.
    ProbeRefused,
    /// Putting it in force failed; those before stay.
    ApplyFailed,
}

/// An entry of a policy that is left out.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub struct RefusedEntry {
    /// Its place: `spec.kprobe[2].name`.
    #[schemars(length(max = MAX_WORD))]
    pub field: String,
    /// Why, with the nearest valid name.
    #[schemars(length(max = MAX_MESSAGE))]
    pub message: String,
}

/// A call that is hooked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct NodeProbe {
    /// Name of the call.
    #[schemars(length(max = MAX_WORD))]
    pub call: String,
    /// Kind of the hook, as `probe` in events.
    #[schemars(length(max = MAX_WORD))]
    pub backend: String,
    /// The kernel function or tracepoint that is hooked.
    #[schemars(length(max = MAX_WORD))]
    pub symbol: String,
}

/// A call that is not hooked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct RefusedProbe {
    /// Name of the call.
    #[schemars(length(max = MAX_WORD))]
    pub call: String,
    /// What the kernel or the loader said.
    #[schemars(length(max = MAX_MESSAGE))]
    pub message: String,
}
