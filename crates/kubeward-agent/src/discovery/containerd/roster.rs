//! The one owner of what is known of a socket's containers, and of what has been told. Pure.
//!
//! Invariant: for each key the told changes read Appeared, any number of Changed and ExecStarted, Gone; or
//! Missed. Size: one entry for each container record that containerd announced or that has a task.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use kubeward_core::container::Container;

use super::reconcile::{Key, KnownTask};
use super::record::{describe, Record};
use crate::discovery::{Change, InitTask, Instance, Noticed};

pub(super) struct Roster {
    socket: Arc<Path>,
    entries: BTreeMap<Key, Entry>,
}

#[derive(Default)]
struct Entry {
    run: Option<Run>,
    /// The number of a created task that could not be found: it ended within milliseconds.
    unfound_pid: Option<u32>,
    record: Option<Record>,
    /// As announced with the record: all that is known of one that is deleted before it can be looked up.
    announced_image: Option<String>,
    /// containerd deleted the record; the entry goes with its run.
    is_deleted: bool,
    image_digest: Option<String>,
    /// The sandbox's record as looked up for this container.
    sandbox: Option<Record>,
    lookup: Lookup,
}

struct Run {
    task: KnownTask,
    noticed: Noticed,
    /// What was last told of it; `None` before Appeared.
    told: Option<Arc<Container>>,
}

#[derive(Default, Clone, Copy, PartialEq, Eq)]
enum Lookup {
    #[default]
    Wanted,
    Running,
    /// The record changed while a look-up ran.
    Outdated,
    Done,
}

impl Lookup {
    fn finished(self) -> Self {
        match self {
            Self::Outdated => Self::Wanted,
            Self::Wanted | Self::Running | Self::Done => Self::Done,
        }
    }
}

/// What a record refers to and does not hold itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct References {
    pub(super) image: Option<String>,
    pub(super) sandbox: Option<Key>,
}

impl Roster {
    pub(super) fn new(socket: Arc<Path>) -> Self {
        Self { socket, entries: BTreeMap::new() }
    }

    pub(super) fn known(&self) -> BTreeMap<Key, KnownTask> {
        self.entries.iter().filter_map(|(key, entry)| Some((key.clone(), entry.run.as_ref()?.task))).collect()
    }

    pub(super) fn init_of(&self, key: &Key) -> Option<InitTask> {
        Some(self.entries.get(key)?.run.as_ref()?.task.init)
    }

    /// Instances that were told and live.
    pub(super) fn running(&self) -> usize {
        self.runs().filter(|run| run.told.is_some()).count()
    }

    /// An instance still waits for its first look-up.
    pub(super) fn owes_an_appearance(&self) -> bool {
        // Look-ups go by the order, so that the last are told last.
        self.runs().rev().any(|run| run.told.is_none())
    }

    fn runs(&self) -> impl DoubleEndedIterator<Item = &Run> {
        self.entries.values().filter_map(|entry| entry.run.as_ref())
    }

    /// Events were missed: forget what has no task, look everything else up again.
    pub(super) fn reconnected(&mut self) {
        self.entries.retain(|_, entry| entry.run.is_some());
        for entry in self.entries.values_mut() {
            entry.lookup = Lookup::Wanted;
        }
    }

    pub(super) fn record_created(&mut self, key: &Key, image: String) {
        self.record_changed(key);
        if let Some(entry) = self.entries.get_mut(key) {
            entry.announced_image = Some(image).filter(|image| !image.is_empty());
        }
    }

    /// The record was made or changed: its task, if it has none yet, appears with all details known.
    pub(super) fn record_changed(&mut self, key: &Key) {
        let entry = self.entries.entry(key.clone()).or_default();
        entry.is_deleted = false;
        entry.lookup = match entry.lookup {
            Lookup::Running | Lookup::Outdated => Lookup::Outdated,
            Lookup::Wanted | Lookup::Done => Lookup::Wanted,
        };
    }

    /// A record can go before its task does; the task then stays until it ends.
    pub(super) fn record_deleted(&mut self, key: &Key) {
        if let Some(entry) = self.entries.get_mut(key) {
            entry.is_deleted = true;
        }
        self.forget_if_over(key);
    }

    fn forget_if_over(&mut self, key: &Key) {
        if self.entries.get(key).is_some_and(|entry| entry.is_deleted && entry.run.is_none()) {
            self.entries.remove(key);
        }
    }

    pub(super) fn began(&mut self, key: &Key, task: KnownTask, noticed: Noticed) -> Vec<Change> {
        if self.init_of(key) == Some(task.init) {
            return Vec::new();
        }
        let mut changes = self.ended(key);
        let entry = self.entries.entry(key.clone()).or_default();
        entry.unfound_pid = None;
        entry.run = Some(Run { task, noticed, told: None });
        if entry.record.is_some() {
            changes.extend(self.tell(key));
        }
        changes
    }

    pub(super) fn ended(&mut self, key: &Key) -> Vec<Change> {
        let Some(run) = self.entries.get_mut(key).and_then(|entry| entry.run.take()) else { return Vec::new() };
        let change = match run.told {
            Some(_) => Change::Gone { instance: self.instance(key, run.task.init) },
            None => self.missed(key, run.task.init.pid),
        };
        self.forget_if_over(key);
        vec![change]
    }

