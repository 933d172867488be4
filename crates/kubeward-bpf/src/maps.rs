//! The kernel's maps, typed: which slot is whose, what a slot wants, and what was counted.

use std::collections::HashSet;
use std::io;
use std::mem::size_of;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::sync::Mutex;

use kubeward_core::container::{CgroupId, ContainerSlot, NsKey};
use libbpf_rs::{ErrorKind, MapCore, MapFlags, MapHandle, Object};

use crate::object::LoadError;
use crate::process;
use crate::wire::{self, Account, Container, Profile, Settings, Shape, Tag, Target, Wire, CALLS};

#[derive(Debug, thiserror::Error)]
pub enum MapError {
    #[error("{map}: the kernel has no room or memory for another entry: {source}")]
    Full { map: &'static str, source: libbpf_rs::Error },
    #[error("{map}: {source}")]
    Kernel { map: &'static str, source: libbpf_rs::Error },
    #[error("container slot {slot} is outside 1..{last}")]
    Slot { slot: u32, last: u32 },
    #[error("the task has ended")]
    TaskGone,
}

/// Handles on the maps of one loaded object. Cheap calls: one system call each.
#[derive(Debug)]
pub struct Maps {
    settings: MapHandle,
    /// The settings as last written: the kernel never writes them.
    current: Mutex<Settings>,
    call_shapes: MapHandle,
    profiles: MapHandle,
    pub(crate) profile_limits: MapHandle,
    pub(crate) limit_buckets: MapHandle,
    containers: MapHandle,
    stages: MapHandle,
    container_map: MapHandle,
    namespace_map: MapHandle,
    /// Keys of `namespace_map`: the kernel adds and takes none.
    bound_namespaces: Mutex<HashSet<NsKey>>,
    own_pid_namespaces: MapHandle,
    task_tags: MapHandle,
    pub(crate) accounts: MapHandle,
    pub(crate) call_table: MapHandle,
    pub(crate) first_results: MapHandle,
    pub(crate) first_counts: MapHandle,
    pub(crate) call_times: MapHandle,
    pub(crate) keys_deleted: MapHandle,
    /// Held while slots are cleaned: what is added to `keys_deleted` was read before.
    pub(crate) cleaning: Mutex<()>,
    pub(crate) births: MapHandle,
    pub(crate) free_slots: MapHandle,
    pub(crate) birth_kin: MapHandle,
    tags_made_up: MapHandle,
    pub(crate) ring_read: MapHandle,
    pub(crate) records: MapHandle,
}

impl Maps {
    pub(crate) fn of(object: &Object) -> Result<Self, LoadError> {
        let find = |name: &'static str| {
            let map = object.maps().find(|map| map.name() == name);
            map.and_then(|map| MapHandle::try_from(&map).ok())
                .ok_or_else(|| LoadError::Damaged { kind: "map", name: name.to_owned() })
        };
        Ok(Self {
            settings: find("settings")?,
            current: Mutex::new(Settings {
                silenced: 0,
                host_mnt_ns: 0,
                emit_setup: 0,
                ns_entries: 0,
                pid_level: 0,
                move_nr: 0,
                tag_slot: 0,
                tag_mode: 0,
                tag_cgroup: 0,
                tag_start_ns: 0,
                tag_pid: 0,
                tag_pid_ns: 0,
                births_after: u64::MAX,
                shared_bytes: 0,
                shared_results: 0,
                shared_durations: 0,
                raw_hooks: [0; CALLS],
                function_hooks: [0; CALLS],
            }),
            call_shapes: find("call_shapes")?,
            profiles: find("profiles")?,
            profile_limits: find("profile_limits")?,
            limit_buckets: find("limit_buckets")?,
            containers: find("containers")?,
            stages: find("stages")?,
            container_map: find("container_map")?,
            namespace_map: find("namespace_map")?,
            bound_namespaces: Mutex::default(),
            own_pid_namespaces: find("own_pid_namespaces")?,
            task_tags: find("task_tags")?,
            accounts: find("accounts")?,
            call_table: find("call_table")?,
            first_results: find("first_results")?,
            first_counts: find("first_counts")?,
            call_times: find("call_times")?,
            keys_deleted: find("keys_deleted")?,
            cleaning: Mutex::new(()),
            births: find("births")?,
            free_slots: find("free_slots")?,
            birth_kin: find("birth_kin")?,
            tags_made_up: find("tags_made_up")?,
            ring_read: find("ring_read")?,
            records: find("records")?,
        })
    }

    /// Slots there are, as the maps were made: 0 is nobody's, the last this process's own, those between are for containers.
    pub fn slots(&self) -> u32 {
        self.containers.max_entries()
    }

    /// Never given to a container: for the moments in which the process looks at itself.
    pub(crate) fn own_slot(&self) -> ContainerSlot {
        ContainerSlot(self.slots() - 1)
    }

    pub(crate) fn check(&self, slot: ContainerSlot) -> Result<u32, MapError> {
        let last = self.own_slot().0;
        if (1..=last).contains(&slot.0) {
            Ok(slot.0)
        } else {
            Err(MapError::Slot { slot: slot.0, last })
        }
    }

    /// Changes the node's settings. The kernel sees all of the change within one call.
    pub fn change_settings(&self, change: impl FnOnce(&mut Settings)) -> Result<(), MapError> {
        let mut settings = self.current.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        change(&mut settings);
        put(&self.settings, "settings", 0, &*settings)
    }

    /// No container has more of the ring than is free of it, so that a quiet one finds room beside noisy ones. To be called
    /// before anything is hooked and before the ring is read; without it one container may fill the ring.
    pub fn share_ring(&self) -> Result<(), MapError> {
        let bytes = self.records.max_entries();
        self.change_settings(|settings| settings.shared_bytes = bytes.into())
    }

    pub(crate) fn is_ring_shared(&self) -> bool {
        self.current.lock().unwrap_or_else(|poisoned| poisoned.into_inner()).shared_bytes != 0
    }

    /// No program looks at anything from now on, or all do again. Those that had begun are over when this returns, some tens of
    /// milliseconds later: the accounts stand still, and what they say was recorded is in the ring. A call that is under way
    /// stays so.
    pub fn silence(&self, silent: bool) -> Result<(), MapError> {
        self.change_settings(|settings| settings.silenced = silent.into())?;
        if silent {
            process::let_pass();
        }
        Ok(())
    }

    pub fn set_shape(&self, index: u16, shape: &Shape) -> Result<(), MapError> {
        put(&self.call_shapes, "call_shapes", index.into(), shape)
    }

    /// Writes profile `id` (1..1023). A container should be switched to a fresh id rather than see a profile change under it.
    pub fn set_profile(&self, id: u32, profile: &Profile) -> Result<(), MapError> {
        put(&self.profiles, "profiles", id, profile)
    }

    /// Opens a slot with nothing counted. Its records must have been read, were it used before.
    pub fn open_slot(&self, slot: ContainerSlot, container: &Container, stage: u32) -> Result<(), MapError> {
        // Most have been cleaned, or never used; what was counted since shows in the account.
        if self.account(slot)?.as_bytes().iter().any(|byte| *byte != 0) {
            self.clean_slots(&[slot].into())?;
        }
        let slot = self.check(slot)?;
        put(&self.stages, "stages", slot, &stage)?;
        self.fill_buckets(ContainerSlot(slot), container.profile, true)?;
        let opened_ns = clock_ns(libc::CLOCK_MONOTONIC).unwrap_or(u64::MAX);
        put(&self.containers, "containers", slot, &Container { opened_ns, ..*container })
    }

    pub(crate) fn clear_account(&self, slot: ContainerSlot) -> Result<(), MapError> {
        let cpus = libbpf_rs::num_possible_cpus().map_err(kernel("accounts"))?;
        let clear = vec![vec![0_u8; size_of::<Account>()]; cpus];
        let slot = self.check(slot)?.to_ne_bytes();
        self.accounts.update_percpu(&slot, &clear, MapFlags::ANY).map_err(kernel("accounts"))
    }

    /// Points the container at another profile, from its next call on.
    pub fn set_container(&self, slot: ContainerSlot, container: &Container) -> Result<(), MapError> {
        let slot = self.check(slot)?;
        let known = self.containers.lookup(&slot.to_ne_bytes(), MapFlags::ANY).map_err(kernel("containers"))?;
        let opened_ns = known.and_then(|bytes| Container::read_from(&bytes)).map_or(0, |known| known.opened_ns);
        put(&self.containers, "containers", slot, &Container { opened_ns, ..*container })?;
        // Until then the kernel side drops nothing for its limits.
        self.fill_buckets(ContainerSlot(slot), container.profile, false)
    }

    /// The workload runs, whatever the kernel saw of its first exec.
    pub fn set_running(&self, slot: ContainerSlot) -> Result<(), MapError> {
        put(&self.stages, "stages", self.check(slot)?, &wire::STAGE_RUN)
    }

    /// The container's own program has been seen to run.
    pub fn is_running(&self, slot: ContainerSlot) -> Result<bool, MapError> {
        let slot = self.check(slot)?;
        let stage = self.stages.lookup(&slot.to_ne_bytes(), MapFlags::ANY).map_err(kernel("stages"))?;
        Ok(stage.and_then(|bytes| u32::read_from(&bytes)) == Some(wire::STAGE_RUN))
    }

    /// No call of the slot is looked at any more. Its accounts stay readable until the slot is opened again.
    pub fn close_slot(&self, slot: ContainerSlot) -> Result<(), MapError> {
        self.set_container(slot, &Container::CLOSED)
    }

    /// The same for a slot that proved to be no container's. Tags of it that are left over keep no task from getting a better one.
    pub fn close_unnamed_slot(&self, slot: ContainerSlot) -> Result<(), MapError> {
        self.set_container(slot, &Container { is_unnamed: 1, ..Container::CLOSED })
    }

    pub fn bind_cgroup(&self, cgroup: CgroupId, slot: ContainerSlot) -> Result<(), MapError> {
        let target = Target { slot: self.check(slot)?, flags: wire::TARGET_STICKY };
        let updated = self.container_map.update(&cgroup.0.to_ne_bytes(), target.as_bytes(), MapFlags::ANY);
        updated.map_err(full("container_map"))
    }

    /// Absent already is as good as removed.
    pub fn unbind_cgroup(&self, cgroup: CgroupId) -> Result<(), MapError> {
        absent_is_fine("container_map", self.container_map.delete(&cgroup.0.to_ne_bytes()))
    }

    /// `sticky`: a task found by it keeps the container when it leaves the namespaces.
    pub fn bind_namespace(&self, key: NsKey, slot: ContainerSlot, sticky: bool) -> Result<(), MapError> {
        let target = Target { slot: self.check(slot)?, flags: if sticky { wire::TARGET_STICKY } else { 0 } };
        let updated = self.namespace_map.update(wire::NsKey::from(key).as_bytes(), target.as_bytes(), MapFlags::ANY);
        updated.map_err(full("namespace_map"))?;
        self.count_namespaces(|bound| bound.insert(key))
    }

    /// Absent already is as good as removed.
    pub fn unbind_namespace(&self, key: NsKey) -> Result<(), MapError> {
        absent_is_fine("namespace_map", self.namespace_map.delete(wire::NsKey::from(key).as_bytes()))?;
        self.count_namespaces(|bound| bound.remove(&key))
    }

    fn count_namespaces(&self, change: impl FnOnce(&mut HashSet<NsKey>) -> bool) -> Result<(), MapError> {
        let mut bound = self.bound_namespaces.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        if !change(&mut bound) {
            return Ok(());
        }
        self.change_settings(|settings| settings.ns_entries = bound.len() as u32)
    }

    /// Does something while the kernel side knows the pid namespaces, by inode number, whose first tasks are containers' inits.
    /// `None`: of one that other containers share.
    pub(crate) fn with_pid_namespaces<T>(
        &self,
        owners: &[(u32, Option<ContainerSlot>)],
        work: impl FnOnce() -> T,
    ) -> Result<T, MapError> {
        let map = &self.own_pid_namespaces;
        let mut put = owners.iter().map(|(pid_ns, slot)| {
            let slot = slot.map_or(Ok(0), |slot| self.check(slot))?.to_ne_bytes();
            map.update(&pid_ns.to_ne_bytes(), &slot, MapFlags::ANY).map_err(full("own_pid_namespaces"))
        });
        let done = put.try_for_each(|put| put).map(|()| work());
        let taken =
            owners.iter().map(|(pid_ns, _)| absent_is_fine("own_pid_namespaces", map.delete(&pid_ns.to_ne_bytes())));
        let taken = taken.fold(Ok(()), Result::and);
        done.and_then(|done| taken.map(|()| done))
    }

    /// Entries of `container_map` and `namespace_map`, for tests and `doctor`.
    pub fn entries(&self) -> (usize, usize) {
        (self.container_map.keys().count(), self.namespace_map.keys().count())
    }

    /// Tags a process, by its pidfd: it and what it forks from now on belong to the slot. Slot 0 exempts it from being watched.
    pub fn tag_task(&self, pidfd: BorrowedFd<'_>, slot: u32) -> Result<(), MapError> {
        let tag = Tag { slot, container_pid: 0, exec_id: 0, is_idle: 0 };
        let updated = self.task_tags.update(&pidfd.as_raw_fd().to_ne_bytes(), tag.as_bytes(), MapFlags::ANY);
        updated.map_err(|source| match source.kind() {
            ErrorKind::NotFound => MapError::TaskGone,
            _ => MapError::Kernel { map: "task_tags", source },
        })
    }

    /// Children whose tag the second of two programs gave, since the kernel had skipped the first; 0 where it cannot be read.
    pub(crate) fn tags_made_up(&self) -> u64 {
        let count = self.tags_made_up.lookup(&0_u32.to_ne_bytes(), MapFlags::ANY).ok().flatten();
        count.and_then(|bytes| u64::read_from(&bytes)).unwrap_or(0)
    }
}

impl From<NsKey> for wire::NsKey {
    fn from(key: NsKey) -> Self {
        Self { pid_ns: key.pid_ns, mnt_ns: key.mnt_ns, mnt_seq: key.mnt_seq }
    }
}

impl Container {
    const CLOSED: Self = Self { active: 0, profile: 0, creator_mnt_ns: 0, is_unnamed: 0, since_ns: 0, opened_ns: 0 };

