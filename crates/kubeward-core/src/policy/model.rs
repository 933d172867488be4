//! The policy as its author wrote it: every value of the right type, nothing yet said about this kernel.

use std::time::Duration;

use super::fault::Source;
use super::glob::Glob;
use super::labels::LabelSelector;
use super::selector::Selector;
use crate::syscall::Category;

/// `apiVersion: kubeward.kubeward/v1`, `kind: KubeWard`.
#[derive(Debug, Clone, PartialEq)]
pub struct Policy {
    pub source: Source,
    /// `metadata.name`.
    pub name: String,
    pub spec: Spec,
}

/// `spec`. Absent members have the value of [`Spec::default`], which watches nothing.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Spec {
    /// Names of calls to record at entry, in any spelling that the catalogue resolves.
    pub kprobe: Vec<String>,
    /// At return.
    pub kretprobe: Vec<String>,
    /// One record when the call returns.
    pub syscalls: Vec<String>,
    /// The same for all calls of a category.
    pub categories: Vec<Category>,
    /// Taken away from all of the above.
    pub exclude: Vec<String>,
    /// Durations on every call named.
    pub timing: bool,
    /// Also calls that seccomp refused, whatever hook serves the policy.
    pub refused: bool,
    pub mode: Mode,
    pub selector: Selector,
    /// Which nodes, by the node's labels; absent: every node.
    pub node_selector: Option<LabelSelector>,
    pub filter: FilterSpec,
    pub limits: Option<Limits>,
    /// Identical calls of a thread in a row may be one event.
    pub coalesce: bool,
    pub capture: Capture,
    /// Accepted, but wants nothing for now.
    pub suspend: bool,
    /// How long after its creation, or its file's last change, it stops to want anything.
    pub expire_after: Option<Duration>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Mode {
    #[default]
    Events,
    /// The exact table only.
    Count,
}

/// `spec.filter`: an event must pass every member that is there.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct FilterSpec {
    /// Names of errors; the call must have failed with one of them.
    pub errors: Vec<String>,
    /// The call must have taken at least this long.
    pub min_duration: Option<Duration>,
    /// A path of the call must be one of these or below it.
    pub path_prefix: Vec<String>,
}

/// `spec.limits`, for each container on its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    pub events_per_second: u32,
    /// Events that may come at once after a quiet time; `events_per_second` when not given.
    pub burst: u32,
}

/// `spec.capture`: how much of what the arguments point to is read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Capture {
    /// Bytes of each string or path argument, its NUL included.
    pub arg_bytes: u32,
    /// Bytes of all strings of an argument vector together.
    pub argv_bytes: u32,
    /// Bytes of payload (`read`, `sendto`, ...).
    pub data_bytes: u32,
    /// Environment variables of a new program, by name.
    pub env: Vec<Glob>,
}

impl Default for Capture {
    fn default() -> Self {
        Capture { arg_bytes: 256, argv_bytes: 4096, data_bytes: 0, env: Vec::new() }
    }
}
