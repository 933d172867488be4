//! The policies in force: followed, put in force, and what is wrong with them told.

mod trial;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::SystemTime;

use kubeward_bpf::probe::{Refused, Report};
use kubeward_core::policy::{next_change, CheckedPolicy, Here};
use kubeward_core::render::line::NoticeLevel;
use kubeward_core::syscall::{by_nr, CallSet};
use tokio::sync::watch;
use tokio::task::{spawn_blocking, JoinHandle};

use self::trial::Trial;
use super::notice;
use crate::control::{choose, Applier, ApplyError, Choice, HookBits, Plan, PolicyFiles, Problem, Settled};
use crate::kubernetes::node::{self, NodeLabelsReceiver};
use crate::kubernetes::policies::{ClusterPolicies, PolicyObject};
use crate::pipeline::Commands;
use crate::registry::Registry;
use crate::serve::health::Verdict;

/// The policies of the command line could not be used: their author is there to mend them.
#[derive(Debug, thiserror::Error)]
#[error("{}", .0.join("\n"))]
pub struct InvalidPolicies(pub Vec<String>);

/// What is done with the hooks, in a thread of its own: containers come and go meanwhile.
enum Hooking {
    /// Everything is about to be shown that the policies to come want: some tens of milliseconds. Edits wait.
    Serving(JoinHandle<Report>),
    /// What serves at once gives way to what shall serve: seconds. It ends when an edit comes.
    Settling(JoinHandle<Settled>),
}

/// Something to be handled by [`Policies::go_on`].
pub(super) enum News {
    /// All is shown that was asked for; `None`: the thread that changed the hooks died.
    Served(Option<Report>),
    /// The hooks are as they shall be, or wait.
    Settled(Option<Settled>),
    /// The cluster's policies changed.
    Cluster,
}

/// How what was chosen last fared.
#[derive(Debug, Default)]
pub(super) struct Outcome {
    /// What was chosen last is in force.
    pub(super) is_in_force: bool,
    /// The versions of the cluster's objects that were judged for what is in force.
    pub(super) in_force: BTreeMap<Arc<str>, Arc<PolicyObject>>,
    /// Why what was chosen last could not be put in force; what was before stays.
    pub(super) failure: Option<String>,
    /// The hooks as they stood last, those that a trial alone has put there left out.
    pub(super) hooks: Report,
}

pub(super) struct Policies {
    files: PolicyFiles,
    calls: Option<CallSet>,
    /// Of files and of `-e`.
    local: Vec<CheckedPolicy>,
    /// Absent where Kubernetes is not asked.
    cluster: Option<watch::Receiver<ClusterPolicies>>,
    node_labels: NodeLabelsReceiver,
    /// What the cluster's watch suffers from, as told last.
    told_trouble: Option<String>,
    /// When time alone changes what is in force next.
    changes_at: Option<SystemTime>,
    choice: Choice,
    outcome: Outcome,
    /// Problems of the first look that do not keep the agent from starting.
    untold: Vec<Problem>,
    hooking: Option<Hooking>,
    trial: Trial,
}

impl Policies {
    pub(super) fn new(files: PolicyFiles, calls: Option<CallSet>) -> Self {
        Self {
            files,
            calls,
            local: Vec::new(),
            cluster: None,
            node_labels: node::never_told(),
            told_trouble: None,
            changes_at: None,
            choice: Choice::default(),
            outcome: Outcome::default(),
            untold: Vec::new(),
            hooking: None,
            trial: Trial::default(),
        }
    }

    /// Reads everything once. What is broken at the start stops the start.
    pub(super) fn first_look(&mut self) -> Result<(), InvalidPolicies> {
        let look = self.files.look();
        let (refusals, left_out): (Vec<_>, Vec<_>) = look.problems.into_iter().partition(Problem::is_refusal);
        self.set_local(look.policies.unwrap_or_default());
        let here = Here { now: SystemTime::now(), node_labels: None };
        let choice = choose(&self.local, &ClusterPolicies::default(), here);
        let faults: Vec<String> =
            refusals.iter().map(ToString::to_string).chain(choice.faults.iter().map(ToString::to_string)).collect();
        if !faults.is_empty() {
            return Err(InvalidPolicies(faults));
        }
        self.changes_at = next_change(&self.local, SystemTime::now());
        (self.choice, self.untold) = (choice, left_out);
        Ok(())
    }

