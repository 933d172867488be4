//! An API server with our definitions, and an agent that follows it.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result};
use kubeward_agent::kubernetes::crd::definitions;
use kubeward_testkit::containerd::Containerd;
use kubeward_testkit::kubernetes::{Api, ApiServer, FakeCluster};
use serde_json::{json, Value};

use crate::agent::Agent;
use crate::stream::is_notice;

const POLICIES: &str = "/apis/kubeward.kubeward/v1/kubewards";
pub(crate) const NODES: &str = "/apis/kubeward.kubeward/v1/namespaces/kubeward/kubewardnodes";

const SEED: &str = include_str!("../../../../tests/policies/good/seed.yaml");

/// For a word of an agent to reach its object.
const TOLD_WITHIN: Duration = Duration::from_secs(20);
/// For the words of all agents to reach a policy's status, which is written every ten seconds at most: one sum that comes
/// before them, and the one after it.
const SUMMED_UP_WITHIN: Duration = Duration::from_secs(40);

/// The token of the agents, and so their user at the fake.
pub(crate) const AGENT: &str = "kubeward";

/// What an agent speaks with.
pub(crate) trait Server {
    /// The test's own calls.
    fn api(&self) -> &Api;
    fn kubeconfig_of_agents(&self) -> Result<PathBuf>;
}

impl Server for ApiServer {
    fn api(&self) -> &Api {
        ApiServer::api(self)
    }

    fn kubeconfig_of_agents(&self) -> Result<PathBuf> {
        Ok(self.kubeconfig())
    }
}

impl Server for FakeCluster {
    fn api(&self) -> &Api {
        FakeCluster::api(self)
    }

    fn kubeconfig_of_agents(&self) -> Result<PathBuf> {
        self.kubeconfig(AGENT)
    }
}

/// Kubernetes' own API server for custom resources, alone or with what the fake adds.
pub(crate) struct Cluster<S = ApiServer> {
    pub(crate) server: S,
}

/// The one with what the fake adds.
pub(crate) type Fake = Cluster<FakeCluster>;

impl Cluster {
    pub(crate) fn start() -> Result<Self> {
        let server = ApiServer::start()?;
        server.install_crds(&definitions())?;
        Ok(Self { server })
    }
}

impl Fake {
    /// With pods, nodes, DaemonSets, users and faults.
    pub(crate) fn start_fake() -> Result<Self> {
        let mut server = FakeCluster::start()?;
        server.server().install_crds(&definitions())?;
        Ok(Self { server })
    }
}

impl<S: Server> Cluster<S> {
    pub(crate) fn agent(&self, containerd: &Containerd, node: &str) -> Result<Agent> {
        let kubeconfig = self.server.kubeconfig_of_agents()?;
        let mut agent = Agent::start_in_cluster(&containerd.socket(), &kubeconfig, node)?;
        agent.line("containerd's answer", |line| is_notice(line, "containerd_answers"));
        Ok(agent)
    }

    pub(crate) fn create(&self, name: &str, spec: Value) -> Result<Value> {
        self.server.api().create(POLICIES, &policy(name, spec))
    }

    /// The document of the first implementation's guide, as it is; its name.
    pub(crate) fn create_seed(&self) -> Result<String> {
        let object: Value = serde_saphyr::from_str(SEED)?;
        let created = self.server.api().create(POLICIES, &object)?;
        Ok(created["metadata"]["name"].as_str().context("an object has a name")?.to_owned())
    }

    /// Puts another spec in the place of the one that is there.
    pub(crate) fn edit(&self, name: &str, spec: Value) -> Result<Value> {
        self.server.api().patch(&path(name), &json!({"spec": spec}))
    }

    pub(crate) fn delete(&self, name: &str) -> Result<()> {
        self.server.api().delete(&path(name))
    }

    /// What the agent of a node says, once `holds` of it.
    pub(crate) fn node(&self, node: &str, holds: impl Fn(&Value) -> bool + Sync) -> Result<Value> {
        let object =
            self.server.api().wait_until(&format!("{NODES}/{node}"), TOLD_WITHIN, |object| holds(&object["status"]))?;
        Ok(object["status"].clone())
    }

    /// The status of a policy, once `holds` of it.
    pub(crate) fn policy_status(&self, name: &str, holds: impl Fn(&Value) -> bool + Sync) -> Result<Value> {
        let object = self.server.api().wait_until(&path(name), SUMMED_UP_WITHIN, |object| holds(&object["status"]))?;
        Ok(object["status"].clone())
    }

    /// A policy's row of `kubectl get kubewards`.
    pub(crate) fn columns(&self, name: &str) -> Result<Vec<String>> {
        let table = self.server.api().table(POLICIES)?;
        table.into_iter().find(|row| row[0] == name).with_context(|| format!("no row of {name}"))
    }

    /// What it says of one policy, once that has this reason.
    pub(crate) fn node_policy(&self, node: &str, name: &str, reason: &str) -> Result<Value> {
        let status = self.node(node, |status| entry(status, name)["reason"] == reason)?;
        Ok(entry(&status, name))
    }
}

/// The entry of a policy in a node's status; null for none.
pub(crate) fn entry(status: &Value, name: &str) -> Value {
    let policies = status["policies"].as_array().map(Vec::as_slice).unwrap_or_default();
    policies.iter().find(|policy| policy["name"] == name).cloned().unwrap_or_default()
}

/// Names of the calls that a node's status calls hooked.
pub(crate) fn hooked(status: &Value) -> Vec<&str> {
    let probes = status["probes"].as_array().map(Vec::as_slice).unwrap_or_default();
    probes.iter().filter_map(|probe| probe["call"].as_str()).collect()
}

fn policy(name: &str, spec: Value) -> Value {
    json!({"apiVersion": "kubeward.kubeward/v1", "kind": "KubeWard", "metadata": {"name": name}, "spec": spec})
}

fn path(name: &str) -> String {
    format!("{POLICIES}/{name}")
}
