//! KubeWard's one binary: the command line, dispatch, exit codes.

mod cmd;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Show what containers do, by watching their system calls from inside the kernel
#[derive(Debug, Parser)]
#[command(name = "kubeward", version, disable_help_subcommand = true, max_term_width = 100)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Trace(cmd::trace::TraceArgs),
}

fn main() -> ExitCode {
    match Cli::parse().command {
        Command::Trace(args) => cmd::trace::run(&args),
    }
}
