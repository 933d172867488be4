//! Containers that were in another one's namespaces or cgroup before the agent came: whose their processes are, and whose the
//! other one's stay.

use std::fs;

use anyhow::Result;
use kubeward_testkit::containerd::Containerd;
use serde_json::Value;

use crate::agent::Agent;
use crate::escapes::{assert_only, containerd_with_escapes, policies, v2_cgroup, ways_of, Early};
use crate::guests::{guest, run, unified};
use crate::stream::is_call;
use crate::told::Told;

const WAYS: [&str; 6] =
    ["early-init", "early-namespaces", "early-nested", "early-orphan", "early-root", "early-thread"];

/// The process and all that descend from it.
fn family(pid: u32) -> Result<Vec<u32>> {
    let children = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children"))?;
    let mut family = vec![pid];
    for child in children.split_whitespace() {
        family.extend(self::family(child.parse()?)?);
    }
    Ok(family)
}

/// Moves all processes of a container into a cgroup of the v2 hierarchy.
fn intrude(containerd: &Containerd, id: &str, cgroup: &str) -> Result<()> {
    let procs = unified()?.join(cgroup).join("cgroup.procs");
    for pid in family(containerd.init_pid("default", id)?)? {
        fs::write(&procs, pid.to_string())?;
    }
    Ok(())
}

fn agent(containerd: &Containerd, policies: &crate::policy::Policies) -> Result<Agent> {
    let mut agent = Agent::start(&containerd.socket(), policies.folder())?;
    agent.ready();
    Ok(agent)
}

/// As the containers of a pod that shares its process namespace.
#[test]
fn containerd_tasks_of_a_shared_pid_namespace_are_not_its_first_containers() -> Result<()> {
    let containerd = containerd_with_escapes()?;
    let mut first = Told::start(&containerd, "first")?;
    let pids = format!("pid:/proc/{}/ns/pid", containerd.init_pid("default", &first.id)?);
    let early = Early::start_with(&containerd, "second", &["--with-ns", &pids], &["orphan"])?;
    let policies = policies()?;
    let mut agent = agent(&containerd, &policies)?;
    early.go()?;
    agent.event(&early.id, "access", "/escaped/early-init");
    first.tell("mkdir /at-the-end")?;
    agent.event(&first.id, "mkdirat", "/at-the-end");

    let stream = agent.stop().stream;
    assert_eq!(ways_of(&stream, &early.id), WAYS);
    for way in WAYS {
        let is_way = |line: &&Value| is_call(line, &early.id, "access", &format!("/escaped/{way}"));
        // The first one's init reaps for all: as long as it stays there, the mount namespace tells whose the orphan is.
        let identity = if way == "early-orphan" { "namespace".into() } else { Value::Null };
        assert_eq!(stream.0.iter().find(is_way).map(|event| &event["identity"]), Some(&identity), "{way}");
    }
    assert_eq!(ways_of(&stream, &first.id), [""; 0]);
    assert_only(&stream, &[&early.id]);
    Ok(())
}

#[test]
fn containerd_container_in_anothers_cgroup_is_itself_and_the_cgroup_stays_the_others() -> Result<()> {
    let containerd = containerd_with_escapes()?;
    let mut host = Told::start(&containerd, "middle")?;
    let cgroup = v2_cgroup(containerd.init_pid("default", &host.id)?)?;
    // Whichever of them is told first.
    let intruders = [Early::start(&containerd, "a-intruder", &[])?, Early::start(&containerd, "z-intruder", &[])?];
    for intruder in &intruders {
        intrude(&containerd, &intruder.id, &cgroup)?;
    }
    let policies = policies()?;
    let mut agent = agent(&containerd, &policies)?;
    for intruder in &intruders {
        intruder.go()?;
        agent.event(&intruder.id, "access", "/escaped/early-init");
    }
    containerd.exec("default", &host.id, &["/bin/escape", "beside"])?;
    for intruder in &intruders {
        containerd.end_task("default", &intruder.id)?;
        agent.container(&intruder.id, "gone");
    }
    containerd.exec("default", &host.id, &["/bin/escape", "after"])?;
    host.tell("mkdir /at-the-end")?;
    agent.event(&host.id, "mkdirat", "/at-the-end");

    let stream = agent.stop().stream;
    for intruder in &intruders {
        assert_eq!(ways_of(&stream, &intruder.id), WAYS);
    }
    assert_eq!(ways_of(&stream, &host.id), ["after", "beside"]);
    assert_only(&stream, &[&host.id, &intruders[0].id, &intruders[1].id]);
    Ok(())
}

#[test]
fn containerd_guest_of_a_container_in_the_root_cgroup_is_the_containers_only_while_it_is_inside() -> Result<()> {
    let containerd = containerd_with_escapes()?;
    let _in_a_cgroup = Told::start(&containerd, "other")?;
    let early = Early::start(&containerd, "rooted", &[])?;
    intrude(&containerd, &early.id, "")?;
    let policies = policies()?;
    let mut agent = agent(&containerd, &policies)?;
    run(guest().args(["namespaces", &containerd.init_pid("default", &early.id)?.to_string()]))?;
    early.go()?;
    let event = agent.event(&early.id, "access", "/escaped/early-init");
    assert_eq!((&event["identity"], &event["process"]["exe"]), (&Value::Null, &"/bin/escape_early".into()));

    let stream = agent.stop().stream;
    assert_eq!(ways_of(&stream, &early.id), [&WAYS[..], &["guest-inside"]].concat());
    assert_only(&stream, &[&early.id]);
    Ok(())
}
