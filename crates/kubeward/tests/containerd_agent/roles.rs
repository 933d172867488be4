//! What agent and controller may do by the roles that are installed: all that they ask for, and nothing else.

use std::collections::BTreeSet;

use anyhow::Result;
use kubeward_testkit::kubernetes::FakeCluster;
use serde_json::{json, Value};

use crate::agent::Agent;
use crate::cluster::{entry, Cluster, Fake, AGENT, NODES};
use crate::containerd_with_image;
use crate::controller::Controller;
use crate::pods::{node, pod};
use crate::rights::{granted, Right};
use crate::stream::is_notice;
use crate::told::Told;

/// The service accounts, whose names are the users at the fake.
const CONTROLLER: &str = "kubeward-controller";

fn daemon_set() -> Value {
    let counts =
        json!({"desiredNumberScheduled": 1, "currentNumberScheduled": 1, "numberMisscheduled": 0, "numberReady": 1});
    json!({
        "apiVersion": "apps/v1", "kind": "DaemonSet", "metadata": {"name": "kubeward", "namespace": "kubeward"},
        "status": counts,
    })
}

fn let_do(cluster: &FakeCluster, user: &str, rights: &BTreeSet<Right>) {
    cluster.grant(user, &rights.iter().map(Right::role).collect::<Vec<_>>());
}

fn asked(cluster: &FakeCluster, user: &str) -> BTreeSet<Right> {
    cluster.requests().into_iter().filter(|request| request.user == user).map(Right::of).collect()
}

#[test]
fn kubernetes_roles_grant_what_agent_and_controller_ask_for_and_nothing_else() -> Result<()> {
    let (containerd, cluster) = (containerd_with_image()?, Cluster::start_fake()?);
    let accounts = [AGENT, CONTROLLER].map(|account| (account, granted(account)));
    for (account, rights) in &accounts {
        let_do(&cluster.server, account, rights);
    }
    for object in [node("false"), pod("web"), daemon_set()] {
        cluster.server.put(&object)?;
    }
    let controller = Controller::start(&cluster.server.kubeconfig(CONTROLLER)?)?;
    let mut agent = cluster.agent(&containerd, "n1")?;
    let mut told = Told::start(&containerd, "web")?;
    cluster.create("web", json!({"syscalls": [{"name": "mkdirat"}]}))?;
    agent.sees(&mut told, "mkdirat")?;
    cluster.policy_status("web", |status| status["ready"] == "1/1")?;
    for object in [node("true"), pod("db")] {
        cluster.server.put(&object)?;
    }
    cluster.server.cut_connections();
    cluster.edit("web", json!({"syscalls": [{"name": "unlinkat"}]}))?;
    agent.sees(&mut told, "unlinkat")?;
    cluster.policy_status("web", |status| status["observedGeneration"] == 2 && status["ready"] == "1/1")?;

    let mut second = cluster.agent(&containerd, "n1")?;
    second.logged("give each agent a --node-name of its own", 0);
    second.stop();
    cluster.delete("web")?;
    cluster.node("n1", |status| entry(status, "web").is_null())?;
    let first = agent.stop();
    // Another run of the agent, once the first has taken its object away.
    let again = cluster.agent(&containerd, "n1")?;
    cluster.node("n1", |status| status["run"].is_string())?;
    let again = again.stop();

    for (account, rights) in &accounts {
        let asked = asked(&cluster.server, account);
        let (lacking, idle): (Vec<_>, Vec<_>) =
            (asked.difference(rights).collect(), rights.difference(&asked).collect());
        assert!(lacking.is_empty(), "{account} asks for what no role of the right kind grants: {lacking:#?}");
        assert!(idle.is_empty(), "{account} never asks for what a role grants: {idle:#?}");
    }
    let logs = [first.log.join("\n"), again.log.join("\n"), controller.log()?];
    assert!(logs.iter().all(|log| !log.contains("(403)")), "{logs:#?}");
    Ok(())
}

#[test]
fn kubernetes_verb_that_the_agent_lacks_is_told_by_name_and_the_rest_goes_on() -> Result<()> {
    let (containerd, cluster) = (containerd_with_image()?, Cluster::start_fake()?);
    cluster.create("web", json!({"syscalls": [{"name": "mkdirat"}]}))?;
    let mut told = Told::start(&containerd, "web")?;
    let all = granted(AGENT);
    for lacking in &all {
        eprintln!("without {} of {}", lacking.verb, lacking.resource);
        let mut rest = all.clone();
        rest.remove(lacking);
        let_do(&cluster.server, AGENT, &rest);
        let agent = cluster.agent(&containerd, "n1")?;
        tells_and_goes_on(&cluster, agent, lacking, &mut told)?;
        // What an agent leaves that may not take it away.
        for object in cluster.server.api().list(NODES)? {
            cluster
                .server
                .api()
                .delete(&format!("{NODES}/{}", object["metadata"]["name"].as_str().unwrap_or_default()))?;
        }
    }
    Ok(())
}

fn tells_and_goes_on(cluster: &Fake, mut agent: Agent, lacking: &Right, told: &mut Told) -> Result<()> {
    let Right { verb, resource, .. } = lacking;
    let words = format!("{resource}: not allowed to {verb} (403): grant our role the verb {verb} on {resource}");
    match (resource.as_str(), verb.as_str()) {
        // Needed for its end alone.
        ("kubewardnodes", "get" | "delete") => {
            agent.sees(told, "mkdirat")?;
            cluster.node_policy("n1", "web", "Applied")?;
            let log = agent.stop().log;
            assert!(log.iter().any(|line| line.contains(&words)), "{words} is not in {log:#?}");
            return Ok(());
        }
        ("kubewards", _) => {
            let says = |line: &Value| line["message"].as_str().is_some_and(|message| message.contains(&words));
            agent.line(&words, |line| is_notice(line, "kubernetes_unreachable") && says(line));
        }
        _ => drop(agent.logged(&words, 0)),
    }
    match (resource.as_str(), verb.as_str()) {
        ("kubewards", "list") => assert!(agent.health(false)?.0, "without policies it lives"),
        _ => agent.sees(told, "mkdirat")?,
    }
    agent.stop();
    Ok(())
}
