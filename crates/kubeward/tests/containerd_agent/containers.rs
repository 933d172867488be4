//! Containers that were there before, come again, come all at once, and leave nothing behind.

use std::fs;
use std::path::Path;
use std::thread;

use anyhow::{Context, Result};
use kubeward_testkit::containerd::Containerd;

use crate::agent::Agent;
use crate::policy::Policies;
use crate::stream::{container, is_container_line};
use crate::told::Told;
use crate::{containerd_with_image, maps};

fn opens_and_folders() -> Result<Policies> {
    Policies::new(&[("all", "{syscalls: [{name: openat}, {name: mkdirat}]}")])
}

#[test]
fn containerd_container_that_ran_before_the_agent_is_watched() -> Result<()> {
    let containerd = containerd_with_image()?;
    let mut told = Told::start(&containerd, "early")?;
    let policies = opens_and_folders()?;
    let mut agent = Agent::start(&containerd.socket(), policies.folder())?;
    agent.ready();
    agent.container(&told.id, "came");
    agent.sees(&mut told, "mkdirat")?;
    told.tell("open /etc/hostname")?;
    let opened = agent.event(&told.id, "openat", "/etc/hostname");
    assert_eq!(opened["syscall"]["path"], "/etc/hostname");
    assert_eq!(opened["stage"], "run");
    assert_eq!(opened["process"]["container_pid"], 1);
    assert_eq!(opened["process"]["comm"], "told");
    agent.stop().stream.assert_whole(&told.id);
    Ok(())
}

#[test]
fn containerd_container_that_ran_before_the_agent_cannot_leave_by_its_cgroup() -> Result<()> {
    let containerd = containerd_with_image()?;
    let mut told = Told::start(&containerd, "early")?;
    let policies = opens_and_folders()?;
    let mut agent = Agent::start(&containerd.socket(), policies.folder())?;
    agent.ready();
    agent.container(&told.id, "came");
    // Before its first call, which would tag it.
    let pid = pid_in_cgroup(&told.id)?;
    let root = ["/sys/fs/cgroup/unified", "/sys/fs/cgroup"].map(|at| Path::new(at).join("cgroup.procs"));
    let root = root.into_iter().find(|file| file.exists()).context("there is no v2 hierarchy")?;
    fs::write(root, pid.to_string())?;
    told.tell("open /etc/hostname")?;
    let opened = agent.event(&told.id, "openat", "/etc/hostname");
    assert_eq!(opened["identity"], serde_json::Value::Null, "it is known by its tag: {opened}");
    agent.stop().stream.assert_whole(&told.id);
    Ok(())
}

/// The one process whose cgroups have this in their paths.
fn pid_in_cgroup(id: &str) -> Result<u32> {
    let processes =
        fs::read_dir("/proc")?.flatten().filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    let is_in = |pid: &u32| fs::read_to_string(format!("/proc/{pid}/cgroup")).is_ok_and(|text| text.contains(id));
    processes.filter(|&pid| is_in(&pid)).last().with_context(|| format!("no process is in a cgroup of {id}"))
}

#[test]
fn containerd_exec_belongs_to_its_container_with_its_execve() -> Result<()> {
    let containerd = containerd_with_image()?;
    let policies =
        Policies::new(&[("all", "{syscalls: [{name: execve}, {name: openat}, {name: open}, {name: mkdirat}]}")])?;
    let mut agent = Agent::start(&containerd.socket(), policies.folder())?;
    agent.ready();
    let mut told = Told::start(&containerd, "web")?;
    agent.sees(&mut told, "mkdirat")?;

    assert_eq!(containerd.exec("default", &told.id, &["/bin/cat", "/etc/hostname"])?, "kubeward-test\n");
    let is_open_of_hostname = |line: &serde_json::Value| {
        container(line) == told.id && line["syscall"]["path"] == "/etc/hostname" && line["syscall"]["ret"].is_u64()
    };
    let opened = agent.line("the exec's open", is_open_of_hostname);
    assert_eq!((&opened["process"]["comm"], &opened["stage"]), (&"cat".into(), &"run".into()));
    assert_eq!(opened["identity"], serde_json::Value::Null, "it is in the container's cgroup: {opened}");
    let is_its_exec = |line: &serde_json::Value| {
        line["syscall"]["name"] == "execve" && line["process"]["pid"] == opened["process"]["pid"]
    };
    let exec = agent.line("the exec's execve", is_its_exec);
    assert_eq!(container(&exec), told.id);
    agent.stop().stream.assert_whole(&told.id);
    Ok(())
}

