//! What is known of tasks against what containerd lists and the kernel says. Pure.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use kubeward_core::container::ContainerId;

use crate::discovery::{BootTicks, InitTask, Noticed};

/// A container on one socket.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Key {
    pub(super) namespace: Arc<str>,
    pub(super) id: ContainerId,
}

impl Key {
    pub(super) fn new(namespace: &Arc<str>, id: String) -> Self {
        Self { namespace: namespace.clone(), id: ContainerId(id) }
    }
}

/// A task that is being watched.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct KnownTask {
    pub(super) init: InitTask,
    /// When it became known: lists asked for earlier say nothing about it.
    pub(super) learned: BootTicks,
}

/// One task in containerd's list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct ListedTask {
    /// 0 when containerd does not know it yet.
    pub(super) pid: u32,
    pub(super) state: TaskState,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum TaskState {
    /// The init task waits for its start.
    Created,
    Started,
    Ended,
}

/// Rounds of lists in which the kernel is asked about each known task once, where the list has nothing against it: of thousands of
/// containers that is most of what discovery costs. An end that containerd tells of is seen at once.
const ROUNDS: u32 = 4;

/// One round of lists.
#[derive(Debug, Default)]
pub(super) struct Listing {
    /// When the first of the lists was asked for.
    pub(super) asked: BootTicks,
    pub(super) tasks: BTreeMap<Key, ListedTask>,
    /// Namespaces whose list failed: absence from it says nothing.
    pub(super) unanswered: BTreeSet<Arc<str>>,
    /// Which round it is of those in which all known tasks are looked at; `None`: they are in this one.
    pub(super) round: Option<u32>,
}

impl Listing {
    /// The task runs as containerd says, and the kernel is asked about it in another round.
    fn vouches_for(&self, key: &Key, task: &KnownTask) -> bool {
        let is_others_turn = self.round.is_some_and(|round| task.init.pid.wrapping_add(round) % ROUNDS != 0);
        let runs = |listed: &ListedTask| listed.state == TaskState::Started && listed.pid == task.init.pid;
        is_others_turn && task.learned < self.asked && self.tasks.get(key).is_some_and(runs)
    }
}

/// What follows for one container, in the order in which it must be done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Step {
    Ended(Key),
    Began(Key, InitTask, Noticed),
    /// containerd no longer lists it, but its init task lives. A shim that answered too late looks the same
    /// as a deleted container: ask for the record.
    Doubtful(Key),
    /// containerd says that it runs, and no such task can be seen: it ended a moment ago, or the agent is in
    /// another pid namespace than containerd.
    Unseen(Key, u32),
}

/// The steps that bring `known` to what is true now. Without a listing (containerd does not answer) only what
/// the kernel says counts. `living(pid)` is the task with that number, if it lives.
pub(super) fn reconcile(
    known: &BTreeMap<Key, KnownTask>,
    listing: Option<&Listing>,
    living: impl Fn(u32) -> Option<InitTask>,
) -> Vec<Step> {
    let mut steps = Vec::new();
    let mut settled = BTreeSet::new();
    for (key, task) in known {
        if listing.is_some_and(|listing| listing.vouches_for(key, task)) {
            settled.insert(key);
            continue;
        }
        if living(task.init.pid) != Some(task.init) {
            steps.push(Step::Ended(key.clone()));
            continue;
        }
        settled.insert(key);
        if let Some(listing) = listing.filter(|listing| task.learned < listing.asked) {
            steps.extend(contradict(key, task, listing, &living));
        }
    }
    let Some(listing) = listing else { return steps };
    for (key, task) in
        listing.tasks.iter().filter(|(key, task)| !settled.contains(key) && task.state != TaskState::Ended)
    {
        match init_of(task, listing.asked, &living) {
            Some(init) => steps.push(Step::Began(key.clone(), init, noticed(task))),
            // Without a number the task is still being made: the next list will tell.
            None if task.pid == 0 => {}
            None => steps.push(Step::Unseen(key.clone(), task.pid)),
        }
    }
    steps
}

/// What a fresh list has against a task that lives.
fn contradict(key: &Key, task: &KnownTask, listing: &Listing, living: &impl Fn(u32) -> Option<InitTask>) -> Vec<Step> {
    match listing.tasks.get(key) {
        Some(listed) if listed.state != TaskState::Ended && listed.pid != task.init.pid => {
            match init_of(listed, listing.asked, living) {
                // The runtime lost the old task's shim and started anew: the new one is the container.
                Some(init) => vec![Step::Ended(key.clone()), Step::Began(key.clone(), init, noticed(listed))],
                None => vec![],
            }
        }
        Some(_) => vec![],
        None if listing.unanswered.contains(&key.namespace) => vec![],
        None => vec![Step::Doubtful(key.clone())],
    }
}

fn noticed(task: &ListedTask) -> Noticed {
    match task.state {
        TaskState::Created => Noticed::AtCreate,
        TaskState::Started | TaskState::Ended => Noticed::InList,
    }
}

/// The listed init task. One that began after the list was asked for is a stranger with a reused number.
fn init_of(task: &ListedTask, asked: BootTicks, living: &impl Fn(u32) -> Option<InitTask>) -> Option<InitTask> {
    living(task.pid).filter(|init| task.pid != 0 && init.started <= asked)
}

#[cfg(test)]
mod tests;
