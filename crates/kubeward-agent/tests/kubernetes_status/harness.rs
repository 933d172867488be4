//! A server with our definitions, and writers that report to it.

use std::future::Future;
use std::time::Duration;

use kubeward_agent::kubernetes::crd::{definitions, NodePolicy, NodeStatus, PolicyReason};
use kubeward_agent::kubernetes::report::{spawn, Identity, OwnerPod, Reporter, Reporting};
use kubeward_testkit::kubernetes::{client_of, ApiServer};
use serde_json::Value;
use tokio::runtime::Runtime;
use tokio::sync::watch;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

/// For what takes seconds on an idle machine.
pub(crate) const LIMIT: Duration = Duration::from_secs(90);

/// Path of the objects of nodes.
pub(crate) const NODES: &str = "/apis/kubeward.kubeward/v1/namespaces/kubeward/kubewardnodes";
/// Path of policies.
pub(crate) const POLICIES: &str = "/apis/kubeward.kubeward/v1/kubewards";

/// The server, and the runtime that writers live in.
pub(crate) struct Cluster {
    pub(crate) server: ApiServer,
    pub(crate) runtime: Runtime,
}

impl Cluster {
    pub(crate) fn start() -> Self {
        let cluster = Self::without_definitions();
        cluster.install();
        cluster
    }

    pub(crate) fn without_definitions() -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
        Self { server: ApiServer::start().expect("the API server starts"), runtime: runtime.expect("a runtime") }
    }

    pub(crate) fn install(&self) {
        self.server.install_crds(&definitions()).expect("the server takes our definitions");
    }

    /// An agent of the node `n1`, in the pod with this uid.
    pub(crate) fn agent(&self, pod_uid: &str, run: &str) -> TestAgent {
        self.agent_of("n1", pod_uid, run)
    }

    pub(crate) fn agent_of(&self, node: &str, pod_uid: &str, run: &str) -> TestAgent {
        let identity = Identity {
            node: node.to_owned(),
            namespace: "kubeward".to_owned(),
            pod: Some(OwnerPod { name: format!("kubeward-{pod_uid}"), uid: pod_uid.to_owned() }),
            run: run.to_owned(),
        };
        let (status, told) = watch::channel(NodeStatus::default());
        let shutdown = CancellationToken::new();
        let kubeconfig = self.server.kubeconfig();
        let reporter = self.block_on(async {
            let client = client_of(&kubeconfig).await.expect("the kubeconfig is good");
            spawn(client, identity, told, shutdown.clone())
        });
        TestAgent { state: reporter.state(), reporter, status, shutdown, run: run.to_owned() }
    }

    pub(crate) fn block_on<F: Future>(&self, future: F) -> F::Output {
        self.runtime.block_on(future)
    }

    /// The object of a node, once `holds` of it.
    pub(crate) fn node(&self, name: &str, holds: impl Fn(&Value) -> bool + Sync) -> Value {
        self.server.api().wait_until(&format!("{NODES}/{name}"), LIMIT, holds).expect("the node's object")
    }

    pub(crate) fn node_now(&self, name: &str) -> Value {
        self.server.api().get(&format!("{NODES}/{name}")).expect("the node's object is there")
    }

    /// The policy, once `holds` of it.
    pub(crate) fn policy(&self, name: &str, holds: impl Fn(&Value) -> bool + Sync) -> Value {
        self.server.api().wait_until(&format!("{POLICIES}/{name}"), LIMIT, holds).expect("the policy")
    }
}

/// A writer, and the agent that it writes for.
pub(crate) struct TestAgent {
    reporter: Reporter,
    state: watch::Receiver<Reporting>,
    status: watch::Sender<NodeStatus>,
    shutdown: CancellationToken,
    run: String,
}

impl TestAgent {
    /// The agent has this to say.
    pub(crate) fn say(&self, kernel: &str, policies: Vec<NodePolicy>) {
        let status = NodeStatus {
            run: self.run.clone(),
            kernel: kernel.to_owned(),
            architecture: "x86_64".to_owned(),
            policies,
            ..NodeStatus::default()
        };
        self.status.send_replace(status);
    }

    pub(crate) fn wait_for(&mut self, cluster: &Cluster, holds: impl Fn(&Reporting) -> bool) -> Reporting {
        let reached = cluster.block_on(async {
            timeout(LIMIT, self.state.wait_for(holds)).await.map(|state| state.map(|state| state.clone()))
        });
        match reached {
            Ok(state) => state.expect("the writer runs"),
            Err(_) => panic!("the writer does not come to it, it says {:?}", *self.state.borrow()),
        }
    }

    /// A graceful end.
    pub(crate) fn end(self, cluster: &Cluster) {
        self.shutdown.cancel();
        cluster.block_on(self.reporter.stopped());
    }
}

/// What a node says of a policy.
pub(crate) fn word(policy: &Value, reason: PolicyReason) -> NodePolicy {
    let metadata = &policy["metadata"];
    NodePolicy {
        name: metadata["name"].as_str().expect("a name").to_owned(),
        uid: metadata["uid"].as_str().expect("a uid").to_owned(),
        observed_generation: metadata["generation"].as_i64().expect("a generation"),
        ready: matches!(reason, PolicyReason::Applied | PolicyReason::PartlyAccepted),
        reason,
        message: String::new(),
        calls: 5,
        selects_containers: true,
        covers_refused: true,
        refused: Vec::new(),
        refused_total: 0,
    }
}
