//! What is known of an event before any policy looks at it: of most calls, all of it.

use super::set::{PolicySet, Selected};
use crate::event::{Phase, SyscallEvent, Via};
use crate::syscall::UNLISTED;

/// Moments that policies tell apart: see [`moment`].
const MOMENTS: usize = 5;

/// For each call and moment the answer that was found last. It holds for every event of that call and moment while the policies that
/// want it neither filter nor limit: 200 policies then cost what one does.
pub(super) struct Settled(Vec<Option<Answer>>);

#[derive(Clone, Copy)]
struct Answer {
    selected: Selected,
    /// The policies that want it; `None`: that hangs on the event, or none does.
    wanting: Option<Selected>,
}

impl Settled {
    pub(super) fn new() -> Self {
        Self(vec![None; (usize::from(UNLISTED) + 1) * MOMENTS])
    }

    /// Which of the `selected` policies of `set` want this event, where that is so of every such event.
    pub(super) fn wanting(&mut self, set: &PolicySet, event: &SyscallEvent, selected: &Selected) -> Option<Selected> {
        let nr = event.call.entry.map_or(UNLISTED, |entry| entry.nr);
        let known = self.0.get_mut(usize::from(nr) * MOMENTS + moment(event))?;
        match known {
            Some(answer) if answer.selected == *selected => answer.wanting,
            _ => {
                let wanting = settle(set, event, selected);
                *known = Some(Answer { selected: *selected, wanting });
                wanting
            }
        }
    }
}

/// All of an event that [`CheckedPolicy::wants_moment`](super::check::CheckedPolicy) goes by, but for the call.
fn moment(event: &SyscallEvent) -> usize {
    match event.phase {
        Phase::Enter if event.call.via == Via::IoUring => 0,
        Phase::Enter => 1,
        Phase::Exit if event.refused_by_seccomp => 2,
        Phase::Exit => 3,
        Phase::Call => 4,
    }
}

fn settle(set: &PolicySet, event: &SyscallEvent, selected: &Selected) -> Option<Selected> {
    let mut wanting = Selected::default();
    for place in selected.iter() {
        let policy = set.policies().get(place)?;
        if !policy.wants_moment(event) {
            continue;
        }
        if policy.limits.is_some() || !policy.filter.passes_all() {
            return None;
        }
        wanting.insert(place);
    }
    (!wanting.is_empty()).then_some(wanting)
}
