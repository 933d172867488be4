//! The agent: the asynchronous shell around the kernel door and the pure core.
//!
//! The only crate that knows Kubernetes, containerd and the network.

pub mod config;
pub mod control;
pub mod cost;
pub mod discovery;
pub mod heartbeat;
pub mod kubernetes;
pub mod metrics;
pub mod pipeline;
pub mod plan;
pub mod registry;
pub mod run;
pub mod serve;
pub mod sinks;
pub mod watch_file;
