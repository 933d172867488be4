//! An API server that answers, but not as it should: policies stay in force, the log says why, and all goes on afterwards.

use std::fs;
use std::time::Duration;

use anyhow::Result;
use kubeward_testkit::containerd::Containerd;
use kubeward_testkit::kubernetes::{Fault, Request};
use serde_json::json;

use crate::agent::Agent;
use crate::cluster::{Cluster, Fake};
use crate::containerd_with_image;
use crate::follow::LIMIT;
use crate::told::Told;

/// The agent gives up a request that is not answered after 30 s, and asks again after up to 30 s more.
const GIVEN_UP_WITHIN: Duration = Duration::from_secs(90);

/// An agent whose policy names mkdirat, and what it watches.
struct Watching {
    containerd: Containerd,
    cluster: Fake,
    agent: Agent,
    told: Told,
}

impl Watching {
    fn start(containerd: Containerd, cluster: Fake, mut agent: Agent) -> Result<Self> {
        cluster.create("web", json!({"syscalls": [{"name": "mkdirat"}]}))?;
        let mut told = Told::start(&containerd, "web")?;
        agent.sees(&mut told, "mkdirat")?;
        cluster.node_policy("n1", "web", "Applied")?;
        Ok(Self { containerd, cluster, agent, told })
    }

    fn fail_with(&self, fault: Fault) {
        self.cluster.server.set_fault("/", fault);
        self.cluster.server.cut_connections();
    }

    /// The policy as it was known, on containers old and new.
    fn goes_on(&mut self) -> Result<()> {
        self.agent.sees(&mut self.told, "mkdirat")?;
        let mut late = Told::start(&self.containerd, "late")?;
        self.agent.sees(&mut late, "mkdirat")
    }

    /// Once it may be asked again: by the same agent, what has changed meanwhile.
    fn recovers(mut self, limit: Duration) -> Result<()> {
        let skip = self.cluster.server.requests().len();
        self.cluster.edit("web", json!({"syscalls": [{"name": "unlinkat"}]}))?;
        let followed = |request: &Request| request.verb == "watch" && request.resource == "kubewards";
        self.cluster.server.wait_for_request(skip, limit, followed)?;
        self.agent.sees(&mut self.told, "unlinkat")?;
        let told = |request: &Request| request.verb == "patch" && request.resource == "kubewardnodes";
        self.cluster.server.wait_for_request(skip, limit, told)?;
        self.cluster.node("n1", |status| status["policies"][0]["observedGeneration"] == 2)?;
        let ended = self.agent.stop();
        ended.stream.assert_whole(&self.told.id);
        // Each trouble is told by us, in our words, and by nobody else.
        let noise = ["failed with status", "failed with error", "eof in poll"];
        let is_noise = |line: &&String| noise.iter().any(|text| line.contains(text));
        assert_eq!(ended.log.iter().find(is_noise), None, "{:#?}", ended.log);
        Ok(())
    }
}

fn watching() -> Result<Watching> {
    let (containerd, cluster) = (containerd_with_image()?, Cluster::start_fake()?);
    let agent = cluster.agent(&containerd, "n1")?;
    Watching::start(containerd, cluster, agent)
}

#[test]
fn kubernetes_token_that_expires_is_told_and_its_successor_is_read_without_a_restart() -> Result<()> {
    let (containerd, cluster) = (containerd_with_image()?, Cluster::start_fake()?);
    let folder = tempfile::tempdir()?;
    let token = folder.path().join("token");
    fs::write(&token, "first")?;
    let kubeconfig = cluster.server.kubeconfig_with_token_file(&token)?;
    let agent = Agent::start_in_cluster(&containerd.socket(), &kubeconfig, "n1")?;
    let mut watching = Watching::start(containerd, cluster, agent)?;

    watching.cluster.server.expire_token("first");
    watching.cluster.server.cut_connections();
    for resource in ["kubewards", "pods", "nodes", "kubewardnodes"] {
        watching.agent.logged(&format!("{resource}: the API server does not know us (401), is the token expired?"), 0);
    }
    watching.goes_on()?;
    fs::write(&token, "second")?;
    // The file is read again once a minute.
    watching.cluster.server.wait_for_request(0, 2 * LIMIT + GIVEN_UP_WITHIN, |request| request.user == "second")?;
    watching.recovers(GIVEN_UP_WITHIN)
}

#[test]
fn kubernetes_server_that_answers_500_is_told_and_followed_again() -> Result<()> {
    let mut watching = watching()?;
    watching.fail_with(Fault::Code(500));
    for resource in ["kubewards", "pods", "nodes", "kubewardnodes"] {
        watching.agent.logged(&format!("{resource}: the API server says 500: Internal error occurred"), 0);
    }
    watching.goes_on()?;
    watching.cluster.server.clear_faults();
    watching.recovers(GIVEN_UP_WITHIN)
}

#[test]
fn kubernetes_server_that_takes_requests_and_says_nothing_is_told_and_followed_again() -> Result<()> {
    let mut watching = watching()?;
    watching.fail_with(Fault::Hang);
    for resource in ["kubewards", "pods", "nodes", "kubewardnodes"] {
        let words = format!("{resource}: the API server did not answer within 30 s");
        watching.agent.logged_within(GIVEN_UP_WITHIN, &words, 0);
    }
    watching.goes_on()?;
    watching.cluster.server.clear_faults();
    watching.recovers(GIVEN_UP_WITHIN)
}
