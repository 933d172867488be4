//! The pure heart of KubeWard: what a call, an event, a container and a policy *are*.
//!
//! This crate must not know where an event came from or where it goes: no I/O, no clock, no async, no
//! Kubernetes, containerd or libbpf types, and no `unsafe`. Everything here can be tested in milliseconds
//! without a kernel.

pub mod bytes;
pub mod container;
pub mod cost;
pub mod event;
pub mod ledger;
pub mod policy;
pub mod redact;
pub mod render;
pub mod syscall;
pub mod table;