    fn set_local(&mut self, mut policies: Vec<CheckedPolicy>) {
        policies.extend(self.calls.as_ref().map(CheckedPolicy::of_calls));
        self.local = policies;
    }

    /// Takes policies from the cluster, too, and the labels that `nodeSelector` goes by.
    pub(super) fn follow(&mut self, cluster: watch::Receiver<ClusterPolicies>, node_labels: NodeLabelsReceiver) {
        (self.cluster, self.node_labels) = (Some(cluster), node_labels);
    }

    pub(super) fn choice(&self) -> &Choice {
        &self.choice
    }

    pub(super) fn outcome(&self) -> &Outcome {
        &self.outcome
    }

    /// Whether those known are in force, which is what `plan` says.
    pub(super) fn verdict(&self, plan: &Plan) -> Verdict {
        match &self.outcome.failure {
            _ if Arc::ptr_eq(&self.choice.set, &plan.set) => Verdict::yes("the policies known are in force"),
            Some(failure) => Verdict::no(failure),
            None => Verdict::no("the policies are being put in force"),
        }
    }

    /// Whether every source of policies has been read once, and what was read is what was chosen from.
    pub(super) fn are_known(&self) -> bool {
        self.cluster.as_ref().is_none_or(|cluster| cluster.borrow().is_listed) && self.is_judged()
    }

    /// Begins to put what was read first in force.
    pub(super) fn put_in_force(&mut self, applier: &mut Applier, registry: &Registry, commands: &Commands) {
        tell(std::mem::take(&mut self.untold), commands);
        self.apply(applier, registry, commands);
    }

    /// Follows the files, the node's labels and the time. An edit waits while the one before is put in force. True when other
    /// policies were chosen.
    pub(super) fn look(&mut self, applier: &mut Applier, registry: &Registry, commands: &Commands) -> bool {
        if matches!(self.hooking, Some(Hooking::Serving(_))) {
            return false;
        }
        let look = self.files.look();
        tell(look.problems, commands);
        let is_time = self.changes_at.is_some_and(|at| at <= SystemTime::now());
        let is_edited = look.policies.is_some();
        look.policies.into_iter().for_each(|policies| self.set_local(policies));
        let is_other = is_edited || is_time || self.node_labels.has_changed().unwrap_or(false);
        if is_other {
            self.choose_anew(applier, registry, commands);
        }
        is_other
    }

    /// Whether the cluster's objects are those that were chosen from last: a list made anew says nothing new.
    fn is_judged(&self) -> bool {
        let judged = &self.choice.judged;
        self.cluster.as_ref().is_none_or(|cluster| {
            let objects = &cluster.borrow().objects;
            objects.len() == judged.len()
                && objects.values().all(|one| judged.get(&one.name).is_some_and(|known| Arc::ptr_eq(known, one)))
        })
    }

    fn choose_anew(&mut self, applier: &mut Applier, registry: &Registry, commands: &Commands) {
        // Seen from here on: what comes later is news.
        let cluster =
            self.cluster.as_mut().map_or_else(Default::default, |cluster| cluster.borrow_and_update().clone());
        let (now, labels) = (SystemTime::now(), self.node_labels.borrow_and_update().clone());
        let choice = choose(&self.local, &cluster, Here { now, node_labels: labels.as_ref() });
        let objects = cluster.objects.values().filter_map(|object| object.policy());
        self.changes_at = next_change(self.local.iter().chain(objects), now);
        for fault in &choice.faults {
            notice(commands, NoticeLevel::Warning, "policy_refused", fault.to_string());
        }
        tell_idle(&self.choice, &choice, commands);
        tell_left_out(&self.choice, &choice, commands);
        self.choice = choice;
        self.apply(applier, registry, commands);
    }

