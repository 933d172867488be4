//! One trace, from the command line to the command's exit code.

use std::io::Write;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::Arc;

use anyhow::Context;
use kubeward_agent::control::{hook_bits, kernel_limits, kernel_profile};
use kubeward_agent::heartbeat::Heartbeat;
use kubeward_agent::pipeline::{
    self, monotonic_ns, Command, Coverage, Direct, Doubts, KernelAccounts, Lines, OwnOutput, Parts, Pipeline, Watched,
};
use kubeward_agent::sinks::{LogFile, Output, OutputError, Stream};
use kubeward_bpf::object::{Engine, LoadOptions};
use kubeward_bpf::probe::Probes;
use kubeward_bpf::process::Pidfd;
use kubeward_bpf::read::Reader;
use kubeward_bpf::tasks::Task;
use kubeward_bpf::wire;
use kubeward_core::container::{Container, ContainerId, NsKey};
use kubeward_core::policy::{CheckedPolicy, PolicySet};
use kubeward_core::redact::Redactor;
use kubeward_core::render::json::JsonLines;
use kubeward_core::render::summary::write_summary;
use kubeward_core::render::text::{TextLines, TextOptions, TimeFormat};
use kubeward_core::syscall::{CallSet, Category};

use super::launch::{self, Launched, Program, Started};
use super::procfs;
use super::relay::{block_signals, Relay};
use super::{code_of_failed_exec, TraceArgs, FAILED, SLOT};
use crate::cmd::policies::{calls_of, set_of, strictly, PolicyFailure};
use crate::cmd::{complain, privilege, run_id, FormatArg};

/// The profile of the one container.
const PROFILE: u32 = 1;

/// Room for some 200,000 records, four times the agent's: all calls of the command are wanted, and it must not wait for the
/// reader.
const RING_BYTES: u32 = 32 << 20;

/// A command has some hundred calls with some results each. More would only take longer to make.
const TABLE_ENTRIES: u32 = 8_192;

pub(super) fn run(args: &TraceArgs) -> anyhow::Result<u8> {
    let set = match policies(args) {
        Ok(set) => Arc::new(set),
        Err(failure) => {
            complain(&failure);
            return Ok(if matches!(failure, PolicyFailure::Invalid(_)) { 2 } else { FAILED });
        }
    };
    privilege::check()?;
    let output = open_output(args.output.as_deref())?;
    // Before any thread is started: they inherit the mask, and a process with threads does not fork.
    let program = Program { argv: args.command.clone(), mask: block_signals()? };
    let container = if args.host { None } else { Some(launch::container(&program)?) };
    let engine = Arc::new(Engine::load(&LoadOptions {
        ring_bytes: RING_BYTES,
        table_entries: Some(TABLE_ENTRIES),
        // They spare a node's many containers the table's hash. One command has the table to itself.
        has_first_results: false,
        containers: 1,
        is_for_command: true,
        ..LoadOptions::default()
    })?);
    let mut probes = Probes::for_command(engine.clone(), args.probe_backend, &hook_bits(&set.hooks(), false))?;
    let watch = Watch { engine, set };
    watch.attach(&mut probes)?;
    watch.open(args, &probes)?;
    // After hooks and slot: of a thread that is younger than they are, every entry is seen.
    let mut launched = match container {
        Some(container) => container.start()?,
        None => launch::in_place(&program)?,
    };
    watch.bind(args, &launched)?;
    let outcome = Outcome::default();
    let pipeline = watch.pipeline(args, output, &outcome)?;
    let reader = Reader::spawn(watch.engine.clone(), pipeline).context("reading the ring")?;
    let relay = Relay::new()?;
    let code = watch.follow(&mut launched, &relay, &args.command[0].to_string_lossy());
    watch.engine.maps().silence(true)?;
    let doubts = Doubts { skipped: probes.skipped(), missed_returns: probes.missed_returns() };
    let (pipeline, read) = reader.stop();
    pipeline.finish(doubts);
    read.context("reading the ring")?;
    let code = code?;
    if args.summary {
        watch.show_summary(args)?;
    }
    Ok(if outcome.has_failed.load(Ordering::Relaxed) { FAILED } else { code })
}

