//! What a trial leaves out: containers whose slot another has, or had, while it runs. The kernel's counts of such a slot are of both.
//! Pure.

use std::collections::BTreeSet;

use kubeward_core::container::ContainerSlot;

/// Slots that were given to another container since the trial began. Room: as many as there are slots.
#[derive(Debug, Clone, Default)]
pub(super) struct Reused {
    slots: BTreeSet<ContainerSlot>,
    /// Of those that the trial selects now.
    selected: BTreeSet<ContainerSlot>,
    /// That the trial had selected, and that ended.
    ended: usize,
}

impl Reused {
    /// The slot is nobody's any more; the trial had selected the container that had it, or not.
    pub(super) fn released(&mut self, slot: ContainerSlot, was_tried: bool) {
        self.ended += usize::from(self.selected.remove(&slot) || was_tried);
        self.slots.insert(slot);
    }

    /// The trial selects the container. Whether it can be told apart from another.
    pub(super) fn admits(&mut self, slot: ContainerSlot) -> bool {
        let is_reused = self.slots.contains(&slot);
        if is_reused {
            self.selected.insert(slot);
        }
        !is_reused
    }

    /// Containers that the trial selected and left out.
    pub(super) fn left_out(&self) -> usize {
        self.ended + self.selected.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: ContainerSlot = ContainerSlot(1);
    const B: ContainerSlot = ContainerSlot(2);

    #[test]
    fn each_container_of_a_reused_slot_is_left_out_once() {
        let mut reused = Reused::default();
        assert!(reused.admits(A));
        reused.released(A, true);
        assert_eq!(reused.left_out(), 1);
        // Judged anew by each edit, and still one container.
        assert_eq!([reused.admits(A), reused.admits(A)], [false, false]);
        assert_eq!(reused.left_out(), 2);
        reused.released(A, false);
        reused.released(B, false);
        assert_eq!((reused.left_out(), reused.admits(B), reused.left_out()), (2, false, 3));
    }
}
