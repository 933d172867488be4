//! Records of slots of which nobody has said yet whose they are.
//!
//! Room: [`SLOT_BYTES`] for each, [`ALL_BYTES`] in all. What comes then is counted as lost. A held record is in flight in its
//! account, as those in the ring are.

use std::collections::BTreeMap;

use kubeward_core::container::ContainerSlot;
use kubeward_core::ledger::LossReason;

use super::account::UserCounts;

/// Some 8,000 records without strings: what a busy program makes in a few milliseconds, which is how long a name takes.
const SLOT_BYTES: usize = 2 << 20;

const ALL_BYTES: usize = 32 << 20;

/// What is held of one slot.
#[derive(Debug, Default)]
pub(super) struct Held {
    pub(super) records: Vec<Box<[u8]>>,
    bytes: usize,
    /// Of what is held no more.
    pub(super) counts: UserCounts,
    /// Drains since it was said to be no container's.
    ignored: Option<u32>,
}

#[derive(Debug, Default)]
pub(super) struct Holding {
    slots: BTreeMap<ContainerSlot, Held>,
    bytes: usize,
}

impl Holding {
    pub(super) fn begin(&mut self, slot: ContainerSlot) {
        self.slots.insert(slot, Held::default());
    }

    /// Keeps the record of a call; false when its slot is not held.
    pub(super) fn keep(&mut self, slot: ContainerSlot, record: &[u8]) -> bool {
        let Some(held) = self.slots.get_mut(&slot) else { return false };
        if held.ignored.is_some() {
            held.counts.read += 1;
            return true;
        }
        if held.bytes + record.len() > SLOT_BYTES || self.bytes + record.len() > ALL_BYTES {
            held.counts.read += 1;
            held.counts.lost.add(LossReason::Pending, 1);
            return true;
        }
        held.records.push(record.into());
        held.bytes += record.len();
        self.bytes += record.len();
        true
    }

    /// The slot is no container's. What still comes of it is passed over. False when it is not held.
    pub(super) fn ignore(&mut self, slot: ContainerSlot) -> bool {
        let Some(held) = self.slots.get_mut(&slot) else { return false };
        held.ignored = Some(0);
        held.counts.read += std::mem::take(&mut held.records).len() as u64;
        self.bytes -= std::mem::take(&mut held.bytes);
        true
    }

    /// The ring was drained. The ignored slots, how often it was since, and how many of their records were read.
    pub(super) fn drained(&mut self) -> Vec<(ContainerSlot, u32, u64)> {
        let ignored = self.slots.iter_mut().filter_map(|(&slot, held)| {
            let drains = held.ignored.as_mut()?;
            *drains += 1;
            Some((slot, *drains, held.counts.read))
        });
        ignored.collect()
    }

    pub(super) fn slots(&self) -> Vec<ContainerSlot> {
        self.slots.keys().copied().collect()
    }

    pub(super) fn end(&mut self, slot: ContainerSlot) -> Option<Held> {
        let held = self.slots.remove(&slot)?;
        self.bytes -= held.bytes;
        Some(held)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: ContainerSlot = ContainerSlot(1);
    const B: ContainerSlot = ContainerSlot(2);

    #[test]
    fn records_come_back_in_order_and_only_once() {
        let mut holding = Holding::default();
        assert!(!holding.keep(A, b"x"));
        holding.begin(A);
        assert!(holding.keep(A, b"one") && holding.keep(A, b"two"));
        let held = holding.end(A).expect("it is held");
        assert_eq!(held.records, [Box::from(*b"one") as Box<[u8]>, Box::from(*b"two")]);
        assert!(holding.end(A).is_none());
        assert_eq!(holding.bytes, 0);
    }

    #[test]
    fn what_has_no_room_is_counted_and_leaves_room_to_others() {
        let mut holding = Holding::default();
        holding.begin(A);
        holding.begin(B);
        let record = vec![0; 1 << 20];
        assert!((0..5).all(|_| holding.keep(A, &record)));
        assert!(holding.keep(B, &record));
        let (a, b) = (holding.end(A).expect("it is held"), holding.end(B).expect("it is held"));
        assert_eq!((a.records.len(), a.counts.read, a.counts.lost.get(LossReason::Pending)), (2, 3, 3));
        assert_eq!((b.records.len(), b.counts.lost.total()), (1, 0));
    }

    #[test]
    fn ignored_records_are_read_also_those_that_come_later() {
        let mut holding = Holding::default();
        holding.begin(A);
        holding.keep(A, b"before");
        assert!(holding.drained().is_empty());
        assert!(holding.ignore(A) && !holding.ignore(B));
        assert!(holding.keep(A, b"after"));
        assert_eq!((holding.drained(), holding.bytes), (vec![(A, 1, 2)], 0));
        let held = holding.end(A).expect("it is held");
        assert_eq!((held.records.len(), held.counts.read), (0, 2));
    }

    #[test]
    fn all_slots_together_are_bounded() {
        let mut holding = Holding::default();
        let record = vec![0; SLOT_BYTES];
        let slots: Vec<_> = (1..=17).map(ContainerSlot).collect();
        for &slot in &slots {
            holding.begin(slot);
            holding.keep(slot, &record);
        }
        let kept: usize = slots.iter().filter_map(|slot| holding.end(*slot)).map(|held| held.records.len()).sum();
        assert_eq!(kept, ALL_BYTES / SLOT_BYTES);
    }
}
