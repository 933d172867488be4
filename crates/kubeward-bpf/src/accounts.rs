//! What was counted for each slot.

use std::collections::BTreeMap;
use std::mem::size_of;

use kubeward_core::container::ContainerSlot;
use libbpf_rs::{MapCore, MapFlags};

use crate::batch::each_place;
use crate::maps::{kernel, MapError, Maps};
use crate::table::is_read_whole;
use crate::wire::{Account, Wire};

impl Maps {
    /// The slot's counts, summed over all CPUs. While calls run, the counts are of slightly different moments.
    pub fn account(&self, slot: ContainerSlot) -> Result<Account, MapError> {
        let account = self.accounts(&[slot])?.remove(&slot);
        Ok(account.unwrap_or_default())
    }

    /// The same of several slots: by two system calls each, or of many by some for all slots together.
    pub fn accounts(&self, slots: &[ContainerSlot]) -> Result<BTreeMap<ContainerSlot, Account>, MapError> {
        let mut found = self.counters(slots)?;
        // Last: what is counted there and nowhere else yet is under way.
        self.each_first_counts(slots.iter().map(|slot| slot.0), |slot, cpus| {
            if let Some(account) = found.get_mut(&ContainerSlot(slot)) {
                account.at_once += cpus.iter().flat_map(|cpu| cpu.calls).sum::<u64>();
            }
        })?;
        Ok(found)
    }

    /// What the kernel side went without for each of the slots: by one system call each, or some for all slots together.
    pub fn losses(&self, slots: &[ContainerSlot]) -> Result<BTreeMap<ContainerSlot, Losses>, MapError> {
        Ok(self.counters(slots)?.into_iter().map(|(slot, account)| (slot, Losses::from(&account))).collect())
    }

    /// The accounts without what stands in `first_counts`.
    fn counters(&self, slots: &[ContainerSlot]) -> Result<BTreeMap<ContainerSlot, Account>, MapError> {
        let mut found: BTreeMap<ContainerSlot, Account> =
            slots.iter().map(|slot| (*slot, Account::default())).collect();
        let (map, name) = (&self.accounts, "accounts");
        let mut sum = |slot: u32, cpus: &[Account]| {
            if let Some(account) = found.get_mut(&ContainerSlot(slot)) {
                *account = cpus.iter().copied().fold(*account, Account::plus);
            }
        };
        if is_read_whole(slots.len(), map)? {
            each_place(map, name, sum)?;
        } else {
            for slot in slots {
                let cpus = map.lookup_percpu(&slot.0.to_ne_bytes(), MapFlags::ANY).map_err(kernel(name))?;
                let cpus = cpus.unwrap_or_default();
                sum(slot.0, &cpus.iter().filter_map(|bytes| Account::read_from(bytes)).collect::<Vec<_>>());
            }
        }
        Ok(found)
    }
}

/// What the kernel side went without for a container. The counters are those of [`Account`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Losses {
    pub lost_ring: u64,
    pub lost_share: u64,
    pub lost_exec: u64,
    pub untagged: u64,
    pub untabled: u64,
    pub untimed: u64,
}

impl From<&Account> for Losses {
    fn from(account: &Account) -> Self {
        let Account { lost_ring, lost_share, lost_exec, untagged, untabled, untimed, .. } = *account;
        Self { lost_ring, lost_share, lost_exec, untagged, untabled, untimed }
    }
}

impl Account {
    /// Calls that reached a hook.
    pub fn seen(&self) -> u64 {
        self.at_once + self.entered
    }

    /// Calls of which a record was put into the ring: all that are over and have no other end. No counter of its own, which
    /// every record would pay for; whether it is right shows when all is read.
    pub fn submitted(&self) -> u64 {
        let unsent = [
            self.filtered_setup,
            self.filtered_policy,
            self.filtered_errors,
            self.filtered_duration,
            self.filtered_count,
            self.sampled,
            self.lost_ring,
            self.lost_share,
            self.lost_storage,
            self.lost_return,
        ];
        (self.at_once + self.left).saturating_sub(unsent.iter().sum())
    }

    /// Counter by counter: the struct has nothing else.
    fn plus(self, other: Self) -> Self {
        const WORD: usize = size_of::<u64>();
        let word = |bytes: &[u8]| u64::from_ne_bytes(bytes.try_into().expect("chunks are of this size"));
        let mut sums = [0; size_of::<Self>()];
        let both = self.as_bytes().chunks_exact(WORD).zip(other.as_bytes().chunks_exact(WORD));
        for (sum, (one, more)) in sums.chunks_exact_mut(WORD).zip(both) {
            sum.copy_from_slice(&(word(one) + word(more)).to_ne_bytes());
        }
        Self::read_from(&sums).expect("there are as many sums as counters")
    }
}

impl Default for Account {
    fn default() -> Self {
        Self::read_from(&[0; size_of::<Self>()]).expect("the buffer has the struct's size")
    }
}