/// `-e` and `-f` together, every call recorded from entry to return.
fn policies(args: &TraceArgs) -> Result<PolicySet, PolicyFailure> {
    let mut policies = strictly(&args.watch.policies)?;
    if !args.watch.sets.is_empty() {
        policies.push(CheckedPolicy::of_calls(&calls_of(&args.watch.sets)?));
    }
    if policies.is_empty() {
        let nine = Category::nine().iter().map(|&category| CallSet::category(category));
        let nine = nine.fold(CallSet::default(), |all, category| all.union(&category));
        policies.push(CheckedPolicy { name: "trace".into(), ..CheckedPolicy::of_calls(&nine) });
    }
    policies.iter_mut().for_each(CheckedPolicy::record_whole_calls);
    if args.summary {
        policies.iter_mut().for_each(CheckedPolicy::count_only);
    }
    set_of(policies)
}

fn open_output(path: Option<&Path>) -> anyhow::Result<Box<dyn Output + Send>> {
    Ok(match path {
        None => Box::new(Stream::stderr().context("opening standard error")?),
        Some(path) if path == Path::new("-") => Box::new(Stream::stdout().context("opening standard output")?),
        Some(path) => {
            let file = LogFile::create(path)?;
            try_writing(path).with_context(|| format!("cannot write events to {}", path.display()))?;
            Box::new(file)
        }
    })
}

/// Some files can be opened for writing and then take nothing (`/proc/version`): better told before the command runs.
fn try_writing(path: &Path) -> std::io::Result<()> {
    if path.is_file() {
        std::fs::File::options().append(true).open(path)?.write(&[]).map(drop)?;
    }
    Ok(())
}

/// What went wrong beside the command.
#[derive(Debug, Default, Clone)]
struct Outcome {
    has_failed: Arc<AtomicBool>,
}

struct Watch {
    engine: Arc<Engine>,
    set: Arc<PolicySet>,
}

impl Watch {
    /// Opens the container's slot, with what the policies want of it.
    fn open(&self, args: &TraceArgs, probes: &Probes) -> anyhow::Result<()> {
        let maps = self.engine.maps();
        let host_mnt_ns = self.namespaces(|task| task.pid == std::process::id())?.mnt_ns;
        maps.change_settings(|settings| settings.host_mnt_ns = host_mnt_ns)?;
        let profile = self.set.profile(&self.set.active());
        maps.set_limits(PROFILE, &kernel_limits(&profile))?;
        let profile = kernel_profile(&profile, probes.upgrades_exit());
        maps.set_profile(PROFILE, &profile)?;
        // An exec in the mount namespace named here is not yet the command's. In place, the first exec is.
        let creator_mnt_ns = if args.host { 0 } else { host_mnt_ns };
        Ok(maps.open_slot(SLOT, &kernel_container(creator_mnt_ns), wire::STAGE_SETUP)?)
    }

    /// Tells the kernel side whose the waiting processes are. Everything the command starts inherits its tag.
    fn bind(&self, args: &TraceArgs, launched: &Launched) -> anyhow::Result<()> {
        let maps = self.engine.maps();
        let leader = u32::try_from(launched.leader.as_raw()).context("pids are positive")?;
        let tag = |pid, slot| -> anyhow::Result<()> {
            let pidfd = Pidfd::open(pid).context("opening the command's process")?;
            Ok(maps.tag_task(pidfd.as_fd(), slot)?)
        };
        if args.host {
            return tag(leader, SLOT.0);
        }
        let command = procfs::child_of(leader)?.context("the command ended before it began")?;
        tag(leader, 0)?;
        tag(command, SLOT.0)?;
        // The second door: a process that joins from outside.
        let inside = self.namespaces(|task| task.slot == SLOT.0).context("the command ended before it began")?;
        Ok(maps.bind_namespace(inside, SLOT, true)?)
    }

    /// Where the one task lives that `is_meant`, as the kernel side sees it.
    fn namespaces(&self, is_meant: impl Fn(&Task) -> bool) -> anyhow::Result<NsKey> {
        let task = self.engine.tasks()?.into_iter().find(is_meant);
        Ok(task.context("the process is not in the kernel's list of tasks")?.ns)
    }

