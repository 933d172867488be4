//! Where our own time goes, while two containers make all the calls they can: by program in the kernel, by function in the agent; and
//! who takes what beside a busy redis.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use anyhow::{ensure, Context, Result};
use libbpf_rs::query::ProgInfoIter;

use super::agent::Agent;
use super::node::Node;
use super::producer;
use super::throughput::{Redis, Watch, REDIS_CATEGORIES};

/// Whether the kernel keeps run times of all programs, which costs some 20 ns a run.
const STATS: &str = "/proc/sys/kernel/bpf_stats_enabled";

/// Samples a second: no multiple of the reader's timer.
const SAMPLES: &str = "997";

/// The calls of a producer that are watched: shapes with and without strings, and one at entry and return.
const WATCHED: [&str; 2] = ["-e", "getppid,read,openat,close"];

/// Calls of several kinds a second, of each of two containers.
const RATE: u64 = 400_000;

/// Requests of each of redis-benchmark's two tests, before samples are taken and again and again while they are: half a second's.
const WARM_UP: u64 = 50_000;

/// A thread that takes less is none of the table's.
const LEAST_SHARE: f64 = 0.005;

/// How symbols of programs and of what they call begin: nobody else on the machine has any. The clock and locks serve all.
const OURS: [&str; 2] = ["bpf_", "__bpf_"];

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

/// Who takes the CPUs while redis is watched as `product/redis` watches it, and what of that is ours: shares of all samples, by
/// thread name.
pub fn redis(seconds: u64) -> Result<String> {
    ensure!(seconds > 0, "a profile takes at least a second");
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("samples");
    let node = Node::start(&[])?;
    let redis = Redis::start(&node)?;
    let agent = Watch::of(REDIS_CATEGORIES)?.agent(&node)?;
    redis.requests_per_second(WARM_UP)?;
    let is_over = AtomicBool::new(false);
    thread::scope(|scope| {
        let load = scope.spawn(|| {
            while !is_over.load(Ordering::Relaxed) {
                redis.requests_per_second(WARM_UP)?;
            }
            anyhow::Ok(())
        });
        let sampled = sample_all(seconds, &file);
        is_over.store(true, Ordering::Relaxed);
        load.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))?;
        sampled
    })?;
    agent.stop()?;
    redis.stop(&node)?;
    Ok(by_thread(&samples(&file)?))
}

/// All CPUs, by the clock.
fn sample_all(seconds: u64, file: &Path) -> Result<()> {
    let mut perf = Command::new("perf");
    perf.args(["record", "-q", "-a", "-e", "cpu-clock", "-F", SAMPLES, "-o"]).arg(file);
    let output = perf.args(["--", "sleep", &seconds.to_string()]).output();
    let output = output.context("running perf (Debian: apt-get install linux-perf)")?;
    ensure!(output.status.success(), "perf record: {}", String::from_utf8_lossy(&output.stderr));
    Ok(())
}

/// How many samples fell into each symbol, by the name of the thread.
type Samples = BTreeMap<String, BTreeMap<String, u64>>;

fn samples(file: &Path) -> Result<Samples> {
    let output = Command::new("perf").args(["script", "-F", "comm,ip,sym", "-i"]).arg(file).output();
    let output = output.context("running perf")?;
    ensure!(output.status.success(), "perf script: {}", String::from_utf8_lossy(&output.stderr));
    let mut samples = Samples::new();
    for line in String::from_utf8_lossy(&output.stdout).lines() {
        let Some((thread, symbol)) = thread_and_symbol(line) else { continue };
        *samples.entry(thread.to_owned()).or_default().entry(symbol.to_owned()).or_default() += 1;
    }
    ensure!(!samples.is_empty(), "perf took no sample");
    Ok(samples)
}

/// `redis-server  ffffffff821dc220 tcp_poll`; the name of a thread may have spaces.
fn thread_and_symbol(line: &str) -> Option<(&str, &str)> {
    let (thread, rest) = line.trim().split_once("  ")?;
    let (_, symbol) = rest.trim().split_once(' ')?;
    Some((thread.trim(), symbol))
}

/// The busiest first; those of less than half a percent together.
fn by_thread(samples: &Samples) -> String {
    let of_thread = |symbols: &BTreeMap<String, u64>| symbols.values().sum::<u64>() as f64;
    let all: f64 = samples.values().map(of_thread).sum();
    let mut rows: Vec<(&str, f64, f64)> = Vec::new();
    let mut others = 0.0;
    for (thread, symbols) in samples {
        let share = of_thread(symbols) / all;
        if share < LEAST_SHARE {
            others += share;
            continue;
        }
        let ours = symbols.iter().filter(|(symbol, _)| OURS.iter().any(|begin| symbol.starts_with(begin)));
        rows.push((thread, share, ours.map(|(_, samples)| samples).sum::<u64>() as f64 / all));
    }
    rows.sort_by(|(_, one, _), (_, other, _)| other.total_cmp(one));
    let mut table = format!("{:<24} {:>16} {:>28}\n", "thread", "% of all samples", "of these in eBPF programs");
    for (thread, share, ours) in rows {
        table += &format!("{thread:<24} {:>16.1} {:>28.1}\n", 100.0 * share, 100.0 * ours);
    }
    table + &format!("{:<24} {:>16.1}\n", "others", 100.0 * others)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn samples_are_shared_out_by_thread_and_what_is_ours_of_each() {
        let lines =
            ["  redis-server  ff00 bpf_prog_1_raw_exit", "redis-server  ff01 tcp_poll", " V8 Worker  7f00 [unknown]"];
        let mut samples = Samples::new();
        for line in lines {
            let (thread, symbol) = thread_and_symbol(line).expect("it is a sample");
            *samples.entry(thread.to_owned()).or_default().entry(symbol.to_owned()).or_default() += 1;
        }
        let table = by_thread(&samples);
        let rows: Vec<Vec<&str>> = table.lines().skip(1).map(|line| line.split_whitespace().collect()).collect();
        assert_eq!(rows[0], ["redis-server", "66.7", "33.3"]);
        assert_eq!(rows[1], ["V8", "Worker", "33.3", "0.0"]);
    }
}
