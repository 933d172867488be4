//! What every node says of every policy, kept small: a thousand nodes mostly say the same, and the same word is kept once.
//!
//! Room: one pointer for each node and policy (1.6 MB for 1,000 nodes and 200 policies), one word for each that differs.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::sync::Arc;

use crate::kubernetes::crd::NodePolicy;

/// All words.
#[derive(Debug, Default)]
pub(super) struct Words {
    /// By node; a node's words by the policy's uid.
    nodes: BTreeMap<Arc<str>, Vec<Arc<NodePolicy>>>,
    known: HashSet<Arc<NodePolicy>>,
}

/// Whose sums may have changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Touched {
    /// A node came or went: it counts for all.
    All,
    /// Policies with these uids.
    Policies(BTreeSet<String>),
}

impl Words {
    /// A node's newest words.
    pub(super) fn hear(&mut self, node: &str, said: Vec<NodePolicy>) -> Touched {
        let mut words: Vec<Arc<NodePolicy>> = said.into_iter().map(|word| self.keep(word)).collect();
        words.sort_by(|a, b| a.uid.cmp(&b.uid));
        let Some(place) = self.nodes.get_mut(node) else {
            self.nodes.insert(Arc::from(node), words);
            return Touched::All;
        };
        let before = std::mem::replace(place, words);
        let touched = differing(&before, &self.nodes[node]);
        self.drop_unused(before);
        Touched::Policies(touched)
    }

    /// A node is gone.
    pub(super) fn forget(&mut self, node: &str) -> bool {
        let gone = self.nodes.remove(node);
        let was_there = gone.is_some();
        self.drop_unused(gone.unwrap_or_default());
        was_there
    }

    /// Forgets all nodes but these. True if there were others.
    pub(super) fn retain(&mut self, listed: &BTreeSet<String>) -> bool {
        let gone: Vec<Arc<str>> = self.nodes.keys().filter(|node| !listed.contains(&***node)).cloned().collect();
        for node in &gone {
            self.forget(node);
        }
        !gone.is_empty()
    }

    /// Each node's name and its word of the policy `uid`.
    pub(super) fn of<'a>(&'a self, uid: &'a str) -> impl Iterator<Item = (&'a str, Option<&'a NodePolicy>)> {
        self.nodes.iter().map(move |(node, words)| {
            let place = words.binary_search_by(|word| word.uid.as_str().cmp(uid));
            (&**node, place.ok().map(|place| &*words[place]))
        })
    }

    pub(super) fn nodes(&self) -> usize {
        self.nodes.len()
    }

    fn keep(&mut self, word: NodePolicy) -> Arc<NodePolicy> {
        if let Some(known) = self.known.get(&word) {
            return known.clone();
        }
        let word = Arc::new(word);
        self.known.insert(word.clone());
        word
    }

    fn drop_unused(&mut self, words: Vec<Arc<NodePolicy>>) {
        for word in words {
            // This one and that among the known.
            if Arc::strong_count(&word) == 2 {
                self.known.remove(&word);
            }
        }
    }
}

/// The uids of which the two say different things. Both are sorted by it.
fn differing(before: &[Arc<NodePolicy>], after: &[Arc<NodePolicy>]) -> BTreeSet<String> {
    let is_in = |word: &Arc<NodePolicy>, words: &[Arc<NodePolicy>]| {
        words.binary_search_by(|other| other.uid.cmp(&word.uid)).is_ok_and(|place| Arc::ptr_eq(&words[place], word))
    };
    let gone = before.iter().filter(|word| !is_in(word, after));
    let new = after.iter().filter(|word| !is_in(word, before));
    gone.chain(new).map(|word| word.uid.clone()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kubernetes::crd::PolicyReason;

    fn word(uid: &str, calls: u16) -> NodePolicy {
        NodePolicy {
            name: format!("policy-{uid}"),
            uid: uid.to_owned(),
            observed_generation: 1,
            ready: true,
            reason: PolicyReason::Applied,
            message: String::new(),
            calls,
            selects_containers: true,
            covers_refused: true,
            refused: Vec::new(),
            refused_total: 0,
        }
    }

    #[test]
    fn node_touches_what_it_says_otherwise_than_before() {
        let mut words = Words::default();
        assert_eq!(words.hear("n1", vec![word("b", 1), word("a", 1)]), Touched::All);
        let touched = words.hear("n1", vec![word("a", 1), word("c", 1)]);
        assert_eq!(touched, Touched::Policies(BTreeSet::from(["b".to_owned(), "c".to_owned()])));
        assert_eq!(words.hear("n1", vec![word("c", 1), word("a", 1)]), Touched::Policies(BTreeSet::new()));
        let said: Vec<_> = words.of("c").map(|(node, word)| (node, word.map(|word| word.calls))).collect();
        assert_eq!(said, [("n1", Some(1))]);
    }

    #[test]
    fn thousand_nodes_that_say_the_same_keep_one_word_for_each_policy() {
        let mut words = Words::default();
        for node in 0..1000 {
            words.hear(&format!("n{node}"), (0..200).map(|uid| word(&uid.to_string(), 5)).collect());
        }
        assert_eq!(words.known.len(), 200);
        for node in 0..1000 {
            words.hear(&format!("n{node}"), (0..200).map(|uid| word(&uid.to_string(), 6)).collect());
        }
        assert_eq!(words.known.len(), 200, "what nobody says any more is gone");
        words.retain(&BTreeSet::new());
        assert_eq!((words.nodes(), words.known.len()), (0, 0));
    }
}
