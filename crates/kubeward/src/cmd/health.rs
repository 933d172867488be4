//! `kubeward health`: asks a running agent, or controller, whether it is well.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use kubeward_agent::serve::client::{self, DEFAULT_SOCKET};
use kubeward_agent::serve::health::{LIVENESS, READINESS};

use super::{answer, complain, told};

/// Ask a running agent, or controller, whether it is well
///
/// Alive: its loops made progress within 30 s. Ready: the containers that run here are watched and the policies known are in
/// force; a controller has listed policies and nodes. Of an agent, neither depends on the API server, containerd or an output being there.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  kubeward health
  kubeward health --ready --socket /tmp/agent.sock

Says why in one line. Exit code: 0 if so, 1 if not or if nothing answers, 2 for wrong usage.")]
pub(crate) struct HealthArgs {
    /// Ask whether it is ready, not only alive
    #[arg(long, env = "KUBEWARD_READY")]
    ready: bool,

    /// The socket of the agent or controller
    #[arg(long, value_name = "PATH", env = "KUBEWARD_SOCKET", default_value = DEFAULT_SOCKET)]
    socket: PathBuf,
}

pub(crate) fn run(args: &HealthArgs) -> ExitCode {
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            complain(&error);
            return ExitCode::FAILURE;
        }
    };
    let (service, claim) = if args.ready { (READINESS, "ready") } else { (LIVENESS, "alive") };
    match runtime.block_on(client::health(&args.socket, service)) {
        Ok(verdict) if verdict.holds => answer(&format!("{claim}: {}\n", verdict.why), ExitCode::SUCCESS),
        Ok(verdict) => answer(&format!("not {claim}: {}\n", verdict.why), ExitCode::FAILURE),
        Err(error) => {
            complain(&told(&error.into()));
            ExitCode::FAILURE
        }
    }
}
