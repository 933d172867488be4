//! Makes the steps of a plan: the only place where policies reach hooks and maps.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, TryLockError};
use std::thread;
use std::time::Duration;

use kubeward_bpf::maps::MapError;
use kubeward_bpf::object::Engine;
use kubeward_bpf::probe::{Probes, Report, Settling};
use kubeward_bpf::tasks::{Task, TasksError};
use kubeward_bpf::wire;
use kubeward_core::container::{Container, ContainerSlot};
use kubeward_core::policy::Selected;

use super::kernel::{kernel_limits, kernel_profile};
use super::reconcile::{reconcile, HookBits, Plan, ProfileId, Step, TooManyProfiles};
use super::wanted::Wanted;
use crate::pipeline::{Command, Commands, Doubts, Watched};
use crate::registry::{Entry, Registry};

/// Between two looks at what the hooks wait for: a call that goes on, or a hook that goes.
const RETRY_AFTER: Duration = Duration::from_secs(1);

/// How far the hooks are what they shall be.
#[derive(Debug)]
pub struct Settled {
    pub report: Report,
    /// Something must happen first, and then it must be tried again. All that is wanted is shown meanwhile.
    pub waits: bool,
}

/// A container of which no call was seen yet.
#[derive(Debug, Clone, Copy)]
pub struct Opening<'a> {
    pub entry: &'a Entry,
    /// [`wire::STAGE_SETUP`] as long as its program does not run.
    pub stage: u32,
    /// Its init, for one that may be in a cgroup or have a tag that is another container's.
    pub own_init: Option<&'a Task>,
    /// What runs in its cgroup is given to it later, by [`Engine::adopt_strays`] with that of others, or by [`Applier::adopt`]: each
    /// time costs a pass over all tasks.
    pub adopts_later: bool,
}

