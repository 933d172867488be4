//! What policies would cost: from calls that were counted for a while to events, bytes and CPU time. Pure.
//!
//! `load` says what a container's policies make of its calls, `sample` how long a line is, `estimate` sums up by call. Counting is
//! the run's business (`run::trials`), and the prices are [`kubeward_core::cost`]'s.

mod estimate;
mod load;
mod sample;
#[cfg(test)]
mod tests;

pub use estimate::{estimate, CallEstimate, Cpu, Estimate};

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use kubeward_core::container::{Container, ContainerSlot};
use kubeward_core::cost::Prices;
use kubeward_core::policy::PolicySet;
use kubeward_core::table::CallTable;

use crate::control::Tried;
use crate::pipeline::Lines;

/// What was counted in a trial, and by which policies.
#[derive(Debug)]
pub struct Measured {
    /// The policies that were tried, as they were written.
    pub written: Arc<PolicySet>,
    /// Those in force meanwhile.
    pub in_force: Arc<PolicySet>,
    /// The containers that were selected.
    pub tried: BTreeMap<ContainerSlot, Tried>,
    /// Containers that were selected and left out, since their slot was another's too in the window.
    pub left_out: usize,
    /// Calls made in the window.
    pub calls: CallTable,
    pub window: Duration,
    /// Calls made in the window that are not in `calls` for want of room in the kernel's table.
    pub uncounted: u64,
    /// Whether the raw tracepoints, which look at every call of the machine, ran before the trial, and in it.
    pub raw_before: Raw,
    pub raw: Raw,
    /// Calls that are named and cannot be hooked, each with the reason.
    pub unhooked: Vec<(u16, String)>,
    pub prices: Prices,
    /// To measure lines by.
    pub lines: Lines,
    /// One of the containers that were selected.
    pub example: Option<Arc<Container>>,
    pub emits_setup: bool,
    /// Every container that is watched.
    pub others: Vec<Arc<Container>>,
}

/// Which raw tracepoints run: they cost every call of the machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub enum Raw {
    #[default]
    None,
    Exit,
    EnterAndExit,
}

impl Raw {
    /// For each call that nobody watches.
    pub fn passed_ns(self, prices: &Prices) -> f64 {
        match self {
            Raw::None => 0.0,
            Raw::Exit => prices.passed_exit_ns,
            Raw::EnterAndExit => prices.passed_call_ns,
        }
    }
}
