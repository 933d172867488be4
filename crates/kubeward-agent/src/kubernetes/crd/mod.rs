//! Our custom resources: their Rust types, and the definitions that are made of them.

mod node;
mod policy;
mod schema;
mod spec;

pub use node::{
    KubeWardNode, KubeWardNodeSpec, NodePolicy, NodeProbe, NodeStatus, PolicyReason, RefusedEntry, RefusedProbe,
};
pub use policy::{FailingNode, KubeWard, KubeWardStatus};
pub use schema::definitions;
pub use spec::KubeWardSpec;

/// The API group of both.
pub const GROUP: &str = "kubeward.kubeward";
/// Its only version.
pub const VERSION: &str = "v1";
