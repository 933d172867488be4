//! `kubeward policy`: work on policy files. `check`: what policies would attach, or what is wrong with them, without root or
//! kernel; `plan` is in its own file.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Subcommand};

use super::plan::{self, PlanArgs};
use super::policies::{set_of, strictly};
use super::{answer, complain};

/// Work on policy files
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  kubeward policy check web.yaml
  kubeward policy plan -f web.yaml")]
pub(crate) struct PolicyArgs {
    #[command(subcommand)]
    command: PolicyCommand,
}

#[derive(Debug, Subcommand)]
enum PolicyCommand {
    Check(CheckArgs),
    Plan(PlanArgs),
}

/// Say what the policies in these files would attach together, or what is wrong with them
///
/// Needs neither root nor a kernel that KubeWard works on.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  kubeward policy check web.yaml
  kubeward policy check policies/*.yaml

Exit code: 0 if every policy is valid, 2 if one is not or a file cannot be read.")]
struct CheckArgs {
    /// Files with policies
    #[arg(value_name = "FILE", required = true)]
    files: Vec<PathBuf>,
}

pub(crate) fn run(args: &PolicyArgs) -> ExitCode {
    match &args.command {
        PolicyCommand::Check(args) => check(args),
        PolicyCommand::Plan(args) => plan::run(args),
    }
}

fn check(args: &CheckArgs) -> ExitCode {
    match strictly(&args.files).and_then(set_of) {
        Ok(set) => answer(&set.describe().to_string(), ExitCode::SUCCESS),
        Err(failure) => {
            complain(&failure);
            // A file that is not there was named wrongly: as wrong a usage as a policy with a fault.
            ExitCode::from(2)
        }
    }
}