#[derive(Debug, thiserror::Error)]
pub enum ApplyError {
    #[error(transparent)]
    Profiles(#[from] TooManyProfiles),
    #[error(transparent)]
    Map(#[from] MapError),
    #[error(transparent)]
    Tasks(#[from] TasksError),
}

/// Holds the hooks and the plan that is in force.
///
/// Other policies come into force in three parts, so that containers can be opened and closed between them: serve what
/// [`Applier::to_attach`] says, [`Applier::switch`], then let the hooks settle.
pub struct Applier {
    engine: Arc<Engine>,
    /// Locked for a fraction of a second at a time while functions are hooked: the control side never waits for it.
    probes: Arc<Mutex<Probes>>,
    /// Counts what the hooks were asked to be: whoever works for an earlier count stops.
    asked: Arc<AtomicU64>,
    upgrades_exit: bool,
    commands: Commands,
    plan: Plan,
    /// As last read while the hooks were not being changed.
    doubts: Doubts,
}

impl Applier {
    pub fn new(engine: Arc<Engine>, probes: Probes, commands: Commands) -> Self {
        let upgrades_exit = probes.upgrades_exit();
        let (probes, doubts) = (Arc::new(Mutex::new(probes)), Doubts::default());
        Self { engine, probes, asked: Arc::default(), upgrades_exit, commands, plan: Plan::empty(), doubts }
    }

    pub fn plan(&self) -> &Plan {
        &self.plan
    }

    /// What the kernel says of the hooks; as it was before, while they are being changed.
    pub fn doubts(&mut self) -> Doubts {
        let probes = match self.probes.try_lock() {
            Ok(probes) => Some(probes),
            Err(TryLockError::Poisoned(poisoned)) => Some(poisoned.into_inner()),
            Err(TryLockError::WouldBlock) => None,
        };
        if let Some(probes) = probes {
            self.doubts = Doubts { skipped: probes.skipped(), missed_returns: probes.missed_returns() };
        }
        self.doubts
    }

    /// Has these calls shown, by whatever attaches at once: to be called from a thread that may block for some tens of
    /// milliseconds.
    pub fn serving(&self, bits: HookBits) -> impl FnOnce() -> Report + Send + 'static {
        self.asked.fetch_add(1, Ordering::Relaxed);
        let probes = self.probes.clone();
        move || probes.lock().unwrap_or_else(PoisonError::into_inner).serve(&bits)
    }

    /// Has the calls shown by the hooks that shall show them, and takes away what is not needed: to be called from a thread that
    /// may block for seconds. It ends early when other hooks are asked for. `again`: it has been tried, and had to wait.
    pub fn settling(&self, bits: HookBits, again: bool) -> impl FnOnce() -> Settled + Send + 'static {
        let (probes, asked) = (self.probes.clone(), self.asked.clone());
        let own = asked.fetch_add(1, Ordering::Relaxed) + 1;
        move || {
            let is_asked = || asked.load(Ordering::Relaxed) == own;
            if again {
                wait_while(RETRY_AFTER, is_asked);
            }
            // One step at a time, so that an edit need not wait for all of them. Once other hooks are asked for, these would
            // take away what they need.
            let step = |make: &dyn Fn(&mut Probes) -> Settling| {
                let mut probes = probes.lock().unwrap_or_else(PoisonError::into_inner);
                let settling = if is_asked() { make(&mut probes) } else { Settling::Done };
                (settling, probes.report())
            };
            step(&|probes| {
                probes.serve(&bits);
                Settling::More
            });
            loop {
                match step(&Probes::settle) {
                    (Settling::More, _) => {}
                    (settling, report) => return Settled { report, waits: settling == Settling::Waits },
                }
            }
        }
    }

    /// The calls that must be shown before containers switch to these policies; `None` when they are.
    pub fn to_attach(&self, wanted: &Wanted, registry: &Registry) -> Result<Option<HookBits>, ApplyError> {
        let entries = by_slot(registry);
        let (_, steps) = reconcile(&self.plan, wanted, containers(&entries), self.upgrades_exit)?;
        Ok(match steps.into_iter().next() {
            Some(Step::Attach(bits)) => Some(*bits),
            _ => None,
        })
    }

    /// Puts other policies in force for all containers, once what they need is shown. The hooks that are needed from then
    /// on, if some are no longer.
    pub fn switch(&mut self, wanted: &Wanted, registry: &Registry) -> Result<Option<HookBits>, ApplyError> {
        let entries = by_slot(registry);
        let (plan, steps) = reconcile(&self.plan, wanted, containers(&entries), self.upgrades_exit)?;
        let mut left = None;
        for step in steps {
            match step {
                // The caller has.
                Step::Attach(_) => {}
                Step::WriteProfile { id, profile } => self.write_profile(id, &profile)?,
                Step::Judge => {
                    let (set, selected) = (plan.set.clone(), plan.selected());
                    self.commands.send(Command::Policies { set, selected });
                }
                Step::SwitchProfile { slot, id } => {
                    if let Some(entry) = entries.get(&slot) {
                        self.engine.maps().set_container(slot, &kernel_container(*entry, id))?;
                    }
                }
                Step::Switched => {
                    self.commands.send(Command::Switched);
                }
                Step::Detach(bits) => left = Some(*bits),
            }
        }
        self.plan = plan;
        Ok(left)
    }

    /// Begins to watch a container. `watched` is asked once it is covered.
    pub fn open(
        &mut self,
        Opening { entry, stage, own_init, adopts_later }: Opening<'_>,
        watched: impl FnOnce() -> Result<Watched, MapError>,
    ) -> Result<(), ApplyError> {
        let (selected, id) = self.assign(entry.slot, Some(&entry.container))?;
        // Since when it is covered is known once it is: what comes until then is held.
        self.commands.send(Command::Hold { slot: entry.slot });
        self.engine.maps().open_slot(entry.slot, &kernel_container(Some(entry), id), stage)?;
        if let Some(init) = own_init {
            self.engine.tag_init(init, entry.slot)?;
        }
        self.bind(entry)?;
        if !adopts_later {
            self.adopt(entry)?;
        }
        self.name(entry, selected, watched()?);
        Ok(())
    }

    /// Gives the kernel side a slot for the next container that it sees before anybody names it.
    pub fn lend(&mut self, slot: ContainerSlot) -> Result<(), ApplyError> {
        let (_, id) = self.assign(slot, None)?;
        self.commands.send(Command::Hold { slot });
        self.engine.maps().open_slot(slot, &wire::Container::unnamed(id.0), wire::STAGE_SETUP)?;
        Ok(self.engine.maps().lend_slot(slot)?)
    }

    /// The slot that was lent is this container's: what was held of it is told.
    pub fn claim(&mut self, entry: &Entry, watched: Watched) -> Result<(), ApplyError> {
        let (selected, id) = self.assign(entry.slot, Some(&entry.container))?;
        self.name(entry, selected, watched);
        // Its tasks are found by the birth until they are tagged.
        self.bind(entry)?;
        self.adopt(entry)?;
        Ok(self.engine.maps().set_container(entry.slot, &kernel_container(Some(entry), id))?)
    }

    /// The slot that was lent is no container's.
    pub fn ignore(&mut self, slot: ContainerSlot) -> Result<(), ApplyError> {
        self.plan.remove(slot);
        let closed = self.engine.maps().close_unnamed_slot(slot);
        let untagged = self.engine.untag(slot);
        self.commands.send(Command::Ignore { slot });
        closed?;
        Ok(untagged?)
    }

    fn name(&self, entry: &Entry, selected: Selected, watched: Watched) {
        let (slot, container) = (entry.slot, entry.container.clone());
        self.commands.send(Command::Open { slot, container, selected, watched });
    }

    fn bind(&self, entry: &Entry) -> Result<(), ApplyError> {
        let maps = self.engine.maps();
        if let Some(cgroup) = entry.cgroup {
            maps.bind_cgroup(cgroup, entry.slot)?;
        }
        if let Some(ns) = entry.ns {
            // Beside a v2 hierarchy it is for guests, who are the container's only while they are in it.
            maps.bind_namespace(ns, entry.slot, !entry.has_v2)?;
        }
        Ok(())
    }

    /// What runs in its cgroup already may move to another before its next call; what comes is found by the cgroup.
    pub fn adopt(&self, entry: &Entry) -> Result<(), ApplyError> {
        let Some(cgroup) = entry.cgroup else { return Ok(()) };
        let pid_ns = entry.ns.map(|ns| ns.pid_ns);
        Ok(self.engine.tag_cgroup(cgroup, pid_ns, entry.slot)?)
    }

    /// More is known of a container, so that other policies may select it.
    pub fn change(&mut self, entry: &Entry) -> Result<(), ApplyError> {
        let (selected, id) = self.assign(entry.slot, Some(&entry.container))?;
        self.commands.send(Command::Change { slot: entry.slot, container: entry.container.clone(), selected });
        Ok(self.engine.maps().set_container(entry.slot, &kernel_container(Some(entry), id))?)
    }

    /// Ends the watch of a container that is in the registry no more. Another may be found by its namespaces from now on.
    pub fn close(&mut self, entry: &Entry, registry: &Registry) -> Result<(), ApplyError> {
        self.plan.remove(entry.slot);
        let maps = self.engine.maps();
        let unbound = [
            entry.cgroup.filter(|cgroup| !registry.has_cgroup(*cgroup)).map(|cgroup| maps.unbind_cgroup(cgroup)),
            entry.ns.map(|ns| match registry.by_namespaces(ns) {
                Some(left) => maps.bind_namespace(ns, left.slot, !left.has_v2),
                None => maps.unbind_namespace(ns),
            }),
            Some(maps.close_slot(entry.slot)),
        ];
        self.commands.send(Command::Close { slot: entry.slot });
        unbound.into_iter().flatten().collect::<Result<(), MapError>>().map_err(ApplyError::from)
    }

    /// The slot is emptied, and may be another container's from now on.
    pub fn release(&mut self, slot: ContainerSlot) {
        self.plan.release(slot);
    }

    fn assign(
        &mut self,
        slot: ContainerSlot,
        container: Option<&Container>,
    ) -> Result<(Selected, ProfileId), ApplyError> {
        let (selected, id, steps) = self.plan.assign(slot, container)?;
        for step in steps {
            if let Step::WriteProfile { id, profile } = step {
                self.write_profile(id, &profile)?;
            }
        }
        Ok((selected, id))
    }

    fn write_profile(&self, id: ProfileId, profile: &kubeward_core::policy::Profile) -> Result<(), ApplyError> {
        self.engine.maps().set_limits(id.0, &kernel_limits(profile))?;
        let profile = kernel_profile(profile, self.upgrades_exit);
        Ok(self.engine.maps().set_profile(id.0, &profile)?)
    }
}

impl Drop for Applier {
    fn drop(&mut self) {
        self.asked.fetch_add(1, Ordering::Relaxed);
    }
}

const LOOK_AT_EDITS_EVERY: Duration = Duration::from_millis(50);

fn wait_while(time: Duration, is_asked: impl Fn() -> bool) {
    let mut waited = Duration::ZERO;
    while waited < time && is_asked() {
        thread::sleep(LOOK_AT_EDITS_EVERY);
        waited += LOOK_AT_EDITS_EVERY;
    }
}

/// Every slot that the kernel side looks at, those that were lent without an entry.
fn by_slot(registry: &Registry) -> BTreeMap<ContainerSlot, Option<&Entry>> {
    let named = registry.iter().map(|(_, entry)| (entry.slot, Some(entry)));
    named.chain(registry.lent().iter().map(|&slot| (slot, None))).collect()
}

fn containers<'a>(
    entries: &'a BTreeMap<ContainerSlot, Option<&Entry>>,
) -> impl Iterator<Item = (ContainerSlot, Option<&'a Container>)> + 'a {
    entries.iter().map(|(&slot, entry)| (slot, entry.map(|entry| &*entry.container)))
}

fn kernel_container(entry: Option<&Entry>, id: ProfileId) -> wire::Container {
    match entry {
        Some(entry) => wire::Container::watched(id.0, entry.creator_mnt_ns),
        None => wire::Container::unnamed(id.0),
    }
}
