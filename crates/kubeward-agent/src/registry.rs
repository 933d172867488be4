//! Which container has which slot of the kernel's maps, and how the kernel finds it. Pure.
//!
//! Invariants: a slot is one container's from [`Registry::open`] until [`Registry::release`]; slots are given out in the order
//! in which they became free, so that one rests as long as possible. Room: as the maps were made, see [`Registry::new`].

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use kubeward_bpf::size::MOST_CONTAINERS;
use kubeward_core::container::{CgroupId, Container, ContainerSlot, NsKey};

use crate::discovery::Instance;

/// A container that the kernel side knows.
#[derive(Debug, Clone)]
pub struct Entry {
    pub slot: ContainerSlot,
    pub container: Arc<Container>,
    /// Its own in the v2 hierarchy. Absent without one, and where its init is in a cgroup that may be another's.
    pub cgroup: Option<CgroupId>,
    /// Containers are found by their cgroups, so that by namespaces only guests are.
    pub has_v2: bool,
    /// Absent for a container that shares the host's mount namespace.
    pub ns: Option<NsKey>,
    /// Of the task that made the container: an exec there is the runtime's.
    pub creator_mnt_ns: u32,
}

/// The containers by instance, and the free slots.
#[derive(Debug)]
pub struct Registry {
    by_instance: BTreeMap<Instance, Entry>,
    /// With the kernel side, for containers that it sees before anybody names them.
    lent: BTreeSet<ContainerSlot>,
    free: VecDeque<ContainerSlot>,
    room: u32,
}

/// Every slot is taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "there is room for {room} containers at a time, those that just ended or wait for a name included; start the agent with a larger --max-containers (at most {MOST_CONTAINERS})"
)]
pub struct NoSlot {
    pub room: u32,
}

impl Registry {
    /// Of maps with so many slots, of which the first is nobody's and the last the self-test's.
    pub fn new(slots: u32) -> Self {
        let free = (1..slots - 1).map(ContainerSlot).collect();
        Self { by_instance: BTreeMap::new(), lent: BTreeSet::new(), free, room: slots - 2 }
    }

    /// Slots that there are for containers, taken or not.
    pub fn room(&self) -> usize {
        self.room as usize
    }

    /// A slot for a new container.
    pub fn reserve(&mut self) -> Result<ContainerSlot, NoSlot> {
        self.free.pop_front().ok_or(NoSlot { room: self.room })
    }

    /// How many slots are nobody's.
    pub fn free(&self) -> usize {
        self.free.len()
    }

    /// A slot that the kernel side may give to a container by itself.
    pub fn lend(&mut self) -> Result<ContainerSlot, NoSlot> {
        let slot = self.reserve()?;
        self.lent.insert(slot);
        Ok(slot)
    }

    /// The slot that was lent is a container's or nobody's; false if it is not lent.
    pub fn take_back(&mut self, slot: ContainerSlot) -> bool {
        self.lent.remove(&slot)
    }

    pub fn lent(&self) -> &BTreeSet<ContainerSlot> {
        &self.lent
    }

    pub fn open(&mut self, instance: Instance, entry: Entry) {
        self.by_instance.insert(instance, entry);
    }

    pub fn get(&self, instance: &Instance) -> Option<&Entry> {
        self.by_instance.get(instance)
    }

    /// More became known of a container.
    pub fn change(&mut self, instance: &Instance, container: Arc<Container>) -> Option<&Entry> {
        let entry = self.by_instance.get_mut(instance)?;
        entry.container = container;
        Some(entry)
    }

    /// The container ended. Its slot stays taken until it is released.
    pub fn close(&mut self, instance: &Instance) -> Option<Entry> {
        self.by_instance.remove(instance)
    }

    /// Nothing speaks of the slot any more.
    pub fn release(&mut self, slot: ContainerSlot) {
        self.free.push_back(slot);
    }

    pub fn iter(&self) -> impl Iterator<Item = (&Instance, &Entry)> {
        self.by_instance.iter()
    }

