//! The agent's settings, each described once: its flag, environment variable and key of the file, its type, its help.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Args, ValueEnum};
use kubeward_agent::config::Kubernetes;
use kubeward_agent::cost::CpuPercent;
use kubeward_bpf::probe::Backend;
use serde::Deserialize;
use tracing_subscriber::filter::LevelFilter;

use super::file::{number, parsed, word, ByteSize};
use crate::cmd::FormatArg;

/// What one source says of the settings: the command line with its variables, or a file, whose keys are the flags' long names.
#[derive(Debug, Clone, Default, Args, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
#[group(skip)]
pub(super) struct Values {
    /// Calls to watch in every container, in strace's notation: openat,connect or %network or '!futex' (repeatable)
    #[arg(short = 'e', long = "calls", value_name = "SET", env = "KUBEWARD_CALLS")]
    pub(super) calls: Option<Vec<String>>,

    /// File with policies, or folder of *.yaml, *.yml and *.json files (repeatable); policies and -e add up
    #[arg(short = 'f', long = "policy", value_name = "POLICY|DIR", env = "KUBEWARD_POLICY")]
    pub(super) policy: Option<Vec<PathBuf>>,

    /// Take policies and pod labels from the Kubernetes API, and report to it: auto is on in a pod, on uses KUBECONFIG
    /// outside of one [default: auto]
    #[arg(long, value_enum, value_name = "WHEN", env = "KUBEWARD_KUBERNETES")]
    #[serde(default, deserialize_with = "word")]
    pub(super) kubernetes: Option<KubernetesArg>,

    /// Form of the events: json is one object a line, text one strace-like line a call [default: json]
    #[arg(long, value_enum, value_name = "FORM", env = "KUBEWARD_FORMAT")]
    #[serde(default, deserialize_with = "word")]
    pub(super) format: Option<FormatArg>,

    /// Append events to this file instead of standard output; - is standard output
    #[arg(short, long, value_name = "FILE", env = "KUBEWARD_OUTPUT")]
    pub(super) output: Option<PathBuf>,

    /// Begin a new file at this size in bytes (K, M and G are understood); needs -o
    #[arg(long, value_name = "N", env = "KUBEWARD_ROTATE_SIZE")]
    pub(super) rotate_size: Option<ByteSize>,

    /// Full files to keep, FILE.1 the newest [default: 5]
    #[arg(long, value_name = "N", env = "KUBEWARD_ROTATE_KEEP")]
    pub(super) rotate_keep: Option<u32>,

    /// containerd's socket, unix:// optional (repeatable) [default: every well-known one that answers]
    #[arg(long, value_name = "ADDR", env = "KUBEWARD_CRI_SOCKET")]
    pub(super) cri_socket: Option<Vec<String>>,

    /// Where the procfs of containerd's pid namespace is mounted [default: /proc]
    #[arg(long, alias = "procfsMount", value_name = "DIR", env = "KUBEWARD_PROCFS_MOUNT")]
    pub(super) procfs_mount: Option<PathBuf>,

    /// Hooks to use: auto, tracepoint, kprobe or fentry [default: auto]
    #[arg(long, value_name = "BACKEND", env = "KUBEWARD_PROBE_BACKEND")]
    #[serde(default, deserialize_with = "parsed")]
    pub(super) probe_backend: Option<Backend>,

    /// What becomes of the runtime's own calls before a container's first program runs: count, or emit as events of stage
    /// setup too [default: count]
    #[arg(long, value_enum, value_name = "HOW", env = "KUBEWARD_SETUP")]
    #[serde(default, deserialize_with = "word")]
    pub(super) setup: Option<SetupArg>,

    /// This node's name in every line [default: the host's name]
    #[arg(long, value_name = "NAME", env = "KUBEWARD_NODE_NAME")]
    pub(super) node_name: Option<String>,

    /// This cluster's name in every line [default: none]
    #[arg(long, value_name = "NAME", env = "KUBEWARD_CLUSTER_NAME")]
    pub(super) cluster_name: Option<String>,

    /// Where the local API listens, for kubeward health among others; none: nowhere
    /// [default: /run/kubeward/kubeward.sock]
    #[arg(long, value_name = "PATH", env = "KUBEWARD_SOCKET")]
    pub(super) socket: Option<PathBuf>,

    /// Where the agent keeps until when it watched, so that the next one tells the gap; none: nowhere
    /// [default: beside the socket, named after it, kubeward.watched]
    #[arg(long, value_name = "PATH", env = "KUBEWARD_STATE_FILE")]
    pub(super) state_file: Option<PathBuf>,

    /// Serve metrics for Prometheus at this address and port, as 127.0.0.1:9464 [default: nowhere]
    #[arg(long, value_name = "ADDR", env = "KUBEWARD_METRICS_ADDRESS")]
    pub(super) metrics_address: Option<SocketAddr>,

    /// Warn when KubeWard itself takes more than this, in percent of one CPU, over a minute [default: never]
    #[arg(long, value_name = "N", env = "KUBEWARD_WARN_CPU_PERCENT")]
    #[serde(default, deserialize_with = "number")]
    pub(super) warn_cpu_percent: Option<CpuPercent>,

    /// Keys of container labels to show on every event, separated by commas
    #[arg(long, value_name = "KEYS", value_delimiter = ',', env = "KUBEWARD_EVENT_LABELS")]
    pub(super) event_labels: Option<Vec<String>>,

    /// Take what matches out of every string, beside the secrets that are recognised anyway (repeatable)
    #[arg(long, value_name = "REGEX", env = "KUBEWARD_REDACT")]
    pub(super) redact: Option<Vec<String>>,

    /// How much the agent says on standard error: error, warn, info, debug or trace [default: info]
    #[arg(long, value_name = "LEVEL", env = "KUBEWARD_LOG_LEVEL")]
    #[serde(default, deserialize_with = "parsed")]
    pub(super) log_level: Option<LevelFilter>,

    /// Form of what it says there [default: text]
    #[arg(long, value_enum, value_name = "FORM", env = "KUBEWARD_LOG_FORMAT")]
    #[serde(default, deserialize_with = "word")]
    pub(super) log_format: Option<FormatArg>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum SetupArg {
    Count,
    Emit,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum KubernetesArg {
    Auto,
    On,
    Off,
}

impl From<KubernetesArg> for Kubernetes {
    fn from(arg: KubernetesArg) -> Self {
        match arg {
            KubernetesArg::Auto => Kubernetes::Auto,
            KubernetesArg::On => Kubernetes::On,
            KubernetesArg::Off => Kubernetes::Off,
        }
    }
}
