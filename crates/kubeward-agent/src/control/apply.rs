//! Makes the steps of a plan: the only place where policies reach hooks and maps.

use std::collections::BTreeMap;
use std::sync::Arc;

use kubeward_bpf::maps::MapError;
use kubeward_bpf::object::Engine;
use kubeward_bpf::probe::{Probes, Report};
use kubeward_bpf::tasks::TasksError;
use kubeward_bpf::wire;
use kubeward_core::container::{Container, ContainerSlot};
use kubeward_core::policy::PolicySet;

use super::kernel::kernel_profile;
use super::reconcile::{reconcile, Plan, ProfileId, Step, TooManyProfiles};
use crate::pipeline::{Command, Commands, Doubts};
use crate::registry::{Entry, Registry};

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
pub struct Applier {
    engine: Arc<Engine>,
    probes: Probes,
    commands: Commands,
    plan: Plan,
}

impl Applier {
    pub fn new(engine: Arc<Engine>, probes: Probes, commands: Commands) -> Self {
        Self { engine, probes, commands, plan: Plan::empty() }
    }

    pub fn plan(&self) -> &Plan {
        &self.plan
    }

    pub fn doubts(&self) -> Doubts {
        Doubts { skipped: self.probes.skipped(), missed_returns: self.probes.missed_returns() }
    }

    /// Puts other policies in force for all containers. What the hooks then are.
    pub fn set_policies(&mut self, set: Arc<PolicySet>, registry: &Registry) -> Result<Option<Report>, ApplyError> {
        let entries: BTreeMap<ContainerSlot, &Entry> = registry.iter().map(|(_, entry)| (entry.slot, entry)).collect();
        let containers = entries.iter().map(|(&slot, entry)| (slot, &*entry.container));
        let (plan, steps) = reconcile(&self.plan, set, containers, self.probes.upgrades_exit())?;
        let mut report = None;
        for step in steps {
            match step {
                Step::Hook(bits) => report = Some(self.probes.apply(&bits)),
                Step::WriteProfile { id, profile } => self.write_profile(id, &profile)?,
                Step::SwitchProfile { slot, id } => {
                    if let Some(entry) = entries.get(&slot) {
                        self.engine.maps().set_container(slot, &kernel_container(entry, id))?;
                    }
                }
                Step::Judge => {
                    let (set, selected) = (plan.set.clone(), plan.selected());
                    self.commands.send(Command::Policies { set, selected });
                }
            }
        }
        self.plan = plan;
        Ok(report)
    }

    /// Begins to watch a container. `stage` is [`wire::STAGE_SETUP`] as long as its program does not run.
    pub fn open(&mut self, entry: &Entry, stage: u32) -> Result<(), ApplyError> {
        let (selected, id) = self.assign(entry.slot, &entry.container)?;
        // First who it is, then the door: no record comes of a container that nobody knows.
        self.commands.send(Command::Open { slot: entry.slot, container: entry.container.clone(), selected });
        let maps = self.engine.maps();
        maps.open_slot(entry.slot, &kernel_container(entry, id), stage)?;
        if let Some(cgroup) = entry.cgroup {
            maps.bind_cgroup(cgroup, entry.slot)?;
            // What runs there already may move to another cgroup before its next call; what comes is found by the cgroup.
            self.engine.tag_cgroup(cgroup, entry.slot)?;
        }
        if let Some(ns) = entry.ns {
            // Beside a v2 hierarchy it is for guests, who are the container's only while they are in it.
            maps.bind_namespace(ns, entry.slot, entry.cgroup.is_none())?;
        }
        Ok(())
    }

    /// More is known of a container, so that other policies may select it.
    pub fn change(&mut self, entry: &Entry) -> Result<(), ApplyError> {
        let (selected, id) = self.assign(entry.slot, &entry.container)?;
        self.commands.send(Command::Change { slot: entry.slot, container: entry.container.clone(), selected });
        Ok(self.engine.maps().set_container(entry.slot, &kernel_container(entry, id))?)
    }

    /// Ends the watch of a container that is in the registry no more. Another may be found by its namespaces by now.
    pub fn close(&mut self, entry: &Entry, registry: &Registry) -> Result<(), ApplyError> {
        self.plan.remove(entry.slot);
        let maps = self.engine.maps();
        let unbound = [
            entry.cgroup.filter(|cgroup| !registry.has_cgroup(*cgroup)).map(|cgroup| maps.unbind_cgroup(cgroup)),
            entry.ns.filter(|ns| !registry.has_namespaces(*ns)).map(|ns| maps.unbind_namespace(ns)),
            Some(maps.close_slot(entry.slot)),
        ];
        self.commands.send(Command::Close { slot: entry.slot });
        unbound.into_iter().flatten().collect::<Result<(), MapError>>().map_err(ApplyError::from)
    }

    fn assign(
        &mut self,
        slot: ContainerSlot,
        container: &Container,
    ) -> Result<(kubeward_core::policy::Selected, ProfileId), ApplyError> {
        let (selected, id, steps) = self.plan.assign(slot, container)?;
        for step in steps {
            if let Step::WriteProfile { id, profile } = step {
                self.write_profile(id, &profile)?;
            }
        }
        Ok((selected, id))
    }

    fn write_profile(&self, id: ProfileId, profile: &kubeward_core::policy::Profile) -> Result<(), ApplyError> {
        let profile = kernel_profile(profile, self.probes.upgrades_exit());
        Ok(self.engine.maps().set_profile(id.0, &profile)?)
    }
}

fn kernel_container(entry: &Entry, id: ProfileId) -> wire::Container {
    wire::Container::watched(id.0, entry.creator_mnt_ns)
}
