//! KubeWard's one binary: the command line, dispatch, exit codes.
//!
//! Exit codes: 0 done, 1 failed, 2 wrong usage or an invalid policy; `trace` has its command's.

mod cmd;

use std::process::ExitCode;

use clap::{CommandFactory, FromArgMatches, Parser, Subcommand};

/// Show what containers do, by watching their system calls from inside the kernel
#[derive(Debug, Parser)]
#[command(name = "kubeward", version, max_term_width = 100)]
#[command(after_help = "\
Examples:
  kubeward trace -- cat /etc/hostname
  kubeward doctor")]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Trace(cmd::trace::TraceArgs),
    Agent(Box<cmd::agent::AgentArgs>),
    Controller(cmd::controller::ControllerArgs),
    Health(cmd::health::HealthArgs),
    Policy(cmd::policy::PolicyArgs),
    Syscalls(cmd::syscalls::SyscallsArgs),
    Crd(cmd::crd::CrdArgs),
    Doctor(cmd::doctor::DoctorArgs),
    /// Print the version
    #[command(after_help = "Examples:\n  kubeward version\n  kubeward --version")]
    Version,
}

fn main() -> ExitCode {
    let matches = Cli::command().get_matches();
    let command = match Cli::from_arg_matches(&matches) {
        Ok(cli) => cli.command,
        Err(error) => error.exit(),
    };
    match command {
        Command::Trace(args) => cmd::trace::run(&args),
        Command::Agent(args) => {
            let (_, sources) = matches.subcommand().expect("the command was just matched");
            cmd::agent::run(&args, sources)
        }
        Command::Controller(args) => cmd::controller::run(&args),
        Command::Health(args) => cmd::health::run(&args),
        Command::Policy(args) => cmd::policy::run(&args),
        Command::Syscalls(args) => cmd::syscalls::run(&args),
        Command::Crd(args) => cmd::crd::run(&args),
        Command::Doctor(args) => cmd::doctor::run(&args),
        Command::Version => cmd::version(),
    }
}
