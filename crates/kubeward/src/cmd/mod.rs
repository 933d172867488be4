//! The commands, one file each, and what their command lines share.

pub(crate) mod agent;
pub(crate) mod controller;
pub(crate) mod crd;
pub(crate) mod doctor;
pub(crate) mod health;
mod log;
mod plan;
mod policies;
pub(crate) mod policy;
mod privilege;
mod run_id;
pub(crate) mod syscalls;
pub(crate) mod trace;

use std::io::{self, ErrorKind, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, ValueEnum};

/// What to watch.
#[derive(Debug, Args)]
pub(crate) struct WatchArgs {
    /// Calls to watch, in strace's notation: openat,connect or %network or '!futex' (repeatable)
    #[arg(short = 'e', long = "calls", value_name = "SET", env = "KUBEWARD_CALLS")]
    sets: Vec<String>,

    /// File with policies (repeatable); policies and -e add up
    #[arg(short = 'f', long = "policy", value_name = "POLICY", env = "KUBEWARD_POLICY")]
    policies: Vec<PathBuf>,
}

/// Form of the lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum FormatArg {
    Text,
    Json,
}

/// Says what is wrong on standard error, in one write: a watched program may be writing there too.
fn complain(message: &dyn std::fmt::Display) {
    // Where standard error is gone there is nobody to tell.
    let _ = io::stderr().write_all(format!("kubeward: {message}\n").as_bytes());
}

/// The error and its causes as one line, without those that the error's own text already holds.
fn told(error: &anyhow::Error) -> String {
    error.chain().skip(1).map(ToString::to_string).fold(error.to_string(), |text, cause| match text.contains(&cause) {
        true => text,
        false => format!("{text}: {cause}"),
    })
}

/// Writes the answer of a command to standard output. A reader that has seen enough (`| head`) is no failure.
fn answer(text: &str, code: ExitCode) -> ExitCode {
    match io::stdout().write_all(text.as_bytes()).and_then(|()| io::stdout().flush()) {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => {
            complain(&format_args!("cannot write to standard output: {error}"));
            ExitCode::FAILURE
        }
        _ => code,
    }
}

/// `kubeward version`.
pub(crate) fn version() -> ExitCode {
    answer(concat!("kubeward ", env!("CARGO_PKG_VERSION"), "\n"), ExitCode::SUCCESS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cause_is_told_once() {
        let cause = anyhow::anyhow!("no room");
        assert_eq!(told(&cause), "no room");
        let holds_it = anyhow::anyhow!("no room").context("writing: no room");
        assert_eq!(told(&holds_it), "writing: no room");
        let outer = holds_it.context("the last line");
        assert_eq!(told(&outer), "the last line: writing: no room");
    }
}
