//! From the Rust types to the definitions that an API server takes.

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::CustomResourceExt;

use super::{KubeWard, KubeWardNode};

/// The definitions of our custom resources, in the order in which they are applied.
pub fn definitions() -> [CustomResourceDefinition; 2] {
    [KubeWard::crd(), KubeWardNode::crd()]
}
