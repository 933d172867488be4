//! What is known of each container, found by its slot without a search: each record asks for it.

use kubeward_core::container::ContainerSlot;

/// Values by slot. Room: a word for each slot up to the highest that was ever taken.
#[derive(Debug)]
pub(super) struct BySlot<T> {
    places: Vec<Option<Box<T>>>,
}

impl<T> Default for BySlot<T> {
    fn default() -> Self {
        Self { places: Vec::new() }
    }
}

impl<T> BySlot<T> {
    pub(super) fn get(&self, slot: ContainerSlot) -> Option<&T> {
        self.places.get(slot.0 as usize)?.as_deref()
    }

    pub(super) fn get_mut(&mut self, slot: ContainerSlot) -> Option<&mut T> {
        self.places.get_mut(slot.0 as usize)?.as_deref_mut()
    }

    pub(super) fn contains(&self, slot: ContainerSlot) -> bool {
        self.get(slot).is_some()
    }

    pub(super) fn insert(&mut self, slot: ContainerSlot, value: T) {
        let at = slot.0 as usize;
        if self.places.len() <= at {
            self.places.resize_with(at + 1, || None);
        }
        self.places[at] = Some(Box::new(value));
    }

    pub(super) fn remove(&mut self, slot: ContainerSlot) -> Option<T> {
        self.places.get_mut(slot.0 as usize)?.take().map(|value| *value)
    }

    /// In order of the slots.
    pub(super) fn iter(&self) -> impl Iterator<Item = (ContainerSlot, &T)> {
        (0..).map(ContainerSlot).zip(&self.places).filter_map(|(slot, value)| Some((slot, value.as_deref()?)))
    }

    /// In order of the slots.
    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = (ContainerSlot, &mut T)> {
        (0..).map(ContainerSlot).zip(&mut self.places).filter_map(|(slot, value)| Some((slot, value.as_deref_mut()?)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_found_by_their_slots_and_told_in_order() {
        let mut values = BySlot::default();
        values.insert(ContainerSlot(9), 'b');
        values.insert(ContainerSlot(2), 'a');
        assert_eq!(values.iter().map(|(slot, value)| (slot.0, *value)).collect::<Vec<_>>(), [(2, 'a'), (9, 'b')]);
        assert_eq!((values.get(ContainerSlot(9)), values.get(ContainerSlot(3))), (Some(&'b'), None));
        assert!(!values.contains(ContainerSlot(u32::MAX)), "a damaged record may name any slot");
        values.iter_mut().for_each(|(_, value)| *value = 'c');
        assert_eq!((values.remove(ContainerSlot(9)), values.remove(ContainerSlot(9))), (Some('c'), None));
        assert_eq!(values.get_mut(ContainerSlot(2)), Some(&mut 'c'));
    }
}
