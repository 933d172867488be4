//! What requests ask of those who own the answers: by message, so that nothing is shared and nobody waits for a lock.

use tokio::sync::{mpsc, oneshot};

use super::proto;
use crate::pipeline::{Accounts, TableNow};

/// Questions that wait for the main task, which answers in turn. When full, requests wait, as long as each may.
const WAITING: usize = 16;

/// Who asked may have given up when the answer comes: it is then dropped.
#[derive(Debug)]
pub enum Question {
    Ledger(oneshot::Sender<Accounts>),
    Stats(oneshot::Sender<TableNow>),
    Policies(oneshot::Sender<Vec<proto::Policy>>),
    Containers(oneshot::Sender<Vec<proto::Container>>),
}

/// The asking side.
pub type Questions = mpsc::Sender<Question>;

pub fn questions() -> (Questions, mpsc::Receiver<Question>) {
    mpsc::channel(WAITING)
}
