//! KubeWard and Kubernetes' own API server.

mod crd;
mod harness;
