//! Which program a process runs: the names that exec records announced.

use std::collections::{HashMap, VecDeque};
use std::hash::{BuildHasherDefault, Hasher};
use std::sync::Arc;

use kubeward_core::container::ContainerSlot;
use kubeward_core::event::Text;

use super::by_slot::BySlot;

/// Programs remembered of one container. When full, one that had no event for long is forgotten, and later events of its
/// process have no `exe`.
const ROOM_OF_ONE: usize = 4096;

/// Programs remembered of all. When full, the container that has most of them forgets one.
const ROOM: usize = 65_536;

/// Paths of programs by the container and the number of the exec that started them.
#[derive(Debug, Default)]
pub(super) struct Programs {
    by_slot: BySlot<OfOne>,
    /// In all containers.
    count: usize,
}

#[derive(Debug, Default)]
struct OfOne {
    by_exec: HashMap<u64, Program, BuildHasherDefault<ExecHasher>>,
    /// In the order in which they are asked whether they are still in use; each of `by_exec` once.
    queue: VecDeque<u64>,
}

#[derive(Debug)]
struct Program {
    exe: Arc<Text>,
    /// It had an event since it was last asked.
    is_used: bool,
}

/// For numbers that the kernel side counts up, and nobody chooses: they need no defence, only to be spread.
#[derive(Debug, Default)]
struct ExecHasher(u64);

impl Hasher for ExecHasher {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        bytes.iter().for_each(|&byte| self.write_u64(byte.into()));
    }

    fn write_u64(&mut self, number: u64) {
        let product = u128::from(self.0 ^ number) * 0x9e37_79b9_7f4a_7c15;
        self.0 = product as u64 ^ (product >> 64) as u64;
    }
}

impl Programs {
    pub(super) fn learn(&mut self, slot: ContainerSlot, exec_id: u64, exe: Text) {
        if self.count >= ROOM {
            self.forget_one_of_the_most();
        }
        if !self.by_slot.contains(slot) {
            self.by_slot.insert(slot, OfOne::default());
        }
        let Some(own) = self.by_slot.get_mut(slot) else { return };
        if own.queue.len() >= ROOM_OF_ONE {
            own.forget_one();
            self.count -= 1;
        }
        if own.by_exec.insert(exec_id, Program { exe: Arc::new(exe), is_used: false }).is_none() {
            own.queue.push_back(exec_id);
            self.count += 1;
        }
    }

    /// `exec_id` 0 is an exec that nobody saw.
    pub(super) fn find(&mut self, slot: ContainerSlot, exec_id: u64) -> Option<&Arc<Text>> {
        let program = self.by_slot.get_mut(slot)?.by_exec.get_mut(&exec_id)?;
        program.is_used = true;
        Some(&program.exe)
    }

    pub(super) fn forget(&mut self, slot: ContainerSlot) {
        self.count -= self.by_slot.remove(slot).map_or(0, |own| own.queue.len());
    }

    fn forget_one_of_the_most(&mut self) {
        if let Some(most) = self.by_slot.iter_mut().map(|(_, own)| own).max_by_key(|own| own.queue.len()) {
            most.forget_one();
            self.count -= 1;
        }
    }
}

impl OfOne {
    /// A program in use goes to the end of the queue: what costs nothing for an event is paid here.
    fn forget_one(&mut self) {
        while let Some(exec_id) = self.queue.pop_front() {
            match self.by_exec.get_mut(&exec_id) {
                Some(program) if program.is_used => {
                    program.is_used = false;
                    self.queue.push_back(exec_id);
                }
                _ => {
                    self.by_exec.remove(&exec_id);
                    return;
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOISY: ContainerSlot = ContainerSlot(1);
    const QUIET: ContainerSlot = ContainerSlot(2);

    fn text(name: &str) -> Text {
        Text { bytes: name.as_bytes().into(), ..Text::default() }
    }

    fn found(programs: &mut Programs, slot: ContainerSlot, exec_id: u64) -> Option<Text> {
        programs.find(slot, exec_id).map(|exe| (**exe).clone())
    }

    fn learn_many(programs: &mut Programs, slot: ContainerSlot, first: u64, count: usize) {
        (first..first + count as u64).for_each(|exec_id| programs.learn(slot, exec_id, text("/bin/true")));
    }

    #[test]
    fn noisy_container_forgets_its_own_programs_alone() {
        let mut programs = Programs::default();
        programs.learn(QUIET, 1, text("/quiet"));
        learn_many(&mut programs, NOISY, 2, ROOM + 10);
        assert_eq!(found(&mut programs, QUIET, 1).as_ref(), Some(&text("/quiet")));
        assert_eq!((found(&mut programs, NOISY, 2), programs.count), (None, ROOM_OF_ONE + 1));
    }

    #[test]
    fn program_in_use_stays() {
        let mut programs = Programs::default();
        programs.learn(NOISY, 1, text("/daemon"));
        for round in 0..4 {
            learn_many(&mut programs, NOISY, 2 + round * 4000, 4000);
            assert_eq!(found(&mut programs, NOISY, 1).as_ref(), Some(&text("/daemon")));
        }
        assert_eq!(found(&mut programs, NOISY, 2), None);
    }

    #[test]
    fn all_together_have_a_bound_and_the_one_with_most_pays() {
        let mut programs = Programs::default();
        let containers = (ROOM / ROOM_OF_ONE) as u32;
        (0..containers).for_each(|slot| {
            learn_many(&mut programs, ContainerSlot(10 + slot), 1 + u64::from(slot) * 10_000, ROOM_OF_ONE);
        });
        programs.learn(QUIET, 9_999_999, text("/quiet"));
        assert_eq!(programs.count, ROOM);
        assert_eq!(found(&mut programs, QUIET, 9_999_999).as_ref(), Some(&text("/quiet")));
    }

    #[test]
    fn programs_go_with_their_container() {
        let mut programs = Programs::default();
        programs.learn(NOISY, 10, text("/a"));
        programs.learn(QUIET, 11, text("/b"));
        programs.forget(NOISY);
        assert_eq!((found(&mut programs, NOISY, 10), programs.count), (None, 1));
        assert_eq!(found(&mut programs, QUIET, 11).as_ref(), Some(&text("/b")));
    }
}
