//! The agent's wiring; reads like the diagram.
//!
//! - events: the reader's thread runs the pipeline, a writer's thread the output
//! - control: policy files and the cluster's objects -> plan -> hooks and maps, in the main task; hooks change in a thread that may block
//! - discovery: containerd -> registry -> maps, in the main task
//! - local API: a question -> the main task, which answers or passes it on to the pipeline
//!
//! The main task alone changes registry, plan and maps and says what the hooks are to be: one after the other.

mod adoption;
mod answers;
mod births;
mod cluster;
mod containers;
mod cost;
#[cfg(test)]
mod docs_test;
mod local_api;
mod places;
mod policies;
mod standing;
mod status;
mod trials;

pub use policies::InvalidPolicies;

use std::collections::BTreeMap;
use std::future::Future;
use std::os::unix::ffi::OsStringExt;
use std::path::Path;
use std::sync::mpsc::{channel, Receiver};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context;
use kubeward_bpf::heap;
use kubeward_bpf::object::Engine;
use kubeward_bpf::probe::Probes;
use kubeward_bpf::process::Pidfd;
use kubeward_bpf::read::Reader;
use kubeward_core::container::ContainerSlot;
use kubeward_core::render::json::JsonLines;
use kubeward_core::render::line::NoticeLevel;
use kubeward_core::render::text::{TextLines, TextOptions, TimeFormat};
use tokio::signal::unix::{signal, Signal, SignalKind};
use tokio::sync::watch;
use tokio::time::{interval, timeout, MissedTickBehavior};
use tokio_util::sync::CancellationToken;

use crate::config::{Config, Format, Kubernetes, Target};
use crate::control::{Applier, NodeLabels, PolicyFiles, LOOK_EVERY};
use crate::cost::Sampler;
use crate::discovery::{containerd, Change, ProcFs};
use crate::heartbeat::Heartbeat;
use crate::kubernetes::client::is_in_pod;
use crate::kubernetes::pods;
use crate::kubernetes::report::OwnerPod;
use crate::metrics::{Endpoint, MetricsServer, Sources};
use crate::pipeline::{
    self, Command, Commands, Coverage, KernelAccounts, Lines, OwnOutput, OwnPod, Parts, Pipeline, Queue,
};
use crate::serve::health::Verdict;
use crate::serve::{questions, Socket};
use crate::sinks::{LogFile, Output, Stream};
use crate::watch_file::{Before, WatchFile};
use cluster::Cluster;
use containers::Containers;
use cost::CostWarning;
use local_api::LocalApi;
use policies::Policies;
use standing::Standing;
use status::About;
use trials::{Measuring, Trials};

/// Between two ledgers in the stream.
const LEDGER_EVERY: Duration = Duration::from_secs(60);

/// How long discovery, and what speaks with the API server, may take to end: longer than the writer of the node's status gives
/// itself.
const ENDS_WITHIN: Duration = Duration::from_secs(6);

/// An agent that is ready: everything that can be refused has been.
pub struct Agent {
    config: Config,
    engine: Arc<Engine>,
    commands: Commands,
    pipeline: Pipeline,
    freed: Receiver<ContainerSlot>,
    applier: Applier,
    policies: Policies,
    api: LocalApi,
    metrics: Option<Endpoint>,
    /// Containers that read our own output.
    feedback: watch::Receiver<BTreeMap<ContainerSlot, String>>,
}

