//! The async shell: the only crate that knows Kubernetes, containerd and the network.

pub mod sinks;
