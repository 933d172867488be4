//! The policies in force: followed, put in force, and what is wrong with them told.

use std::sync::Arc;

use kubeward_core::policy::{CheckedPolicy, PolicySet};
use kubeward_core::render::line::NoticeLevel;
use kubeward_core::syscall::{by_nr, CallSet};

use super::notice;
use crate::control::{Applier, PolicyFiles, Problem};
use crate::pipeline::Commands;
use crate::registry::Registry;

/// The policies of the command line could not be used: their author is there to mend them.
#[derive(Debug, thiserror::Error)]
#[error("{}", .0.join("\n"))]
pub struct InvalidPolicies(pub Vec<String>);

pub(super) struct Policies {
    files: PolicyFiles,
    calls: Option<CallSet>,
    set: Arc<PolicySet>,
    /// Problems of the first look that do not keep the agent from starting.
    untold: Vec<Problem>,
}

impl Policies {
    pub(super) fn new(files: PolicyFiles, calls: Option<CallSet>) -> Self {
        Self { files, calls, set: Arc::default(), untold: Vec::new() }
    }

    /// Reads everything once. What is broken at the start stops the start.
    pub(super) fn first_look(&mut self) -> Result<(), InvalidPolicies> {
        let look = self.files.look();
        let (refusals, left_out): (Vec<_>, Vec<_>) = look.problems.into_iter().partition(Problem::is_refusal);
        let (set, faults) = self.set_of(look.policies.unwrap_or_default());
        let faults: Vec<String> =
            refusals.iter().map(ToString::to_string).chain(faults.iter().map(ToString::to_string)).collect();
        if !faults.is_empty() {
            return Err(InvalidPolicies(faults));
        }
        (self.set, self.untold) = (set.into(), left_out);
        Ok(())
    }

    fn set_of(&self, mut policies: Vec<CheckedPolicy>) -> (PolicySet, Vec<kubeward_core::policy::Fault>) {
        policies.extend(self.calls.as_ref().map(CheckedPolicy::of_calls));
        PolicySet::new(policies)
    }

    /// Puts what was read first in force.
    pub(super) fn put_in_force(&mut self, applier: &mut Applier, registry: &Registry, commands: &Commands) {
        tell(std::mem::take(&mut self.untold), commands);
        self.apply(applier, registry, commands);
    }

    /// Follows the files.
    pub(super) fn look(&mut self, applier: &mut Applier, registry: &Registry, commands: &Commands) {
        let look = self.files.look();
        tell(look.problems, commands);
        let Some(policies) = look.policies else { return };
        let (set, faults) = self.set_of(policies);
        for fault in faults {
            notice(commands, NoticeLevel::Warning, "policy_refused", fault.to_string());
        }
        self.set = set.into();
        self.apply(applier, registry, commands);
    }

    fn apply(&self, applier: &mut Applier, registry: &Registry, commands: &Commands) {
        let report = match applier.set_policies(self.set.clone(), registry) {
            Ok(report) => report.unwrap_or_default(),
            Err(error) => {
                let message = format!("the policies could not be put in force, those before stay: {error}");
                return notice(commands, NoticeLevel::Error, "policies_failed", message);
            }
        };
        for refused in report.refused {
            let name = by_nr(refused.nr.into()).map_or("?", |call| call.name);
            notice(
                commands,
                NoticeLevel::Warning,
                "hook_refused",
                format!("{name} is not watched: {}", refused.reason),
            );
        }
        let names: Vec<&str> = self.set.policies().iter().map(|policy| &*policy.name).collect();
        let hooked = applier.plan().hooks.iter().filter(|bits| **bits != 0).count();
        let message = match (names.is_empty(), hooked) {
            (true, _) => "no policy: nothing is attached (give -e or -f, or put a policy into the folder)".to_owned(),
            (false, 0) => format!("policies {}: none of them names a call, nothing is attached", names.join(", ")),
            (false, 1) => format!("policies {} in force: 1 call is hooked", names.join(", ")),
            (false, _) => format!("policies {} in force: {hooked} calls are hooked", names.join(", ")),
        };
        notice(commands, NoticeLevel::Info, "policies", message);
    }
}

fn tell(problems: Vec<Problem>, commands: &Commands) {
    for problem in problems {
        let message = match problem.is_refusal() {
            true => format!("{problem}; its last good version stays in force"),
            false => problem.to_string(),
        };
        notice(commands, NoticeLevel::Warning, "policy_refused", message);
    }
}