    fn apply(&mut self, applier: &mut Applier, registry: &Registry, commands: &Commands) {
        self.outcome.is_in_force = false;
        self.attach(applier, registry, commands);
    }

    fn attach(&mut self, applier: &mut Applier, registry: &Registry, commands: &Commands) {
        match applier.to_attach(&self.wanted(), registry) {
            Ok(Some(bits)) => self.hooking = Some(Hooking::Serving(spawn_blocking(applier.serving(bits)))),
            Ok(None) => self.switch(applier, registry, commands),
            Err(error) if self.wanted().has_trial() => self.give_trial_up(&error, applier, registry, commands),
            Err(error) => self.fail(&error, commands),
        }
    }

    /// What is to be handled next. May be dropped and called again.
    pub(super) async fn next(&mut self) -> News {
        match (&mut self.hooking, &mut self.cluster) {
            (Some(Hooking::Serving(task)), _) => News::Served(task.await.ok()),
            (Some(Hooking::Settling(task)), None) => News::Settled(task.await.ok()),
            (Some(Hooking::Settling(task)), Some(cluster)) => tokio::select! {
                settled = task => News::Settled(settled.ok()),
                () = changed(cluster) => News::Cluster,
            },
            (None, Some(cluster)) => {
                changed(cluster).await;
                News::Cluster
            }
            (None, None) => std::future::pending().await,
        }
    }

    /// What comes after [`Policies::next`].
    pub(super) fn go_on(&mut self, news: News, applier: &mut Applier, registry: &Registry, commands: &Commands) {
        match news {
            News::Served(report) => {
                self.hooking = None;
                self.tell_hooks(report, commands);
                self.switch(applier, registry, commands);
                // What serves meanwhile gives way also where nothing goes.
                if self.hooking.is_none() {
                    self.settle(applier.plan().hooks, applier, false);
                }
                self.take_trial(applier, registry, commands);
            }
            News::Settled(settled) => {
                self.hooking = None;
                if settled.as_ref().is_some_and(|settled| settled.waits) {
                    self.settle(applier.plan().hooks, applier, true);
                }
                self.tell_hooks(settled.map(|settled| settled.report), commands);
            }
            News::Cluster => {
                self.tell_trouble(commands);
                if !self.is_judged() {
                    self.choose_anew(applier, registry, commands);
                }
            }
        }
    }

    fn tell_hooks(&mut self, report: Option<Report>, commands: &Commands) {
        match report {
            Some(report) => {
                let (all, report) = (report.clone(), self.in_force_alone(report));
                self.trial.hooks = all;
                if report.refused != self.outcome.hooks.refused {
                    tell_refused(&report.refused, commands);
                }
                if report.uring_trouble != self.outcome.hooks.uring_trouble {
                    tell_uring(report.uring_trouble.as_deref(), commands);
                }
                self.outcome.hooks = report;
            }
            None => notice(commands, NoticeLevel::Error, "hooks_failed", "changing the hooks failed".to_owned()),
        }
    }

    fn switch(&mut self, applier: &mut Applier, registry: &Registry, commands: &Commands) {
        let is_edit = !Arc::ptr_eq(&applier.plan().set, &self.choice.set);
        let left = match applier.switch(&self.wanted(), registry) {
            Ok(left) if !is_edit => left,
            Ok(left) => {
                (self.outcome.is_in_force, self.outcome.failure) = (true, None);
                self.outcome.in_force = self.choice.judged.clone();
                self.tell_in_force(commands);
                left
            }
            Err(error) if self.wanted().has_trial() => return self.give_trial_up(&error, applier, registry, commands),
            Err(error) => {
                self.fail(&error, commands);
                Some(applier.plan().hooks)
            }
        };
        if let Some(bits) = left {
            self.settle(bits, applier, false);
        }
    }

