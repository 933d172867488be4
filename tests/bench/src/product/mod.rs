//! Rows of the whole program: `bin/kubeward agent` beside a containerd, as a node has it.

mod agent;
pub mod events;
mod fake_containerd;
pub mod inits;
pub mod memory;
mod node;
mod producer;
pub mod profile;
pub mod sustained;
pub mod throughput;