#[test]
fn containerd_restart_with_the_same_id_is_watched_again() -> Result<()> {
    let containerd = containerd_with_image()?;
    let policies = opens_and_folders()?;
    let mut agent = Agent::start(&containerd.socket(), policies.folder())?;
    agent.ready();
    let mut told = Told::start(&containerd, "web")?;
    agent.sees(&mut told, "mkdirat")?;
    told.tell("mkdir /first")?;
    let first = agent.event(&told.id, "mkdirat", "/first");

    containerd.end_task("default", &told.id)?;
    agent.container(&told.id, "gone");
    let start = agent.now();
    containerd.start_task("default", &told.id)?;
    agent.line_after(start, "the second coming", |line| is_container_line(line, &told.id, "came"));
    agent.sees(&mut told, "mkdirat")?;
    told.tell("mkdir /second")?;
    let second = agent.event(&told.id, "mkdirat", "/second");
    assert_ne!(first["process"]["pid"], second["process"]["pid"]);
    assert_eq!(first["container"], second["container"]);

    let ended = agent.stop();
    assert_eq!(ended.stream.final_ledgers(&told.id).len(), 2, "an account for each time it ran");
    ended.stream.assert_whole(&told.id);
    Ok(())
}

#[test]
fn containerd_fifty_at_once_are_told_apart_and_leave_the_maps_empty() -> Result<()> {
    let containerd = containerd_with_image()?;
    let policies = opens_and_folders()?;
    let mut agent = Agent::start(&containerd.socket(), policies.folder())?;
    agent.ready();

    let mut all = at_once(0..50, |_| Told::start(&containerd, "many"))?;
    for told in &mut all {
        agent.container(&told.id, "came");
        agent.sees(told, "mkdirat")?;
    }
    for told in &mut all {
        told.tell(&format!("open /marker-of-{}", told.id))?;
    }
    for told in &all {
        agent.event(&told.id, "openat", &format!("/marker-of-{}", told.id));
    }
    // The machine may have either kind of hierarchy, and namespaces serve beside the v2 one too.
    let agent_pid = agent.pid();
    let in_maps = |name: &str| maps::entries(agent_pid, name);
    let most = in_maps("container_map")?.max(in_maps("namespace_map")?);
    assert_eq!(most, 50, "while fifty run");

    at_once(all.iter(), |told| containerd.remove("default", &told.id))?;
    for told in &all {
        agent.container(&told.id, "gone");
    }
    assert_eq!((in_maps("container_map")?, in_maps("namespace_map")?), (0, 0), "when all are gone");

    let stream = agent.stop().stream;
    for told in &all {
        let marker = format!("/marker-of-{}", told.id);
        let opened = stream.paths(&told.id, "openat");
        let markers: Vec<&&str> = opened.iter().filter(|path| path.starts_with("/marker-of-")).collect();
        assert_eq!(markers, [&marker.as_str()], "only its own, and once");
        stream.assert_whole(&told.id);
    }
    let node = stream.node_ledger();
    assert_eq!((&node["lost"]["total"], &node["skipped"]), (&0.into(), &0.into()), "{node}");
    Ok(())
}

/// Does the work for each item in a thread of its own; the results in the items' order.
fn at_once<I: Send, T: Send>(items: impl Iterator<Item = I>, work: impl Fn(I) -> Result<T> + Sync) -> Result<Vec<T>> {
    let work = &work;
    thread::scope(|scope| {
        let threads: Vec<_> = items.map(|item| scope.spawn(move || work(item))).collect();
        threads.into_iter().map(|thread| thread.join().expect("the work returns its errors")).collect()
    })
}

#[test]
fn containerd_killed_container_is_accounted_for_and_gone() -> Result<()> {
    let containerd: Containerd = containerd_with_image()?;
    let policies = opens_and_folders()?;
    let mut agent = Agent::start(&containerd.socket(), policies.folder())?;
    agent.ready();
    let mut told = Told::start(&containerd, "killed")?;
    agent.sees(&mut told, "mkdirat")?;
    // Killed in the middle of its calls.
    told.tell("beat")?;
    containerd.remove("default", &told.id)?;
    agent.container(&told.id, "gone");

    let stream = agent.stop().stream;
    let gone = stream.0.iter().position(|line| is_container_line(line, &told.id, "gone"));
    let last = stream.0.iter().rposition(|line| container(line) == told.id);
    assert_eq!(gone, last, "no line of it follows");
    stream.assert_whole(&told.id);
    Ok(())
}
