//! `kubeward trace -- CMD`: runs a command and shows its calls.

mod init;
mod launch;
mod procfs;
mod relay;
mod session;

use std::ffi::OsString;
use std::io;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use kubeward_core::container::ContainerSlot;
use nix::sys::wait::WaitStatus;

use super::{complain, told, FormatArg, WatchArgs};
use kubeward_bpf::probe::Backend;

/// The one container that `trace` watches.
const SLOT: ContainerSlot = ContainerSlot(1);

/// Exit code when KubeWard itself failed: those below are the command's.
pub(crate) const FAILED: u8 = 125;

/// Run a command and show its system calls
///
/// The command runs in a container of its own: new pid and mount namespaces with their own /proc, under a small init that
/// reaps and passes signals on. Its standard input, output and error are left alone; events go to standard error unless -o
/// says otherwise. Without -e and -f, the calls of all nine categories are shown. Of a policy, selector, nodeSelector and
/// expireAfter are not looked at: it is there to be tried on the command. The trace ends when the command and all that came
/// of it have ended.
#[derive(Debug, Args)]
#[command(override_usage = "kubeward trace [OPTIONS] -- CMD [ARG]...")]
#[command(after_help = "\
Examples:
  kubeward trace -e openat,%network -- curl -s http://127.0.0.1:8080/
  kubeward trace --summary -o calls.txt -- tar -cf /tmp/etc.tar /etc

Exit code: the command's (128 + signal if it was killed); 126 or 127 if it could not be run, as in a shell; 125 if \
KubeWard failed, or if the output failed while it ran; 2 for wrong usage or an invalid policy. If the output's reader \
goes away (kubeward trace -o - ... | head), tracing stops, the command goes on, and the code is the command's.")]
pub(crate) struct TraceArgs {
    #[command(flatten)]
    watch: WatchArgs,

    /// Form of the events: text is one strace-like line a call, json one object a line
    #[arg(long, value_enum, value_name = "FORM", env = "KUBEWARD_FORMAT", default_value = "text")]
    format: FormatArg,

    /// Write events there instead of standard error; - is standard output
    #[arg(short, long, value_name = "FILE", env = "KUBEWARD_OUTPUT")]
    output: Option<PathBuf>,

    /// Show no events but a table of every call named: calls, errors, total time, p50 and p99
    #[arg(short = 'c', long)]
    summary: bool,

    /// Run the command in place instead of in a container of its own
    #[arg(long)]
    host: bool,

    /// Hooks to use: auto, tracepoint, kprobe or fentry
    #[arg(long, value_name = "BACKEND", env = "KUBEWARD_PROBE_BACKEND", default_value_t = Backend::Auto)]
    probe_backend: Backend,

    /// The command and its arguments; from its name on, nothing is KubeWard's, so that -- may be left out
    #[arg(value_name = "CMD", required = true, trailing_var_arg = true)]
    command: Vec<OsString>,
}

pub(crate) fn run(args: &TraceArgs) -> ExitCode {
    match session::run(args) {
        Ok(code) => code.into(),
        Err(error) => {
            complain(&told(&error));
            FAILED.into()
        }
    }
}

/// As a shell has it: `None` while it runs or is stopped.
fn code_of_status(status: &WaitStatus) -> Option<u8> {
    match status {
        WaitStatus::Exited(_, code) => u8::try_from(*code & 0xff).ok(),
        WaitStatus::Signaled(_, signal, _) => u8::try_from(128 + *signal as i32).ok(),
        _ => None,
    }
}

/// As a shell has it: 127 where there is nothing of that name, 126 where it cannot be run.
fn code_of_failed_exec(error: &io::Error) -> u8 {
    match error.kind() {
        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => 127,
        _ => 126,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, clap::Parser)]
    struct Line {
        #[command(flatten)]
        args: TraceArgs,
    }

    fn command(line: &[&str]) -> Vec<OsString> {
        let words = ["trace", "-e", "openat"].iter().chain(line);
        <Line as clap::Parser>::try_parse_from(words).expect("it is a right usage").args.command
    }

    #[test]
    fn command_is_found_with_and_without_the_two_dashes() {
        let expected = ["ls", "-l", "--summary", "--", "-x"];
        assert_eq!(command(&["--", "ls", "-l", "--summary", "--", "-x"]), expected);
        assert_eq!(command(&["ls", "-l", "--summary", "--", "-x"]), expected);
    }

    #[test]
    fn flag_that_does_not_exist_is_no_command() {
        let parsed = <Line as clap::Parser>::try_parse_from(["trace", "--sumary", "ls"]);
        assert!(parsed.expect_err("it is a wrong usage").to_string().contains("--sumary"));
    }
}
