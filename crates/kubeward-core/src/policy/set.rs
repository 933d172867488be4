//! All policies together: which of them select a container, and the weakest union that serves those.

use super::check::CheckedPolicy;
use super::fault::{Fault, Problem};
use super::filter::ErrnoSet;
use super::kernel_limits::KernelLimits;
use super::want::{CallWant, CallWants};
use crate::container::Container;

/// Policies that apply at a time.
pub const MAX_POLICIES: usize = 256;

/// The policies in force, in name order, no two of one name.
#[derive(Debug, Default)]
pub struct PolicySet {
    policies: Vec<CheckedPolicy>,
}

/// Policies of one [`PolicySet`], as bits by their place in it; of no meaning to another set.
///
/// Containers that the same policies select share one [`Profile`]: this is its key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, PartialOrd, Ord)]
pub struct Selected([u64; MAX_POLICIES / 64]);

impl Selected {
    pub fn insert(&mut self, place: usize) {
        self.0[place / 64] |= 1 << (place % 64);
    }

    pub fn contains(&self, place: usize) -> bool {
        self.0[place / 64] & (1 << (place % 64)) != 0
    }

    pub fn is_empty(&self) -> bool {
        *self == Selected::default()
    }

    /// What either of the two has.
    #[must_use]
    pub fn with(&self, other: &Selected) -> Selected {
        Selected(std::array::from_fn(|word| self.0[word] | other.0[word]))
    }

    /// Ascending, so in the policies' name order.
    pub fn iter(&self) -> impl Iterator<Item = usize> + '_ {
        self.0.iter().enumerate().flat_map(|(word, bits)| {
            let without_lowest = |bits: &u64| Some(bits & (bits - 1)).filter(|rest| *rest != 0);
            let rests = std::iter::successors(Some(*bits).filter(|bits| *bits != 0), without_lowest);
            rests.map(move |rest| word * 64 + rest.trailing_zeros() as usize)
        })
    }
}

/// What the kernel does for the containers of one [`Selected`]: never less than its policies want together.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Profile {
    pub want: CallWants,
    /// For calls marked [`CallWant::BY_ERROR`]: the errors to let through, everything else is filtered.
    pub errors: ErrnoSet,
    /// For calls marked [`CallWant::BY_DURATION`]: the least duration to let through.
    pub min_duration_ns: u64,
    pub arg_bytes: u32,
    pub argv_bytes: u32,
    /// The limits that it keeps without user space.
    pub limits: KernelLimits,
}

impl Profile {
    /// The kernel's rule for a call that has returned: whether a record of it goes to user space.
    pub fn lets_through(&self, nr: u32, errno: Option<u16>, duration_ns: Option<u64>) -> bool {
        let want = self.want.get(nr);
        !want.is_none()
            && !want.contains(CallWant::COUNT)
            && (!want.contains(CallWant::BY_ERROR) || errno.is_some_and(|errno| self.errors.contains(errno)))
            && (!want.contains(CallWant::BY_DURATION)
                || duration_ns.is_some_and(|duration| duration >= self.min_duration_ns))
    }
}

impl Profile {
    /// Has calls counted that are wanted otherwise: those of which nothing is wanted yet. The others are counted as they are, so that no
    /// record is made more, less or in another shape.
    pub fn count_too(&mut self, calls: &CallWants) {
        for (nr, want) in calls.iter() {
            if self.want[nr].is_none() {
                self.want[nr] = want | CallWant::COUNT;
            }
        }
    }
}

impl PolicySet {
    /// The set of `policies` and why others are not in it: of two with one name the earlier is taken, and no more
    /// than [`MAX_POLICIES`]. Node and age are not looked at: who knows them gives only policies whose
    /// [standing](CheckedPolicy::standing) is active.
    pub fn new(policies: Vec<CheckedPolicy>) -> (PolicySet, Vec<Fault>) {
        let mut taken: Vec<CheckedPolicy> = Vec::new();
        let mut faults = Vec::new();
        for policy in policies {
            let name = policy.name.to_string();
            let problem = match taken.iter().find(|other| other.name == policy.name) {
                Some(other) => Problem::NameTaken { name, other: other.source.clone() },
                None if taken.len() == MAX_POLICIES => Problem::TooManyPolicies { name, limit: MAX_POLICIES },
                None => {
                    taken.push(policy);
                    continue;
                }
            };
            faults.push(Fault { source: policy.source, line: None, field: "metadata.name".to_owned(), problem });
        }
        taken.sort_by(|a, b| a.name.cmp(&b.name));
        (PolicySet { policies: taken }, faults)
    }

