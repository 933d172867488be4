//! What an event costs in user space, without a kernel: `cargo run --release -p kubeward-agent --example user_path_cost`.
//!
//! Records as the kernel side writes them go through the whole path to /dev/null. CPU time is of all threads together,
//! the writer's among them; the least of some rounds is told. An argument names another output, a second the number of events.

mod records;

use std::hint::black_box;
use std::path::{Path, PathBuf};
use std::sync::mpsc::Receiver;
use std::sync::Arc;

use anyhow::Context;
use kubeward_agent::heartbeat::Heartbeat;
use kubeward_agent::pipeline::{
    commands, Command, Coverage, Doubts, KernelAccounts, Lines, OwnOutput, Parts, Pipeline, Queue, Watched,
};
use kubeward_agent::sinks::LogFile;
use kubeward_bpf::decode::{decode, CallRecord, Decoded};
use kubeward_bpf::read::{RecordSink, BATCH};
use kubeward_core::event::SyscallEvent;
use kubeward_core::ledger::LossReason;
use kubeward_core::policy::{load, Judge, PolicySet};
use kubeward_core::redact::Redactor;
use kubeward_core::render::json::JsonLines;
use kubeward_core::render::line::Stream;
use rustix::time::{clock_gettime, ClockId};
use tokio::sync::watch;

use records::{container, Ring, EXE, SLOT};

const POLICY: &[u8] = b"apiVersion: kubeward.kubeward/v1\nkind: KubeWard\nmetadata: {name: web}\nspec: {categories: [network, file, process, fd, user, system]}\n";

const ROUNDS: usize = 5;

fn main() -> anyhow::Result<()> {
    let mut args = std::env::args().skip(1);
    let output = PathBuf::from(args.next().unwrap_or_else(|| "/dev/null".to_owned()));
    let events = args.next().map_or(Ok(100_000), |count| count.parse()).context("the number of events")?;
    println!("CPU ns an event, all threads; {events} events a round, the least of {ROUNDS}; to {}", output.display());
    println!(
        "{:10}{:>8}{:>8}{:>8}{:>8}{:>10}{:>8}{:>8}",
        "call", "decode", "judge", "redact", "json", "pipeline", "all", "bytes"
    );
    for (name, ring) in records::rings() {
        let stages = Stages::new(&ring);
        let (decode, judge, redact) = (stages.decode(), stages.judge(), stages.redact());
        let (json, bytes) = stages.json();
        let pipeline = least(|| run(&ring, events, Lines::None, Path::new("/dev/null")))?;
        let all = least(|| run(&ring, events, Lines::Json(JsonLines::new(&stream())), &output))?;
        println!("{name:10}{decode:>8}{judge:>8}{redact:>8}{json:>8}{pipeline:>10}{all:>8}{bytes:>8}");
    }
    Ok(())
}

/// Each stage by itself, over the records of one ring.
struct Stages<'a> {
    ring: &'a Ring,
    events: Vec<SyscallEvent>,
    set: Arc<PolicySet>,
}

impl<'a> Stages<'a> {
    fn new(ring: &'a Ring) -> Self {
        let (container, exe) = (container(), Arc::new(records::text(EXE)));
        let wanting: Arc<[Arc<str>]> = Arc::from([Arc::from("web")]);
        let events = ring.records().filter_map(|bytes| {
            let mut record = CallRecord::default();
            match decode(bytes, &mut record) {
                Ok(Decoded::Call) => {
                    let mut event = record.event;
                    event.container = Some(container.clone());
                    event.process.exe = Some(exe.clone());
                    event.policies = wanting.clone();
                    Some(event)
                }
                _ => None,
            }
        });
        Self { ring, events: events.collect(), set: policies() }
    }

    fn decode(&self) -> u64 {
        let mut call = CallRecord::default();
        self.each(|| self.ring.records().for_each(|bytes| drop(decode(black_box(bytes), black_box(&mut call)))))
    }

    fn judge(&self) -> u64 {
        let (mut judge, selected) = (Judge::new(self.set.clone()), self.set.select(&container()));
        self.each(|| {
            for event in &self.events {
                black_box(judge.judge(black_box(event), &selected, event.mono_ns));
            }
        })
    }

