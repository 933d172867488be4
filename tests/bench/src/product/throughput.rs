//! What a node's work loses by being watched: redis, a compiler, a shell that forks. Each beside the same without an agent, in turn.

use std::net::TcpListener;
use std::path::Path;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{ensure, Context, Result};
use tempfile::TempDir;

use super::agent::Agent;
use super::node::Node;
use crate::measure::{ratios_to_baseline, Sample, Spread};
use crate::registry::{Bench, Findings};
use crate::row::{Goal, Measured, Spec};

const REDIS: &str = "product/redis";
const COMPILE: &str = "product/compile";
const FORKS: &str = "product/forks";

/// Losing an event is cheaper than keeping it: such a round is taken again, so often.
const TRIES: usize = 3;

/// What redis answers within after its start.
const ANSWERS_WITHIN: Duration = Duration::from_secs(20);

pub fn rows() -> Vec<Spec> {
    let spec = |name: &str, what: &str, unit: &str, goal| Spec {
        name: name.into(),
        what: what.into(),
        against: "no agent".into(),
        unit: unit.into(),
        goal,
    };
    vec![
        spec(
            REDIS,
            "redis-benchmark (get, set) against redis in a container, network and file watched",
            "requests/s",
            Some(Goal::RatioAtLeast(0.85)),
        ),
        spec(COMPILE, "gcc -O2 of 28 C files in a container, file, process and network watched", "s", None),
        spec(FORKS, "a shell that starts programs in a container, file, process and network watched", "s", None),
    ]
}

pub fn run(bench: &Bench) -> Result<Findings> {
    let node = Node::start(&[])?;
    let mut findings = Findings::default();
    for (name, measure) in [(REDIS, redis as fn(&Bench, &Node) -> Result<Measured>), (COMPILE, compile), (FORKS, forks)]
    {
        if bench.wants(name) {
            match measure(bench, &node) {
                Ok(measured) => findings.measured.push(measured),
                Err(error) => findings.not_run.push((name.to_owned(), error.into())),
            }
        }
    }
    Ok(findings)
}

/// A policy in a folder of its own, and where the agent's events go.
pub(super) struct Watch {
    folder: TempDir,
}

impl Watch {
    pub(super) fn of(categories: &str) -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let policy = format!(
            "apiVersion: kubeward.kubeward/v1\nkind: KubeWard\nmetadata: {{name: all}}\nspec: {{categories: [{categories}]}}\n"
        );
        std::fs::write(folder.path().join("policy.yaml"), policy)?;
        Ok(Self { folder })
    }

    /// An agent that watches the node by the policy.
    pub(super) fn agent(&self, node: &Node) -> Result<Agent> {
        let (policy, output) = (self.folder.path().join("policy.yaml"), self.folder.path().join("events.jsonl"));
        let (policy, output) = (policy.to_string_lossy(), output.to_string_lossy());
        Agent::start(&node.socket(), &["-f", &policy, "-o", &output, "--rotate-size", "500M", "--rotate-keep", "1"])
    }

    /// The load with an agent and without one, the one or the other first; what the agent lost of it.
    fn sample(&self, node: &Node, round: usize, load: impl Fn() -> Result<f64>) -> Result<(Sample, u64)> {
        let with = || {
            let agent = self.agent(node)?;
            let measured = load()?;
            let ledger = agent.settled_account()?;
            let lost = super::agent::lost(&ledger.node.context("an account of the node")?)?;
            agent.stop()?;
            anyhow::Ok((measured, lost))
        };
        let is_first = round.is_multiple_of(2);
        let before = if is_first { None } else { Some(load()?) };
        let (with, lost) = with()?;
        let without = before.map_or_else(&load, Ok)?;
        Ok((Sample { with, without }, lost))
    }

    fn measure(&self, bench: &Bench, name: &str, node: &Node, load: impl Fn() -> Result<f64>) -> Result<Measured> {
        // Files and memory as all later rounds find them.
        load()?;
        let (mut samples, mut lost, mut retaken) = (Vec::new(), 0, 0);
        for round in 0..bench.rounds {
            let mut taken = self.sample(node, round, &load)?;
            for _ in 1..TRIES {
                if taken.1 == 0 {
                    break;
                }
                retaken += 1;
                taken = self.sample(node, round, &load)?;
            }
            samples.push(taken.0);
            lost += taken.1;
        }
        let with: Vec<f64> = samples.iter().map(|sample| sample.with).collect();
        let figure = Spread::of(&with).context("times are numbers")?;
        let ratio = Spread::of(&ratios_to_baseline(&samples)).context("a load takes time")?;
        let measured = Measured::figure(name, figure).with_ratio(ratio);
        if lost > 0 {
            return Ok(measured.with_fault(format!("lost {lost} events, in spite of {TRIES} tries a round")));
        }
        Ok(measured.with_note(format!("nothing lost, {retaken} rounds taken again")))
    }
}

