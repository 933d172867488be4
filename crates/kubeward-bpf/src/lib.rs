//! The kernel door: everything that touches eBPF, and the only crate with `unsafe`.
//!
//! It loads the object, attaches and detaches hooks, fills the maps and turns records into events. It must not know
//! policies, containerd, Kubernetes or an async runtime: it is told what to hook and which container is whose.

pub mod accounts;
mod batch;
pub mod births;
pub mod decode;
pub mod heap;
mod limits;
pub mod maps;
pub mod memory;
pub mod object;
pub mod probe;
pub mod process;
pub mod read;
mod ring;
mod shapes;
mod share;
pub mod size;
pub mod spawn;
pub mod support;
pub mod table;
pub mod tasks;
pub mod timing;
pub mod wire;