    fn redact(&self) -> u64 {
        let redactor = Redactor::new(&[]).expect("there are no patterns to be wrong");
        let mut events = self.events.clone();
        self.each(|| events.iter_mut().for_each(|event| redactor.redact_event(black_box(event))))
    }

    fn json(&self) -> (u64, usize) {
        let (mut lines, mut out) = (JsonLines::new(&stream()), Vec::new());
        let mut bytes = 0;
        let cost = self.each(|| {
            bytes = 0;
            for event in &self.events {
                out.clear();
                lines.syscall(&mut out, black_box(event));
                bytes += black_box(&out).len();
            }
        });
        (cost, bytes / self.events.len())
    }

    /// The least cost of one record of a pass over all.
    fn each(&self, mut pass: impl FnMut()) -> u64 {
        let passes = (0..ROUNDS).map(|_| {
            let start_ns = cpu_ns();
            pass();
            (cpu_ns() - start_ns) / self.events.len() as u64
        });
        passes.min().unwrap_or_default()
    }
}

/// A round in which others kept the writer from the CPU so long that events were dropped counts for nothing.
fn least(mut round: impl FnMut() -> anyhow::Result<Option<u64>>) -> anyhow::Result<u64> {
    let mut least = None;
    for _ in 0..ROUNDS {
        least = round()?.into_iter().chain(least).min();
    }
    least.context("the writer fell behind in each round: ask for fewer events, or for a faster output")
}

/// The whole way, in batches as the reader makes them.
fn run(ring: &Ring, events: usize, lines: Lines, output: &Path) -> anyhow::Result<Option<u64>> {
    let (sender, receiver) = commands();
    let mut pipeline = pipeline(lines, receiver, output)?;
    let (container, watched) = (container(), Watched { created_ns: 1, since_ns: 1 });
    let selected = policies().select(&container);
    anyhow::ensure!(sender.send(Command::Open { slot: SLOT, container, selected, watched }), "the pipeline has ended");
    pipeline.drained();
    pipeline.record(&ring.exec());
    let start_ns = cpu_ns();
    let endless = std::iter::repeat_with(|| ring.records()).flatten();
    for (at, bytes) in endless.take(events).enumerate() {
        pipeline.record(bytes);
        if at % BATCH == BATCH - 1 {
            pipeline.drained();
        }
    }
    let finished = pipeline.finish(Doubts::default());
    let cost = (cpu_ns() - start_ns) / events as u64;
    let (emitted, lost) = (finished.total.emitted, finished.total.lost.get(LossReason::Output));
    anyhow::ensure!(emitted + lost == events as u64, "of {events} events {emitted} were emitted and {lost} lost");
    Ok((lost == 0).then_some(cost))
}

fn pipeline(lines: Lines, commands: Receiver<Command>, output: &Path) -> anyhow::Result<Pipeline> {
    let file = LogFile::create(output)?;
    Ok(Pipeline::new(Parts {
        kernel_accounts: KernelAccounts::of_each(|_| Some(Default::default())),
        kernel_table: Box::new(|| None),
        commands,
        policies: policies(),
        redactor: Redactor::new(&[])?,
        lines,
        output: Box::new(Queue::spawn(Box::new(file), 4_096)?),
        freed: None,
        heartbeat: Heartbeat::default(),
        own_output: OwnOutput::default(),
        loops: watch::Sender::default(),
        coverage: Coverage::default(),
    }))
}

fn policies() -> Arc<PolicySet> {
    let (policies, faults) = load("web.yaml", POLICY);
    assert!(faults.is_empty(), "the policy is fixed, and right");
    Arc::new(PolicySet::new(policies).0)
}

fn stream() -> Stream {
    let run = "5d2e9b54-7f0c-4f9c-a8a6-4c1f0ad6bd7a-18b9f3c2d41";
    Stream { node: "node-1".to_owned(), cluster: None, run: run.to_owned(), event_labels: vec!["app".to_owned()] }
}

fn cpu_ns() -> u64 {
    let now = clock_gettime(ClockId::ProcessCPUTime);
    now.tv_sec as u64 * 1_000_000_000 + now.tv_nsec as u64
}
