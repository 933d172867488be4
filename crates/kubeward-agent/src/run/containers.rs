//! Containers as they come, change and go: from discovery into registry and maps.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::mpsc::Receiver;
use std::sync::Arc;

use anyhow::Context;
use kubeward_bpf::births::{Birth, Covered};
use kubeward_bpf::heap;
use kubeward_bpf::object::Engine;
use kubeward_bpf::tasks::{Task, TasksError};
use kubeward_bpf::wire;
use kubeward_core::container::{CgroupId, Container, ContainerSlot, NsKey};
use kubeward_core::render::line::NoticeLevel;

use super::adoption::Adoption;
use super::births::Births;
use super::notice;
use super::places::{is_in_own_cgroup, is_init};
use crate::control::{Applier, ApplyError, Opening};
use crate::discovery::{Change, InitTask, Instance, Noticed};
use crate::kubernetes::pods::{PodChange, PodKey, Roster};
use crate::pipeline::{monotonic_ns, Clocks, Commands, Watched};
use crate::registry::{Entry, Registry};

/// The root of the v2 hierarchy, where every task is that no cgroup was made for: no container's.
const ROOT_CGROUP: CgroupId = CgroupId(1);

/// containerd's namespace of what kubelet runs.
const KUBELETS_NAMESPACE: &str = "k8s.io";

pub(super) struct Containers {
    engine: Arc<Engine>,
    commands: Commands,
    freed: Receiver<ContainerSlot>,
    registry: Registry,
    births: Births,
    adoption: Adoption,
    /// What the API server said of this node's pods; empty without one.
    pods: Roster,
    /// Closed and read, but some task may still carry their tag. Whether the last list of tasks had none.
    resting: BTreeMap<ContainerSlot, bool>,
    /// Of those the kernel has not yet seen the workload's first exec.
    in_setup: BTreeSet<Instance>,
    own_cgroup: CgroupId,
    host_mnt_ns: u32,
    /// Some task was in a cgroup of the v2 hierarchy: containers are found by theirs.
    has_v2: bool,
    /// What each socket of containerd said last: its version, or why it does not answer. Under no path: that there is none.
    runtimes: BTreeMap<PathBuf, Result<String, String>>,
    /// Some container was in the namespace that kubelet uses, this agent's own among them.
    has_seen_kubelets: bool,
}

/// How containerd stands.
#[derive(Debug, Clone, Copy)]
pub(super) struct Runtimes<'a> {
    /// What each socket said last: its version, or why it does not answer.
    pub(super) sockets: &'a BTreeMap<PathBuf, Result<String, String>>,
    /// kubelet's containers are behind one of them.
    pub(super) has_seen_kubelets: bool,
}

impl Containers {
    pub(super) fn new(engine: Arc<Engine>, commands: Commands, freed: Receiver<ContainerSlot>) -> anyhow::Result<Self> {
        let tasks = engine.tasks()?;
        let own = tasks.iter().find(|task| task.pid == std::process::id());
        let own = own.context("this process is not in the kernel's list of tasks")?;
        if own.pid_level > 0 {
            let message = "this process is in a pid namespace of its own: containers that run outside of it are not seen; run the agent in the host's (Kubernetes: hostPID: true; docker run, podman run: --pid=host)";
            notice(&commands, NoticeLevel::Warning, "own_pid_namespace", message.to_owned());
        }
        let host_mnt_ns = tasks.iter().find(|task| task.pid == 1).unwrap_or(own).ns.mnt_ns;
        engine.maps().change_settings(|settings| settings.host_mnt_ns = host_mnt_ns)?;
        let (own_cgroup, has_v2) = (own.cgroup, tasks.iter().any(|task| task.cgroup != ROOT_CGROUP));
        let (births, adoption) = (Births::new(engine.clone(), &commands), Adoption::new(engine.clone()));
        let (registry, pods) = (Registry::new(engine.maps().slots()), Roster::default());
        let (resting, in_setup) = (BTreeMap::new(), BTreeSet::new());
        let (runtimes, has_seen_kubelets) = (BTreeMap::new(), false);
        Ok(Self {
            engine,
            commands,
            freed,
            registry,
            births,
            adoption,
            pods,
            resting,
            in_setup,
            own_cgroup,
            host_mnt_ns,
            has_v2,
            runtimes,
            has_seen_kubelets,
        })
    }

