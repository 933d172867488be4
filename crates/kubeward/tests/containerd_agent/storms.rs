//! Very many namespaces, cgroups and processes: exact accounts, bounded memory, and nothing left in the maps.
//!
//! `KUBEWARD_TEST_FULL=1` has the numbers of docs/truth.md, else they are a twentieth.

use std::fs;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{ensure, Context, Result};
use kubeward_testkit::containerd::Containerd;
use nix::unistd::Pid;

use crate::agent::Agent;
use crate::escapes::CGROUPS;
use crate::policy::Policies;
use crate::stream::number;
use crate::told::Told;
use crate::witness::witness;
use crate::{image, maps, IMAGE};

/// What the agent's memory may grow by. An agent that kept but 1 KiB of each of 100,000 things would exceed it.
const GROWTH_KIB: u64 = 64 << 10;

/// Births with a slot at most, whoever makes the cgroups; the rest are of an agent that just ended a look.
const MOST_BIRTHS: usize = 1024;

fn scaled(full: u64) -> u64 {
    if kubeward_testkit::is_full() {
        full
    } else {
        full / 20
    }
}

fn watched() -> Result<(Containerd, Policies, Agent)> {
    let containerd = Containerd::start()?;
    containerd.import("default", &image().program(witness("storm")))?;
    let policies = Policies::new(&[("storm", "{syscalls: [{name: unshare}, {name: getppid}]}")])?;
    let mut agent = Agent::start(&containerd.socket(), policies.folder())?;
    agent.ready();
    Ok((containerd, policies, agent))
}

/// The most that the process has ever had in memory.
fn peak_kib(pid: Pid) -> Result<u64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).context("no VmHWM")?;
    Ok(line.trim().trim_end_matches(" kB").parse()?)
}

fn entries(agent: &Agent) -> Result<(usize, usize)> {
    Ok((maps::entries(agent.pid(), "container_map")?, maps::entries(agent.pid(), "namespace_map")?))
}

/// In a container that makes `count` of the calls that the policy names.
fn in_a_container(storm: &str, count: u64) -> Result<()> {
    let (containerd, _policies, mut agent) = watched()?;
    let before = peak_kib(agent.pid())?;
    let mut told = Told::start_with(&containerd, "storm", &[], &CGROUPS)?;
    agent.container(&told.id, "came");
    told.tell_within(
        Duration::from_secs(200),
        &format!("run /bin/storm {}", storm.replace("COUNT", &count.to_string())),
    )?;
    let grown = peak_kib(agent.pid())? - before;
    containerd.remove("default", &told.id)?;
    agent.container(&told.id, "gone");
    assert_eq!(entries(&agent)?, (0, 0), "when it has gone");

    let stream = agent.stop().stream;
    let ledgers = stream.final_ledgers(&told.id);
    let [ledger] = ledgers[..] else { panic!("one account of {IMAGE}, not {ledgers:?}") };
    println!(
        "{storm} ({count}): {} seen, {} lost, memory grew by {grown} KiB",
        ledger["seen"], ledger["lost"]["total"]
    );
    assert_eq!(ledger["balanced"], true, "{ledger}");
    assert_eq!(number(&ledger["seen"]) - number(&ledger["filtered"]["setup"]), count, "{ledger}");
    assert_eq!(number(&ledger["emitted"]), stream.events_of(&told.id).count() as u64, "{ledger}");
    assert!(grown < GROWTH_KIB, "memory grew by {grown} KiB");
    stream.node_ledger();
    Ok(())
}

#[test]
fn containerd_namespaces_by_the_thousand_are_accounted_for() -> Result<()> {
    in_a_container("unshares COUNT", scaled(100_000))
}

#[test]
fn containerd_cgroups_by_the_thousand_are_their_makers() -> Result<()> {
    in_a_container("cgroups COUNT /cgroup", scaled(10_000))
}

#[test]
fn containerd_fork_storm_is_accounted_for() -> Result<()> {
    in_a_container("forks COUNT", scaled(100_000))
}

#[test]
fn containerd_thousands_of_processes_at_once_are_accounted_for() -> Result<()> {
    in_a_container("processes COUNT", scaled(5_000))
}

#[test]
fn containerd_hosts_namespaces_and_cgroups_by_the_thousand_are_nobodys_and_leave_nothing() -> Result<()> {
    let (_containerd, _policies, mut agent) = watched()?;
    let before = peak_kib(agent.pid())?;
    for (storm, count) in [("unshares", scaled(100_000)), ("cgroups", scaled(10_000))] {
        let output = Command::new(witness("storm")).args([storm, &count.to_string(), "/sys/fs/cgroup"]).output()?;
        ensure!(output.status.success(), "{storm}: {}", String::from_utf8_lossy(&output.stderr));
    }
    let births = maps::entries(agent.pid(), "births")?;
    assert!(births <= MOST_BIRTHS, "{births} cgroups that have gone are waited for");
    assert_eq!(entries(&agent)?, (0, 0));
    // Those that had a call are waited for as long as a runtime may take.
    let deadline = Instant::now() + Duration::from_secs(90);
    while kubeward_testkit::is_full() && maps::entries(agent.pid(), "births")? > 0 {
        assert!(Instant::now() < deadline, "cgroups that have gone are still waited for");
        agent.count(|_| false);
    }
    let grown = peak_kib(agent.pid())? - before;
    println!("{births} births are left at first, memory grew by {grown} KiB");
    assert!(grown < GROWTH_KIB, "memory grew by {grown} KiB");
    let stream = agent.stop().stream;
    assert_eq!(stream.0.iter().filter(|line| line["kind"] == "syscall").count(), 0, "the host is nobody's");
    stream.node_ledger();
    Ok(())
}
