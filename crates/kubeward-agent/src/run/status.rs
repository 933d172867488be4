//! What this node says of its policies and hooks. Pure.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use k8s_openapi::jiff::Timestamp;
use kubeward_bpf::probe::Report;
use kubeward_core::container::ContainerSlot;
use kubeward_core::event::Probe;
use kubeward_core::policy::{CallWant, CheckedPolicy, Selected};
use kubeward_core::syscall::by_nr;

use super::containers::Runtimes;
use super::policies::{Outcome, Policies};
use crate::config::Config;
use crate::control::{Choice, Plan};
use crate::cost::CostNow;
use crate::kubernetes::crd::{
    NodePolicy, NodeProbe, NodeStatus, PolicyReason, RefusedEntry, RefusedProbe, MAX_NODE_POLICIES, MAX_REFUSED_ENTRIES,
};
use crate::kubernetes::policies::PolicyObject;

/// A refused hook is told in at most so many letters: verifier logs are long.
const MAX_MESSAGE: usize = 256;

/// From more policies on than this, a status has only [`FEW_ENTRIES`] of what each leaves out: an object may have 1.5 MB.
const MANY_POLICIES: usize = 30;
const FEW_ENTRIES: usize = 2;

/// What does not change while the agent runs.
#[derive(Debug, Clone)]
pub(super) struct About {
    run: String,
    backend: &'static str,
    kernel: String,
    architecture: String,
}

impl About {
    pub(super) fn this_node(config: &Config) -> Self {
        let system = rustix::system::uname();
        Self {
            run: config.stream.run.clone(),
            backend: config.backend.name(),
            kernel: system.release().to_string_lossy().into_owned(),
            architecture: system.machine().to_string_lossy().into_owned(),
        }
    }

