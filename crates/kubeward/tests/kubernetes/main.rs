//! KubeWard and Kubernetes' own API server.

mod crd;
mod fake;
mod harness;