    /// A task was made whose init task cannot be found (any more).
    pub(super) fn unfound(&mut self, key: &Key, pid: u32) {
        self.entries.entry(key.clone()).or_default().unfound_pid = Some(pid);
    }

    /// The exit of a task that was not found when it was made.
    pub(super) fn unfound_ended(&mut self, key: &Key, pid: u32) -> Option<Change> {
        self.entries.get_mut(key)?.unfound_pid.take_if(|unfound| *unfound == pid)?;
        Some(self.missed(key, pid))
    }

    pub(super) fn exec_started(&self, key: &Key, pid: u32) -> Option<Change> {
        let run = self.entries.get(key)?.run.as_ref()?;
        run.told.as_ref()?;
        Some(Change::ExecStarted { instance: self.instance(key, run.task.init), pid })
    }

    /// Containers to look up now, so many at most; each is given out once.
    pub(super) fn take_wanted(&mut self, most: usize) -> Vec<Key> {
        let wanted = self.entries.iter_mut().filter(|(_, entry)| entry.lookup == Lookup::Wanted).take(most);
        let taken = wanted.map(|(key, entry)| {
            entry.lookup = Lookup::Running;
            key.clone()
        });
        taken.collect()
    }

    pub(super) fn take_wanted_one(&mut self, key: &Key) -> bool {
        let wanted = self.entries.get_mut(key).filter(|entry| entry.lookup == Lookup::Wanted);
        wanted.map(|entry| entry.lookup = Lookup::Running).is_some()
    }

    /// The record as looked up: `None` if there is none (any more). Returns what to look up next.
    pub(super) fn found_record(&mut self, key: &Key, record: Option<Record>) -> (Vec<Change>, Option<References>) {
        let Some(entry) = self.entries.get_mut(key) else { return (Vec::new(), None) };
        let references = record.as_ref().map(|record| References {
            image: record.image.clone(),
            sandbox: record.sandbox.clone().map(|id| Key::new(&key.namespace, id)),
        });
        match record {
            Some(record) => entry.record = Some(record),
            None => {
                entry.lookup = entry.lookup.finished();
                entry.is_deleted = true;
            }
        }
        self.forget_if_over(key);
        (self.tell(key), references)
    }

    /// The look-up's end: the image's digest and the sandbox's record.
    pub(super) fn found_references(
        &mut self,
        key: &Key,
        image_digest: Option<String>,
        sandbox: Option<Record>,
    ) -> Vec<Change> {
        let own_sandbox = self.entries.get(key).and_then(|entry| entry.record.as_ref()?.sandbox.clone());
        let own_sandbox = own_sandbox.and_then(|id| self.entries.get(&Key::new(&key.namespace, id)));
        let is_known = own_sandbox.is_some_and(|sandbox| sandbox.record.is_some());
        let Some(entry) = self.entries.get_mut(key) else { return Vec::new() };
        // An image that was removed from the store still is what the container was made from.
        entry.image_digest = image_digest.or(entry.image_digest.take());
        // One that is known by itself is not kept with each of its pod's containers, too.
        entry.sandbox = sandbox.or(entry.sandbox.take()).filter(|_| !is_known);
        entry.lookup = entry.lookup.finished();
        self.tell(key)
    }

    /// The look-up failed: what is known is told, and the look-up is wanted again.
    pub(super) fn lookup_failed(&mut self, key: &Key) -> Vec<Change> {
        let Some(entry) = self.entries.get_mut(key) else { return Vec::new() };
        entry.lookup = Lookup::Wanted;
        self.tell(key)
    }

    /// Appeared or Changed, when a running instance has something untold.
    fn tell(&mut self, key: &Key) -> Vec<Change> {
        let container = Arc::new(self.describe(key));
        let Some(run) = self.entries.get_mut(key).and_then(|entry| entry.run.as_mut()) else { return Vec::new() };
        let (init, noticed) = (run.task.init, run.noticed);
        let before = run.told.replace(container.clone());
        let instance = self.instance(key, init);
        match before {
            None => vec![Change::Appeared { instance, container, noticed }],
            Some(before) if before == container => vec![],
            Some(_) => vec![Change::Changed { instance, container }],
        }
    }

    fn describe(&self, key: &Key) -> Container {
        let entry = self.entries.get(key);
        let record = entry.and_then(|entry| entry.record.as_ref());
        // The sandbox's own entry is the newer of the two, and there before its containers are.
        let sandbox = record.and_then(|record| record.sandbox.clone()).and_then(|id| {
            let own = self.entries.get(&Key::new(&key.namespace, id)).and_then(|sandbox| sandbox.record.as_ref());
            own.or(entry?.sandbox.as_ref())
        });
        let mut container = describe(key, record, entry.and_then(|entry| entry.image_digest.as_ref()), sandbox);
        if record.is_none() {
            container.image = entry.and_then(|entry| entry.announced_image.clone());
        }
        container
    }

    fn instance(&self, key: &Key, init: InitTask) -> Instance {
        Instance { id: key.id.clone(), namespace: key.namespace.clone(), socket: self.socket.clone(), init }
    }

    fn missed(&self, key: &Key, pid: u32) -> Change {
        Change::Missed { container: Arc::new(self.describe(key)), pid }
    }
}

#[cfg(test)]
mod tests;
