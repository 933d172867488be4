//! Containers that containerd runs, in all its namespaces, on every socket that answers.
//!
//! Two sources make one truth. Events tell of a container before its first program runs; lists, every
//! [`LIST_EVERY`], find what was there before and what an event did not tell. The kernel decides between
//! them: an instance lives as long as its init task does, whatever containerd answers or fails to answer.
//!
//! - `socket`: which sockets, and what is wrong with one
//! - `client`: the calls, each with a limit of time
//! - `event`, `record`: containerd's messages as this crate's types (pure)
//! - `reconcile`: known tasks against a list (pure)
//! - `roster`: the one owner of what is known, and what of it has been told (pure)
//! - `follow`: the loop around them while a connection lasts
//! - `session`: one task per socket, across connections

mod client;
mod event;
mod follow;
mod reconcile;
mod record;
mod roster;
mod session;
mod socket;

use std::time::Duration;

use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::{Change, ProcFs};

pub use client::RpcError;
pub use socket::{choose, AddressError, SocketError, Sockets, DEFAULT_SOCKETS};

/// Time between two lists, and between two looks at whether known init tasks still live. Of those that containerd lists as running
/// each is looked at with every fourth list.
pub const LIST_EVERY: Duration = Duration::from_millis(500);

/// Changes that wait for the reader. When full, discovery waits and containerd keeps the events: none is lost.
const CHANGES_WAITING: usize = 1024;

/// A running discovery.
pub struct Discovery {
    /// In order for each socket. Ends after shutdown.
    pub changes: mpsc::Receiver<Change>,
    /// Of each of so many [`Change::Settled`] is told.
    pub sockets: usize,
    tasks: JoinSet<()>,
}

impl Discovery {
    /// Returns when every task has ended, after the shutdown token was cancelled.
    pub async fn stopped(mut self) {
        self.changes.close();
        while self.tasks.join_next().await.is_some() {}
    }
}

/// Watches `sockets` until `shutdown`; one that is not there yet is waited for. Needs a tokio runtime.
pub fn watch(sockets: &Sockets, procfs: &ProcFs, shutdown: &CancellationToken) -> Discovery {
    let (sender, changes) = mpsc::channel(CHANGES_WAITING);
    let mut tasks = JoinSet::new();
    if let Some(error) = sockets.none_found() {
        // The channel is new and empty: there is room.
        let _ = sender.try_send(Change::Failing { error });
    }
    for candidate in sockets.candidates() {
        tasks.spawn(session::run(candidate, procfs.clone(), sender.clone(), shutdown.clone()));
    }
    Discovery { changes, sockets: sockets.paths().len(), tasks }
}
