//! How many events come through, what each costs user space, and whether the ledger is exact about it.

use std::thread;
use std::time::Instant;

use anyhow::{ensure, Context, Result};
use kubeward_agent::serve::proto::{Account, GetLedgerResponse};

use super::agent::{lost, Agent};
use super::node::Node;
use super::producer;
use crate::measure::Spread;
use crate::registry::{Bench, Findings};
use crate::row::{Goal, Measured, Spec};

const SUSTAINED: &str = "product/sustained";
const USER_CPU: &str = "product/user-cpu";

/// Calls a second that the agent keeps up with on two CPUs, so that what it costs is not what is left to it.
const RATE: u64 = 200_000;

pub fn rows() -> Vec<Spec> {
    let spec = |name: &str, what: &str, unit: &str, goal| Spec {
        name: name.into(),
        what: what.into(),
        against: "-".into(),
        unit: unit.into(),
        goal: Some(goal),
    };
    vec![
        spec(
            SUSTAINED,
            "two containers make getppid as fast as they can for 60 s, JSON to a file",
            "events/s",
            Goal::FigureAtLeast(700_000.0),
        ),
        spec(
            USER_CPU,
            "CPU of the agent's process for an event (getppid, read, openat, close), JSON to /dev/null",
            "us/event",
            Goal::FigureAtMost(1.0),
        ),
    ]
}

pub fn run(bench: &Bench) -> Result<Findings> {
    let folder = tempfile::tempdir()?;
    let node = Node::start(&[producer::compile(folder.path())?])?;
    let mut findings = Findings::default();
    if bench.wants(USER_CPU) {
        findings.measured.push(user_cpu(bench, &node)?);
    }
    if bench.wants(SUSTAINED) {
        findings.measured.push(sustained(bench, &node, folder.path())?);
    }
    Ok(findings)
}

fn account<'a>(ledger: &'a GetLedgerResponse, container: &str) -> Result<&'a Account> {
    let mut containers = ledger.containers.iter();
    let found = containers.find(|account| account.container.as_ref().is_some_and(|name| name.id == container));
    found.and_then(|found| found.account.as_ref()).with_context(|| format!("the ledger has no account of {container}"))
}

fn user_cpu(bench: &Bench, node: &Node) -> Result<Measured> {
    let seconds = if bench.is_once { 1 } else { 5 };
    let id = node.run_idle("paced", std::path::Path::new("/tmp"))?;
    let agent = Agent::start(&node.socket(), &["-e", "getppid,read,openat,close", "-o", "/dev/null"])?;
    let (mut totals, mut by_thread) = (Vec::new(), Vec::new());
    for _ in 0..bench.rounds {
        let before = account(&agent.settled_account()?, &id)?.clone();
        let cpu_before = agent.cpu_ns()?;
        producer::mixed(node, &id, seconds, RATE)?;
        let after = account(&agent.settled_account()?, &id)?.clone();
        let cpu = agent.cpu_ns()?;
        ensure!(lost(&after)? == lost(&before)?, "the agent did not keep up: {after:?}");
        let events = (after.emitted - before.emitted) as f64;
        let taken = |name: &str| cpu.get(name).unwrap_or(&0) - cpu_before.get(name).unwrap_or(&0);
        totals.push(cpu.keys().map(|name| taken(name)).sum::<u64>() as f64 / events / 1000.0);
        by_thread = cpu.keys().map(|name| (name.clone(), taken(name) as f64 / events)).collect();
    }
    agent.stop()?;
    node.remove(&id)?;
    by_thread.retain(|(_, ns)| *ns >= 1.0);
    let told: Vec<String> = by_thread.iter().map(|(name, ns)| format!("{name} {ns:.0} ns")).collect();
    let figure = Spread::of(&totals).context("some events were emitted")?;
    Ok(Measured::figure(USER_CPU, figure).with_note(told.join(", ")))
}

fn sustained(bench: &Bench, node: &Node, folder: &std::path::Path) -> Result<Measured> {
    let seconds = if bench.is_once { 2 } else { 60 };
    let ids = [node.run_idle("first", folder)?, node.run_idle("second", folder)?];
    let output = folder.join("events.jsonl");
    let output = output.to_string_lossy();
    let args = ["-e", "getppid", "-o", &output, "--rotate-size", "1G", "--rotate-keep", "1"];
    let agent = Agent::start(&node.socket(), &args)?;
    let begin = Instant::now();
    let made = thread::scope(|scope| {
        let producers = ids.each_ref().map(|id| scope.spawn(|| producer::one(node, id, seconds)));
        producers.map(|producer| producer.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
    });
    let ledger = agent.settled_account()?;
    let took = begin.elapsed().as_secs_f64();
    let (mut emitted, mut parts) = (0, Vec::new());
    for (id, made) in ids.iter().zip(made) {
        let (account, made) = (account(&ledger, id)?, made?);
        ensure!(account.seen == made, "{id} made {made} calls, of which {} were seen", account.seen);
        emitted += account.emitted;
        parts.push((account.emitted, lost(account)?, made));
    }
    agent.stop()?;
    ids.iter().try_for_each(|id| node.remove(id))?;
    let figure = Spread::of(&[emitted as f64 / took]).context("time has passed")?;
    Ok(Measured::figure(SUSTAINED, figure).with_note(told(&parts)))
}

/// What became of each container's calls.
fn told(parts: &[(u64, u64, u64)]) -> String {
    let part = |(emitted, lost, made): &(u64, u64, u64)| {
        format!("{made} calls = {emitted} emitted + {lost} lost ({:.1} %)", 100.0 * *lost as f64 / *made as f64)
    };
    format!("ledger exact: {}", parts.iter().map(part).collect::<Vec<_>>().join("; "))
}