/// What redis, and what redis and its client, are watched for.
pub(super) const REDIS_CATEGORIES: &str = "network, file";

fn redis(bench: &Bench, node: &Node) -> Result<Measured> {
    let redis = Redis::start(node)?;
    let requests = if bench.is_once { 5_000 } else { 200_000 };
    let measured = Watch::of(REDIS_CATEGORIES)?.measure(bench, REDIS, node, || redis.requests_per_second(requests))?;
    redis.stop(node)?;
    Ok(measured)
}

/// One in a container; its client is a program of the host.
pub(super) struct Redis {
    id: String,
    port: String,
}

impl Redis {
    pub(super) fn start(node: &Node) -> Result<Self> {
        for program in ["redis-server", "redis-benchmark"] {
            let found = Command::new(program).arg("--version").output();
            ensure!(
                found.is_ok_and(|output| output.status.success()),
                "{program} is not installed (apt-get install redis-server redis-tools)"
            );
        }
        let port = free_port()?.to_string();
        let server = ["redis-server", "--port", &port, "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"];
        let id = node.run("redis", Path::new("/tmp"), &server)?;
        wait_for_redis(&port)?;
        Ok(Self { id, port })
    }

    /// Of both tests together.
    pub(super) fn requests_per_second(&self, requests: u64) -> Result<f64> {
        let count = requests.to_string();
        let args = ["-p", &self.port, "-t", "get,set", "-n", &count, "-c", "50", "--csv"];
        let output = Command::new("redis-benchmark").args(args).output().context("running redis-benchmark")?;
        let text = String::from_utf8_lossy(&output.stdout);
        // "SET","81234.56","0.312",...
        let rates: Vec<f64> = text.lines().filter_map(|line| line.split('"').nth(3)?.parse().ok()).collect();
        ensure!(rates.len() == 2, "redis-benchmark printed {text}{}", String::from_utf8_lossy(&output.stderr));
        Ok(2.0 / rates.iter().map(|rate| 1.0 / rate).sum::<f64>())
    }

    pub(super) fn stop(self, node: &Node) -> Result<()> {
        node.remove(&self.id)
    }
}

/// Of this moment; whoever takes it first has it.
fn free_port() -> Result<u16> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?.port())
}

fn wait_for_redis(port: &str) -> Result<()> {
    let deadline = Instant::now() + ANSWERS_WITHIN;
    let answers =
        || Command::new("redis-cli").args(["-p", port, "ping"]).output().is_ok_and(|output| output.stdout == b"PONG\n");
    while !answers() {
        ensure!(
            Instant::now() < deadline,
            "redis does not answer on port {port} within {ANSWERS_WITHIN:?} of its start"
        );
        thread::sleep(Duration::from_millis(20));
    }
    Ok(())
}

fn compile(bench: &Bench, node: &Node) -> Result<Measured> {
    let sources = Path::new(env!("CARGO_MANIFEST_DIR")).join("../witness").canonicalize()?;
    let id = node.run_idle("compile", &sources)?;
    let files = if bench.is_once { "/sources/pair.c" } else { "/sources/*.c" };
    let script = format!("for file in {files}; do gcc -O2 -w -c $file -o /tmp/out.o || exit 1; done");
    let measured =
        Watch::of("file, process, network")?.measure(bench, COMPILE, node, || seconds_of(node, &id, &script));
    node.remove(&id)?;
    measured
}

fn forks(bench: &Bench, node: &Node) -> Result<Measured> {
    let id = node.run_idle("forks", Path::new("/tmp"))?;
    let programs = if bench.is_once { 50 } else { 1_500 };
    let script = format!("i=0; while [ $i -lt {programs} ]; do /usr/bin/true; i=$((i + 1)); done");
    let measured = Watch::of("file, process, network")?.measure(bench, FORKS, node, || seconds_of(node, &id, &script));
    node.remove(&id)?;
    measured
}

/// How long a script takes in the container, by the clock there: what it takes to join one is no part of it.
fn seconds_of(node: &Node, id: &str, script: &str) -> Result<f64> {
    let timed = format!("begin=$(/usr/bin/date +%s%N); {script}; end=$(/usr/bin/date +%s%N); echo $((end - begin))");
    let printed = node.exec(id, &["/bin/sh", "-c", &timed])?;
    let ns: f64 = printed.trim().parse().with_context(|| format!("the script printed {printed:?} for a time"))?;
    Ok(ns / 1e9)
}
