//! From the Rust types to the definitions that an API server takes.

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::CustomResourceExt;

use super::{KubeWard, KubeWardNode};

/// The definitions of our custom resources, in the order in which they are applied.
pub fn definitions() -> [CustomResourceDefinition; 2] {
    [KubeWard::crd(), without_status_subresource(KubeWardNode::crd())]
}

/// With the subresource an agent's first word would be two writes, one for the object and one for its status. The agent
/// alone writes either, so that nothing is kept apart by it; `.status` reads the same.
fn without_status_subresource(mut definition: CustomResourceDefinition) -> CustomResourceDefinition {
    for version in &mut definition.spec.versions {
        version.subresources = None;
    }
    definition
}