    /// Another container that is found by these namespaces: it may share them, or the kernel reused their numbers at once.
    pub fn by_namespaces(&self, ns: NsKey) -> Option<&Entry> {
        self.by_instance.values().find(|entry| entry.ns == Some(ns))
    }

    pub fn has_cgroup(&self, cgroup: CgroupId) -> bool {
        self.by_instance.values().any(|entry| entry.cgroup == Some(cgroup))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::path::Path;

    use kubeward_core::container::ContainerId;

    use super::*;
    use crate::discovery::{BootTicks, InitTask};

    const SLOTS: u32 = 16;
    const ROOM: u32 = SLOTS - 2;

    fn instance(id: &str, pid: u32) -> Instance {
        Instance {
            id: ContainerId(id.to_owned()),
            namespace: "default".into(),
            socket: Path::new("/run/c.sock").into(),
            init: InitTask { pid, started: BootTicks(7) },
        }
    }

    fn entry(slot: ContainerSlot, ns: Option<NsKey>) -> Entry {
        let container = Container::bare(ContainerId("c".to_owned()), "containerd");
        Entry { slot, container: container.into(), cgroup: Some(CgroupId(9)), has_v2: true, ns, creator_mnt_ns: 1 }
    }

    #[test]
    fn slots_are_distinct_and_never_the_self_tests() {
        let mut registry = Registry::new(SLOTS);
        let slots: BTreeSet<u32> = (0..ROOM).map(|_| registry.reserve().expect("there is room").0).collect();
        assert_eq!((slots.len(), slots.first(), slots.last()), (14, Some(&1), Some(&14)));
        assert_eq!(registry.reserve(), Err(NoSlot { room: ROOM }));
    }

    #[test]
    fn ended_containers_slot_rests_until_released_and_then_as_long_as_possible() {
        let mut registry = Registry::new(SLOTS);
        let first = registry.reserve().expect("there is room");
        registry.open(instance("a", 10), entry(first, None));
        assert_eq!(registry.close(&instance("a", 10)).map(|entry| entry.slot), Some(first));
        assert!((1..ROOM).all(|_| registry.reserve().expect("there is room") != first));
        assert_eq!(registry.reserve(), Err(NoSlot { room: ROOM }));
        registry.release(first);
        assert_eq!(registry.reserve(), Ok(first));
    }

    #[test]
    fn lent_slot_is_nobodys_until_it_is_taken_back_once() {
        let mut registry = Registry::new(SLOTS);
        let slot = registry.lend().expect("there is room");
        assert_eq!((registry.lent().len(), registry.iter().count()), (1, 0));
        assert!(registry.take_back(slot) && !registry.take_back(slot));
        assert!((1..ROOM).all(|_| registry.reserve().expect("there is room") != slot));
        assert_eq!(registry.lend(), Err(NoSlot { room: ROOM }));
    }

    #[test]
    fn shared_or_reused_namespaces_are_the_container_that_is_left() {
        let ns = NsKey { pid_ns: 3, mnt_ns: 4, mnt_seq: 5 };
        let mut registry = Registry::new(SLOTS);
        for (id, pid) in [("a", 10), ("b", 11)] {
            let slot = registry.reserve().expect("there is room");
            registry.open(instance(id, pid), entry(slot, Some(ns)));
        }
        registry.close(&instance("a", 10));
        let left = registry.by_namespaces(ns).map(|entry| entry.slot);
        assert_eq!(left, registry.get(&instance("b", 11)).map(|entry| entry.slot));
        assert!(left.is_some());
        registry.close(&instance("b", 11));
        assert!(registry.by_namespaces(ns).is_none());
    }

    #[test]
    fn restart_under_the_same_id_is_another_instance() {
        let mut registry = Registry::new(SLOTS);
        let slot = registry.reserve().expect("there is room");
        registry.open(instance("a", 10), entry(slot, None));
        assert!(registry.get(&instance("a", 11)).is_none());
        assert!(registry.close(&instance("a", 11)).is_none());
        assert!(registry.get(&instance("a", 10)).is_some());
    }
}