    pub(super) fn status(
        &self,
        policies: &Policies,
        plan: &Plan,
        runtimes: Runtimes<'_>,
        loops: &BTreeMap<ContainerSlot, String>,
        cost: &CostNow,
    ) -> NodeStatus {
        let (choice, outcome) = (policies.choice(), policies.outcome());
        let status = NodeStatus {
            run: self.run.clone(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            kernel: self.kernel.clone(),
            architecture: self.architecture.clone(),
            backend: self.backend.to_owned(),
            conditions: conditions(runtimes, &outcome.hooks, loops, cost),
            policies: node_policies(choice, outcome, plan),
            probes: node_probes(&outcome.hooks),
            refused_probes: refused_probes(&outcome.hooks),
        };
        status.fitted()
    }
}

/// Each object that was judged, by name. Of more than a status has room for, those that are in force are told first, and then
/// the oldest.
fn node_policies(choice: &Choice, outcome: &Outcome, plan: &Plan) -> Vec<NodePolicy> {
    let hooks = Hooks::new(&outcome.hooks);
    let selecting: Selected = plan.selected().iter().fold(Selected::default(), |all, (_, selected)| all.with(selected));
    let in_force: BTreeMap<&str, (usize, &CheckedPolicy)> =
        plan.set.policies().iter().enumerate().map(|(place, policy)| (&*policy.name, (place, policy))).collect();
    let mut objects: Vec<_> = choice.judged.iter().collect();
    objects.sort_by_key(|(name, object)| (choice.left_out.contains_key(*name), object.created));
    objects.truncate(MAX_NODE_POLICIES);
    objects.sort_by_key(|(name, _)| *name);
    let entries = if objects.len() > MANY_POLICIES { FEW_ENTRIES } else { MAX_REFUSED_ENTRIES };
    let told = objects.into_iter().map(|(name, object)| {
        let known = in_force.get(&**name).filter(|(_, policy)| object.is_source(&policy.source));
        let (reason, message) = standing(choice, outcome, &hooks, object);
        let refusals = object.read.as_ref().map_or(&[][..], |policy| &policy.refusals);
        let refused = refusals
            .iter()
            .take(entries)
            .map(|refusal| RefusedEntry { field: refusal.field.clone(), message: cut(&refusal.to_string()) });
        NodePolicy {
            name: name.to_string(),
            uid: object.uid.clone(),
            observed_generation: object.generation,
            ready: is_ready(reason),
            reason,
            message: cut(&message),
            calls: known.map_or(0, |(_, policy)| hooks.count(policy)),
            selects_containers: known.is_some_and(|(place, _)| selecting.contains(*place)),
            covers_refused: known.is_some_and(|(_, policy)| hooks.cover_refused(policy)),
            refused: refused.collect(),
            refused_total: u32::try_from(refusals.len()).unwrap_or(u32::MAX),
        }
    });
    told.collect()
}

fn standing(choice: &Choice, outcome: &Outcome, hooks: &Hooks, object: &Arc<PolicyObject>) -> (PolicyReason, String) {
    if let Some(left_out) = choice.left_out.get(&object.name) {
        return (left_out.reason, left_out.message.clone());
    }
    let is_in_force = outcome.in_force.get(&object.name).is_some_and(|known| Arc::ptr_eq(known, object));
    let Some(policy) = object.policy().filter(|_| is_in_force) else {
        return match &outcome.failure {
            Some(failure) => (PolicyReason::ApplyFailed, failure.clone()),
            None => (PolicyReason::Applying, "being put in force".to_owned()),
        };
    };
    in_force(policy, hooks)
}

/// How a policy stands that is in force.
pub(super) fn in_force(policy: &CheckedPolicy, hooks: &Hooks) -> (PolicyReason, String) {
    if let Some(message) = hooks.refusal(policy) {
        return (PolicyReason::ProbeRefused, message);
    }
    if let [first, rest @ ..] = &policy.refusals[..] {
        let more = match rest.len() {
            0 => String::new(),
            more => format!("; and {more} more, see refused"),
        };
        return (PolicyReason::PartlyAccepted, format!("left out {first}{more}"));
    }
    let (reason, message) = match (policy.calls.is_empty(), policy.wants_events()) {
        (true, _) => (PolicyReason::Empty, "it names no call, so nothing attaches"),
        (false, true) => (PolicyReason::Applied, ""),
        (false, false) => (PolicyReason::Applied, "mode: Count: its calls are counted, and make no events"),
    };
    (reason, message.to_owned())
}

fn is_ready(reason: PolicyReason) -> bool {
    use PolicyReason::*;
    matches!(reason, Applied | PartlyAccepted | Empty | Suspended | Expired | NodeNotSelected)
}

/// What of this node somebody may have to act on. When they changed last is for the writer to say.
fn conditions(
    runtimes: Runtimes<'_>,
    hooks: &Report,
    loops: &BTreeMap<ContainerSlot, String>,
    cost: &CostNow,
) -> Vec<Condition> {
    let parts = [containerd(runtimes), probes(hooks)];
    let failing = parts.iter().find(|condition| condition.status != "True");
    let ready = match failing {
        None => condition(
            "Ready",
            true,
            "Watching",
            "containers are watched, and the hooks are as the policies want them".to_owned(),
        ),
        Some(part) => condition("Ready", false, &part.reason, part.message.clone()),
    };
    std::iter::once(ready).chain(parts).chain([feedback_loop(loops), cost_above_limit(cost)]).collect()
}

fn containerd(runtimes: Runtimes<'_>) -> Condition {
    let answering: Vec<String> = runtimes
        .sockets
        .iter()
        .filter_map(|(socket, said)| Some(format!("{} is containerd {}", socket.display(), said.as_ref().ok()?)))
        .collect();
    let failing = runtimes.sockets.values().find_map(|said| said.as_ref().err());
    match (answering.is_empty(), failing) {
        (true, Some(failing)) => condition("Containerd", false, "NotAnswering", failing.clone()),
        (true, None) => {
            condition("Containerd", false, "Starting", "no socket of containerd has answered yet".to_owned())
        }
        (false, _) if !runtimes.has_seen_kubelets => {
            let message = format!(
                "{}, but has no container in the namespace k8s.io: name kubelet's containerd with --cri-socket (CRI_SOCKET)",
                answering.join(", ")
            );
            condition("Containerd", false, "NoKubeletNamespace", message)
        }
        (false, _) => condition("Containerd", true, "Answering", answering.join(", ")),
    }
}

fn probes(hooks: &Report) -> Condition {
    match &hooks.refused[..] {
        [] => condition("Probes", true, "Attached", "every call that a policy names is hooked".to_owned()),
        [first, ..] => {
            let message = format!(
                "{} calls are not hooked, {} among them: {}; kubeward doctor says what this kernel allows",
                hooks.refused.len(),
                name(first.nr),
                cut(&first.reason)
            );
            condition("Probes", false, "ProbesRefused", message)
        }
    }
}

/// Of this condition, and of the next, True is the ill.
fn feedback_loop(loops: &BTreeMap<ContainerSlot, String>) -> Condition {
    match loops.values().next() {
        Some(first) => condition("FeedbackLoop", true, "ReadsOwnOutput", first.clone()),
        None => condition("FeedbackLoop", false, "None", "no container reads mostly what KubeWard writes".to_owned()),
    }
}

/// Without a number that changes with time.
fn cost_above_limit(cost: &CostNow) -> Condition {
    let reason = match (cost.limit, cost.is_above) {
        (None, _) => "NoLimit",
        (Some(_), false) => "WithinLimit",
        (Some(_), true) => "AboveLimit",
    };
    condition("CostAboveLimit", cost.is_above, reason, cost.standing())
}

fn condition(type_: &str, is_true: bool, reason: &str, message: String) -> Condition {
    Condition {
        type_: type_.to_owned(),
        status: if is_true { "True" } else { "False" }.to_owned(),
        reason: reason.to_owned(),
        message,
        observed_generation: None,
        last_transition_time: Time(Timestamp::UNIX_EPOCH),
    }
}

/// The hooked calls, by name.
fn node_probes(hooks: &Report) -> Vec<NodeProbe> {
    let attached = hooks.attached.iter().map(|attached| NodeProbe {
        call: name(attached.nr),
        backend: attached.probe.name().to_owned(),
        symbol: attached.symbol.clone(),
    });
    attached.collect()
}

fn refused_probes(hooks: &Report) -> Vec<RefusedProbe> {
    let refused =
        hooks.refused.iter().map(|refused| RefusedProbe { call: name(refused.nr), message: cut(&refused.reason) });
    refused.collect()
}

fn cut(text: &str) -> String {
    text.chars().take(MAX_MESSAGE).collect()
}

fn name(nr: u16) -> String {
    by_nr(nr.into()).map_or_else(|| nr.to_string(), |call| call.name.to_owned())
}

/// The hooks by call number.
pub(super) struct Hooks<'a> {
    attached: BTreeSet<u16>,
    /// Served by a tracepoint, which shows refused calls too.
    by_tracepoint: BTreeSet<u16>,
    refused: BTreeMap<u16, &'a str>,
}

