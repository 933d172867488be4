//! What the control side tells the pipeline, in order.

use std::sync::mpsc::{self, Receiver, SyncSender};
use std::sync::Arc;

use kubeward_core::container::{Container, ContainerSlot};
use kubeward_core::event::Stage;
use kubeward_core::ledger::Account;
use kubeward_core::policy::{PolicySet, Selected};
use kubeward_core::render::line::NoticeLevel;
use kubeward_core::table::CallStats;
use tokio::sync::oneshot;

/// Commands that wait. When full the sender waits too, at most until the ring is drained next.
const WAITING: usize = 1024;

/// What the kernel says of the whole node's hooks, as read last.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Doubts {
    /// Runs of a hook that the kernel refused.
    pub skipped: u64,
    /// Returns for which the kernel had no slot.
    pub missed_returns: u64,
}

/// How much of a container's life is seen, by CLOCK_MONOTONIC in nanoseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Watched {
    /// Its cgroup was made, or its first process started.
    pub created_ns: u64,
    pub since_ns: u64,
}

#[derive(Debug)]
pub enum Command {
    /// The slot is this container's from now on. To be sent before the kernel side knows the slot, unless it is held.
    Open {
        slot: ContainerSlot,
        container: Arc<Container>,
        selected: Selected,
        watched: Watched,
    },
    /// Whose the slot will be is not known: its records are held until it is opened or ignored. To be sent before the
    /// kernel side knows the slot.
    Hold {
        slot: ContainerSlot,
    },
    /// The held slot is no container's: what it did is counted as that. It is then said to be free.
    Ignore {
        slot: ContainerSlot,
    },
    /// Other facts about it, or other policies.
    Change {
        slot: ContainerSlot,
        container: Arc<Container>,
        selected: Selected,
    },
    /// The kernel side looks at nothing of it any more: what is left in the ring is told, then its last account; the
    /// slot is then said to be free.
    Close {
        slot: ContainerSlot,
    },
    /// Other policies, and which of them each container is selected by. To be sent before the kernel side records for
    /// them; what they do not want is still judged by those before.
    Policies {
        set: Arc<PolicySet>,
        selected: Vec<(ContainerSlot, Selected)>,
    },
    /// The kernel side records nothing for the policies before any more.
    Switched,
    /// Tell every account.
    Ledger(Doubts),
    Notice {
        level: NoticeLevel,
        code: &'static str,
        message: String,
    },
    /// Hooks and containers are covered from now on.
    Covered,
    /// The kernel side is about to be silenced: what it would have recorded from now on is nobody's.
    Ending,
    /// Open the output's file anew.
    ReopenOutput,
    /// Give every account as it stands, as [`Command::Ledger`] would tell it. Who asked may have gone.
    GiveAccounts {
        doubts: Doubts,
        reply: oneshot::Sender<Accounts>,
    },
    /// Give the table by call, as the kernel has it now. Costs the reader some 0.3 µs for each result.
    GiveTable {
        reply: oneshot::Sender<TableNow>,
    },
}

/// Every account at one moment.
#[derive(Debug, Clone, Default)]
pub struct Accounts {
    /// Of every container that some policy has selected and that has not ended.
    pub containers: Vec<(Arc<Container>, Account)>,
    /// The same and those that ended.
    pub node: Account,
    pub doubts: Doubts,
}

/// The table by call at one moment.
#[derive(Debug, Clone, Default)]
pub struct TableNow {
    /// Of every container that has not ended.
    pub calls: Vec<(Arc<Container>, Stage, CallStats)>,
    /// Results in use, also of containers that just ended, and how many there is room for.
    pub used: usize,
    pub room: usize,
    /// Calls since the start that were not counted for want of room.
    pub overflow: u64,
}

/// The sending side. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Commands(SyncSender<Command>);

impl Commands {
    /// Waits while the queue is full. False when the pipeline has ended.
    pub fn send(&self, command: Command) -> bool {
        self.0.send(command).is_ok()
    }
}

/// A queue of commands, to be given to [`super::Parts`].
pub fn commands() -> (Commands, Receiver<Command>) {
    let (sender, receiver) = mpsc::sync_channel(WAITING);
    (Commands(sender), receiver)
}