    pub fn policies(&self) -> &[CheckedPolicy] {
        &self.policies
    }

    /// The policies that want events of this container; suspended ones want none.
    pub fn select(&self, container: &Container) -> Selected {
        self.selected_by(|policy| policy.selector.matches(container))
    }

    /// Every policy that is not suspended, whatever it selects.
    pub fn active(&self) -> Selected {
        self.selected_by(|_| true)
    }

    fn selected_by(&self, selects: impl Fn(&CheckedPolicy) -> bool) -> Selected {
        let mut selected = Selected::default();
        for (place, policy) in self.policies.iter().enumerate() {
            if !policy.suspend && selects(policy) {
                selected.insert(place);
            }
        }
        selected
    }

    /// The weakest union of the selected policies: for each call the richest record that one of them asks for, and
    /// of the filters only what all have that want events. Costs policies x calls.
    pub fn profile(&self, selected: &Selected) -> Profile {
        let policies: Vec<&CheckedPolicy> = selected.iter().filter_map(|place| self.policies.get(place)).collect();
        let mut profile = Profile { min_duration_ns: u64::MAX, ..Profile::default() };
        let mut any_by_duration = false;
        for nr in 0..syscall_numbers() {
            let wanting = || policies.iter().filter(|policy| !policy.calls[nr].is_none());
            if wanting().next().is_none() {
                continue;
            }
            wanting().for_each(|policy| profile.want[nr] |= policy.calls[nr]);
            let telling = || wanting().filter(|policy| policy.wants_events());
            if telling().next().is_none() {
                profile.want[nr] |= CallWant::COUNT;
                continue;
            }
            if telling().all(|policy| policy.filter.errors.is_some()) {
                profile.want[nr] |= CallWant::BY_ERROR;
                telling().filter_map(|policy| policy.filter.errors).for_each(|set| profile.errors.union(&set));
            }
            if telling().all(|policy| policy.filter.min_duration_ns.is_some()) {
                profile.want[nr] |= CallWant::BY_DURATION;
                any_by_duration = true;
                let least = telling().filter_map(|policy| policy.filter.min_duration_ns).min();
                profile.min_duration_ns = profile.min_duration_ns.min(least.unwrap_or(0));
            }
        }
        if !any_by_duration {
            profile.min_duration_ns = 0;
        }
        profile.limits = KernelLimits::of(&policies, &profile.want);
        profile.arg_bytes = policies.iter().map(|policy| policy.arg_bytes).max().unwrap_or(0);
        profile.argv_bytes = policies.iter().map(|policy| policy.argv_bytes).max().unwrap_or(0);
        profile
    }

    /// The hooks that all policies in force need together, whether a container is there for them or not: a new one
    /// must not wait for hooks to attach.
    pub fn hooks(&self) -> CallWants {
        hooks([&self.profile(&self.active())])
    }
}

/// Where programs must run so that all `profiles` get their records: [`CallWant::ENTER`] an entry hook,
/// [`CallWant::EXIT`] an exit hook, [`CallWant::REFUSED`] a program at every exit.
pub fn hooks<'a>(profiles: impl IntoIterator<Item = &'a Profile>) -> CallWants {
    let mut hooks = CallWants::default();
    for profile in profiles {
        for (nr, want) in profile.want.iter() {
            hooks[nr] |= want.moments();
            if want.contains(CallWant::REFUSED) {
                hooks[nr] |= CallWant::REFUSED;
            }
        }
    }
    hooks
}

fn syscall_numbers() -> u16 {
    super::want::CALL_NUMBERS as u16
}
