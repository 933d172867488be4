//! What an agent is told before it starts, checked.

use std::net::SocketAddr;
use std::path::PathBuf;

use kubeward_bpf::probe::Backend;
use kubeward_core::redact::Redactor;
use kubeward_core::render::line::Stream;
use kubeward_core::syscall::CallSet;

use crate::cost::CpuPercent;
use crate::discovery::containerd::Sockets;
use crate::sinks::Rotation;

/// Form of the lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    Json,
    Text,
}

/// Where lines go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Target {
    Stdout,
    File { path: PathBuf, rotation: Option<Rotation> },
}

/// Whether policies, pods and status go by a Kubernetes API server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kubernetes {
    Off,
    /// In a pod.
    Auto,
    /// Everywhere: outside a pod with `KUBECONFIG` or `~/.kube/config`.
    On,
}

#[derive(Debug, Clone)]
pub struct Config {
    /// The calls of `-e`, for every container.
    pub calls: Option<CallSet>,
    /// Files and folders of policies.
    pub policies: Vec<PathBuf>,
    pub kubernetes: Kubernetes,
    pub format: Format,
    pub target: Target,
    pub sockets: Sockets,
    /// Where the procfs of containerd's pid namespace is mounted.
    pub procfs: PathBuf,
    pub backend: Backend,
    /// The runtime's calls before a container's own first exec are events too.
    pub emits_setup: bool,
    /// What all lines of this run have in common.
    pub stream: Stream,
    pub redactor: Redactor,
    /// Where the local API listens; `None`: nowhere.
    pub socket: Option<PathBuf>,
    /// Where metrics are served; `None`: nowhere.
    pub metrics_address: Option<SocketAddr>,
    /// What KubeWard may take of the CPUs before it warns; `None`: it never does.
    pub warn_cpu_percent: Option<CpuPercent>,
    /// Where it is kept until when this agent watched; `None`: nowhere.
    pub state_file: Option<PathBuf>,
}
