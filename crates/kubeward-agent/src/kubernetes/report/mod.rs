//! What this agent says of itself: the one writer of its `KubeWardNode`.
//!
//! The object is written whole, status included, by one server-side apply: at the first word, and then when something has
//! changed, at most every two seconds. An agent at rest writes nothing. The object belongs to the agent's Pod and goes with
//! it; at a graceful end the agent deletes it itself.
//!
//! **Two agents with one node name.** The annotation `kubeward.kubeward/run` says whose the object is. Who finds
//! another's does not take it: it writes a claim beside it, and a living holder, who watches its own object, answers it. A
//! holder that has not answered after ten seconds is gone, and the object is taken over. An earlier run of the
//! same Pod, whose container was started again, is not another agent.
//!
//! - `claim` says what an object as seen means for us (pure)
//! - `pace` says when to write (pure: moments are passed in)
//! - `object` makes the object
//! - `store` speaks with the API server
//! - `writer` is the task

mod claim;
mod object;
mod pace;
mod store;
mod writer;

use kube::Client;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::crd::NodeStatus;

pub(in crate::kubernetes) use object::date;

/// Who reports.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// Name of the node, and of the object.
    pub node: String,
    /// Namespace of the object: the agent's own.
    pub namespace: String,
    /// The Pod that owns the object; an agent outside a Pod has none, and its object stays when it is killed.
    pub pod: Option<OwnerPod>,
    /// The agent's run, as `run` in its events.
    pub run: String,
}

/// A Pod of the same namespace.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OwnerPod {
    pub name: String,
    pub uid: String,
}

impl OwnerPod {
    /// As the downward API tells it; see `env` in `deployments/kubeward.yaml`. `None` outside a pod.
    pub fn of_this_process() -> Option<Self> {
        let told = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
        Some(Self { name: told("KUBEWARD_POD_NAME")?, uid: told("KUBEWARD_POD_UID")? })
    }
}

/// How the reporting stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reporting {
    /// Nothing has been written yet, and nothing speaks against it.
    Starting,
    /// The object is this agent's, and says what the agent says or will soon.
    Held,
    /// Another agent has this node's name, and lives.
    Refused {
        /// Who: `pod kubeward-x7k2p (run ...)`.
        by: String,
    },
    /// The API server cannot be asked, or refuses; attempts go on.
    Unreachable {
        /// What it said.
        why: String,
    },
}

/// The writer, running.
pub struct Reporter {
    state: watch::Receiver<Reporting>,
    task: JoinHandle<()>,
}

impl Reporter {
    /// How the reporting stands, now and when that changes.
    pub fn state(&self) -> watch::Receiver<Reporting> {
        self.state.clone()
    }

    /// Returns when the writer has ended: after `shutdown`, when its object is deleted or that could not be done.
    pub async fn stopped(self) {
        if let Err(error) = self.task.await {
            tracing::error!("the writer of this node's status ended by itself: {error}");
        }
    }
}

/// Starts the writer. A status that is `NodeStatus::default()` is one that is not there yet: nothing is written for it.
pub fn spawn(
    client: Client,
    identity: Identity,
    status: watch::Receiver<NodeStatus>,
    shutdown: CancellationToken,
) -> Reporter {
    let (state, told) = watch::channel(Reporting::Starting);
    let task = tokio::spawn(writer::run(client, identity, status, state, shutdown));
    Reporter { state: told, task }
}
