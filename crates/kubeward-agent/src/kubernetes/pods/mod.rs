//! This node's pods, followed: their current labels, and what made them.
//!
//! The API server is asked for this node's pods alone and for their metadata alone; of that, labels and owner are kept.
//! Memory: those of the pods that run here, and of those that are gone while a container of theirs still runs.

mod pod;
mod roster;
#[cfg(test)]
mod tests;

pub use pod::{Pod, PodKey};
pub use roster::Roster;

use k8s_openapi::api::core::v1 as api;
use kube::core::PartialObjectMeta;
use kube::runtime::watcher::Event;
use kube::{Api, Client};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::trouble::Telling;
use super::watch::{config, Watch};

/// What messages call the resource.
const PODS: &str = "pods";

/// Changes that wait for the main task. When full, the watch waits, and the API server with it.
const ROOM: usize = 64;

/// What the API server said of this node's pods.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PodChange {
    /// These are all that there are.
    All(Vec<Pod>),
    /// One is new, or is as this now.
    Is(Pod),
    Gone(PodKey),
}

/// For an agent that runs without Kubernetes.
pub fn never_told() -> mpsc::Receiver<PodChange> {
    mpsc::channel(1).1
}

/// Follows the pods of the node of this name until `shutdown`. A list that had to be made anew is told as a whole, also
/// when nothing in it is new.
pub fn spawn(client: Client, node: &str, shutdown: CancellationToken) -> (mpsc::Receiver<PodChange>, JoinHandle<()>) {
    let (sender, receiver) = mpsc::channel(ROOM);
    // Pods whose containers have all ended stay for hours: nothing of them runs.
    let fields = format!("spec.nodeName={node},status.phase!=Succeeded,status.phase!=Failed");
    let watch = Watch::new(PODS, Api::all(client), config().fields(&fields));
    let task = tokio::spawn(async move {
        tokio::select! {
            () = follow(watch, sender) => {}
            () = shutdown.cancelled() => {}
        }
    });
    (receiver, task)
}

/// Ends when nobody listens any more.
async fn follow(mut watch: Watch<PartialObjectMeta<api::Pod>>, sender: mpsc::Sender<PodChange>) {
    let mut log = Telling::default();
    // Of a list that is being read.
    let mut listing = Vec::new();
    loop {
        let change = match watch.next().await {
            Ok(Event::Init) => {
                listing.clear();
                continue;
            }
            Ok(Event::InitApply(pod)) => {
                listing.extend(Pod::of(pod.metadata));
                continue;
            }
            Ok(Event::InitDone) => Some(PodChange::All(std::mem::take(&mut listing))),
            Ok(Event::Apply(pod)) => Pod::of(pod.metadata).map(PodChange::Is),
            Ok(Event::Delete(pod)) => Pod::of(pod.metadata).map(|pod| PodChange::Gone(pod.key)),
            Err(trouble) => {
                log.failed(&trouble);
                continue;
            }
        };
        log.went_well("pods: the API server answers again");
        if let Some(change) = change {
            if sender.send(change).await.is_err() {
                return;
            }
        }
    }
}
