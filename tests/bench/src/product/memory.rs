//! What an agent holds: resident memory by the number of containers, which a simulated containerd tells of, and the kernel's maps.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use libbpf_rs::query::MapInfoIter;

use super::agent::Agent;
use super::fake_containerd::FakeContainerd;
use crate::measure::Spread;
use crate::registry::{Bench, Findings};
use crate::row::{Goal, Measured, Spec};

const IDLE: &str = "memory/idle";
const MAPS: &str = "memory/maps";
const POLICY: &str = "memory/policy";

/// Rows by containers, in a whole run: name, how many, most MiB.
const BY_CONTAINERS: [(&str, usize, f64); 2] =
    [("memory/1000-containers", 1_000, 40.0), ("memory/10000-containers", 10_000, 120.0)];

/// How much smaller numbers are where only is to be seen that it runs.
const ONCE_DIVISOR: usize = 50;

/// The agent lists all tasks of containerd twice a second: what that takes at its most is in it.
const WATCHED_FOR: Duration = Duration::from_secs(3);

const POLICIES: usize = 100;

const MIB: f64 = 1_048_576.0;

pub fn rows() -> Vec<Spec> {
    let spec = |name, what: String, unit, most| Spec::alone(name, what, unit, Goal::FigureAtMost(most));
    let mut rows = vec![spec(
        IDLE,
        "resident memory of an agent without containers, the mapped ring included".into(),
        "MiB",
        25.0,
    )];
    rows.extend(BY_CONTAINERS.map(|(name, count, most)| {
        spec(
            name,
            format!("resident memory beside {count} containers (simulated containerd), at its most"),
            "MiB",
            most,
        )
    }));
    rows.push(spec(MAPS, "all of the kernel's maps of an agent, by default".into(), "MiB", 24.0));
    rows.push(spec(POLICY, format!("maps and resident memory more for each of {POLICIES} policies"), "KiB", 64.0));
    rows
}

pub fn run(bench: &Bench) -> Result<Findings> {
    let mut findings = Findings::default();
    if [IDLE, MAPS, POLICY].iter().any(|name| bench.wants(name)) {
        findings.measured.extend(small(bench)?);
    }
    for (name, count, _) in BY_CONTAINERS {
        if bench.wants(name) {
            let count = if bench.is_once { count / ONCE_DIVISOR } else { count };
            match beside(name, count) {
                Ok(measured) => findings.measured.push(measured),
                Err(error) => findings.not_run.push((name.to_owned(), error.into())),
            }
        }
    }
    Ok(findings)
}

/// An agent's memory, in bytes.
struct Held {
    resident: u64,
    maps: BTreeMap<u32, u64>,
    names: BTreeMap<u32, String>,
}

impl Held {
    fn map_bytes(&self) -> u64 {
        self.maps.values().sum()
    }
}

/// Agents with one policy and with many, in turn.
fn small(bench: &Bench) -> Result<Vec<Measured>> {
    let containerd = FakeContainerd::start(0)?;
    let (mut idle, mut maps, mut policy) = (Vec::new(), Vec::new(), Vec::new());
    let mut largest = String::new();
    for _ in 0..bench.rounds {
        let one = held(&containerd, 0, 1)?;
        let many = held(&containerd, 0, POLICIES)?;
        let of_both = |held: &Held| (held.resident + held.map_bytes()) as f64;
        idle.push(one.resident as f64 / MIB);
        maps.push(one.map_bytes() as f64 / MIB);
        policy.push((of_both(&many) - of_both(&one)) / (POLICIES - 1) as f64 / 1024.0);
        largest = told_largest(&one);
    }
    let spread = |values: &[f64]| Spread::of(values).context("sizes are numbers");
    Ok(vec![
        Measured::figure(IDLE, spread(&idle)?),
        Measured::figure(MAPS, spread(&maps)?).with_note(largest),
        Measured::figure(POLICY, spread(&policy)?),
    ])
}

/// The maps of which most of it is.
fn told_largest(held: &Held) -> String {
    let mut maps: Vec<(&u32, &u64)> = held.maps.iter().collect();
    maps.sort_by_key(|(_, bytes)| std::cmp::Reverse(**bytes));
    let told = maps.iter().take(6).map(|(id, bytes)| {
        let name = held.names.get(id).map_or("?", String::as_str);
        format!("{name} {:.1}", **bytes as f64 / MIB)
    });
    told.collect::<Vec<_>>().join(", ")
}

fn beside(name: &str, count: usize) -> Result<Measured> {
    let containerd = FakeContainerd::start(count)?;
    let begin = Instant::now();
    let held = held(&containerd, count, 1)?;
    let resident = held.resident as f64 / MIB;
    let figure = Spread::of(&[resident]).context("a size is a number")?;
    let note = format!(
        "known {:.1} s after the agent's start, with {:.1} MiB of maps",
        begin.elapsed().as_secs_f64(),
        held.map_bytes() as f64 / MIB
    );
    Ok(Measured::figure(name, figure).with_note(note))
}

/// An agent that knows so many containers and policies.
fn held(containerd: &FakeContainerd, containers: usize, policies: usize) -> Result<Held> {
    let folder = containerd.folder().join("policies");
    write_policies(&folder, policies)?;
    // Room as somebody would ask for who runs so many.
    let room = (containers + 512).max(kubeward_bpf::size::DEFAULT_CONTAINERS as usize).to_string();
    let folder = folder.to_string_lossy();
    let agent = Agent::start(&containerd.socket(), &["-f", &folder, "-o", "/dev/null", "--max-containers", &room])?;
    agent.wait_for_containers(containers)?;
    let (mut resident, end) = (0, Instant::now() + WATCHED_FOR);
    while Instant::now() < end {
        resident = agent.resident_bytes()?.max(resident);
        thread::sleep(Duration::from_millis(20));
    }
    let maps = agent.map_bytes()?;
    let names = MapInfoIter::default().map(|map| (map.id, map.name.to_string_lossy().into_owned()));
    let names = names.filter(|(id, _)| maps.contains_key(id)).collect();
    agent.stop()?;
    Ok(Held { resident, maps, names })
}

/// Policies that differ in what they select and ask for.
fn write_policies(folder: &Path, count: usize) -> Result<()> {
    if folder.exists() {
        fs::remove_dir_all(folder)?;
    }
    fs::create_dir_all(folder)?;
    let calls = ["openat", "connect", "execve", "unlinkat", "mkdirat"];
    for nr in 0..count {
        let call = calls[nr % calls.len()];
        let selector = match nr {
            0 => String::new(),
            _ => format!("  selector: {{podSelector: {{matchLabels: {{app.kubernetes.io/name: service-{nr}}}}}}}\n"),
        };
        let policy = format!(
            "apiVersion: kubeward.kubeward/v1\nkind: KubeWard\nmetadata: {{name: policy-{nr}}}\nspec:\n  syscalls: [{{name: {call}}}]\n{selector}"
        );
        fs::write(folder.join(format!("policy-{nr}.yaml")), policy)?;
    }
    Ok(())
}
