//! `kubeward agent`: watches the containers of this machine.

mod file;
mod settings;

use std::io::IsTerminal;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, ValueEnum};
use kubeward_agent::run::{Agent, InvalidPolicies};
use kubeward_bpf::probe::Backend;
use tracing_subscriber::filter::LevelFilter;

use super::{answer, complain, privilege, told, FormatArg};
use file::SettingError;
use settings::Settings;

/// Watch the containers that containerd runs on this machine
///
/// Events go to standard output, one JSON object a line; the agent's own words to standard error. Policies say which calls of
/// which containers are shown; they are followed when their files change. Without -e and -f nothing is attached.
///
/// SIGTERM and Ctrl-C end it after the last events and accounts; a second one at once. SIGHUP opens the output anew.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  kubeward agent -e execve,%network --format text
  kubeward agent -f /etc/kubeward/policies -o events.jsonl --rotate-size 100M

A flag wins over its environment variable, that over the configuration file, that over the default; --print-config \
shows which one did. Variables that hold several values separate them by commas (KUBEWARD_CALLS is one SET, \
KUBEWARD_REDACT one REGEX). CRI_SOCKET, CRISOCKET and PROCFSMOUNT are understood too.

Exit code: 0 when a signal ended it, 1 if it failed, 2 for wrong usage or an invalid policy.")]
pub(crate) struct AgentArgs {
    /// Calls to watch in every container, in strace's notation: openat,connect or %network or '!futex' (repeatable)
    #[arg(short = 'e', long = "calls", value_name = "SET", env = "KUBEWARD_CALLS")]
    calls: Vec<String>,

    /// File with policies, or folder of *.yaml, *.yml and *.json files (repeatable); policies and -e add up
    #[arg(short = 'f', long = "policy", value_name = "POLICY|DIR", env = "KUBEWARD_POLICY")]
    policy: Vec<PathBuf>,

    /// Configuration file: TOML, with these flags' long names as keys
    #[arg(long, value_name = "FILE", env = "KUBEWARD_CONFIG")]
    config: Option<PathBuf>,

    /// Print the configuration with the source of each value, and exit
    #[arg(long)]
    print_config: bool,

    /// Take policies and pod labels from the Kubernetes API, and report to it: auto is on in a pod, on uses KUBECONFIG
    /// outside of one [default: auto]
    #[arg(long, value_enum, value_name = "WHEN", env = "KUBEWARD_KUBERNETES")]
    kubernetes: Option<KubernetesArg>,

    /// Form of the events: json is one object a line, text one strace-like line a call [default: json]
    #[arg(long, value_enum, value_name = "FORM", env = "KUBEWARD_FORMAT")]
    format: Option<FormatArg>,

    /// Append events to this file instead of standard output; - is standard output
    #[arg(short, long, value_name = "FILE", env = "KUBEWARD_OUTPUT")]
    output: Option<PathBuf>,

    /// Begin a new file at this size in bytes (K, M and G are understood); needs -o
    #[arg(long, value_name = "N", env = "KUBEWARD_ROTATE_SIZE")]
    rotate_size: Option<String>,

    /// Full files to keep, FILE.1 the newest [default: 5]
    #[arg(long, value_name = "N", env = "KUBEWARD_ROTATE_KEEP")]
    rotate_keep: Option<u32>,

    /// containerd's socket, unix:// optional (repeatable) [default: every well-known one that answers]
    #[arg(long, value_name = "ADDR", env = "KUBEWARD_CRI_SOCKET")]
    cri_socket: Vec<String>,

    /// Where the procfs of containerd's pid namespace is mounted [default: /proc]
    #[arg(long, alias = "procfsMount", value_name = "DIR", env = "KUBEWARD_PROCFS_MOUNT")]
    procfs_mount: Option<PathBuf>,

    /// Hooks to use: auto, tracepoint, kprobe or fentry [default: auto]
    #[arg(long, value_name = "BACKEND", env = "KUBEWARD_PROBE_BACKEND")]
    probe_backend: Option<Backend>,

    /// This node's name in every line [default: the host's name]
    #[arg(long, value_name = "NAME", env = "KUBEWARD_NODE_NAME")]
    node_name: Option<String>,

    /// This cluster's name in every line [default: none]
    #[arg(long, value_name = "NAME", env = "KUBEWARD_CLUSTER_NAME")]
    cluster_name: Option<String>,

    /// Where the local API listens, for kubeward health among others; none: nowhere
    /// [default: /run/kubeward/kubeward.sock]
    #[arg(long, value_name = "PATH", env = "KUBEWARD_SOCKET")]
    socket: Option<PathBuf>,

    /// Keys of container labels to show on every event, separated by commas
    #[arg(long, value_name = "KEYS", value_delimiter = ',', env = "KUBEWARD_EVENT_LABELS")]
    event_labels: Vec<String>,

    /// Take what matches out of every string, beside the secrets that are recognised anyway (repeatable)
    #[arg(long, value_name = "REGEX", env = "KUBEWARD_REDACT")]
    redact: Vec<String>,

    /// How much the agent says on standard error: error, warn, info, debug or trace [default: info]
    #[arg(long, value_name = "LEVEL", env = "KUBEWARD_LOG_LEVEL")]
    log_level: Option<LevelFilter>,

    /// Form of what it says there [default: text]
    #[arg(long, value_enum, value_name = "FORM", env = "KUBEWARD_LOG_FORMAT")]
    log_format: Option<FormatArg>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum KubernetesArg {
    Auto,
    On,
    Off,
}

pub(crate) fn run(args: &AgentArgs, sources: &clap::ArgMatches) -> ExitCode {
    match start(args, sources) {
        Ok(code) => code,
        Err(error) => {
            complain(&told(&error));
            let is_usage = error.is::<SettingError>() || error.is::<InvalidPolicies>();
            ExitCode::from(if is_usage { 2 } else { 1 })
        }
    }
}

fn start(args: &AgentArgs, sources: &clap::ArgMatches) -> anyhow::Result<ExitCode> {
    let settings = Settings::resolve(args, sources)?;
    if args.print_config {
        return Ok(answer(&settings.to_string(), ExitCode::SUCCESS));
    }
    let config = settings.config()?;
    log_to_stderr(settings.log_level(), settings.log_format());
    privilege::check()?;
    // Before the runtime starts its threads.
    let agent = Agent::prepare(config)?;
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let ended = runtime.block_on(agent.run());
    // A reader or writer that hangs must not hold up the end.
    runtime.shutdown_background();
    ended.map(|()| ExitCode::SUCCESS)
}

pub(super) fn log_to_stderr(level: LevelFilter, format: FormatArg) {
    // Where standard error is gone there is nobody to tell of that either.
    let log = tracing_subscriber::fmt().with_max_level(level).with_writer(std::io::stderr).log_internal_errors(false);
    let log = log.with_target(false);
    match format {
        FormatArg::Text => log.with_ansi(std::io::stderr().is_terminal()).init(),
        FormatArg::Json => log.json().init(),
    }
}
