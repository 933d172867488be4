//! An API server that is late, goes away and comes back; agents that are too many.

use anyhow::Result;
use kubeward_agent::kubernetes::crd::definitions;
use kubeward_testkit::kubernetes::ApiServer;
use serde_json::json;

use crate::agent::Agent;
use crate::cluster::{entry, Cluster};
use crate::containerd_with_image;
use crate::stream::is_notice;
use crate::told::Told;

#[test]
fn kubernetes_server_that_goes_away_leaves_the_policies_in_force_and_is_followed_again() -> Result<()> {
    let (containerd, mut cluster) = (containerd_with_image()?, Cluster::start()?);
    let mut agent = cluster.agent(&containerd, "n1")?;
    cluster.create("web", json!({"syscalls": [{"name": "mkdirat"}]}))?;
    let mut told = Told::start(&containerd, "web")?;
    agent.sees(&mut told, "mkdirat")?;

    cluster.server.stop()?;
    agent.line("word that nobody answers", |line| is_notice(line, "kubernetes_unreachable"));
    told.tell("mkdir /while-away")?;
    agent.event(&told.id, "mkdirat", "/while-away");
    // A container that comes meanwhile is watched, too.
    let mut late = Told::start(&containerd, "late")?;
    agent.sees(&mut late, "mkdirat")?;

    // Nothing changes, and it is said all the same that the server answers again.
    cluster.server.start_again()?;
    agent.line("word that it answers again", |line| is_notice(line, "kubernetes_answers"));
    assert_eq!(
        agent.count(|line| is_notice(line, "policies")),
        2,
        "none at first, then web: a list made anew is no news"
    );

    // What the watch would go on from is forgotten meanwhile.
    cluster.server.stop()?;
    cluster.server.compact()?;
    cluster.server.start_again()?;
    cluster.edit("web", json!({"syscalls": [{"name": "unlinkat"}]}))?;
    agent.sees(&mut told, "unlinkat")?;
    cluster.node("n1", |status| entry(status, "web")["observedGeneration"] == 2)?;
    let stream = agent.stop().stream;
    stream.assert_whole(&told.id);
    stream.assert_whole(&late.id);
    Ok(())
}

#[test]
fn kubernetes_agent_that_starts_before_the_definitions_waits_and_says_so() -> Result<()> {
    let (containerd, server) = (containerd_with_image()?, ApiServer::start()?);
    let mut agent = Agent::start_in_cluster(&containerd.socket(), &server.kubeconfig(), "n1")?;
    agent.line("word of the missing definition", |line| is_notice(line, "kubernetes_unreachable"));
    server.install_crds(&definitions())?;
    let cluster = Cluster { server };
    cluster.create("web", json!({"syscalls": [{"name": "mkdirat"}]}))?;
    let mut told = Told::start(&containerd, "web")?;
    agent.sees(&mut told, "mkdirat")?;
    cluster.node_policy("n1", "web", "Applied")?;
    agent.stop().stream.assert_whole(&told.id);
    Ok(())
}

#[test]
fn kubernetes_two_agents_of_two_nodes_each_say_their_own() -> Result<()> {
    let (containerd, cluster) = (containerd_with_image()?, Cluster::start()?);
    let (mut one, mut two) = (cluster.agent(&containerd, "n1")?, cluster.agent(&containerd, "n2")?);
    cluster.create("web", json!({"syscalls": [{"name": "mkdirat"}]}))?;
    let mut told = Told::start(&containerd, "web")?;
    one.sees(&mut told, "mkdirat")?;
    two.sees(&mut told, "mkdirat")?;
    let runs = ["n1", "n2"].map(|node| cluster.node(node, |status| entry(status, "web")["reason"] == "Applied"));
    let [first, second] = runs;
    assert_ne!(first?["run"], second?["run"]);
    one.stop().stream.assert_whole(&told.id);
    two.stop().stream.assert_whole(&told.id);
    Ok(())
}

#[test]
fn kubernetes_later_agent_of_the_same_node_is_not_ready_and_says_whose_the_name_is() -> Result<()> {
    let (containerd, cluster) = (containerd_with_image()?, Cluster::start()?);
    let first = cluster.agent(&containerd, "n1")?;
    let run = cluster.node("n1", |status| status["run"].is_string())?["run"].clone();
    let mut second = cluster.agent(&containerd, "n1")?;
    let refused = second.logged("give each agent a --node-name of its own", 0);
    assert!(refused.contains(run.as_str().unwrap_or_default()), "{refused}");
    let (is_ready, why) = second.unready()?;
    assert!(!is_ready && why.contains("node's name"), "{why}");
    assert!(second.health(false)?.0, "not ready, and alive");
    assert_eq!(cluster.node("n1", |status| status["run"].is_string())?["run"], run);

    first.stop();
    cluster.node("n1", |status| status["run"].is_string() && status["run"] != run)?;
    second.stop();
    Ok(())
}
