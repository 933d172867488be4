//! What the agent has to do with a Kubernetes API server, as one thing to start, ask and end.

use anyhow::Context;
use kubeward_core::render::line::NoticeLevel;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::notice;
use crate::config::{Config, Kubernetes};
use crate::kubernetes::client::{connect, is_in_pod};
use crate::kubernetes::crd::NodeStatus;
use crate::kubernetes::node::{self, NodeLabelsReceiver};
use crate::kubernetes::pods::{self, PodChange};
use crate::kubernetes::policies::{self, ClusterPolicies};
use crate::kubernetes::report::{self, Identity, OwnerPod, Reporter, Reporting};
use crate::pipeline::Commands;

/// How the API server's log names us.
const COMPONENT: &str = "kubeward-agent";

/// Where this node's object goes when nothing tells the agent's own namespace.
const DEFAULT_NAMESPACE: &str = "kubeward";

/// The running watches; they end on the shutdown token that they were started with.
pub(super) struct Cluster {
    pub(super) policies: watch::Receiver<ClusterPolicies>,
    pub(super) pods: mpsc::Receiver<PodChange>,
    pub(super) node_labels: NodeLabelsReceiver,
    /// What this node says of itself; default while it has not been found out.
    status: watch::Sender<NodeStatus>,
    reporter: Reporter,
    tasks: Vec<JoinHandle<()>>,
}

impl Cluster {
    /// `None` where Kubernetes is not asked: `off`, or `auto` outside a pod or in one without a usable account.
    pub(super) async fn start(
        config: &Config,
        commands: &Commands,
        shutdown: &CancellationToken,
    ) -> anyhow::Result<Option<Self>> {
        let wanted = config.kubernetes;
        if wanted == Kubernetes::Off || (wanted == Kubernetes::Auto && !is_in_pod()) {
            return Ok(None);
        }
        let (client, server) = match connect(COMPONENT).await {
            Ok(connected) => connected,
            Err(error) if wanted == Kubernetes::Auto => {
                let message = format!("{error}; going on without Kubernetes (--kubernetes off says so for good)");
                notice(commands, NoticeLevel::Warning, "kubernetes_unusable", message);
                return Ok(None);
            }
            Err(error) => return Err(error).context("--kubernetes on"),
        };
        notice(commands, NoticeLevel::Info, "kubernetes", format!("policies and pods are followed at {server}"));
        let node = config.stream.node.clone();
        let (policies, policies_task) = policies::spawn(client.clone(), shutdown.clone());
        let (pods, pods_task) = pods::spawn(client.clone(), &node, shutdown.clone());
        let (node_labels, node_task) = node::spawn(client.clone(), &node, shutdown.clone());
        let (status, told) = watch::channel(NodeStatus::default());
        let reporter = report::spawn(client, identity(node, config), told, shutdown.clone());
        let tasks = vec![policies_task, pods_task, node_task];
        Ok(Some(Self { policies, pods, node_labels, status, reporter, tasks }))
    }

    /// Says of this node what is so now. Costs nothing more when it is as it was.
    pub(super) fn say(&self, status: NodeStatus) {
        self.status.send_if_modified(|said| {
            let is_news = *said != status;
            *said = status;
            is_news
        });
    }

    /// Who has this node's name, if that is another agent which lives.
    pub(super) fn usurper(&self) -> Option<String> {
        match &*self.reporter.state().borrow() {
            Reporting::Refused { by } => Some(by.clone()),
            _ => None,
        }
    }

    /// Returns when all of it has ended.
    pub(super) async fn stopped(self) {
        self.reporter.stopped().await;
        for task in self.tasks {
            if let Err(error) = task.await {
                tracing::error!("a watch on the API server ended by itself: {error}");
            }
        }
    }
}

/// Outside a pod the object has no owner, and goes to the namespace of the manifest.
fn identity(node: String, config: &Config) -> Identity {
    let namespace = std::env::var("KUBEWARD_POD_NAMESPACE").ok().filter(|namespace| !namespace.is_empty());
    let namespace = namespace.unwrap_or_else(|| DEFAULT_NAMESPACE.to_owned());
    Identity { node, namespace, pod: OwnerPod::of_this_process(), run: config.stream.run.clone() }
}
