//! Which containers run here, told as a stream of changes.
//!
//! This module must not know what becomes of a change: the kernel's maps, policies and output are others'
//! business. Its one promise: what it once said appeared stays until the kernel or the runtime says that it
//! ended, however badly the runtime answers meanwhile.

pub mod containerd;
mod init_task;

use std::path::Path;
use std::sync::Arc;

use kubeward_core::container::{Container, ContainerId};

pub use init_task::{BootTicks, InitTask, ProcFs};

/// One run of one container: a restart that keeps the id is another instance.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Instance {
    pub id: ContainerId,
    /// The runtime's own namespace: the same id in two of them is two containers.
    pub namespace: Arc<str>,
    /// The socket of the runtime that runs it.
    pub socket: Arc<Path>,
    pub init: InitTask,
}

/// How an instance became known, and so whether its first calls can have been seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Noticed {
    /// While the init task waited for its start, as the runtime's event or list said.
    AtCreate,
    /// In the runtime's list, when it ran already.
    InList,
}

/// What happened to the containers of this machine, or to a runtime's socket.
#[derive(Debug)]
pub enum Change {
    Appeared {
        instance: Instance,
        container: Arc<Container>,
        noticed: Noticed,
    },
    /// More became known of an instance that appeared before.
    Changed {
        instance: Instance,
        container: Arc<Container>,
    },
    /// A process joined a running instance from outside (`ctr task exec`, `kubectl exec`).
    ExecStarted {
        instance: Instance,
        pid: u32,
    },
    Gone {
        instance: Instance,
    },
    /// A container came and went before its init task could be found.
    Missed {
        container: Arc<Container>,
        /// The number of its init task, as containerd said.
        pid: u32,
    },
    /// The runtime answers, for the first time or again, and its whole list has been told.
    Answering {
        socket: Arc<Path>,
        /// The runtime's own version text.
        version: String,
        /// Instances that are being watched on this socket.
        running: usize,
    },
    /// The first attempt at this socket is over: what runs there has been told, or nothing answers. Told once.
    Settled {
        socket: Arc<Path>,
    },
    /// The runtime does not answer. Told once for each error, not for each attempt; attempts go on.
    Failing {
        error: containerd::SocketError,
    },
}
