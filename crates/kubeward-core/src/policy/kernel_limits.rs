//! Which limits the kernel keeps by itself, so that a record which every policy would leave out is not made.

use super::check::CheckedPolicy;
use super::model::Limits;
use super::want::{CallWant, CallWants, CALL_NUMBERS};

/// Policies of one profile whose limits the kernel keeps; those of others are kept in user space alone.
pub const MAX_KERNEL_LIMITS: usize = 7;

/// The limits of policies that want every record of the calls that they name, as far as the kernel knows it.
///
/// The kernel has a bucket for each, which pays for the same records and by the same arithmetic as the [`Judge`](super::Judge)'s:
/// so it drops none that the judge would let through.
#[derive(Clone, PartialEq, Eq)]
pub struct KernelLimits {
    of: Vec<Limits>,
    calls: Box<[LimitedCall; CALL_NUMBERS]>,
}

/// Who wants the records of one call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct LimitedCall {
    /// Bit `n`: the policy of limit `n`.
    pub limits: u8,
    /// Also a policy whose limit the kernel does not keep, or that has none: the record is always made.
    pub others: bool,
}

impl Default for KernelLimits {
    fn default() -> Self {
        Self { of: Vec::new(), calls: Box::new([LimitedCall::default(); CALL_NUMBERS]) }
    }
}

impl std::fmt::Debug for KernelLimits {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let limited = (0..).zip(self.calls.iter()).filter(|(_, call)| call.limits != 0);
        f.debug_map().entry(&"of", &self.of).entries(limited.collect::<Vec<(u16, _)>>()).finish()
    }
}

impl KernelLimits {
    /// Of the policies that share a profile which wants this of calls.
    pub(super) fn of(policies: &[&CheckedPolicy], want: &CallWants) -> Self {
        let telling: Vec<&CheckedPolicy> = policies.iter().copied().filter(|policy| policy.wants_events()).collect();
        let is_alone = telling.len() == 1;
        let kept: Vec<(&CheckedPolicy, Limits)> = telling
            .iter()
            .filter(|policy| has_exact_filter(policy, is_alone) && wants_every_record(policy, want))
            .filter_map(|policy| Some((*policy, policy.limits?)))
            .take(MAX_KERNEL_LIMITS)
            .collect();
        if kept.is_empty() {
            return Self::default();
        }
        let mut limits = Self { of: kept.iter().map(|(_, limits)| *limits).collect(), ..Self::default() };
        for (nr, call) in (0..).zip(limits.calls.iter_mut()) {
            let wants = |policy: &CheckedPolicy| !policy.calls[nr as u16].is_none();
            let wanting = kept.iter().enumerate().filter(|(_, (policy, _))| wants(policy));
            call.limits = wanting.map(|(at, _)| 1 << at).sum();
            let others = telling.iter().filter(|policy| wants(policy)).count() - call.limits.count_ones() as usize;
            call.others = call.limits != 0 && others > 0;
        }
        limits
    }

    /// In the order of the bits of [`LimitedCall::limits`], at most [`MAX_KERNEL_LIMITS`].
    pub fn limits(&self) -> &[Limits] {
        &self.of
    }

    /// By native call number.
    pub fn calls(&self) -> &[LimitedCall; CALL_NUMBERS] {
        &self.calls
    }
}

/// Whether the policy wants each record that is made of a call which it names. One that wants entries alone does not want a
/// return that is told without its entry.
fn wants_every_record(policy: &CheckedPolicy, want: &CallWants) -> bool {
    let is_entry = |want: CallWant| want.moments() == CallWant::ENTER;
    policy.calls.iter().all(|(nr, own)| !is_entry(own) || is_entry(want[nr]))
}

/// Whether what passes the kernel's filter passes this policy's. Paths are user space's to judge; the errors and the duration of a
/// profile are those of all its policies together.
fn has_exact_filter(policy: &CheckedPolicy, is_alone: bool) -> bool {
    let filter = &policy.filter;
    filter.path_prefixes.is_empty() && (is_alone || (filter.errors.is_none() && filter.min_duration_ns.is_none()))
}
