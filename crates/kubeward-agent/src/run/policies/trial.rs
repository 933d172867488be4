//! Policies that are tried beside those in force: counted by the kernel, told to nobody but who asked.
//!
//! They never reach [`Choice`](crate::control::Choice): what stands in lists, status and readiness stays as it is, and a trial that
//! cannot be served gives way to the policies in force.

use std::sync::Arc;

use kubeward_bpf::probe::Report;
use kubeward_core::policy::PolicySet;

use super::{Hooking, Policies};
use crate::control::{Applier, ApplyError, Wanted};
use crate::pipeline::Commands;
use crate::registry::Registry;

#[derive(Debug, Default)]
pub(super) struct Trial {
    /// What is being counted. Empty: nothing.
    counted: Arc<PolicySet>,
    /// What is to be counted next: it waits while hooks are about to be shown.
    wished: Arc<PolicySet>,
    /// Why the last one could not be counted.
    failure: Option<String>,
    /// The hooks as they stood last, the trial's among them.
    pub(super) hooks: Report,
}

impl Policies {
    /// Has these policies counted from as soon as their hooks are there; an empty set ends that.
    pub(in crate::run) fn try_out(
        &mut self,
        trial: Arc<PolicySet>,
        applier: &mut Applier,
        registry: &Registry,
        commands: &Commands,
    ) {
        (self.trial.wished, self.trial.failure) = (trial, None);
        self.take_trial(applier, registry, commands);
    }

    /// Why the trial that was asked for last is over before its time.
    pub(in crate::run) fn trial_failure(&self) -> Option<&str> {
        self.trial.failure.as_deref()
    }

    /// The hooks as they stood last, those of a trial among them.
    pub(in crate::run) fn all_hooks(&self) -> &Report {
        &self.trial.hooks
    }

    pub(super) fn wanted(&self) -> Wanted {
        Wanted { set: self.choice.set.clone(), trial: self.trial.counted.clone() }
    }

    pub(super) fn take_trial(&mut self, applier: &mut Applier, registry: &Registry, commands: &Commands) {
        let is_taken = Arc::ptr_eq(&self.trial.wished, &self.trial.counted);
        if is_taken || matches!(self.hooking, Some(Hooking::Serving(_))) {
            return;
        }
        self.trial.counted = self.trial.wished.clone();
        self.attach(applier, registry, commands);
    }

    /// The policies in force must not suffer from it.
    pub(super) fn give_trial_up(
        &mut self,
        error: &ApplyError,
        applier: &mut Applier,
        registry: &Registry,
        commands: &Commands,
    ) {
        self.trial.failure = Some(error.to_string());
        self.trial.wished = Arc::default();
        self.trial.counted = self.trial.wished.clone();
        self.attach(applier, registry, commands);
        if self.hooking.is_none() {
            self.settle(applier.plan().hooks, applier, false);
        }
    }

    /// Without what is there for the trial alone.
    pub(super) fn in_force_alone(&self, mut report: Report) -> Report {
        if self.wanted().has_trial() {
            let hooks = self.choice.set.hooks();
            report.attached.retain(|attached| !hooks[attached.nr].is_none());
            report.refused.retain(|refused| !hooks[refused.nr].is_none());
            report.uring_trouble = report.uring_trouble.filter(|_| !report.attached.is_empty());
        }
        report
    }
}
