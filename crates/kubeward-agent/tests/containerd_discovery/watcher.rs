//! Reads the changes of one discovery and waits for the expected one.

use std::sync::Arc;
use std::time::Duration;

use kubeward_agent::discovery::containerd::{choose, watch, Discovery};
use kubeward_agent::discovery::{Change, Instance, Noticed, ProcFs};
use kubeward_core::container::Container;
use kubeward_testkit::containerd::Containerd;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

/// For anything that containerd must do first; generous, since test machines are crowded.
const LIMIT: Duration = Duration::from_secs(60);

pub(crate) struct Watcher {
    discovery: Discovery,
    shutdown: CancellationToken,
    /// Everything read so far, for the message of a failure.
    read: Vec<String>,
}

impl Watcher {
    pub(crate) fn of(containerds: &[&Containerd]) -> Self {
        let sockets: Vec<String> = containerds.iter().map(|each| each.socket().display().to_string()).collect();
        Self::of_sockets(&sockets)
    }

    pub(crate) fn of_sockets(sockets: &[String]) -> Self {
        let sockets = choose(sockets).expect("absolute paths");
        let shutdown = CancellationToken::new();
        let discovery = watch(&sockets, &ProcFs::new("/proc"), &shutdown);
        Self { discovery, shutdown, read: Vec::new() }
    }

    pub(crate) async fn next(&mut self, awaited: &str) -> Change {
        match timeout(LIMIT, self.discovery.changes.recv()).await {
            Ok(Some(change)) => {
                self.read.push(format!("{change:?}"));
                change
            }
            Ok(None) => panic!("discovery ended while {awaited} was awaited; told: {:#?}", self.read),
            Err(_) => panic!("{awaited} was not told within {LIMIT:?}; told: {:#?}", self.read),
        }
    }

    /// The first change from which `wanted` makes something; those before it are passed over.
    pub(crate) async fn first<T>(&mut self, awaited: &str, mut wanted: impl FnMut(Change) -> Option<T>) -> T {
        loop {
            let change = self.next(awaited).await;
            if let Some(found) = wanted(change) {
                return found;
            }
        }
    }

    pub(crate) async fn appeared(&mut self, id: &str) -> (Instance, Arc<Container>, Noticed) {
        self.first(&format!("the appearance of {id}"), |change| match change {
            Change::Appeared { instance, container, noticed } if instance.id.0 == id => {
                Some((instance, container, noticed))
            }
            _ => None,
        })
        .await
    }

    pub(crate) async fn gone(&mut self, id: &str) -> Instance {
        self.first(&format!("the end of {id}"), |change| match change {
            Change::Gone { instance } if instance.id.0 == id => Some(instance),
            _ => None,
        })
        .await
    }

    /// The runtime's version and the number of running containers.
    pub(crate) async fn answering(&mut self) -> (String, usize) {
        self.first("containerd's answer", |change| match change {
            Change::Answering { version, running, .. } => Some((version, running)),
            _ => None,
        })
        .await
    }

    pub(crate) async fn failing(&mut self) -> String {
        self.first("a failure", |change| match change {
            Change::Failing { error } => Some(error.to_string()),
            _ => None,
        })
        .await
    }

    /// Ends the discovery; returns what it had told and nobody had read.
    pub(crate) async fn stop(mut self) -> Vec<Change> {
        self.shutdown.cancel();
        let mut rest = Vec::new();
        while let Some(change) = self.discovery.changes.recv().await {
            rest.push(change);
        }
        self.discovery.stopped().await;
        rest
    }
}
