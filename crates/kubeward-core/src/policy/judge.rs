//! The exact answer for one event: which policies want it, or why none does.

use std::collections::HashMap;
use std::sync::Arc;

use super::bucket::Bucket;
use super::check::CheckedPolicy;
use super::filter::Unwanted;
use super::set::{PolicySet, Selected};
use super::settled::Settled;
use super::want::CallWant;
use crate::container::ContainerSlot;
use crate::event::{Phase, SyscallEvent, Via};
use crate::syscall::UNLISTED;

/// Lists of names kept for re-use. Each distinct set of wanting policies has one; when full, all are forgotten.
const MAX_NAME_LISTS: usize = 1024;

/// What becomes of an event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// To be emitted.
    Wanted(Wanting),
    /// No policy wants it. Where policies name the call, the reason is that of the one that came nearest.
    Filtered(Unwanted),
    /// Policies want it, and each is over its limit.
    Sampled,
}

/// The policies that want an event, those over their limit among them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wanting {
    /// Their names, in name order.
    pub names: Arc<[Arc<str>]>,
    /// All of them take one event for identical calls in a row (`coalesce: true`).
    pub coalesce: bool,
}

impl PolicySet {
    /// Which of the `selected` policies want this event, limits aside. Costs a look-up for each.
    pub fn wanting(&self, event: &SyscallEvent, selected: &Selected) -> Result<Selected, Unwanted> {
        let mut wanting = Selected::default();
        let mut nearest = Unwanted::NoPolicy;
        for place in selected.iter() {
            let Some(policy) = self.policies().get(place) else { break };
            match policy.judge(event) {
                Ok(()) => wanting.insert(place),
                Err(unwanted) => nearest = nearest.max(unwanted),
            }
        }
        match wanting.is_empty() {
            true => Err(nearest),
            false => Ok(wanting),
        }
    }
}

impl CheckedPolicy {
    fn judge(&self, event: &SyscallEvent) -> Result<(), Unwanted> {
        match self.wants_moment(event) {
            true => self.filter.judge(event),
            false => Err(Unwanted::NoPolicy),
        }
    }

    pub(super) fn wants_moment(&self, event: &SyscallEvent) -> bool {
        if !self.wants_events() {
            return false;
        }
        // Not by the event's number, which may be of another table.
        let nr = event.call.entry.map_or(UNLISTED, |entry| entry.nr).into();
        let want = self.calls.get(nr);
        match event.phase {
            // A request that gets no answer has no other moment.
            Phase::Enter if event.call.via == Via::IoUring => !want.is_none(),
            Phase::Enter => want.contains(CallWant::ENTER),
            Phase::Exit if event.refused_by_seccomp && want.contains(CallWant::REFUSED) => true,
            Phase::Exit => want.contains(CallWant::EXIT),
            Phase::Call => !want.is_none(),
        }
    }
}

/// Judges a stream of events: the policies in force, and what each has left of its limits.
pub struct Judge {
    set: Arc<PolicySet>,
    settled: Settled,
    /// Bucket of each policy with limits, by its place, and container. Grows with the containers that have events;
    /// [`Judge::forget`] takes a container's away.
    buckets: HashMap<(usize, ContainerSlot), Bucket>,
    lists: HashMap<Selected, Wanting>,
    /// The list that was asked for last: mostly the next one.
    last: Option<(Selected, Wanting)>,
}

impl Judge {
    pub fn new(set: Arc<PolicySet>) -> Self {
        Judge { set, settled: Settled::new(), buckets: HashMap::new(), lists: HashMap::new(), last: None }
    }

    pub fn set(&self) -> &Arc<PolicySet> {
        &self.set
    }

    /// Puts another set in force. A policy that keeps name and limits keeps what it has used of them.
    pub fn replace(&mut self, set: Arc<PolicySet>) {
        let new_place: Vec<Option<usize>> = self.set.policies().iter().map(|old| same_limits(&set, old)).collect();
        let buckets = std::mem::take(&mut self.buckets).into_iter();
        self.buckets = buckets.filter_map(|((old, slot), bucket)| Some(((new_place[old]?, slot), bucket))).collect();
        self.lists.clear();
        self.last = None;
        self.settled = Settled::new();
        self.set = set;
    }

    /// Forgets a container that is gone, before its slot names another.
    pub fn forget(&mut self, slot: ContainerSlot) {
        self.buckets.retain(|(_, of), _| *of != slot);
    }

    /// `selected` is the set's answer for the event's container; `now_ns` is any clock that does not go back.
    pub fn judge(&mut self, event: &SyscallEvent, selected: &Selected, now_ns: u64) -> Verdict {
        if let Some(wanting) = self.settled.wanting(&self.set, event, selected) {
            return Verdict::Wanted(self.wanting(wanting));
        }
        let wanting = match self.set.wanting(event, selected) {
            Ok(wanting) => wanting,
            Err(unwanted) => return Verdict::Filtered(unwanted),
        };
        let mut has_token = false;
        for place in wanting.iter() {
            // Every wanting policy pays, also when another already lets the event through: it gets the event.
            has_token |= match self.set.policies()[place].limits {
                None => true,
                Some(limits) => self.buckets.entry((place, event.slot)).or_default().take(limits, now_ns),
            };
        }
        match has_token {
            true => Verdict::Wanted(self.wanting(wanting)),
            false => Verdict::Sampled,
        }
    }

    fn wanting(&mut self, places: Selected) -> Wanting {
        match &self.last {
            Some((last, wanting)) if *last == places => wanting.clone(),
            _ => self.listed(places),
        }
    }

    fn listed(&mut self, places: Selected) -> Wanting {
        if self.lists.len() >= MAX_NAME_LISTS {
            self.lists.clear();
        }
        let policies = self.set.policies();
        let list = || Wanting {
            names: places.iter().map(|place| policies[place].name.clone()).collect(),
            coalesce: places.iter().all(|place| policies[place].coalesce),
        };
        let wanting = self.lists.entry(places).or_insert_with(list).clone();
        self.last = Some((places, wanting.clone()));
        wanting
    }
}

fn same_limits(set: &PolicySet, old: &CheckedPolicy) -> Option<usize> {
    let same = |new: &CheckedPolicy| new.name == old.name && new.limits == old.limits;
    set.policies().iter().position(same)
}
