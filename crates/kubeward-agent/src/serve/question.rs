//! What requests ask of those who own the answers: by message, so that nothing is shared and nobody waits for a lock.

use std::time::Duration;

use kubeward_core::policy::CheckedPolicy;
use tokio::sync::{mpsc, oneshot};

use super::proto;
use crate::pipeline::{Accounts, TableNow};
use crate::plan::Measured;

/// Questions that wait for the main task, which answers in turn. When full, requests wait, as long as each may.
const WAITING: usize = 16;

/// Who asked may have given up when the answer comes: it is then dropped.
#[derive(Debug)]
pub enum Question {
    Ledger(oneshot::Sender<Accounts>),
    Stats(oneshot::Sender<TableNow>),
    Policies(oneshot::Sender<Vec<proto::Policy>>),
    Containers(oneshot::Sender<Vec<proto::Container>>),
    Trial(TrialAsked),
}

/// Policies to be counted for a while. The trial is over when nobody listens to `reply` any more.
#[derive(Debug)]
pub struct TrialAsked {
    /// No two of one name.
    pub policies: Vec<CheckedPolicy>,
    pub time: Duration,
    /// Has room for every step.
    pub reply: mpsc::Sender<Result<TrialStep, TrialRefused>>,
}

/// Steps of a trial that goes well, in order.
#[derive(Debug)]
pub enum TrialStep {
    /// All is hooked.
    Counting {
        containers: usize,
    },
    Counted(Box<Measured>),
}

/// How many a trial has at most.
pub(super) const TRIAL_STEPS: usize = 2;

/// Why there is no trial, or not to its end.
#[derive(Debug, thiserror::Error)]
pub enum TrialRefused {
    #[error("other policies are being tried for {} s more, and the agent tries one plan at a time; try again then", left.as_secs() + 1)]
    Busy { left: Duration },
    #[error("{0}")]
    Failed(String),
}

impl TrialAsked {
    /// Who asked may have gone.
    pub fn tell(&self, step: Result<TrialStep, TrialRefused>) {
        let _ = self.reply.try_send(step);
    }
}

/// The asking side.
pub type Questions = mpsc::Sender<Question>;

pub fn questions() -> (Questions, mpsc::Receiver<Question>) {
    mpsc::channel(WAITING)
}
