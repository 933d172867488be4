//! From what each node says of a policy to the policy's status. Pure.

use std::collections::BTreeSet;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};

use crate::kubernetes::crd::{FailingNode, KubeWardStatus, NodePolicy, PolicyReason};
use crate::kubernetes::report::date;

/// Nodes, and entries left out, that a status names: with a thousand nodes it must not grow with them.
const MAX_FAILING: usize = 10;

/// A policy as the summary needs it.
#[derive(Debug, Clone, Copy)]
pub struct Policy<'a> {
    pub generation: i64,
    /// What its status says now.
    pub old: &'a KubeWardStatus,
}

/// What is known of the agents beside their words.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Agents {
    /// Pods that the DaemonSets want; `None` where they cannot be read.
    pub wanted: Option<usize>,
    /// Those that have a `KubeWardNode`.
    pub reporting: usize,
}

/// The sum.
#[derive(Debug, Clone, PartialEq)]
pub struct Summary {
    pub status: KubeWardStatus,
    /// Nodes that have not told of this generation yet: the sum will be another soon.
    pub pending: usize,
}

/// Sums up what `nodes` say of `policy`: each node's name, and its word if it has one of this very object. A word of an
/// earlier generation is none. Nodes that the policy does not select are left out.
pub fn summarise<'a>(
    policy: Policy<'_>,
    nodes: impl Iterator<Item = (&'a str, Option<&'a NodePolicy>)>,
    agents: Agents,
    now: &Time,
) -> Summary {
    let mut tally = Tally::default();
    for (node, word) in nodes {
        tally.count(node, word.filter(|word| word.observed_generation >= policy.generation), policy.generation);
    }
    let mut conditions = vec![tally.accepted(), tally.ready(agents), tally.selects_containers()];
    let reason = reason(&conditions, &tally);
    for condition in &mut conditions {
        condition.observed_generation = Some(policy.generation);
    }
    date(&mut conditions, &policy.old.conditions, now);
    let status = KubeWardStatus {
        observed_generation: Some(policy.generation),
        ready: format!("{}/{}", tally.ready, tally.selected),
        calls: tally.calls.into(),
        reason,
        conditions,
        failing_nodes: tally.failing.into_iter().chain(tally.waiting).take(MAX_FAILING).collect(),
        last_update_time: Some(now.clone()),
    };
    Summary { status: status.fitted(), pending: tally.pending }
}

/// Whether they say the same: when they were said is no difference.
pub fn says_the_same(one: &KubeWardStatus, other: &KubeWardStatus) -> bool {
    let timeless = |status: &KubeWardStatus| KubeWardStatus { last_update_time: None, ..status.clone() };
    timeless(one) == timeless(other)
}

/// One pass over the nodes. Lists of names are kept only as long as they are shown.
#[derive(Default)]
struct Tally<'a> {
    /// Nodes that the policy selects, as far as they have told.
    selected: usize,
    ready: usize,
    pending: usize,
    /// Nodes whose word is that something failed.
    failed: usize,
    calls: u16,
    failing: Vec<FailingNode>,
    waiting: Vec<FailingNode>,
    /// How each told node takes the policy: the worst first, and on how many.
    verdict: Option<(Verdict, usize, &'a NodePolicy)>,
    told: usize,
    selecting: usize,
    idle: Option<PolicyReason>,
    /// Entries that some node leaves out.
    refused: BTreeSet<&'a str>,
    refused_total: u32,
}

/// How a node takes a policy, from well to badly.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Verdict {
    Accepted,
    Empty,
    PartlyAccepted,
    TooManyPolicies,
    NameTaken,
    NotSupported,
    Invalid,
}

impl Verdict {
    fn of(reason: PolicyReason) -> Self {
        match reason {
            PolicyReason::Applied
            | PolicyReason::Suspended
            | PolicyReason::Expired
            | PolicyReason::NodeNotSelected
            | PolicyReason::NodeUnknown
            | PolicyReason::Applying
            | PolicyReason::ProbeRefused
            | PolicyReason::ApplyFailed => Self::Accepted,
            PolicyReason::Empty => Self::Empty,
            PolicyReason::PartlyAccepted => Self::PartlyAccepted,
            PolicyReason::TooManyPolicies => Self::TooManyPolicies,
            PolicyReason::NameTaken => Self::NameTaken,
            PolicyReason::NotSupported => Self::NotSupported,
            PolicyReason::Invalid => Self::Invalid,
        }
    }

    fn is_accepted(self) -> bool {
        self <= Self::PartlyAccepted
    }
}

impl<'a> Tally<'a> {
    fn count(&mut self, node: &str, word: Option<&'a NodePolicy>, generation: i64) {
        let Some(word) = word else {
            self.selected += 1;
            return self.wait(node, format!("has not told of generation {generation} yet"));
        };
        if word.reason == PolicyReason::NodeNotSelected {
            return;
        }
        self.selected += 1;
        if matches!(word.reason, PolicyReason::Applying | PolicyReason::NodeUnknown) {
            return self.wait(node, word.message.clone());
        }
        self.told += 1;
        self.calls = self.calls.max(word.calls);
        self.selecting += usize::from(word.selects_containers);
        if matches!(word.reason, PolicyReason::Suspended | PolicyReason::Expired) {
            self.idle = Some(word.reason);
        }
        self.judge(word);
        if word.ready {
            self.ready += 1;
        } else {
            self.failed += 1;
            if self.failing.len() < MAX_FAILING {
                let reason = name(word.reason);
                self.failing.push(FailingNode { node: node.to_owned(), reason, message: word.message.clone() });
            }
        }
    }

