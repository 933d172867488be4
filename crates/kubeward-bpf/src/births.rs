//! Cgroups that may be a container's, from their making until somebody says whose they are.

use std::collections::{BTreeMap, BTreeSet};

use kubeward_core::container::{CgroupId, ContainerSlot};
use libbpf_rs::{ErrorKind, Link, MapCore, MapFlags};

use crate::batch::each_value;
use crate::maps::{absent_is_fine, full, kernel, MapError, Maps};
use crate::object::Engine;
use crate::probe::{trace, AttachError};
use crate::tasks::TasksError;
use crate::wire::{self, Wire};

/// A cgroup that no task of a container made, since [`Engine::watch_births`]. Times are of CLOCK_MONOTONIC.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Birth {
    pub cgroup: CgroupId,
    pub parent: CgroupId,
    /// The last component of its path.
    pub name: Vec<u8>,
    pub made_ns: u64,
    /// Of the task that made it.
    pub creator_mnt_ns: u32,
    /// Absent while no task in it has made a call that somebody wants.
    pub covered: Option<Covered>,
    /// Its tasks were looked for while there was no slot for it: calls may have been missed.
    pub has_missed: bool,
    pub workload: Option<Workload>,
}

/// The calls of a birth are being counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Covered {
    pub slot: ContainerSlot,
    /// The making of the cgroup, unless no slot was free at its first call.
    pub since_ns: u64,
}

/// The process that made the first exec in it that was not the runtime's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Workload {
    pub exec_ns: u64,
    /// In the agent's pid namespace.
    pub pid: u32,
    pub start_boot_ns: u64,
}

#[derive(Debug, thiserror::Error)]
pub enum BirthsError {
    #[error(transparent)]
    Tasks(#[from] TasksError),
    #[error(transparent)]
    Map(#[from] MapError),
    #[error("watching the making of cgroups: {0}")]
    Attach(#[from] AttachError),
}

/// Cgroups are watched until this is dropped.
#[derive(Debug)]
pub struct BirthWatch {
    _links: [Link; 2],
}

impl Engine {
    /// Watches the making of cgroups in the v2 hierarchy from now on. `Err` on a kernel without cgroups.
    pub fn watch_births(&self) -> Result<BirthWatch, BirthsError> {
        // Ids of cgroups only grow: tasks in older ones need no look-up.
        let newest = self.tasks()?.iter().map(|task| task.cgroup.0).max().unwrap_or(0);
        let links = [trace(self, "cgroup_mkdir")?, trace(self, "cgroup_rmdir")?];
        self.maps().change_settings(|settings| settings.births_after = newest)?;
        Ok(BirthWatch { _links: links })
    }
}

impl Maps {
    /// Births that there is room for at a time; a cgroup that is made then is found once containerd has told of it.
    pub const BIRTHS: usize = wire::BIRTHS;

    /// Those that are neither settled nor gone without a call.
    pub fn births(&self) -> Result<Vec<Birth>, MapError> {
        let mut found = Vec::new();
        each_value(&self.births, "births", |id: u64, birth: wire::Birth| found.push(Birth::of(CgroupId(id), &birth)))?;
        Ok(found)
    }

    /// The cgroup's own, while it is not settled.
    pub fn birth(&self, cgroup: CgroupId) -> Result<Option<Birth>, MapError> {
        let birth = self.births.lookup(&cgroup.0.to_ne_bytes(), MapFlags::ANY).map_err(kernel("births"))?;
        Ok(birth.and_then(|bytes| wire::Birth::read_from(&bytes)).map(|birth| Birth::of(cgroup, &birth)))
    }

    /// The cgroup is somebody's, or nobody's: it is found as others are from now on. Its birth as it was last, if it had one.
    pub fn settle_birth(&self, cgroup: CgroupId) -> Result<Option<Birth>, MapError> {
        match self.births.lookup_and_delete(&cgroup.0.to_ne_bytes()) {
            Ok(birth) => {
                Ok(birth.and_then(|bytes| wire::Birth::read_from(&bytes)).map(|birth| Birth::of(cgroup, &birth)))
            }
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(source) => Err(kernel("births")(source)),
        }
    }

    /// Gives the kernel side an open slot for the next birth.
    pub fn lend_slot(&self, slot: ContainerSlot) -> Result<(), MapError> {
        self.free_slots.update(&[], &slot.0.to_ne_bytes(), MapFlags::ANY).map_err(full("free_slots"))
    }

    /// Says how many births with a slot each cgroup has: the kernel side counts up alone.
    pub fn count_kin(&self, births: &[Birth]) -> Result<(), MapError> {
        let mut kin: BTreeMap<u64, u32> = BTreeMap::new();
        for birth in births.iter().filter(|birth| birth.covered.is_some()) {
            *kin.entry(birth.parent.0).or_default() += 1;
        }
        let known: BTreeSet<Vec<u8>> = self.birth_kin.keys().collect();
        for key in known.iter().filter(|key| !kin.keys().any(|parent| key[..] == parent.to_ne_bytes())) {
            absent_is_fine("birth_kin", self.birth_kin.delete(key))?;
        }
        for (parent, count) in kin {
            let updated = self.birth_kin.update(&parent.to_ne_bytes(), &count.to_ne_bytes(), MapFlags::ANY);
            updated.map_err(full("birth_kin"))?;
        }
        Ok(())
    }
}

impl Birth {
    fn of(cgroup: CgroupId, birth: &wire::Birth) -> Self {
        let end = birth.name.iter().position(|&byte| byte == 0).unwrap_or(birth.name.len());
        let slot = ContainerSlot(birth.slot);
        // The slot is there a moment before the time is.
        let since_ns = if birth.covered_ns == 0 { birth.made_ns } else { birth.covered_ns };
        let workload = Workload { exec_ns: birth.run_ns, pid: birth.init_pid, start_boot_ns: birth.init_start_boot_ns };
        Self {
            cgroup,
            parent: CgroupId(birth.parent),
            name: birth.name[..end].to_vec(),
            made_ns: birth.made_ns,
            creator_mnt_ns: birth.creator_mnt_ns,
            covered: (birth.slot != 0).then_some(Covered { slot, since_ns }),
            has_missed: birth.missed != 0,
            workload: (birth.run_ns != 0).then_some(workload),
        }
    }
}
