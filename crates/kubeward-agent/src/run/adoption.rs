//! When the tasks that a container had before the agent are given to it: with those of all others, in one go, once its socket's
//! whole list is known. Where that is long in coming, those of its own cgroup by themselves.

use std::collections::{BTreeSet, HashMap, HashSet, VecDeque};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use kubeward_bpf::object::Engine;
use kubeward_bpf::tasks::{Task, TasksError};
use kubeward_core::container::{CgroupId, ContainerSlot};

use super::places::{is_init, own_pid_namespaces};
use crate::control::{Applier, ApplyError};
use crate::discovery::{InitTask, Instance};
use crate::registry::Registry;

/// How long a container waits for the others of its list. One namespace of containerd whose list fails keeps the whole from being
/// known, for ever perhaps.
const WAITS_AT_MOST: Duration = Duration::from_secs(1);

/// How long one look may take: each container costs a pass over all tasks, and other work waits meanwhile.
const LOOKS_FOR: Duration = Duration::from_millis(50);

pub(super) struct Adoption {
    engine: Arc<Engine>,
    /// Of these only the init is the container's yet. Since when they wait, the first first; some may have ended. At most those that
    /// the registry has room for, and those that ended within [`WAITS_AT_MOST`].
    waiting: VecDeque<(Instant, Instance)>,
}

impl Adoption {
    pub(super) fn new(engine: Arc<Engine>) -> Self {
        Self { engine, waiting: VecDeque::new() }
    }

    /// What runs in the container's cgroup is to be given to it.
    pub(super) fn wait(&mut self, instance: Instance) {
        self.waiting.push_back((Instant::now(), instance));
    }

    /// One more socket's whole list is known: now a task that has left its container's cgroup can be told from the next one's.
    /// `is_known`: whether that of a socket is.
    pub(super) fn list_is_known(
        &mut self,
        registry: &Registry,
        is_known: impl Fn(&Path) -> bool,
    ) -> Result<(), TasksError> {
        self.adopt_strays(registry, &is_known)?;
        self.waiting.retain(|(_, instance)| !is_known(&instance.socket));
        Ok(())
    }

    fn adopt_strays(&self, registry: &Registry, is_known: impl Fn(&Path) -> bool) -> Result<(), TasksError> {
        let tasks = self.engine.tasks()?;
        let tasks = by_number(&tasks);
        let alive = registry.iter().filter_map(|(instance, entry)| {
            let init = tasks.get(&instance.init.pid).filter(|task| is_init(task, instance.init))?;
            Some((*init, entry.slot, is_known(&instance.socket)))
        });
        self.engine.adopt_strays(&own_pid_namespaces(alive))?;
        // The number of a namespace that has gone meanwhile may be another's by then.
        let now = self.engine.tasks()?;
        let now = by_number(&now);
        let lives = |init: InitTask| now.get(&init.pid).is_some_and(|task| is_init(task, init));
        let gone = registry.iter().filter(|(instance, _)| !lives(instance.init));
        gone.map(|(_, entry)| entry.slot).try_for_each(|slot: ContainerSlot| self.engine.untag(slot))
    }

    /// Those that have waited long enough get what runs in their own cgroups, as many as there is time for. What left them is found
    /// when all are known. After an error the next look goes on where this one ended.
    pub(super) fn look(&mut self, registry: &Registry, applier: &Applier) -> Result<(), ApplyError> {
        let begun = Instant::now();
        let is_due = |since: &Instant| begun.duration_since(*since) >= WAITS_AT_MOST;
        if !self.waiting.front().is_some_and(|(since, _)| is_due(since)) {
            return Ok(());
        }
        let crowded = self.crowded(registry)?;
        while let Some((_, instance)) = self.waiting.front().filter(|(since, _)| is_due(since)) {
            let entry = registry.get(instance);
            let entry = entry.filter(|entry| entry.cgroup.is_some_and(|cgroup| crowded.contains(&cgroup)));
            entry.map_or(Ok(()), |entry| applier.adopt(entry))?;
            self.waiting.pop_front();
            if begun.elapsed() >= LOOKS_FOR {
                break;
            }
        }
        Ok(())
    }

    /// Cgroups in which others than inits run, which are their containers' already: most containers have no other process, and no
    /// pass is made for them.
    fn crowded(&self, registry: &Registry) -> Result<HashSet<CgroupId>, TasksError> {
        let inits: BTreeSet<u32> = registry.iter().map(|(instance, _)| instance.init.pid).collect();
        let tasks = self.engine.tasks()?;
        Ok(tasks.iter().filter(|task| !inits.contains(&task.pid)).map(|task| task.cgroup).collect())
    }
}

fn by_number(tasks: &[Task]) -> HashMap<u32, &Task> {
    tasks.iter().map(|task| (task.tid, task)).collect()
}

#[cfg(test)]
#[path = "adoption_tests.rs"]
mod tests;
