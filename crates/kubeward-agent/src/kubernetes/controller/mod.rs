//! `kubeward controller`: sums up what the agents say of each policy into the policy's status.
//!
//! It watches policies (who they are and what their status says) and the `KubeWardNode` objects of its namespace, and writes
//! one status at most every ten seconds, and none that says what is there already. It knows nothing that is not in these
//! objects, so that it may be started again at any time. Two of them at once come to the same sum: the second finds it
//! written. So there is no leader election, and the Deployment has one replica.
//!
//! - `objects`: what is read of the objects
//! - `words`: what each node says of each policy, kept small
//! - `summary`: the sum (pure)
//! - `turns`: which status is written when (pure)
//! - `follow`: the task
//! - `process`: all of `kubeward controller`, to its end
//!
//! It must not know what a policy means: the agents alone judge that.

mod follow;
mod objects;
mod process;
mod summary;
mod turns;
mod words;

use kube::Client;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

pub use process::{run, Settings};
pub use summary::{says_the_same, summarise, Agents, Policy, Summary};

use crate::heartbeat::Heartbeat;
use crate::serve::health::Verdict;

/// The controller, running.
pub struct Controller {
    /// Beats each time the loop comes round.
    pub heartbeat: Heartbeat,
    /// Whether policies and nodes have been listed.
    pub readiness: watch::Receiver<Verdict>,
    task: JoinHandle<()>,
}

impl Controller {
    /// Returns when it has ended.
    pub async fn stopped(self) -> anyhow::Result<()> {
        self.task.await.map_err(|error| anyhow::anyhow!("the controller ended by itself: {error}"))
    }
}

/// Starts it; it ends on `shutdown`. `namespace` is where the agents run.
pub fn spawn(client: Client, namespace: &str, shutdown: CancellationToken) -> Controller {
    let heartbeat = Heartbeat::default();
    let (ready, readiness) = watch::channel(Verdict::no("policies and nodes have not been listed yet"));
    let following = follow::Following::new(client, namespace, heartbeat.clone(), ready);
    let task = tokio::spawn(async move {
        tokio::select! {
            () = following.until_cancelled() => {}
            () = shutdown.cancelled() => {}
        }
    });
    Controller { heartbeat, readiness, task }
}
