//! The commands, one file each, and what their command lines share.

mod policies;
mod run_id;
pub mod trace;

use std::path::PathBuf;

use clap::{Args, ValueEnum};

/// What to watch.
#[derive(Debug, Args)]
pub struct WatchArgs {
    /// Calls to watch, in strace's notation: openat,connect or %network or '!futex' (repeatable)
    #[arg(short = 'e', long = "calls", value_name = "SET", env = "KUBEWARD_CALLS")]
    sets: Vec<String>,

    /// File with policies (repeatable); policies and -e add up
    #[arg(short = 'f', long = "policy", value_name = "POLICY", env = "KUBEWARD_POLICY")]
    policies: Vec<PathBuf>,
}

/// Form of the lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum FormatArg {
    Text,
    Json,
}
