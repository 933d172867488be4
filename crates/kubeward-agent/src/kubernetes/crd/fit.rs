//! Status cut to the schema's bounds: for one text that is too long the server would refuse all of it.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;

use super::rules::{
    MAX_CONDITIONS, MAX_FAILING_NODES, MAX_MESSAGE, MAX_NODE_POLICIES, MAX_NODE_PROBES, MAX_REFUSED_ENTRIES, MAX_WORD,
};
use super::{KubeWardStatus, NodePolicy, NodeStatus};

impl NodeStatus {
    /// The same, within the bounds: texts end in `…` where they are cut, lists keep their first entries.
    pub fn fitted(mut self) -> Self {
        for word in [&mut self.run, &mut self.version, &mut self.kernel, &mut self.architecture, &mut self.backend] {
            cut(word, MAX_WORD);
        }
        fit_conditions(&mut self.conditions);
        self.policies.truncate(MAX_NODE_POLICIES);
        self.policies.iter_mut().for_each(fit_policy);
        self.probes.truncate(MAX_NODE_PROBES);
        for probe in &mut self.probes {
            [&mut probe.call, &mut probe.backend, &mut probe.symbol].into_iter().for_each(|word| cut(word, MAX_WORD));
        }
        self.refused_probes.truncate(MAX_NODE_PROBES);
        for probe in &mut self.refused_probes {
            cut(&mut probe.call, MAX_WORD);
            cut(&mut probe.message, MAX_MESSAGE);
        }
        self
    }
}

impl KubeWardStatus {
    /// The same, within the bounds: texts end in `…` where they are cut, lists keep their first entries.
    pub fn fitted(mut self) -> Self {
        cut(&mut self.ready, MAX_WORD);
        cut(&mut self.reason, MAX_WORD);
        fit_conditions(&mut self.conditions);
        self.failing_nodes.truncate(MAX_FAILING_NODES);
        for failing in &mut self.failing_nodes {
            cut(&mut failing.node, MAX_WORD);
            cut(&mut failing.reason, MAX_WORD);
            cut(&mut failing.message, MAX_MESSAGE);
        }
        self
    }
}

fn fit_policy(policy: &mut NodePolicy) {
    cut(&mut policy.name, MAX_WORD);
    cut(&mut policy.uid, MAX_WORD);
    cut(&mut policy.message, MAX_MESSAGE);
    policy.refused.truncate(MAX_REFUSED_ENTRIES);
    for entry in &mut policy.refused {
        cut(&mut entry.field, MAX_WORD);
        cut(&mut entry.message, MAX_MESSAGE);
    }
}

/// Types and reasons are words of ours, never made of what a user wrote.
fn fit_conditions(conditions: &mut Vec<Condition>) {
    conditions.truncate(MAX_CONDITIONS);
    conditions.iter_mut().for_each(|condition| cut(&mut condition.message, MAX_MESSAGE));
}

/// Keeps at most `letters` of `text`, the last an ellipsis when some went.
fn cut(text: &mut String, letters: usize) {
    if text.chars().nth(letters).is_none() {
        return;
    }
    let kept = text.char_indices().nth(letters - 1).map_or(text.len(), |(at, _)| at);
    text.truncate(kept);
    text.push('…');
}