    fn wait(&mut self, node: &str, message: String) {
        self.pending += 1;
        if self.waiting.len() < MAX_FAILING {
            let reason = name(PolicyReason::Applying);
            self.waiting.push(FailingNode { node: node.to_owned(), reason, message });
        }
    }

    fn judge(&mut self, word: &'a NodePolicy) {
        let verdict = Verdict::of(word.reason);
        self.verdict = Some(match self.verdict {
            Some((worst, on, first)) if worst == verdict => (worst, on + 1, first),
            Some(worse @ (worst, ..)) if worst > verdict => worse,
            _ => (verdict, 1, word),
        });
        if self.refused.len() < MAX_FAILING {
            self.refused.extend(word.refused.iter().map(|entry| entry.message.as_str()));
        }
        self.refused_total = self.refused_total.max(word.refused_total);
    }

    fn accepted(&self) -> Condition {
        let Some((verdict, on, word)) = self.verdict else {
            let (reason, message) = match self.selected {
                0 => ("NoNodes", "no agent runs on a node that it selects"),
                _ => ("Applying", "no agent has judged it yet"),
            };
            return condition("Accepted", "Unknown", reason, message.to_owned());
        };
        let message = match verdict {
            Verdict::Accepted => String::new(),
            Verdict::PartlyAccepted if !self.refused.is_empty() => self.refusals(),
            _ => word.message.clone(),
        };
        let message = match on == self.told || message.is_empty() {
            true => message,
            false => format!("on {on} of {} nodes: {message}", self.told),
        };
        let status = if verdict.is_accepted() { "True" } else { "False" };
        condition("Accepted", status, &format!("{verdict:?}"), message)
    }

    fn refusals(&self) -> String {
        let shown: Vec<&str> = self.refused.iter().copied().take(MAX_FAILING).collect();
        let more = usize::try_from(self.refused_total).unwrap_or(usize::MAX).saturating_sub(shown.len());
        let more = if more == 0 { String::new() } else { format!("; and {more} more") };
        format!("left out: {}{more}", shown.join("; "))
    }

    fn ready(&self, agents: Agents) -> Condition {
        let (status, reason, message) = if self.selected == 0 {
            ("False", "NoNodes".to_owned(), "no agent runs on a node that it selects".to_owned())
        } else if self.failed > 0 {
            let first =
                self.failing.first().map_or_else(String::new, |first| format!("{}: {}", first.node, first.message));
            (
                "False",
                "NodesFailing".to_owned(),
                format!("not in force on {} of {} nodes, {first}", self.failed, self.selected),
            )
        } else if self.pending > 0 {
            let first = self.waiting.first().map_or("", |first| &first.node);
            let message = format!("{} of {} nodes have not told yet, {first} among them", self.pending, self.selected);
            ("False", "Applying".to_owned(), message)
        } else {
            let reason = self.idle.map_or_else(|| name(PolicyReason::Applied), name);
            ("True", reason, format!("as it should be on {} nodes", self.selected))
        };
        condition("Ready", status, &reason, message + &unreported(agents))
    }

    fn selects_containers(&self) -> Condition {
        match (self.told, self.selecting, self.idle) {
            (0, ..) => condition("SelectsContainers", "Unknown", "Applying", "no agent has told yet".to_owned()),
            (_, 0, Some(idle)) => {
                condition("SelectsContainers", "False", &name(idle), "it wants nothing now".to_owned())
            }
            (_, 0, None) => {
                let message = "no container on any node is selected yet".to_owned();
                condition("SelectsContainers", "False", "NoMatch", message)
            }
            // How many would change with every pod that comes and goes.
            _ => condition("SelectsContainers", "True", "Matched", String::new()),
        }
    }
}

/// The word that matters most.
fn reason(conditions: &[Condition], tally: &Tally<'_>) -> String {
    let is = |type_: &str, status: &str| {
        conditions.iter().find(|condition| condition.type_ == type_ && condition.status == status)
    };
    let partly = is("Accepted", "True").filter(|accepted| accepted.reason != "Accepted");
    let most = is("Accepted", "False")
        .or(is("Ready", "False"))
        .or(is("Ready", "True").filter(|_| tally.idle.is_some()))
        .or(partly)
        .or(is("SelectsContainers", "False"))
        .or(is("Ready", "True"));
    most.map_or_else(String::new, |condition| condition.reason.clone())
}

fn unreported(agents: Agents) -> String {
    match agents.wanted {
        Some(wanted) if wanted > agents.reporting => {
            let missing = wanted - agents.reporting;
            format!("; {missing} of {wanted} agents have not reported: see their pods (kubectl get pods -l app=kubeward -A)")
        }
        _ => String::new(),
    }
}

fn condition(type_: &str, status: &str, reason: &str, message: String) -> Condition {
    Condition {
        type_: type_.to_owned(),
        status: status.to_owned(),
        reason: reason.to_owned(),
        message,
        observed_generation: None,
        last_transition_time: Time(Default::default()),
    }
}

/// As the object says it.
fn name(reason: PolicyReason) -> String {
    format!("{reason:?}")
}

#[cfg(test)]
mod tests;
