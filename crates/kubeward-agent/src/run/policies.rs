//! The policies in force: followed, put in force, and what is wrong with them told.

use std::sync::Arc;
use std::time::SystemTime;

use kubeward_bpf::probe::{Refused, Report};
use kubeward_core::policy::{CheckedPolicy, Here, PolicySet, Standing};
use kubeward_core::render::line::NoticeLevel;
use kubeward_core::syscall::{by_nr, CallSet};
use tokio::task::{spawn_blocking, JoinHandle};

use super::notice;
use crate::control::{Applier, ApplyError, PolicyFiles, Problem};
use crate::kubernetes::node::NodeLabelsReceiver;
use crate::pipeline::Commands;
use crate::registry::Registry;

/// The policies of the command line could not be used: their author is there to mend them.
#[derive(Debug, thiserror::Error)]
#[error("{}", .0.join("\n"))]
pub struct InvalidPolicies(pub Vec<String>);

/// What is done with the hooks, in a thread of its own: containers come and go meanwhile.
enum Hooking {
    Attaching(JoinHandle<Report>),
    Detaching(JoinHandle<Report>),
}

pub(super) struct Policies {
    files: PolicyFiles,
    calls: Option<CallSet>,
    node_labels: NodeLabelsReceiver,
    set: Arc<PolicySet>,
    /// Problems of the first look that do not keep the agent from starting.
    untold: Vec<Problem>,
    hooking: Option<Hooking>,
}

impl Policies {
    pub(super) fn new(files: PolicyFiles, calls: Option<CallSet>, node_labels: NodeLabelsReceiver) -> Self {
        Self { files, calls, node_labels, set: Arc::default(), untold: Vec::new(), hooking: None }
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
        let (set, faults) = PolicySet::new(policies);
        (self.here(|here| set.stand(here)), faults)
    }

    /// The labels of the node may be others at each look.
    fn here<T>(&self, judge: impl FnOnce(Here<'_>) -> T) -> T {
        judge(Here { now: SystemTime::now(), node_labels: self.node_labels.borrow().as_ref() })
    }

    /// Begins to put what was read first in force.
    pub(super) fn put_in_force(&mut self, applier: &mut Applier, registry: &Registry, commands: &Commands) {
        tell(std::mem::take(&mut self.untold), commands);
        self.apply(applier, registry, commands);
    }

    /// Follows the files. An edit waits while the one before is put in force.
    pub(super) fn look(&mut self, applier: &mut Applier, registry: &Registry, commands: &Commands) {
        if self.hooking.is_some() {
            return;
        }
        let look = self.files.look();
        tell(look.problems, commands);
        let set = match look.policies {
            Some(policies) => {
                let (set, faults) = self.set_of(policies);
                for fault in faults {
                    notice(commands, NoticeLevel::Warning, "policy_refused", fault.to_string());
                }
                set
            }
            // Their files are the same, but one may have expired, or the node is another by its labels.
            None if self.here(|here| self.set.still_stands(here)) => return,
            None => self.here(|here| PolicySet::clone(&self.set).stand(here)),
        };
        self.set = set.into();
        self.apply(applier, registry, commands);
    }

    fn apply(&mut self, applier: &mut Applier, registry: &Registry, commands: &Commands) {
        match applier.to_attach(&self.set, registry) {
            Ok(Some(bits)) => self.hooking = Some(Hooking::Attaching(spawn_blocking(applier.hooking(bits)))),
            Ok(None) => self.switch(applier, registry, commands),
            Err(error) => tell_failed(&error, commands),
        }
    }

    /// Waits, for ever when nothing is done with the hooks. May be dropped and called again.
    pub(super) async fn hooked(&mut self) -> Option<Report> {
        match &mut self.hooking {
            Some(Hooking::Attaching(task) | Hooking::Detaching(task)) => task.await.ok(),
            None => std::future::pending().await,
        }
    }

    /// What comes after [`Policies::hooked`].
    pub(super) fn go_on(
        &mut self,
        report: Option<Report>,
        applier: &mut Applier,
        registry: &Registry,
        commands: &Commands,
    ) {
        let done = self.hooking.take();
        match report {
            Some(report) => tell_refused(&report.refused, commands),
            None => notice(commands, NoticeLevel::Error, "hooks_failed", "changing the hooks failed".to_owned()),
        }
        if matches!(done, Some(Hooking::Attaching(_))) {
            self.switch(applier, registry, commands);
        }
    }

    fn switch(&mut self, applier: &mut Applier, registry: &Registry, commands: &Commands) {
        let left = match applier.switch(self.set.clone(), registry) {
            Ok(left) => {
                self.tell_in_force(applier, commands);
                left
            }
            Err(error) => {
                tell_failed(&error, commands);
                Some(applier.plan().hooks)
            }
        };
        self.hooking = left.map(|bits| Hooking::Detaching(spawn_blocking(applier.hooking(bits))));
    }

    fn tell_in_force(&self, applier: &Applier, commands: &Commands) {
        let standing = self.set.policies().iter().zip(self.set.standings());
        let name = |(policy, standing): (&CheckedPolicy, &Standing)| match standing {
            Standing::Active => policy.name.to_string(),
            _ => format!("{} ({standing})", policy.name),
        };
        let names: Vec<String> = standing.map(name).collect();
        let is_active = self.set.standings().contains(&Standing::Active);
        let hooked = applier.plan().hooks.iter().filter(|bits| **bits != 0).count();
        let message = match (names.is_empty(), hooked) {
            (true, _) => "no policy: nothing is attached (give -e or -f, or put a policy into the folder)".to_owned(),
            (false, 0) if !is_active => format!("policies {}: nothing is attached", names.join(", ")),
            (false, 0) => format!("policies {}: none of them names a call, nothing is attached", names.join(", ")),
            (false, 1) => format!("policies {} in force: 1 call is hooked", names.join(", ")),
            (false, _) => format!("policies {} in force: {hooked} calls are hooked", names.join(", ")),
        };
        notice(commands, NoticeLevel::Info, "policies", message);
    }
}

fn tell_failed(error: &ApplyError, commands: &Commands) {
    let message = format!("the policies could not be put in force, those before stay: {error}");
    notice(commands, NoticeLevel::Error, "policies_failed", message);
}

fn tell_refused(refused: &[Refused], commands: &Commands) {
    for refused in refused {
        let name = by_nr(refused.nr.into()).map_or("?", |call| call.name);
        let message = format!("{name} is not watched: {}", refused.reason);
        notice(commands, NoticeLevel::Warning, "hook_refused", message);
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