impl Agent {
    /// Reads the policies, opens the output and the local API's socket, loads the programs.
    ///
    /// To be called from the process's first thread, before others are started: the hooks' self-test needs that.
    pub fn prepare(config: Config) -> anyhow::Result<Self> {
        let mut policies = Policies::new(PolicyFiles::new(config.policies.clone(), node_labels(&config)), config.calls);
        policies.first_look()?;
        let output = open_output(&config.target)?;
        let socket = config.socket.as_deref().map(Socket::claim).transpose()?;
        let metrics = config.metrics_address.map(Endpoint::claim).transpose()?;
        let coverage = coverage(config.state_file.as_deref());
        let engine = Arc::new(Engine::load(&config.room)?);
        if let Some(refusal) = engine.cast_refusal() {
            tracing::warn!(%refusal, "the kernel takes no programs that read tasks by a cast: those without it are loaded, as exact and slower to load");
        }
        engine.maps().share_ring()?;
        engine.maps().share_table()?;
        let probes = Probes::new(engine.clone(), config.backend)?;
        exempt_this_process(&engine)?;
        engine.maps().change_settings(|settings| settings.emit_setup = config.emits_setup.into())?;
        probes.explain().iter().for_each(|sentence| tracing::info!("{sentence}"));
        cost::tell_map_memory(&config.room);
        let (commands, receiver) = pipeline::commands();
        let (freed_sender, freed) = channel();
        let table_engine = engine.clone();
        let heartbeat = Heartbeat::default();
        let (loops, feedback) = watch::channel(BTreeMap::new());
        let api = LocalApi::new(socket, &config, &probes, heartbeat.clone());
        let pipeline = Pipeline::new(Parts {
            kernel_accounts: KernelAccounts::of_engine(engine.clone()),
            kernel_table: Box::new(move || {
                let table = table_engine.maps().call_table();
                table.inspect_err(|error| tracing::error!("reading the table by call: {error}")).ok()
            }),
            commands: receiver,
            policies: Arc::default(),
            redactor: config.redactor.clone(),
            lines: lines(&config),
            output: Box::new(Queue::spawn(output, engine.maps().slots()).context("starting the writer")?),
            freed: Some(freed_sender),
            heartbeat,
            own_output: own_output(&config),
            loops,
            coverage,
        });
        let applier = Applier::new(engine.clone(), probes, commands.clone());
        // Of loading and self-test.
        heap::give_back();
        Ok(Self { config, engine, commands, pipeline, freed, applier, policies, api, metrics, feedback })
    }

