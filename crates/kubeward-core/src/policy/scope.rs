//! Whether a policy applies here and now, its text aside: the node it is on, its age, `suspend`.
//!
//! Neither clock nor node is known here: both are passed in, and [`next_change`] says when time alone will matter next.

use std::collections::BTreeMap;
use std::fmt;
use std::time::SystemTime;

use super::check::CheckedPolicy;
use super::fault::{Fault, Problem};

/// The node and the moment that policies are judged for.
#[derive(Debug, Clone, Copy)]
pub struct Here<'a> {
    /// By the wall clock, as is [`CheckedPolicy::created`]: a clock that is set back brings an expired policy back.
    pub now: SystemTime,
    /// `None` while nobody has told them.
    pub node_labels: Option<&'a BTreeMap<String, String>>,
}

/// How a policy stands on a node at a moment. All but [`Standing::Active`] want nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub enum Standing {
    #[default]
    Active,
    /// `spec.suspend` is true.
    Suspended,
    /// `spec.expireAfter` has passed.
    Expired,
    /// `spec.nodeSelector` does not select this node.
    NodeNotSelected,
    /// There is a `spec.nodeSelector`, and this node's labels are not known yet.
    NodeUnknown,
}

/// As a clause after a policy's name.
impl fmt::Display for Standing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Standing::Active => "active",
            Standing::Suspended => "suspended",
            Standing::Expired => "expired",
            Standing::NodeNotSelected => "not for this node",
            Standing::NodeUnknown => "waiting for this node's labels",
        })
    }
}

impl CheckedPolicy {
    /// What cannot change any more is told first: an expired policy is expired, suspended or not.
    pub fn standing(&self, here: Here<'_>) -> Standing {
        if self.expires_at().is_some_and(|end| end <= here.now) {
            return Standing::Expired;
        }
        let selector = self.node_selector.as_ref().filter(|selector| !selector.is_empty());
        let on_this_node = selector.map(|selector| Some(selector.matches(here.node_labels?)));
        match on_this_node {
            Some(Some(false)) => Standing::NodeNotSelected,
            _ if self.suspend => Standing::Suspended,
            Some(None) => Standing::NodeUnknown,
            _ => Standing::Active,
        }
    }

    /// `None`: never. So is what lies beyond the clock's range, and `expireAfter` of a policy whose creation nobody
    /// knows.
    pub fn expires_at(&self) -> Option<SystemTime> {
        self.created?.checked_add(self.expire_after?)
    }

    /// What is wrong with it for an agent that runs without Kubernetes and so never learns its node's labels.
    pub fn fault_without_node_labels(&self) -> Option<Fault> {
        let fault = || Fault {
            source: self.source.clone(),
            line: None,
            field: "spec.nodeSelector".to_owned(),
            problem: Problem::NoNodeLabels,
        };
        self.needs_node_labels().then(fault)
    }

    /// An empty `nodeSelector` is every node, as an absent one.
    pub(super) fn needs_node_labels(&self) -> bool {
        self.node_selector.as_ref().is_some_and(|selector| !selector.is_empty())
    }
}

/// The first moment after `now` at which one of these policies expires.
pub fn next_change<'a>(policies: impl IntoIterator<Item = &'a CheckedPolicy>, now: SystemTime) -> Option<SystemTime> {
    policies.into_iter().filter_map(CheckedPolicy::expires_at).filter(|end| *end > now).min()
}
