//! `kubeward crd`: the definitions of our custom resources.

use std::process::ExitCode;

use clap::Args;
use kubeward_agent::kubernetes::crd;

use super::answer;

/// Print the definitions of the custom resources KubeWard and KubeWardNode, as YAML for kubectl
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  kubeward crd | kubectl apply -f -
  kubeward crd | kubectl diff -f -")]
pub(crate) struct CrdArgs {}

pub(crate) fn run(_: &CrdArgs) -> ExitCode {
    answer(&crd::manifest(), ExitCode::SUCCESS)
}
