//! `kubeward controller`: sums up what the agents of a cluster say.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use kubeward_agent::kubernetes::controller::{self, Settings};
use tracing_subscriber::filter::LevelFilter;

use super::log::log_to_stderr;
use super::{complain, told, FormatArg};

/// Sum up what the agents say of each policy into the policy's status
///
/// Watches KubeWard and KubeWardNode objects and writes kubewards/status: at most once in ten seconds for a policy, and never
/// when nothing changed. One is enough for a cluster; a second does no harm. Outside a pod it uses KUBECONFIG.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  kubeward controller
  KUBECONFIG=~/.kube/config kubeward controller --namespace kubeward --socket /tmp/controller.sock

Exit code: 0 when a signal ended it, 1 if it failed, 2 for wrong usage.")]
pub(crate) struct ControllerArgs {
    /// Namespace of the agents and their KubeWardNode objects
    #[arg(long, value_name = "NAME", env = "KUBEWARD_POD_NAMESPACE", default_value = "kubeward")]
    namespace: String,

    /// Socket that `kubeward health` asks; without it none is made
    #[arg(long, value_name = "PATH", env = "KUBEWARD_SOCKET")]
    socket: Option<PathBuf>,

    /// How much it says on standard error: error, warn, info, debug or trace
    #[arg(long, value_name = "LEVEL", env = "KUBEWARD_LOG_LEVEL", default_value = "info")]
    log_level: LevelFilter,

    /// Form of what it says there
    #[arg(long, value_enum, value_name = "FORM", env = "KUBEWARD_LOG_FORMAT", default_value = "text")]
    log_format: FormatArg,
}

pub(crate) fn run(args: &ControllerArgs) -> ExitCode {
    log_to_stderr(args.log_level, args.log_format);
    match start(args) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            complain(&told(&error));
            ExitCode::FAILURE
        }
    }
}

fn start(args: &ControllerArgs) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let settings = Settings { namespace: args.namespace.clone(), socket: args.socket.clone() };
    let ended = runtime.block_on(controller::run(settings));
    // A request that hangs must not hold up the end.
    runtime.shutdown_background();
    ended
}
