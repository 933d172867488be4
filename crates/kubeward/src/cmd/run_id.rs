//! What all lines of one run have in common.

use std::fs;
use std::time::{SystemTime, UNIX_EPOCH};

use kubeward_core::render::line::Stream;

/// The run is named by the kernel's boot and the moment it began: no two share both.
pub(crate) fn stream(node: Option<String>, event_labels: Vec<String>) -> Stream {
    let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
    let start_ns = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_nanos());
    let run = format!("{}-{start_ns}", boot.trim());
    Stream { node: node.unwrap_or_else(host_name), cluster: None, run, event_labels }
}

pub(crate) fn host_name() -> String {
    let name = nix::unistd::gethostname().map(|name| name.to_string_lossy().into_owned());
    name.unwrap_or_else(|_| "unknown".to_owned())
}