    /// Watches until a signal ends it.
    pub async fn run(self) -> anyhow::Result<()> {
        let Agent { config, engine, commands, pipeline, freed, mut applier, mut policies, api, metrics, mut feedback } =
            self;
        let mut ending = Ending::new()?;
        let mut hangup = signal(SignalKind::hangup()).context("taking SIGHUP")?;
        let reader = Reader::spawn(engine.clone(), pipeline)?;
        let shutdown = CancellationToken::new();
        let mut discovery = containerd::watch(&config.sockets, &ProcFs::new(&config.procfs), &shutdown);
        let mut containers = Containers::new(engine.clone(), commands.clone(), freed)?;
        // Slots for what begins from now on.
        containers.look(&mut applier);
        let mut standing = Standing::new(discovery.sockets);
        let sampler = Sampler::start(&engine, config.warn_cpu_percent, &shutdown)?;
        let (asking, mut questions) = questions();
        let server = api.start(&standing, asking.clone(), sampler.newest(), &shutdown)?;
        let sources = Sources { cost: sampler.newest(), questions: asking };
        let metrics = metrics.map(|endpoint| MetricsServer::start(endpoint, sources, &shutdown)).transpose();
        let metrics = metrics.context("starting the metrics")?;
        let mut cost = CostWarning::new(sampler.newest());
        let mut pods = pods::never_told();
        let mut cluster = Cluster::start(&config, &commands, &shutdown).await?;
        if let Some(cluster) = &mut cluster {
            pods = std::mem::replace(&mut cluster.pods, pods);
            policies.follow(cluster.policies.clone(), cluster.node_labels.clone());
        }
        policies.put_in_force(&mut applier, containers.registry(), &commands);
        let about = About::this_node(&config);
        let (emits_setup, as_here) = (config.emits_setup, config.clone());
        let measuring = Measuring { emits_setup, lines: Box::new(move || lines(&as_here)) };
        let mut trials = Trials::new(engine.clone(), measuring);
        // Whether what this node says of itself may be otherwise since it was said.
        let mut is_news = true;
        let mut is_covered = false;
        let mut looks = every(LOOK_EVERY);
        let mut ledgers = every(LEDGER_EVERY);
        ledgers.reset();
        loop {
            let in_force = policies.verdict(applier.plan());
            if !is_covered && in_force.holds && policies.are_known() && standing.knows_containers() {
                is_covered = commands.send(Command::Covered);
            }
            standing.turn(verdict(in_force, cluster.as_ref()));
            trials.look(&mut policies, &mut applier, containers.registry(), &commands);
            tokio::select! {
                change = discovery.changes.recv() => match change {
                    Some(Change::Settled { .. }) => standing.socket_settled(),
                    Some(change) => {
                        is_news = true;
                        containers.on_change(change, &mut applier);
                    }
                    None => anyhow::bail!("discovery ended by itself"),
                },
                Some(change) = pods.recv() => {
                    is_news = true;
                    containers.on_pods(change, &mut applier);
                }
                news = policies.next() => {
                    is_news = true;
                    policies.go_on(news, &mut applier, containers.registry(), &commands);
                }
                _ = looks.tick() => {
                    is_news |= feedback.has_changed().unwrap_or(false);
                    is_news |= policies.look(&mut applier, containers.registry(), &commands);
                    containers.look(&mut applier);
                    if let Some(cluster) = cluster.as_ref().filter(|_| std::mem::take(&mut is_news)) {
                        cluster.say(about.status(&policies, applier.plan(), containers.runtimes(), &feedback.borrow_and_update(), &cost.now()));
                    }
                    if reader.is_finished() {
                        break;
                    }
                }
                Some(question) = questions.recv() => {
                    answers::answer(question, &containers, &mut policies, &mut trials, &mut applier, &commands);
                }
                turn = trials.next() => {
                    trials.end(turn, &mut policies, &mut applier, containers.registry(), &commands);
                }
                () = cost.turns() => {
                    is_news = true;
                    cost.tell(&commands);
                }
                _ = ledgers.tick() => {
                    commands.send(Command::Ledger(applier.doubts()));
                }
                _ = hangup.recv() => {
                    tracing::info!("SIGHUP: opening the output anew");
                    commands.send(Command::ReopenOutput);
                }
                name = ending.next() => {
                    tracing::info!("{name}: ending");
                    break;
                }
            }
        }
        // Whoever waits for it hears of the end.
        drop(trials);
        tokio::spawn(leave_at_the_second(ending));
        commands.send(Command::Ending);
        engine.maps().silence(true)?;
        shutdown.cancel();
        end_within_limit("discovery", discovery.stopped()).await;
        if let Some(cluster) = cluster {
            end_within_limit("what speaks with the API server", cluster.stopped()).await;
        }
        if let Some(server) = server {
            server.stopped().await;
        }
        if let Some(metrics) = metrics {
            metrics.stopped().await;
        }
        sampler.stopped().await;
        let doubts = applier.doubts();
        let ended = tokio::task::spawn_blocking(move || {
            let (pipeline, read) = reader.stop();
            pipeline.finish(doubts);
            read
        });
        ended.await.context("the reader's end")?.context("reading the ring")
    }
}

/// Whether all is in force that is known, and this agent is the only one of its node's name.
fn verdict(policies: Verdict, cluster: Option<&Cluster>) -> Verdict {
    match cluster.and_then(Cluster::usurper) {
        Some(usurper) => {
            Verdict::no(format!("another agent has this node's name: {usurper}; give each its own --node-name"))
        }
        None => policies,
    }
}

/// Whether `nodeSelector` will ever have labels to go by.
fn node_labels(config: &Config) -> NodeLabels {
    match config.kubernetes {
        Kubernetes::On => NodeLabels::FromKubernetes,
        Kubernetes::Auto if is_in_pod() => NodeLabels::FromKubernetes,
        Kubernetes::Auto | Kubernetes::Off => NodeLabels::Never,
    }
}