    fn settle(&mut self, hooks: HookBits, applier: &Applier, again: bool) {
        self.hooking = Some(Hooking::Settling(spawn_blocking(applier.settling(hooks, again))));
    }

    fn fail(&mut self, error: &ApplyError, commands: &Commands) {
        let message = format!("the policies could not be put in force, those before stay: {error}");
        self.outcome.failure = Some(message.clone());
        notice(commands, NoticeLevel::Error, "policies_failed", message);
    }

    fn tell_in_force(&self, commands: &Commands) {
        let names: Vec<&str> = self.choice.set.policies().iter().map(|policy| &*policy.name).collect();
        let hooked = self.choice.set.hooks().iter().count();
        let message = match (names.is_empty(), hooked) {
            (true, _) => "no policy: nothing is attached (give -e or -f, or put a policy into the folder)".to_owned(),
            (false, 0) => format!("policies {}: none of them names a call, nothing is attached", names.join(", ")),
            (false, 1) => format!("policies {} in force: 1 call is hooked", names.join(", ")),
            (false, _) => format!("policies {} in force: {hooked} calls are hooked", names.join(", ")),
        };
        notice(commands, NoticeLevel::Info, "policies", message);
    }

    /// Once when it begins or changes, and once when it ends.
    fn tell_trouble(&mut self, commands: &Commands) {
        let Some(cluster) = &self.cluster else { return };
        let trouble = cluster.borrow().trouble.clone();
        if trouble == self.told_trouble {
            return;
        }
        match &trouble {
            Some(trouble) => {
                let message = format!("{trouble}; the policies known so far stay, trying again");
                notice(commands, NoticeLevel::Warning, "kubernetes_unreachable", message);
            }
            None => notice(commands, NoticeLevel::Info, "kubernetes_answers", "the API server answers".to_owned()),
        }
        self.told_trouble = trouble;
    }
}

/// Returns when there are other policies in the cluster.
async fn changed(cluster: &mut watch::Receiver<ClusterPolicies>) {
    if cluster.changed().await.is_err() {
        // The watch ended with everything else.
        std::future::pending::<()>().await;
    }
}

/// Policies of files that want nothing from now on.
fn tell_idle(before: &Choice, now: &Choice, commands: &Commands) {
    for (name, standing) in now.idle.iter().filter(|(name, standing)| before.idle.get(*name) != Some(*standing)) {
        notice(commands, NoticeLevel::Info, "policy_idle", format!("policy {name} wants nothing here: {standing}"));
    }
}

/// Objects that are left out in a version of which that was not told yet, and entries of them that are.
fn tell_left_out(before: &Choice, now: &Choice, commands: &Commands) {
    for (name, object) in &now.judged {
        let is_news = before.judged.get(name).is_none_or(|known| !Arc::ptr_eq(known, object));
        if let Some(left_out) = now.left_out.get(name).filter(|left| before.left_out.get(name) != Some(left)) {
            let message = format!("KubeWard {name}: {}", left_out.message);
            notice(commands, NoticeLevel::Warning, "policy_refused", message);
        }
        for refusal in object.read.iter().filter(|_| is_news).flat_map(|policy| &policy.refusals) {
            let message = format!("KubeWard {name}: left out {refusal}");
            notice(commands, NoticeLevel::Warning, "policy_refused", message);
        }
    }
}

fn tell_refused(refused: &[Refused], commands: &Commands) {
    for refused in refused {
        let name = by_nr(refused.nr.into()).map_or("?", |call| call.name);
        let message = format!("{name} is not watched: {}", refused.reason);
        notice(commands, NoticeLevel::Warning, "hook_refused", message);
    }
}

fn tell_uring(trouble: Option<&str>, commands: &Commands) {
    if let Some(reason) = trouble {
        let message = format!("operations through io_uring are not watched: {reason}");
        notice(commands, NoticeLevel::Warning, "io_uring_unseen", message);
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