    /// A container that is looked at from now on, by the profile's wants; since when the slot is its own is for the maps to say. An exec in `creator_mnt_ns` is its runtime's.
    pub fn watched(profile: u32, creator_mnt_ns: u32) -> Self {
        let since_ns = clock_ns(libc::CLOCK_MONOTONIC).unwrap_or(u64::MAX);
        Self { active: 1, profile, creator_mnt_ns, is_unnamed: 0, since_ns, opened_ns: 0 }
    }

    /// One that nobody has named yet: a [`Birth`](crate::births::Birth) may take it.
    pub fn unnamed(profile: u32) -> Self {
        Self { is_unnamed: 1, ..Self::watched(profile, 0) }
    }
}

pub(crate) fn put(map: &MapHandle, name: &'static str, index: u32, value: &impl Wire) -> Result<(), MapError> {
    map.update(&index.to_ne_bytes(), value.as_bytes(), MapFlags::ANY).map_err(kernel(name))
}

pub(crate) fn kernel(map: &'static str) -> impl FnOnce(libbpf_rs::Error) -> MapError {
    move |source| MapError::Kernel { map, source }
}

pub(crate) fn full(map: &'static str) -> impl FnOnce(libbpf_rs::Error) -> MapError {
    move |source| MapError::Full { map, source }
}

pub(crate) fn absent_is_fine(map: &'static str, deleted: libbpf_rs::Result<()>) -> Result<(), MapError> {
    match deleted {
        Err(source) if source.kind() != ErrorKind::NotFound => Err(MapError::Kernel { map, source }),
        _ => Ok(()),
    }
}

/// CLOCK_BOOTTIME now, in nanoseconds: the clock of every `start_boot_ns`.
pub fn boot_ns() -> io::Result<u64> {
    clock_ns(libc::CLOCK_BOOTTIME)
}

/// `clock` now, in nanoseconds.
pub fn clock_ns(clock: libc::clockid_t) -> io::Result<u64> {
    let mut now = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: `now` is a valid timespec for the kernel to fill.
    if unsafe { libc::clock_gettime(clock, &mut now) } != 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(now.tv_sec as u64 * 1_000_000_000 + now.tv_nsec as u64)
}