    fn attach(&self, probes: &mut Probes) -> anyhow::Result<()> {
        let report = probes.apply(&hook_bits(&self.set.hooks(), probes.upgrades_exit()));
        for refused in report.refused {
            let name = kubeward_core::syscall::by_nr(refused.nr.into()).map_or("?", |call| call.name);
            complain(&format_args!("{name} is not watched: {}", refused.reason));
        }
        if let Some(reason) = report.uring_trouble {
            complain(&format_args!("operations through io_uring are not watched: {reason}"));
        }
        Ok(())
    }

    fn pipeline(
        &self,
        args: &TraceArgs,
        output: Box<dyn Output + Send>,
        outcome: &Outcome,
    ) -> anyhow::Result<Pipeline> {
        let (commands, receiver) = pipeline::commands();
        // The container is the policies' whatever they select: they are here to be tried.
        let selected = self.set.active();
        let now_ns = monotonic_ns();
        let watched = Watched { created_ns: now_ns, since_ns: now_ns };
        commands.send(Command::Open { slot: SLOT, container: Arc::new(container(args)), selected, watched });
        let (engine, outcome) = (self.engine.clone(), outcome.clone());
        let on_failure = move |error: &OutputError| {
            // Tracing ends; the command goes on.
            let silenced = engine.maps().silence(true);
            if !matches!(error, OutputError::Gone { .. }) {
                outcome.has_failed.store(true, Ordering::Relaxed);
            }
            complain(&format_args!("{error}; the command goes on untraced"));
            if let Err(error) = silenced {
                complain(&error);
            }
        };
        let table_engine = self.engine.clone();
        let parts = Parts {
            kernel_accounts: KernelAccounts::of_engine(self.engine.clone()),
            kernel_table: Box::new(move || table_engine.maps().call_table().ok()),
            commands: receiver,
            policies: self.set.clone(),
            redactor: Redactor::new(&[])?,
            lines: lines(args),
            output: Box::new(Direct::new(output, on_failure)),
            freed: None,
            heartbeat: Heartbeat::default(),
            own_output: OwnOutput::default(),
            loops: Default::default(),
            coverage: Coverage::default(),
        };
        Ok(Pipeline::new(parts))
    }

    /// Lets the command go and waits for its end. Its exit code.
    fn follow(&self, launched: &mut Launched, relay: &Relay, name: &str) -> anyhow::Result<u8> {
        let started = launched.release()?;
        if let Started::Running = started {
            // The kernel side saw the exec unless it skipped that run.
            self.engine.maps().set_running(SLOT)?;
        }
        let code = relay.wait(launched, &self.engine)?;
        Ok(match started {
            Started::Running => code,
            Started::Failed(error) => {
                complain(&format_args!("cannot run {name}: {error}"));
                code_of_failed_exec(&error)
            }
        })
    }

    /// The table by call, in place of the events.
    fn show_summary(&self, args: &TraceArgs) -> anyhow::Result<()> {
        let maps = self.engine.maps();
        let mut text = Vec::new();
        write_summary(&mut text, &maps.call_table()?, Some(SLOT), maps.account(SLOT)?.untabled);
        let mut output = open_output(args.output.as_deref())?;
        let mut rest = &text[..];
        while !rest.is_empty() {
            let written = output.write(rest)?;
            rest = &rest[written..];
        }
        Ok(())
    }
}

fn kernel_container(creator_mnt_ns: u32) -> wire::Container {
    wire::Container::watched(PROFILE, creator_mnt_ns)
}

fn container(args: &TraceArgs) -> Container {
    Container {
        id: ContainerId(format!("trace-{}", std::process::id())),
        name: Path::new(&args.command[0]).file_name().map(|name| name.to_string_lossy().into_owned()),
        image: None,
        image_digest: None,
        runtime: "kubeward",
        runtime_namespace: None,
        labels: Default::default(),
        pod: None,
    }
}

fn lines(args: &TraceArgs) -> Lines {
    match args.format {
        _ if args.summary => Lines::None,
        FormatArg::Json => Lines::Json(JsonLines::new(&run_id::stream(None, Vec::new()))),
        FormatArg::Text => Lines::Alone(TextLines::new(TextOptions { time: TimeFormat::Clock, container: false })),
    }
}
