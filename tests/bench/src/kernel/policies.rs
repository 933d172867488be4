//! Many policies that name the same calls, as the agent puts them in force.

use std::sync::Arc;

use anyhow::{ensure, Context, Result};
use kubeward_agent::control::{hook_bits, kernel_limits, kernel_profile};
use kubeward_core::policy::{load, PolicySet};

use super::watch::Watch;

/// `count` policies that each want a record of each of the calls at its exit.
pub fn set(calls: &[&str], count: usize) -> Result<Arc<PolicySet>> {
    named_set(calls, (0..count).map(|number| format!("p{number}")))
}

/// The same by policies of these names.
pub fn named_set(calls: &[&str], policy_names: impl Iterator<Item = String>) -> Result<Arc<PolicySet>> {
    let names: Vec<String> = calls.iter().map(|name| format!("{{name: {name}}}")).collect();
    let document = |policy: String| {
        format!(
            "apiVersion: kubeward.kubeward/v1\nkind: KubeWard\nmetadata: {{name: {policy}}}\nspec: {{syscalls: [{}]}}\n",
            names.join(", ")
        )
    };
    let text: Vec<String> = policy_names.map(document).collect();
    let (policies, faults) = load("bench.yaml", text.join("---\n").as_bytes());
    ensure!(faults.is_empty(), "the bench's own policies are refused: {faults:?}");
    let (set, left_over) = PolicySet::new(policies);
    ensure!(left_over.is_empty(), "{} policies are more than the limit", text.len());
    Ok(Arc::new(set))
}

pub fn put_in_force(watch: &mut Watch, calls: &[&str], count: usize) -> Result<()> {
    let set = set(calls, count)?;
    let profile = set.profile(&set.active());
    watch
        .put_in_force(&kernel_profile(&profile, false), &kernel_limits(&profile), &hook_bits(&set.hooks(), false))
        .context("putting policies in force")
}
