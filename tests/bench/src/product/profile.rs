//! Where our own time goes, while two containers make all the calls they can: by program in the kernel, by function in the agent.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::Command;
use std::thread;

use anyhow::{ensure, Context, Result};
use libbpf_rs::query::ProgInfoIter;

use super::agent::Agent;
use super::node::Node;
use super::producer;

/// Whether the kernel keeps run times of all programs, which costs some 20 ns a run.
const STATS: &str = "/proc/sys/kernel/bpf_stats_enabled";

/// Samples a second: no multiple of the reader's timer.
const SAMPLES: &str = "997";

/// The calls of a producer that are watched: shapes with and without strings, and one at entry and return.
const WATCHED: [&str; 2] = ["-e", "getppid,read,openat,close"];

/// Calls of several kinds a second, of each of two containers.
const RATE: u64 = 400_000;

/// Starts a node, an agent and the load, and gives the agent to `meanwhile` while the load runs.
fn under_load<T: Send>(seconds: u64, meanwhile: impl FnOnce(&Agent) -> Result<T>) -> Result<T> {
    let folder = tempfile::tempdir()?;
    let node = Node::start(&[producer::compile(folder.path())?])?;
    let ids = [node.run_idle("first", folder.path())?, node.run_idle("second", folder.path())?];
    let agent = Agent::start(&node.socket(), &[&WATCHED[..], &["-o", "/dev/null"]].concat())?;
    let done = thread::scope(|scope| {
        let producers = ids.each_ref().map(|id| scope.spawn(|| producer::mixed(&node, id, seconds, RATE)));
        let done = meanwhile(&agent);
        for producer in producers {
            producer.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))?;
        }
        done
    })?;
    agent.stop()?;
    Ok(done)
}

/// The setting as it was, once this is dropped.
struct RunTimes {
    before: String,
}

impl RunTimes {
    fn kept() -> Result<Self> {
        let before = fs::read_to_string(STATS).with_context(|| format!("reading {STATS}"))?;
        fs::write(STATS, "1").with_context(|| format!("writing {STATS}: it takes root"))?;
        Ok(Self { before })
    }
}

impl Drop for RunTimes {
    fn drop(&mut self) {
        if let Err(error) = fs::write(STATS, self.before.trim()) {
            eprintln!("{STATS} stays 1: {error}");
        }
    }
}

/// Runs of each program now in the kernel, and their time, by its number.
fn programs() -> BTreeMap<u32, (String, u64, u64)> {
    let told = ProgInfoIter::default().map(|program| {
        (program.id, (program.name.to_string_lossy().into_owned(), program.run_cnt, program.run_time_ns))
    });
    told.collect()
}

/// A table of the agent's programs: runs, time of one, share of a CPU.
pub fn kernel(seconds: u64) -> Result<String> {
    ensure!(seconds > 0, "a profile takes at least a second");
    let others = programs();
    let _kept = RunTimes::kept()?;
    let ours = under_load(seconds, |agent| {
        let begin = agent.ledger()?;
        // The load's own time is what is measured: it begins and ends with the producers.
        thread::sleep(std::time::Duration::from_secs(seconds));
        let mut ours = programs();
        ours.retain(|id, (_, runs, _)| !others.contains_key(id) && *runs > 0);
        ensure!(!ours.is_empty() && !begin.containers.is_empty(), "none of the agent's programs ran");
        Ok(ours)
    })?;
    let mut rows: Vec<&(String, u64, u64)> = ours.values().collect();
    rows.sort_by_key(|(_, _, ns)| std::cmp::Reverse(*ns));
    let line = |(name, runs, ns): &&(String, u64, u64)| {
        let share = 100.0 * *ns as f64 / (seconds as f64 * 1e9);
        format!("{name:<20} {runs:>12} {:>10.0} {share:>10.2}\n", *ns as f64 / *runs as f64)
    };
    let header = format!("{:<20} {:>12} {:>10} {:>10}\n", "program", "runs", "ns a run", "% of a CPU");
    Ok(header + &rows.iter().map(line).collect::<String>())
}

/// Samples of the agent's stacks, as `perf record` writes them, into `file`.
pub fn user(seconds: u64, file: &Path) -> Result<()> {
    under_load(seconds + 1, |agent| {
        let mut perf = Command::new("perf");
        // Without hardware counters: the clock.
        perf.args(["record", "-q", "-e", "cpu-clock", "-F", SAMPLES, "--call-graph", "dwarf,16384", "-p"]);
        perf.arg(agent.pid().to_string()).arg("-o").arg(file).args(["--", "sleep", &seconds.to_string()]);
        let output = perf.output().context("running perf (Debian: apt-get install linux-perf)")?;
        ensure!(output.status.success(), "perf record: {}", String::from_utf8_lossy(&output.stderr));
        Ok(())
    })
}
