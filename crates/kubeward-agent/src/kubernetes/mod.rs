//! Everything that speaks with a Kubernetes API server, and what is written there.
//!
//! This module must not know the kernel side: policies leave it as checked policies, labels as texts.

pub mod client;
pub mod controller;
pub mod crd;
pub mod node;
pub mod pods;
pub mod policies;
pub mod report;
#[cfg(test)]
mod scripted;
pub mod trouble;
pub mod watch;
