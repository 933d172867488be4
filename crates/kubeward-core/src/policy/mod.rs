//! Policies: what a user writes, what it wants of this kernel, and whether it wants an event.
//!
//! The flow: `read` (text to [`Policy`], every fault noted with its place) -> `check` (names to numbers;
//! [`CheckedPolicy`]) -> `scope` (here and now) -> `set` ([`PolicySet`]: the weakest union for the kernel, as a
//! [`Profile`]) -> `judge` (the exact answer for each event).
//!
//! Invariant: whatever [`Judge`] wants, the [`Profile`] of the same policies lets through, within its
//! [`KernelLimits`] too.

mod bucket;
mod check;
mod describe;
pub mod duration;
mod fault;
mod fields;
mod filter;
mod glob;
mod judge;
mod kernel_limits;
mod labels;
pub mod limits;
mod model;
mod read;
mod scope;
mod selector;
mod set;
mod settled;
mod want;
mod warning;
mod yaml;

#[cfg(test)]
mod tests;

pub use check::{check, CheckedPolicy, Refusal, RefusalReason};
pub use describe::{Description, Moments, PolicyLine};
pub use fault::{Fault, Problem, Source};
pub use filter::{ErrnoSet, Filter, PathPrefix, Unwanted, ERRNO_WORDS};
pub use glob::Glob;
pub use judge::{Judge, Verdict, Wanting};
pub use kernel_limits::{KernelLimits, LimitedCall, MAX_KERNEL_LIMITS};
pub use labels::{Expression, LabelSelector, Operator};
pub use limits::{MAX_ARGV_BYTES, MAX_ARG_BYTES, MAX_EVENTS};
pub use model::{Capture, FilterSpec, Limits, Mode, Policy, Spec};
pub use read::{parse, parse_object};
pub use scope::{next_change, Here, Standing};
pub use selector::Selector;
pub use set::{hooks, PolicySet, Profile, Selected, MAX_POLICIES};
pub use want::{CallWant, CallWants, CALL_NUMBERS};
pub use warning::Warning;
pub use yaml::MAX_FILE_BYTES;

/// Reads and checks the policies of one file: those that can be applied, and what is wrong with the others.
pub fn load(file: &str, bytes: &[u8]) -> (Vec<CheckedPolicy>, Vec<Fault>) {
    let (policies, mut faults) = parse(file, bytes);
    let mut checked = Vec::new();
    for policy in policies {
        match check(policy) {
            Ok(policy) => checked.push(policy),
            Err(mut found) => faults.append(&mut found),
        }
    }
    (checked, faults)
}

/// Reads and checks one object of the API server, given as JSON; `name` is what messages call it.
pub fn load_object(name: &str, json: &[u8]) -> Result<CheckedPolicy, Vec<Fault>> {
    parse_object(name, json).and_then(check)
}
