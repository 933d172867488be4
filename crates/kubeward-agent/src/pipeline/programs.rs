//! Which program a process runs: the names that exec records announced.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use kubeward_core::container::ContainerSlot;
use kubeward_core::event::Text;

/// Programs remembered. When full, the oldest exec is forgotten and later events of its process have no `exe`.
const ROOM: usize = 65_536;

/// Paths of programs by the number of the exec that started them.
#[derive(Debug, Default)]
pub(super) struct Programs {
    by_exec: HashMap<u64, (ContainerSlot, Arc<Text>)>,
    oldest_first: VecDeque<u64>,
}

impl Programs {
    pub(super) fn learn(&mut self, slot: ContainerSlot, exec_id: u64, exe: Text) {
        if self.oldest_first.len() >= ROOM {
            if let Some(oldest) = self.oldest_first.pop_front() {
                self.by_exec.remove(&oldest);
            }
        }
        if self.by_exec.insert(exec_id, (slot, Arc::new(exe))).is_none() {
            self.oldest_first.push_back(exec_id);
        }
    }

    /// `exec_id` 0 is an exec that nobody saw.
    pub(super) fn find(&self, exec_id: u64) -> Option<Arc<Text>> {
        self.by_exec.get(&exec_id).map(|(_, exe)| exe.clone())
    }

    pub(super) fn forget(&mut self, slot: ContainerSlot) {
        self.by_exec.retain(|_, (of, _)| *of != slot);
        let by_exec = &self.by_exec;
        self.oldest_first.retain(|exec_id| by_exec.contains_key(exec_id));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(name: &str) -> Text {
        Text { bytes: name.as_bytes().into(), ..Text::default() }
    }

    #[test]
    fn full_table_forgets_the_oldest() {
        let mut programs = Programs::default();
        for exec_id in 1..=ROOM as u64 + 1 {
            programs.learn(ContainerSlot(1), exec_id, text("/bin/sh"));
        }
        assert_eq!(programs.find(1), None);
        assert_eq!(programs.find(2).as_deref(), Some(&text("/bin/sh")));
        assert_eq!((programs.by_exec.len(), programs.oldest_first.len()), (ROOM, ROOM));
    }

    #[test]
    fn programs_go_with_their_container() {
        let mut programs = Programs::default();
        programs.learn(ContainerSlot(1), 10, text("/a"));
        programs.learn(ContainerSlot(2), 11, text("/b"));
        programs.forget(ContainerSlot(1));
        assert_eq!((programs.find(10), programs.find(11).as_deref()), (None, Some(&text("/b"))));
        assert_eq!(programs.oldest_first, [11]);
    }
}
