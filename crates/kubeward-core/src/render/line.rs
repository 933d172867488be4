//! What a stream says beside calls, and what all its lines have in common.

use crate::container::Container;
use crate::ledger::{Account, LossReason};

/// What is the same for every line of one run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stream {
    /// Name of the node, as Kubernetes or the host name gives it.
    pub node: String,
    /// Name of the cluster, where somebody gave one: node names are one cluster's.
    pub cluster: Option<String>,
    /// `<boot id>-<start>`: no two runs share it.
    pub run: String,
    /// Keys of the labels that every event shows. All others are on `container` lines alone.
    pub event_labels: Vec<String>,
}

/// Where a line stands in its run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Moment {
    /// Position in this run's stream, from 1, shared by lines of every kind.
    pub seq: u64,
    /// Nanoseconds since the Unix epoch.
    pub time_ns: u64,
    /// The same moment on CLOCK_MONOTONIC.
    pub mono_ns: u64,
}

/// How much of a container's life is seen. Nanoseconds since the Unix epoch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Sight {
    /// Its cgroup was made or, where that was not seen, its first process started.
    pub created_ns: u64,
    /// Since when none of its calls is missed.
    pub covered_ns: u64,
}

impl Sight {
    /// For how long the container could make calls that nobody saw.
    pub fn gap_ns(&self) -> u64 {
        self.covered_ns.saturating_sub(self.created_ns)
    }
}

/// What happened to a container.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ContainerChange {
    /// It is watched from now on.
    Came(Sight),
    /// One of its facts (labels, pod, image) is another now.
    Changed,
    /// It ended; no event of it follows.
    Gone,
}

impl ContainerChange {
    /// The word in JSON and in text.
    pub const fn name(self) -> &'static str {
        match self {
            ContainerChange::Came(_) => "came",
            ContainerChange::Changed => "changed",
            ContainerChange::Gone => "gone",
        }
    }
}

/// One account as the stream tells it.
#[derive(Debug, Clone, Copy)]
pub struct LedgerLine<'a> {
    pub scope: LedgerScope<'a>,
    pub account: &'a Account,
    /// The run ends: no later line changes these numbers.
    pub is_final: bool,
    /// Runs of a probe that the kernel itself refused since start (its `recursion_misses`), on the whole node.
    pub skipped: u64,
    /// Returns that the kernel's return probes had no slot for, since start, on the whole node.
    pub missed_returns: u64,
}

/// Whose account it is.
#[derive(Debug, Clone, Copy)]
pub enum LedgerScope<'a> {
    /// The sum over all containers of this run, the ended ones too.
    Node,
    Container(&'a Container),
}

/// Why events are missing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum GapReason {
    /// They were lost on their way, as the account says too.
    Lost(LossReason),
    /// No agent watched: no account knows of them.
    AgentDown,
}

impl GapReason {
    /// The name in JSON. Never changes.
    pub const fn name(self) -> &'static str {
        match self {
            GapReason::Lost(reason) => reason.name(),
            GapReason::AgentDown => "agent_down",
        }
    }
}

/// Events are missing between two moments of the stream.
#[derive(Debug, Clone, Copy)]
pub struct Gap<'a> {
    pub reason: GapReason,
    /// How many events, 0 when the number is not known.
    pub lost: u64,
    /// Nanoseconds since the Unix epoch of the last moment known to be whole.
    pub from_ns: u64,
    /// Nanoseconds since the Unix epoch of the first moment whole again; absent while the loss goes on.
    pub to_ns: Option<u64>,
    /// Absent when the loss is not one container's.
    pub container: Option<&'a Container>,
}

/// How much a notice matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum NoticeLevel {
    Info,
    Warning,
    Error,
}

impl NoticeLevel {
    /// The word in JSON and in text.
    pub const fn name(self) -> &'static str {
        match self {
            NoticeLevel::Info => "info",
            NoticeLevel::Warning => "warning",
            NoticeLevel::Error => "error",
        }
    }
}

/// Something about the watching itself that a reader of events must know.
#[derive(Debug, Clone, Copy)]
pub struct Notice<'a> {
    pub level: NoticeLevel,
    /// Stable name for programs: `containerd_unreachable`.
    pub code: &'static str,
    /// One sentence for people.
    pub message: &'a str,
    pub container: Option<&'a Container>,
}