impl<'a> Hooks<'a> {
    pub(super) fn new(report: &'a Report) -> Self {
        let is_raw = |probe: Probe| matches!(probe, Probe::TpBtf | Probe::Tracepoint);
        Self {
            attached: report.attached.iter().map(|hook| hook.nr).collect(),
            by_tracepoint: report.attached.iter().filter(|hook| is_raw(hook.probe)).map(|hook| hook.nr).collect(),
            refused: report.refused.iter().map(|refused| (refused.nr, refused.reason.as_str())).collect(),
        }
    }

    fn count(&self, policy: &CheckedPolicy) -> u16 {
        let hooked = policy.calls.iter().filter(|(nr, _)| self.attached.contains(nr)).count();
        u16::try_from(hooked).unwrap_or(u16::MAX)
    }

    fn cover_refused(&self, policy: &CheckedPolicy) -> bool {
        policy.calls.iter().all(|(nr, want)| want.contains(CallWant::REFUSED) || self.by_tracepoint.contains(&nr))
    }

    fn refusal(&self, policy: &CheckedPolicy) -> Option<String> {
        let mut refused = policy.calls.iter().filter_map(|(nr, _)| Some((nr, self.refused.get(&nr)?)));
        let (nr, reason) = refused.next()?;
        let reason = cut(reason);
        let more = match refused.count() {
            0 => String::new(),
            more => format!("; and {more} more calls"),
        };
        Some(format!("{} is not watched: {reason}{more}; kubeward doctor says what this kernel allows", name(nr)))
    }
}
