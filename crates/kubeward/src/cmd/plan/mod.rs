//! `kubeward policy plan`: what policies would cost on this node, before they are applied.

mod json;
mod text;

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use clap::Args;
use kubeward_agent::serve::client::plan::{plan, PlanError};
use kubeward_agent::serve::client::DEFAULT_SOCKET;
use kubeward_agent::serve::proto::{PlanPolicyRequest, PlanResult};
use kubeward_core::policy::duration;

use super::policies::{set_of, Document, PolicyFailure};
use super::{answer, complain, told, FormatArg};

/// What a plan may take, as the agent has it.
const SHORTEST: Duration = Duration::from_secs(1);
const LONGEST: Duration = Duration::from_secs(60);

/// Count what policies would watch on this node for a few seconds, and say what they would cost
///
/// Asks the agent that runs here, over its socket. It counts the calls that the policies name, in the containers that they
/// select, beside the policies in force: nothing is emitted and nothing is applied, and all is gone when the command ends.
/// Events, bytes and CPU time are estimated from the counts. ADDS% is what comes on top of the policies in force.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  kubeward policy plan -f web.yaml
  kubectl get kubeward web -o yaml | kubeward policy plan -f - --for 30s --format json

Exit code: 0 with a plan, 1 without (no agent answers, it ends, or another plan goes on), 2 for wrong usage or an invalid policy.")]
pub(crate) struct PlanArgs {
    /// File with policies; - is standard input
    #[arg(short = 'f', long = "policy", value_name = "FILE", env = "KUBEWARD_POLICY")]
    policy: PathBuf,

    /// How long to count, from 1s to 60s
    #[arg(long = "for", value_name = "TIME", env = "KUBEWARD_FOR", default_value = "5s", value_parser = time)]
    time: Duration,

    /// Form of the plan: a table for people, or json for programs
    #[arg(long, value_enum, value_name = "FORM", env = "KUBEWARD_FORMAT", default_value = "text")]
    format: FormatArg,

    /// The socket of the agent
    #[arg(long, value_name = "PATH", env = "KUBEWARD_SOCKET", default_value = DEFAULT_SOCKET)]
    socket: PathBuf,
}

fn time(text: &str) -> Result<Duration, String> {
    let time = duration::parse(text).ok_or("not a time: write it like 5s or 1m")?;
    match (SHORTEST..=LONGEST).contains(&time) {
        true => Ok(time),
        false => Err("choose from 1s to 60s".to_owned()),
    }
}

pub(crate) fn run(args: &PlanArgs) -> ExitCode {
    let request = match request(args) {
        Ok(request) => request,
        Err(failure) => {
            complain(&failure);
            return ExitCode::from(2);
        }
    };
    match ask(args, request) {
        Ok(result) => answer(&written(args.format, &result), ExitCode::SUCCESS),
        Err(error) => {
            let code = match error.downcast_ref() {
                Some(PlanError::Invalid(_)) => ExitCode::from(2),
                _ => ExitCode::FAILURE,
            };
            complain(&told(&error));
            code
        }
    }
}

fn written(format: FormatArg, result: &PlanResult) -> String {
    match format {
        FormatArg::Text => text::table(result),
        FormatArg::Json => json::document(result),
    }
}

/// What is wrong with the policies is told as `policy check` tells it, whether an agent runs or not.
fn request(args: &PlanArgs) -> Result<PlanPolicyRequest, PolicyFailure> {
    let document = match args.policy == Path::new("-") {
        true => Document::of_standard_input()?,
        false => Document::of_file(&args.policy)?,
    };
    let (policies, faults) = document.load();
    if !faults.is_empty() {
        return Err(PolicyFailure::Invalid(faults));
    }
    set_of(policies)?;
    let documents = String::from_utf8(document.bytes)
        .map_err(|_| PolicyFailure::Invalid(vec![format!("{}: not UTF-8 text", document.name)]))?;
    let duration_ms = u32::try_from(args.time.as_millis()).unwrap_or(u32::MAX);
    Ok(PlanPolicyRequest { documents, source: document.name, duration_ms })
}

fn ask(args: &PlanArgs, request: PlanPolicyRequest) -> anyhow::Result<PlanResult> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let time = duration::text(args.time);
    let begun = |containers| {
        let whom = match containers {
            1 => "1 container".to_owned(),
            _ => format!("{containers} containers"),
        };
        complain(&format_args!("counting the calls of {whom} for {time}"));
    };
    Ok(runtime.block_on(plan(&args.socket, request, begun))?)
}
