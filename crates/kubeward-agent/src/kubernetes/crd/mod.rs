//! Our custom resources: their Rust types, the rules of their fields, and the definitions that are made of them.

mod fit;
mod node;
mod policy;
mod rules;
mod schema;
mod spec;

pub use node::{
    KubeWardNode, KubeWardNodeSpec, NodePolicy, NodeProbe, NodeStatus, PolicyReason, RefusedEntry, RefusedProbe,
};
pub use policy::{FailingNode, KubeWard, KubeWardStatus};
pub use rules::{
    MAX_CONDITIONS, MAX_FAILING_NODES, MAX_MESSAGE, MAX_NODE_POLICIES, MAX_NODE_PROBES, MAX_REFUSED_ENTRIES, MAX_WORD,
};
pub use schema::{definitions, manifest};
pub use spec::KubeWardSpec;

/// The API group of both.
pub const GROUP: &str = "kubeward.kubeward";
/// Its only version.
pub const VERSION: &str = "v1";
