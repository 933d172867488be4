//! What KubeWard itself takes of this node: CPU time of its programs in the kernel and of its own process, and memory of both.
//!
//! - `process`: what the kernel says of this process
//! - `meter`: from samples to the last minute and to sums. Pure
//! - `limit`: whether `--warn-cpu-percent` is passed. Pure
//! - `cgroup`: what its cgroup lets it have
//! - `maps`: what its maps take in all, beside that
//! - `sampler`: the task that takes samples, and the newest cost for whoever asks
//!
//! It must not know who asks.

mod cgroup;
mod limit;
mod maps;
mod meter;
mod process;
mod sampler;

pub use limit::{CpuPercent, NoPercent};
pub use maps::MapMemory;
pub use meter::Cost;
pub use sampler::{CostNow, Sampler};
