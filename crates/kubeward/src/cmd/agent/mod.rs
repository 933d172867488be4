//! `kubeward agent`: watches the containers of this machine.

mod file;
mod settings;
mod shown;
mod values;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use kubeward_agent::run::{Agent, InvalidPolicies};
use kubeward_bpf::heap;

use super::log::log_to_stderr;
use super::{answer, complain, privilege, told};
use file::SettingError;
use settings::Settings;
use values::Values;

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
    #[command(flatten)]
    values: Values,

    /// Configuration file: TOML, with these flags' long names as keys
    #[arg(long, value_name = "FILE", env = "KUBEWARD_CONFIG")]
    config: Option<PathBuf>,

    /// Print the configuration with the source of each value, and exit
    #[arg(long)]
    print_config: bool,
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
    log_to_stderr(settings.log_level, settings.log_format);
    privilege::check()?;
    // Before the runtime starts its threads.
    heap::keep_little();
    let agent = Agent::prepare(config)?;
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let ended = runtime.block_on(agent.run());
    // A reader or writer that hangs must not hold up the end.
    runtime.shutdown_background();
    ended.map(|()| ExitCode::SUCCESS)
}
