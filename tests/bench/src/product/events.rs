//! What an event costs user space.

use std::collections::BTreeMap;

use anyhow::{Context, Result};
use kubeward_agent::serve::proto::{Account, GetLedgerResponse};

use super::agent::{lost, Agent};
use super::node::Node;
use super::producer;
use crate::measure::Spread;
use crate::registry::{Bench, Findings};
use crate::row::{Goal, Measured, Spec};

const USER_CPU: &str = "product/user-cpu";

/// Calls a second that the agent keeps up with on two CPUs, so that what it costs is not what is left to it.
const RATE: u64 = 200_000;

/// Losing an event is cheaper than keeping it: such a round is taken again, so often.
const TRIES: usize = 3;

pub fn rows() -> Vec<Spec> {
    vec![Spec::alone(
        USER_CPU,
        "CPU of the agent's process for an event (getppid, read, openat, close), JSON to /dev/null",
        "us/event",
        Goal::FigureAtMost(1.0),
    )]
}

pub fn run(bench: &Bench) -> Result<Findings> {
    let folder = tempfile::tempdir()?;
    let node = Node::start(&[producer::compile(folder.path())?])?;
    let mut findings = Findings::default();
    if bench.wants(USER_CPU) {
        findings.measured.push(user_cpu(bench, &node)?);
    }
    Ok(findings)
}

pub(super) fn account<'a>(ledger: &'a GetLedgerResponse, container: &str) -> Result<&'a Account> {
    let mut containers = ledger.containers.iter();
    let found = containers.find(|account| account.container.as_ref().is_some_and(|name| name.id == container));
    found.and_then(|found| found.account.as_ref()).with_context(|| format!("the ledger has no account of {container}"))
}

fn user_cpu(bench: &Bench, node: &Node) -> Result<Measured> {
    let seconds = if bench.is_once { 1 } else { 5 };
    let id = node.run_idle("paced", std::path::Path::new("/tmp"))?;
    let agent = Agent::start(&node.socket(), &["-e", "getppid,read,openat,close", "-o", "/dev/null"])?;
    let (mut totals, mut by_thread, mut all_lost) = (Vec::new(), BTreeMap::new(), 0);
    for _ in 0..bench.rounds {
        let mut lost = 0;
        for _ in 0..TRIES {
            (by_thread, lost) = cpu_of_events(node, &agent, &id, seconds)?;
            if lost == 0 {
                break;
            }
        }
        totals.push(by_thread.values().sum::<f64>() / 1000.0);
        all_lost += lost;
    }
    agent.stop()?;
    node.remove(&id)?;
    by_thread.retain(|_, ns| *ns >= 1.0);
    let told: Vec<String> = by_thread.iter().map(|(name, ns)| format!("{name} {ns:.0} ns")).collect();
    let figure = Spread::of(&totals).context("some events were emitted")?;
    let measured = Measured::figure(USER_CPU, figure).with_note(told.join(", "));
    Ok(if all_lost > 0 {
        measured.with_fault(format!("lost {all_lost} events, in each of {TRIES} tries"))
    } else {
        measured
    })
}

/// Nanoseconds of each of the agent's threads for an event, and how many events were lost.
fn cpu_of_events(node: &Node, agent: &Agent, id: &str, seconds: u64) -> Result<(BTreeMap<String, f64>, u64)> {
    let before = account(&agent.settled_account()?, id)?.clone();
    let cpu_before = agent.cpu_ns()?;
    producer::mixed(node, id, seconds, RATE)?;
    let after = account(&agent.settled_account()?, id)?.clone();
    let cpu = agent.cpu_ns()?;
    let events = (after.emitted - before.emitted) as f64;
    // A thread that ended meanwhile took its time with it.
    let taken = |name: &String, ns: u64| ns.saturating_sub(*cpu_before.get(name).unwrap_or(&0)) as f64 / events;
    let by_thread = cpu.iter().map(|(name, ns)| (name.clone(), taken(name, *ns))).collect();
    Ok((by_thread, lost(&after)? - lost(&before)?))
}
