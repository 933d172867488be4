//! Agents without a kernel side: what they hear of policies they say to have in force.

use kube::Client;
use kubeward_agent::kubernetes::crd::{NodePolicy, NodeStatus, PolicyReason};
use kubeward_agent::kubernetes::policies::{self, ClusterPolicies};
use kubeward_agent::kubernetes::report::{self, Identity, OwnerPod, Reporting};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

pub(crate) const NAMESPACE: &str = "kubeward";

/// All agents.
pub(crate) struct Fleet {
    client: Client,
    agents: Vec<Option<Agent>>,
    runs: usize,
}

impl Fleet {
    pub(crate) fn new(client: Client, agents: usize) -> Self {
        Self { client, agents: (0..agents).map(|_| None).collect(), runs: 0 }
    }

    /// Ends all that run and starts all, `at_once` at a time, as a DaemonSet's rolling update does. Returns when each has
    /// written its object.
    pub(crate) async fn roll(&mut self, at_once: usize) {
        for first in (0..self.agents.len()).step_by(at_once) {
            let end = (first + at_once).min(self.agents.len());
            let ending: Vec<Agent> = self.agents[first..end].iter_mut().filter_map(Option::take).collect();
            ending.iter().for_each(|agent| agent.shutdown.cancel());
            for agent in ending {
                agent.ended().await;
            }
            self.start(first, end).await;
        }
    }

    async fn start(&mut self, first: usize, end: usize) {
        self.runs += 1;
        for node in first..end {
            self.agents[node] = Some(Agent::start(self.client.clone(), node, self.runs));
        }
        for agent in self.agents[first..end].iter_mut().flatten() {
            // The writer ends only on its token.
            let _ = agent.state.wait_for(|state| *state == Reporting::Held).await;
        }
    }
}

struct Agent {
    shutdown: CancellationToken,
    reporter: report::Reporter,
    state: watch::Receiver<Reporting>,
    tasks: Vec<JoinHandle<()>>,
}

impl Agent {
    fn start(client: Client, node: usize, run: usize) -> Self {
        let shutdown = CancellationToken::new();
        let run = format!("{node}-{run}");
        let pod = OwnerPod { name: format!("kubeward-{run}"), uid: format!("pod-{run}") };
        let identity = Identity {
            node: format!("node-{node}"),
            namespace: NAMESPACE.to_owned(),
            pod: Some(pod),
            run: run.clone(),
        };
        let (heard, watching) = policies::spawn(client.clone(), shutdown.clone());
        let (status, told) = watch::channel(NodeStatus::default());
        let reporter = report::spawn(client, identity, told, shutdown.clone());
        let applying = tokio::spawn(apply(heard, status, run));
        let state = reporter.state();
        Self { shutdown, reporter, state, tasks: vec![watching, applying] }
    }

    async fn ended(self) {
        self.reporter.stopped().await;
        for task in self.tasks {
            // The watch's end ends the other.
            let _ = task.await;
        }
    }
}

async fn apply(mut heard: watch::Receiver<ClusterPolicies>, status: watch::Sender<NodeStatus>, run: String) {
    while heard.changed().await.is_ok() {
        let known = heard.borrow_and_update().clone();
        if known.is_listed {
            status.send_replace(NodeStatus {
                run: run.clone(),
                version: env!("CARGO_PKG_VERSION").to_owned(),
                kernel: "6.12.0".to_owned(),
                architecture: "x86_64".to_owned(),
                backend: "auto".to_owned(),
                policies: known
                    .objects
                    .values()
                    .map(|object| in_force(&object.name, &object.uid, object.generation))
                    .collect(),
                ..NodeStatus::default()
            });
        }
    }
}

fn in_force(name: &str, uid: &str, generation: i64) -> NodePolicy {
    NodePolicy {
        name: name.to_owned(),
        uid: uid.to_owned(),
        observed_generation: generation,
        ready: true,
        reason: PolicyReason::Applied,
        message: String::new(),
        calls: 2,
        selects_containers: true,
        covers_refused: true,
        refused: Vec::new(),
        refused_total: 0,
    }
}
