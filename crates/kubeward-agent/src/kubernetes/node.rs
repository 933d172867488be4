//! The labels of this node, followed.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::Node;
use kube::core::PartialObjectMeta;
use kube::runtime::watcher::Event;
use kube::{Api, Client};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::trouble::Telling;
use super::watch::{config, Watch};

/// What messages call the resource.
const NODES: &str = "nodes";

/// The newest labels; `None` until the API server has told them. What was told stays while it cannot be reached.
pub type NodeLabelsReceiver = watch::Receiver<Option<BTreeMap<String, String>>>;

/// For an agent that runs without Kubernetes.
pub fn never_told() -> NodeLabelsReceiver {
    watch::channel(None).1
}

/// Follows the node of this name until `shutdown`.
pub fn spawn(client: Client, node: &str, shutdown: CancellationToken) -> (NodeLabelsReceiver, JoinHandle<()>) {
    let (sender, receiver) = watch::channel(None);
    let node = node.to_owned();
    let task = tokio::spawn(async move {
        tokio::select! {
            () = follow(client, &node, sender) => {}
            () = shutdown.cancelled() => {}
        }
    });
    (receiver, task)
}

async fn follow(client: Client, node: &str, sender: watch::Sender<Option<BTreeMap<String, String>>>) {
    let config = config().fields(&format!("metadata.name={node}"));
    let mut watch = Watch::new(NODES, Api::<PartialObjectMeta<Node>>::all(client), config);
    let mut log = Telling::default();
    let mut is_listed = false;
    loop {
        match watch.next().await {
            Ok(Event::Init) => is_listed = false,
            Ok(Event::InitApply(node) | Event::Apply(node)) => {
                log.went_well("nodes: the API server answers again");
                is_listed = true;
                let labels = Some(node.metadata.labels.unwrap_or_default());
                sender.send_if_modified(|told| std::mem::replace(told, labels.clone()) != labels);
            }
            Ok(Event::InitDone) => {
                log.went_well("nodes: the API server answers again");
                if !is_listed {
                    tracing::warn!("the cluster has no node {node:?}: nodeSelector cannot go by its labels; name it with --node-name");
                }
            }
            // It may come back; until then it is what it was.
            Ok(Event::Delete(_)) => log.went_well("nodes: the API server answers again"),
            Err(trouble) => log.failed(&trouble),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{json, Value};

    use super::*;
    use crate::kubernetes::scripted::server;

    fn n1(version: &str, zone: &str) -> Value {
        json!({"name": "n1", "uid": "n", "resourceVersion": version, "labels": {"zone": zone}})
    }

    fn labels(zone: &str) -> Option<BTreeMap<String, String>> {
        Some(BTreeMap::from([("zone".to_owned(), zone.to_owned())]))
    }

    #[tokio::test(start_paused = true)]
    async fn labels_of_this_node_alone_are_followed() {
        let (client, mut requests) = server();
        let (mut told, _) = spawn(client, "n1", CancellationToken::new());
        assert_eq!(*told.borrow(), None);
        let list = requests.list().await;
        assert_eq!(list.path(), "/api/v1/nodes");
        assert!(list.query().contains("fieldSelector=metadata.name=n1"), "{}", list.query());
        list.objects("10", &[n1("7", "a")]);
        told.changed().await.expect("the watch goes on");
        assert_eq!(*told.borrow_and_update(), labels("a"));
        let events = requests.watch().await.events();
        // kubelet writes its status every few minutes.
        events.event("MODIFIED", &n1("11", "a"));
        events.event("MODIFIED", &n1("12", "b"));
        told.changed().await.expect("the watch goes on");
        assert_eq!(*told.borrow_and_update(), labels("b"));
    }

    #[tokio::test(start_paused = true)]
    async fn what_was_told_stays_when_the_node_or_the_server_is_gone() {
        let (client, mut requests) = server();
        let (mut told, _) = spawn(client, "n1", CancellationToken::new());
        requests.list().await.objects("10", &[n1("7", "a")]);
        told.changed().await.expect("the watch goes on");
        let events = requests.watch().await.events();
        events.event("DELETED", &n1("11", "a"));
        events.gone();
        requests.list().await.refuse(500, "etcd is away");
        requests.list().await.objects("20", &[]);
        requests.watch().await.events().event("ADDED", &n1("21", "a"));
        requests.watch().await;
        assert_eq!(*told.borrow_and_update(), labels("a"));
        assert!(!told.has_changed().expect("the watch goes on"));
    }
}