    pub(super) fn registry(&self) -> &Registry {
        &self.registry
    }

    pub(super) fn runtimes(&self) -> Runtimes<'_> {
        Runtimes { sockets: &self.runtimes, has_seen_kubelets: self.has_seen_kubelets }
    }

    /// Whether the container's own program runs; `None` when the kernel cannot say.
    pub(super) fn is_running(&self, slot: ContainerSlot) -> Option<bool> {
        self.engine.maps().is_running(slot).ok()
    }

    pub(super) fn on_change(&mut self, change: Change, applier: &mut Applier) {
        match change {
            Change::Appeared { instance, container, noticed } => {
                self.has_seen_kubelets |= &*instance.namespace == KUBELETS_NAMESPACE;
                self.appeared(instance, self.pods.complete(container), noticed, applier);
            }
            Change::Changed { instance, container } => {
                self.changed(&instance, self.pods.complete(container), applier);
            }
            // It is found by the container's cgroup, or by its namespaces.
            Change::ExecStarted { .. } => {}
            Change::Gone { instance } => self.gone(&instance, applier),
            Change::Missed { container, pid } => self.came_and_went(self.pods.complete(container), pid, applier),
            Change::Answering { socket, version, running } => {
                let runs = match running {
                    1 => "1 container runs".to_owned(),
                    _ => format!("{running} containers run"),
                };
                let message = format!("{}: containerd {version} answers; {runs}", socket.display());
                notice(&self.commands, NoticeLevel::Info, "containerd_answers", message);
                self.runtimes.remove(Path::new(""));
                self.runtimes.insert(socket.to_path_buf(), Ok(version));
                let is_known = |socket: &Path| has_answered(&self.runtimes, socket);
                if let Err(error) = self.adoption.list_is_known(&self.registry, is_known) {
                    tracing::error!("tasks that have left their containers' cgroups are not found: {error}");
                }
                // Of the list and of what was looked up for each in it.
                heap::give_back();
            }
            Change::Settled { .. } => {}
            Change::Failing { error } => {
                let socket = error.path().map_or_else(PathBuf::new, |path| path.to_path_buf());
                let message = format!("{:#}; trying again", anyhow::Error::from(error));
                self.runtimes.insert(socket, Err(message.clone()));
                notice(&self.commands, NoticeLevel::Warning, "containerd_unreachable", message);
            }
        }
    }

    /// The API server tells of this node's pods: containers of those that are others now are judged anew.
    pub(super) fn on_pods(&mut self, change: PodChange, applier: &mut Applier) {
        let registry = &self.registry;
        let pods = self.pods.take(change, |pod| has_container(registry, pod));
        let is_concerned = |entry: &Entry| PodKey::of(&entry.container).is_some_and(|pod| pods.contains(&pod));
        let completed = registry.iter().filter(|(_, entry)| is_concerned(entry)).filter_map(|(instance, entry)| {
            let completed = self.pods.complete(entry.container.clone());
            (!Arc::ptr_eq(&completed, &entry.container)).then(|| (instance.clone(), completed))
        });
        for (instance, container) in completed.collect::<Vec<_>>() {
            self.changed(&instance, container, applier);
        }
    }

    fn changed(&mut self, instance: &Instance, container: Arc<Container>, applier: &mut Applier) {
        if let Some(entry) = self.registry.change(instance, container) {
            if let Err(error) = applier.change(entry) {
                tracing::error!(container = %instance.id, "the change is not in force: {error}");
            }
        }
    }

    fn appeared(&mut self, instance: Instance, container: Arc<Container>, noticed: Noticed, applier: &mut Applier) {
        if let Err(error) = self.begin(instance.clone(), container, noticed, applier) {
            let message = format!("container {} is not watched: {error:#}", instance.id);
            notice(&self.commands, NoticeLevel::Error, "container_unwatched", message);
        }
    }

    fn begin(
        &mut self,
        instance: Instance,
        container: Arc<Container>,
        noticed: Noticed,
        applier: &mut Applier,
    ) -> anyhow::Result<()> {
        let Some(init) = self.find_init(instance.init)? else {
            // Its end is told next.
            match self.ended_entry(container.clone(), instance.init.pid, applier)? {
                Some(entry) => self.registry.open(instance, entry),
                None => self.missed(&container),
            }
            return Ok(());
        };
        let cgroup = (init.cgroup != ROOT_CGROUP).then_some(init.cgroup);
        if cgroup == Some(self.own_cgroup) {
            tracing::info!(container = %instance.id, "the agent's own container is not watched");
            return Ok(());
        }
        self.has_v2 |= cgroup.is_some();
        // A workload that has run for a while may have taken the runtime's name.
        let is_setup = noticed == Noticed::AtCreate && is_runtime(&init.comm);
        let ns = self.namespaces(&init);
        let birth = self.births.of_cgroup(init.cgroup)?;
        let entry = match birth.as_ref().and_then(|birth| Some((birth, self.take_lent(birth)?))) {
            Some((birth, covered)) => {
                let (slot, creator_mnt_ns) = (covered.slot, birth.creator_mnt_ns);
                let entry = Entry { slot, container, cgroup, has_v2: self.has_v2, ns, creator_mnt_ns };
                self.claim(&entry, birth, covered, is_setup, applier)?;
                entry
            }
            None => {
                let creator = self.engine.task(init.ppid)?;
                let creator_mnt_ns = creator.map_or(self.host_mnt_ns, |task| task.ns.mnt_ns);
                // One that runs for a while may have gone into another's.
                let is_own = is_setup || birth.is_some() || is_in_own_cgroup(&init, &instance.id);
                let cgroup = cgroup.filter(|cgroup| is_own && !self.registry.has_cgroup(*cgroup));
                let slot = self.registry.reserve()?;
                let entry = Entry { slot, container, cgroup, has_v2: self.has_v2, ns, creator_mnt_ns };
                let adopts_later =
                    noticed == Noticed::InList && birth.is_none() && !has_answered(&self.runtimes, &instance.socket);
                if adopts_later {
                    self.adoption.wait(instance.clone());
                }
                let stage = if is_setup { wire::STAGE_SETUP } else { wire::STAGE_RUN };
                let own_init = (!is_setup || entry.cgroup.is_none()).then_some(&init);
                let opening = Opening { entry: &entry, stage, own_init, adopts_later };
                self.open(opening, &init, birth.as_ref(), applier)?;
                entry
            }
        };
        self.registry.open(instance.clone(), entry);
        if is_setup {
            // Its exec may have been between that look at it and the map. A later look tries again.
            let is_still_setup = match self.find_init(instance.init) {
                Ok(init) => self.is_still_setup(&instance, init.as_ref()),
                Err(error) => {
                    tracing::error!(container = %instance.id, "whether its program runs is looked at again: {error}");
                    true
                }
            };
            if is_still_setup {
                self.in_setup.insert(instance);
            }
        }
        Ok(())
    }

    /// The init task, if it lives. All tasks are gone through only where it is not found by its number.
    fn find_init(&self, init: InitTask) -> Result<Option<Task>, TasksError> {
        let found = self.engine.task(init.pid)?.filter(|task| is_init(task, init));
        match found {
            Some(task) => Ok(Some(task)),
            None => Ok(self.engine.tasks()?.into_iter().find(|task| is_init(task, init))),
        }
    }

    /// One of which no call was seen yet: it came before the agent, or has not begun.
    fn open(
        &mut self,
        opening: Opening<'_>,
        init: &Task,
        birth: Option<&Birth>,
        applier: &mut Applier,
    ) -> anyhow::Result<()> {
        let created_ns =
            birth.map_or_else(|| Clocks::sample().monotonic_of_boot(init.start_boot_ns), |birth| birth.made_ns);
        let mut taken = None;
        let opened = applier.open(opening, || {
            let last = birth.map(|birth| self.births.settle(birth.cgroup)).transpose()?.flatten();
            taken = last.as_ref().and_then(|birth| birth.covered);
            let is_whole = last.is_some_and(|birth| birth.covered.is_none() && !birth.has_missed);
            Ok(Watched { created_ns, since_ns: if is_whole { created_ns } else { monotonic_ns() } })
        });
        if opened.is_err() {
            self.undo(opening.entry, applier);
        }
        // Its first call came a moment ago, and got a slot that nobody knows by now.
        if let Some(covered) = taken.filter(|covered| self.registry.take_back(covered.slot)) {
            applier.ignore(covered.slot).unwrap_or_else(|error| tracing::error!("{error}"));
        }
        Ok(opened?)
    }

    /// One that the kernel side has seen by itself.
    fn claim(
        &mut self,
        entry: &Entry,
        birth: &Birth,
        covered: Covered,
        is_setup: bool,
        applier: &mut Applier,
    ) -> anyhow::Result<()> {
        let watched = Watched { created_ns: birth.made_ns, since_ns: covered.since_ns };
        let stage = match is_setup {
            true => Ok(()),
            // The exec may have been before there was a slot.
            false => self.engine.maps().set_running(entry.slot),
        };
        let claimed = stage.map_err(ApplyError::from).and_then(|()| applier.claim(entry, watched));
        if claimed.is_err() {
            self.undo(entry, applier);
        }
        // One that stays is found to be over in time, and has no slot to give back then.
        self.births.settle(birth.cgroup).map_or_else(|error| tracing::error!("{error}"), drop);
        Ok(claimed?)
    }

    /// What was bound is unbound, and the slot comes back the usual way.
    fn undo(&self, entry: &Entry, applier: &mut Applier) {
        applier.close(entry, &self.registry).unwrap_or_else(|error| tracing::error!("{error}"));
    }

    /// The slot that the kernel side gave to the birth.
    fn take_lent(&mut self, birth: &Birth) -> Option<Covered> {
        birth.covered.filter(|covered| self.registry.take_back(covered.slot))
    }

    /// Containerd told of it when it had ended: all that it did is held.
    fn came_and_went(&mut self, container: Arc<Container>, pid: u32, applier: &mut Applier) {
        match self.ended_entry(container.clone(), pid, applier) {
            Ok(Some(entry)) => {
                if let Err(error) = applier.close(&entry, &self.registry) {
                    tracing::error!(container = %container.id, "ending the watch: {error}");
                }
            }
            Ok(None) => self.missed(&container),
            Err(error) => {
                tracing::error!(container = %container.id, "{error:#}");
                self.missed(&container);
            }
        }
    }

    fn missed(&self, container: &Container) {
        let namespace = container.runtime_namespace.as_deref().unwrap_or_default();
        let message = format!("container {} ({namespace}) came and went before it could be watched", container.id);
        notice(&self.commands, NoticeLevel::Warning, "container_missed", message);
    }

    fn ended_entry(
        &mut self,
        container: Arc<Container>,
        pid: u32,
        applier: &mut Applier,
    ) -> anyhow::Result<Option<Entry>> {
        let Some(birth) = self.births.of_ended(&container.id, pid)? else { return Ok(None) };
        let Some(covered) = self.take_lent(&birth) else { return Ok(None) };
        let (slot, creator_mnt_ns) = (covered.slot, birth.creator_mnt_ns);
        let cgroup = Some(birth.cgroup);
        let entry = Entry { slot, container, cgroup, has_v2: self.has_v2, ns: None, creator_mnt_ns };
        self.claim(&entry, &birth, covered, false, applier)?;
        Ok(Some(entry))
    }

    /// Where a task is that joined the container; nothing that tells it from the host's own.
    fn namespaces(&self, init: &Task) -> Option<NsKey> {
        (init.ns.mnt_ns != self.host_mnt_ns).then_some(init.ns)
    }

    fn gone(&mut self, instance: &Instance, applier: &mut Applier) {
        self.in_setup.remove(instance);
        if let Some(entry) = self.registry.close(instance) {
            if let Some(pod) = PodKey::of(&entry.container).filter(|pod| !has_container(&self.registry, pod)) {
                self.pods.last_container_ended(&pod);
            }
            if let Err(error) = applier.close(&entry, &self.registry) {
                tracing::error!(container = %instance.id, "ending the watch: {error}");
            }
            if tracing::enabled!(tracing::Level::DEBUG) {
                let (cgroups, namespaces) = self.engine.maps().entries();
                tracing::debug!(container = %instance.id, cgroups, namespaces, "watch ended; entries left in the maps");
            }
        }
    }

    /// What time brings: slots to release, and workloads whose exec the kernel side did not see.
    pub(super) fn look(&mut self, applier: &mut Applier) {
        if let Err(error) = self.births.look(&mut self.registry, applier) {
            tracing::error!("looking for containers that nobody has named: {error}");
        }
        if let Err(error) = self.adoption.look(&self.registry, applier) {
            tracing::error!("tasks that ran before their containers were known are not found yet: {error}");
        }
        self.resting.extend(self.freed.try_iter().map(|slot| (slot, false)));
        if self.resting.is_empty() && self.in_setup.is_empty() {
            return;
        }
        match self.engine.tasks() {
            Ok(tasks) => {
                self.look_at_setups(&tasks);
                // What a trial has counted of those that ended is still to be read, unless others want the room.
                if !applier.plan().has_trial() || self.resting.len() > self.registry.room() / 4 {
                    self.release_slots(&tasks, applier);
                }
            }
            Err(error) => tracing::error!("{error}"),
        }
    }

    fn look_at_setups(&mut self, tasks: &[Task]) {
        let mut in_setup = std::mem::take(&mut self.in_setup);
        in_setup.retain(|instance| {
            let init = tasks.iter().find(|task| is_init(task, instance.init));
            self.is_still_setup(instance, init)
        });
        self.in_setup = in_setup;
    }

    /// Whether the runtime is still at work in the container; once it is not, the kernel side knows so.
    fn is_still_setup(&self, instance: &Instance, init: Option<&Task>) -> bool {
        let (Some(entry), Some(init)) = (self.registry.get(instance), init) else { return false };
        if is_runtime(&init.comm) && !self.engine.maps().is_running(entry.slot).unwrap_or(false) {
            return true;
        }
        if let Err(error) = self.engine.maps().set_running(entry.slot) {
            tracing::error!(container = %instance.id, "{error}");
        }
        false
    }

    /// A task outlives its container's init where the pid namespace is shared: while one carries the tag, the slot rests. Then
    /// nothing counts for it any more, and what was counted goes. A list may miss a task that was forked behind it, by one that
    /// ended ahead of it; so two in a row must have none.
    fn release_slots(&mut self, tasks: &[Task], applier: &mut Applier) {
        let tagged: BTreeSet<u32> = tasks.iter().map(|task| task.slot).collect();
        let mut free = BTreeSet::new();
        for (slot, had_none) in &mut self.resting {
            let has_none = !tagged.contains(&slot.0);
            if has_none && *had_none {
                free.insert(*slot);
            }
            *had_none = has_none;
        }
        if free.is_empty() {
            return;
        }
        match self.engine.maps().clean_slots(&free) {
            Ok(()) => free.into_iter().for_each(|slot| {
                self.resting.remove(&slot);
                applier.release(slot);
                self.registry.release(slot);
            }),
            Err(error) => tracing::error!("{error}; the slots of containers that ended are not free yet"),
        }
    }
}

fn has_container(registry: &Registry, pod: &PodKey) -> bool {
    registry.iter().any(|(_, entry)| PodKey::of(&entry.container).as_ref() == Some(pod))
}

/// Whether the socket's whole list has been told, and it has not failed since.
fn has_answered(runtimes: &BTreeMap<PathBuf, Result<String, String>>, socket: &Path) -> bool {
    matches!(runtimes.get(socket), Some(Ok(_)))
}

/// Whether the init task is still the runtime, which names itself so until it execs the workload.
fn is_runtime(comm: &[u8]) -> bool {
    comm.starts_with(b"runc:[") || comm == b"runc" || comm == b"crun" || comm.starts_with(b"youki")
}