/// What this process and the threads it will start do is nobody's business.
fn exempt_this_process(engine: &Engine) -> anyhow::Result<()> {
    let own = Pidfd::of_this_process().context("opening this process")?;
    Ok(engine.maps().tag_task(own.as_fd(), 0)?)
}

/// As a reader of it would name it.
fn own_output(config: &Config) -> OwnOutput {
    let pod = OwnerPod::of_this_process().map(|OwnerPod { name, uid }| OwnPod { name, uid });
    match &config.target {
        Target::Stdout => OwnOutput { file: None, pod },
        Target::File { path, .. } => {
            let file = std::path::absolute(path).unwrap_or_else(|_| path.clone());
            OwnOutput { file: Some(file.into_os_string().into_vec()), pod }
        }
    }
}

/// Takes the file that says until when the agent before this one watched. Without it no gap is told, and the agent watches.
fn coverage(state_file: Option<&Path>) -> Coverage {
    let Some(path) = state_file else { return Coverage::default() };
    let shown = path.display();
    match WatchFile::take(path) {
        Err(error) => {
            tracing::warn!("--state-file {error}; no agent will tell the gap between this one and its neighbours");
            Coverage::default()
        }
        Ok((file, Before::WatchedUntil(until_ns))) => Coverage::new(Some(file), Some(until_ns)),
        Ok((file, before)) => {
            match before {
                Before::Damaged => {
                    tracing::warn!("--state-file {shown}: it is damaged; the gap before this agent is not told")
                }
                _ => {
                    tracing::info!("--state-file {shown}: no agent watched here before, since the machine was started")
                }
            }
            Coverage::new(Some(file), None)
        }
    }
}

fn open_output(target: &Target) -> anyhow::Result<Box<dyn Output + Send>> {
    Ok(match target {
        Target::Stdout => Box::new(Stream::stdout().context("opening standard output")?),
        Target::File { path, rotation } => Box::new(LogFile::append(path, *rotation)?),
    })
}

fn lines(config: &Config) -> Lines {
    match config.format {
        Format::Json => Lines::Json(JsonLines::new(&config.stream)),
        Format::Text => Lines::Text(TextLines::new(TextOptions { time: TimeFormat::Clock, container: true })),
    }
}

fn every(period: Duration) -> tokio::time::Interval {
    let mut ticks = interval(period);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    ticks
}

async fn end_within_limit(what: &str, stopped: impl Future<Output = ()>) {
    if timeout(ENDS_WITHIN, stopped).await.is_err() {
        tracing::warn!("{what} did not end within {} s", ENDS_WITHIN.as_secs());
    }
}

/// Tells it in the stream and in the log.
fn notice(commands: &Commands, level: NoticeLevel, code: &'static str, message: String) {
    match level {
        NoticeLevel::Info => tracing::info!("{message}"),
        NoticeLevel::Warning => tracing::warn!("{message}"),
        NoticeLevel::Error => tracing::error!("{message}"),
    }
    commands.send(Command::Notice { level, code, message });
}

/// The signals that end the agent.
struct Ending {
    terminate: Signal,
    interrupt: Signal,
}

impl Ending {
    fn new() -> anyhow::Result<Self> {
        let take = |kind| signal(kind).context("taking signals");
        Ok(Self { terminate: take(SignalKind::terminate())?, interrupt: take(SignalKind::interrupt())? })
    }

    async fn next(&mut self) -> &'static str {
        tokio::select! {
            _ = self.terminate.recv() => "SIGTERM",
            _ = self.interrupt.recv() => "SIGINT",
        }
    }
}

/// One wish to end may come as two signals: timeout(1) signals its child and then the child's whole process group.
const SAME_WISH: Duration = Duration::from_millis(300);

async fn leave_at_the_second(mut ending: Ending) {
    let first = Instant::now();
    let mut name = ending.next().await;
    while first.elapsed() < SAME_WISH {
        name = ending.next().await;
    }
    tracing::warn!("{name} again: leaving at once, without the last events and accounts");
    std::process::exit(1);
}
