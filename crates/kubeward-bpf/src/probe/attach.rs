//! Attaching one program to one place, and what the kernel says it missed there.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use kubeward_core::event::Probe;
use kubeward_core::syscall::Syscall;
use libbpf_rs::libbpf_sys;
use libbpf_rs::query::{LinkTypeInfo, PerfEventType};
use libbpf_rs::{ErrorKind, Link, Object, ProgramMut, TracepointCategory};
use std::os::fd::{AsFd, AsRawFd};

use super::compat::{Function, Functions, SHARED_BITS};
use crate::maps;
use crate::object::{Engine, LoadError};
use crate::support;
use crate::wire::{HOOK_ENTER, HOOK_EXIT};

/// A kernel that has just let a tracepoint go answers EEXIST for a while.
const REATTACH_TIMEOUT: Duration = Duration::from_secs(2);

#[derive(Debug, thiserror::Error)]
pub enum AttachError {
    #[error("program {0} is not loaded: this kernel has no hooks of its kind")]
    NotLoaded(String),
    #[error("{0}")]
    Load(#[from] LoadError),
    #[error("{place}: {source}")]
    Kernel { place: String, source: libbpf_rs::Error },
    #[error(
        "tracefs is not mounted, which this tracepoint is found through (mount -t tracefs none /sys/kernel/tracing)"
    )]
    NoTracefs,
}

/// The hook of one call on its kernel function, and on those of the 32-bit calls that do the same.
#[derive(Debug)]
pub(super) struct Hook {
    pub(super) nr: u16,
    pub(super) probe: Probe,
    pub(super) symbol: String,
    pub(super) bits: u8,
    /// CLOCK_MONOTONIC when it was attached: a call that was entered before may return past it.
    pub(super) attached_ns: u64,
    /// A link of the multi form serves many calls, and goes with the last of them: until then the tables keep it from
    /// showing the others. Before `object`: a link goes before its program.
    pub(super) links: Vec<Arc<Link>>,
    /// Those of the fentry backend.
    pub(super) programs: Vec<Programs>,
}

/// One function's programs, in the object that holds them.
#[derive(Debug, Clone)]
pub(super) struct Programs {
    pub(super) object: Arc<Object>,
    pub(super) suffix: String,
}

impl Hook {
    pub(super) fn recursion_misses(&self) -> u64 {
        let misses = |programs: &Programs| -> u64 {
            let all = programs.object.progs();
            let own = all.filter(|program| program.name().to_string_lossy().ends_with(&programs.suffix));
            own.map(|program| program_misses(program.as_fd().as_raw_fd())).sum()
        };
        self.programs.iter().map(misses).sum()
    }
}

/// kprobe and kretprobe, or their multi forms. Calls that cannot be hooked are left out. `or_plain`: the plain form, which misses
/// returns sooner, serves where the multi form refuses a symbol (an alias of another).
pub(super) fn functions(engine: &Engine, probe: Probe, calls: &[(&'static Syscall, u8)], or_plain: bool) -> Vec<Hook> {
    if probe == Probe::Kprobe {
        return one_by_one(engine, probe, calls);
    }
    let mut hooks = Vec::new();
    for bits in [HOOK_ENTER, HOOK_EXIT, HOOK_ENTER | HOOK_EXIT] {
        let group: Vec<_> = calls.iter().copied().filter(|(_, asked)| *asked == bits).collect();
        // One symbol that the kernel refuses takes its whole group with it: each has another chance alone.
        hooks.extend(together(engine, &group, bits).unwrap_or_else(|_| one_by_one(engine, probe, &group)));
    }
    if or_plain {
        let is_left = |call: &Syscall| !hooks.iter().any(|hook: &Hook| hook.nr == call.nr);
        let left: Vec<_> = calls.iter().copied().filter(|(call, _)| is_left(call)).collect();
        hooks.extend(one_by_one(engine, Probe::Kprobe, &left));
    }
    hooks
}

fn one_by_one(engine: &Engine, probe: Probe, calls: &[(&'static Syscall, u8)]) -> Vec<Hook> {
    calls.iter().filter_map(|&(call, bits)| function(engine, probe, call, bits).ok()).collect()
}

/// One link a moment for all of the calls: the kernel takes hundreds of functions as fast as one.
fn together(engine: &Engine, calls: &[(&'static Syscall, u8)], bits: u8) -> Result<Vec<Hook>, AttachError> {
    let symbols = calls.iter().map(|(call, _)| symbols(call)).collect::<Result<Vec<_>, _>>()?;
    if symbols.is_empty() {
        return Ok(Vec::new());
    }
    let links: Vec<Arc<Link>> = pair(engine, &symbols.concat(), bits, kprobe_multi)?;
    let hook = |((call, _), symbols): (&(&'static Syscall, u8), Vec<String>)| {
        Hook::of(call.nr, Probe::KprobeMulti, symbols, bits, links.clone())
    };
    Ok(calls.iter().zip(symbols).map(hook).collect())
}

pub(super) fn function(engine: &Engine, probe: Probe, call: &Syscall, bits: u8) -> Result<Hook, AttachError> {
    let symbols = symbols(call)?;
    let links = pair(engine, &symbols, bits, if probe == Probe::KprobeMulti { kprobe_multi } else { kprobe })?;
    Ok(Hook::of(call.nr, probe, symbols, bits, links))
}

/// A function that serves many calls; `None`: the kernel refused it.
pub(super) fn shared(engine: &Engine, probe: Probe, function: &Function) -> Option<Hook> {
    let symbols = [function.symbol.clone()];
    let attach = if probe == Probe::KprobeMulti { kprobe_multi } else { kprobe };
    let links = pair(engine, &symbols, SHARED_BITS, attach).ok()?;
    Some(Hook::of(function.program, probe, symbols.into(), SHARED_BITS, links))
}

impl Hook {
    /// Attached now, and first of all to the native call's function.
    fn of(nr: u16, probe: Probe, symbols: Vec<String>, bits: u8, links: Vec<Arc<Link>>) -> Self {
        let symbol = symbols.into_iter().next().unwrap_or_default();
        Self { nr, probe, symbol, bits, attached_ns: now_ns(), links, programs: Vec::new() }
    }
}

/// By CLOCK_MONOTONIC; later than everything where the clock cannot be read.
pub(super) fn now_ns() -> u64 {
    maps::clock_ns(libc::CLOCK_MONOTONIC).unwrap_or(u64::MAX)
}

/// The call's function, and those of the 32-bit calls that do the same.
fn symbols(call: &Syscall) -> Result<Vec<String>, AttachError> {
    let native = call.symbol().ok_or_else(|| AttachError::NotLoaded(call.name.to_owned()))?;
    let own = Functions::of_this_kernel().own(call).iter().map(|function| function.symbol.clone());
    Ok([native].into_iter().chain(own).collect())
}

type Attach = fn(&Engine, &[String], bool) -> Result<Vec<Link>, AttachError>;

/// The return first: an entry whose return has no hook yet would wait for it in vain.
fn pair(engine: &Engine, symbols: &[String], bits: u8, attach: Attach) -> Result<Vec<Arc<Link>>, AttachError> {
    let mut links = Vec::new();
    if bits & HOOK_EXIT != 0 {
        links.extend(attach(engine, symbols, true)?);
    }
    if bits & HOOK_ENTER != 0 {
        links.extend(attach(engine, symbols, false)?);
    }
    Ok(links.into_iter().map(Arc::new).collect())
}

/// The plain form takes one symbol a link.
fn kprobe(engine: &Engine, symbols: &[String], is_return: bool) -> Result<Vec<Link>, AttachError> {
    let attach = |symbol: &String| {
        let program = find(engine, if is_return { "kretprobe_exit" } else { "kprobe_enter" })?;
        program.attach_kprobe(is_return, symbol).map_err(at(symbol))
    };
    symbols.iter().map(attach).collect()
}

fn kprobe_multi(engine: &Engine, symbols: &[String], is_return: bool) -> Result<Vec<Link>, AttachError> {
    let program = find(engine, if is_return { "kretprobe_multi_exit" } else { "kprobe_multi_enter" })?;
    let place = symbols.first().map_or("", String::as_str);
    Ok(vec![program.attach_kprobe_multi(is_return, symbols.to_vec()).map_err(at(place))?])
}

/// What follows forks, execs and exits: without it no tag is inherited. Execs and exits go by the classic tracepoints where
/// tracefs is mounted, since those skip no run but beside a task that is preempted within bpf(2); a fork's shows the child's number alone, and so has to go by the other.
pub(super) fn lifecycle(engine: &Engine) -> Result<Vec<Link>, AttachError> {
    let mut links = forks(engine)?;
    for moment in ENDS {
        let event = format!("sched_process_{moment}");
        let classic = tracepoint(engine, &format!("classic_process_{moment}"), TracepointCategory::Sched, &event);
        links.push(classic.or_else(|_| trace(engine, &format!("raw_process_{moment}")))?);
    }
    Ok(links)
}

/// As [`lifecycle`], where tp_btf skips no run either: its hooks go at once, and each classic one takes a grace period of RCU.
pub(super) fn lifecycle_by_tp_btf(engine: &Engine) -> Result<Vec<Link>, AttachError> {
    let mut links = forks(engine)?;
    for moment in ENDS {
        links.push(trace(engine, &format!("raw_process_{moment}"))?);
    }
    Ok(links)
}

fn forks(engine: &Engine) -> Result<Vec<Link>, AttachError> {
    Ok(vec![trace(engine, "task_newtask")?, trace(engine, SECOND_CHANCE)?])
}

/// Of programs.
const ENDS: [&str; 2] = ["exec", "exit"];

/// A program whose section names its place.
pub(crate) fn trace(engine: &Engine, name: &str) -> Result<Link, AttachError> {
    trace_of(engine.object_with(name)?, name)
}

/// As [`trace`], of any object.
pub(super) fn trace_of(object: &Object, name: &str) -> Result<Link, AttachError> {
    let deadline = Instant::now() + REATTACH_TIMEOUT;
    loop {
        match find_in(object, name)?.attach_trace() {
            Err(error) if error.kind() == ErrorKind::AlreadyExists && Instant::now() < deadline => {
                thread::sleep(Duration::from_millis(5));
            }
            attached => return attached.map_err(at(name)),
        }
    }
}

/// A classic tracepoint.
pub(super) fn tracepoint(
    engine: &Engine,
    name: &str,
    category: TracepointCategory,
    event: &str,
) -> Result<Link, AttachError> {
    if !support::has_tracefs() {
        return Err(AttachError::NoTracefs);
    }
    tracepoint_of(engine.object_with(name)?, name, category, event)
}

/// As [`tracepoint`], of any object.
pub(super) fn tracepoint_of(
    object: &Object,
    name: &str,
    category: TracepointCategory,
    event: &str,
) -> Result<Link, AttachError> {
    if !support::has_tracefs() {
        return Err(AttachError::NoTracefs);
    }
    let program = find_in(object, name)?;
    program.attach_tracepoint(category, event).map_err(at(event))
}

/// Loads the programs of this kind, unless they are there: attaching is then as quick as it is the next time. Those of fentry are
/// loaded for each function.
pub(super) fn load(engine: &Engine, probe: Probe) -> Result<(), AttachError> {
    let program = match probe {
        Probe::TpBtf => "raw_exit",
        Probe::Tracepoint => "classic_exit",
        Probe::Kprobe => "kretprobe_exit",
        Probe::KprobeMulti => "kretprobe_multi_exit",
        Probe::Fentry => return Ok(()),
    };
    find(engine, program).map(drop)
}

fn find<'e>(engine: &'e Engine, name: &str) -> Result<ProgramMut<'e>, AttachError> {
    find_in(engine.object_with(name)?, name)
}

fn find_in<'o>(object: &'o Object, name: &str) -> Result<ProgramMut<'o>, AttachError> {
    let program = object.progs_mut().find(|program| program.name() == name);
    program.filter(|program| program.autoload()).ok_or_else(|| AttachError::NotLoaded(name.to_owned()))
}

pub(super) fn at(place: &str) -> impl FnOnce(libbpf_rs::Error) -> AttachError + use<'_> {
    move |source| AttachError::Kernel { place: place.to_owned(), source }
}

/// Returns that the kernel says these hooks missed, each link asked once.
pub(super) fn missed_returns<'h>(hooks: impl Iterator<Item = &'h Hook>) -> u64 {
    let links: BTreeMap<*const Link, &Link> =
        hooks.flat_map(|hook| &hook.links).map(|link| (Arc::as_ptr(link), &**link)).collect();
    links.into_values().map(missed).sum()
}

/// Returns (and, for the multi form, entries) that the link missed, 0 where the kernel does not say.
fn missed(link: &Link) -> u64 {
    match link.info().map(|info| info.info) {
        Ok(LinkTypeInfo::KprobeMulti(info)) => info.missed,
        Ok(LinkTypeInfo::PerfEvent(info)) => match info.event_type {
            PerfEventType::Kprobe { missed, .. } => missed,
            _ => 0,
        },
        _ => 0,
    }
}

/// Tags what another program is to tag, should the kernel skip that one: its own skipped runs miss nothing more.
const SECOND_CHANCE: &str = "process_fork";

/// Runs of the objects' loaded programs that the kernel skipped.
pub(super) fn recursion_misses<'o>(objects: impl IntoIterator<Item = &'o Object>) -> u64 {
    let programs = objects.into_iter().flat_map(Object::progs);
    let loaded = programs.filter(|program| program.autoload() && program.name() != SECOND_CHANCE);
    loaded.map(|program| program_misses(program.as_fd().as_raw_fd())).sum()
}

fn program_misses(fd: i32) -> u64 {
    let mut info = libbpf_sys::bpf_prog_info::default();
    let mut bytes = size_of_val(&info) as u32;
    // SAFETY: `info` is a valid struct of `bytes` bytes whose pointers are all null, so that the kernel fills numbers alone.
    let result = unsafe { libbpf_sys::bpf_prog_get_info_by_fd(fd, &mut info, &mut bytes) };
    if result == 0 {
        info.recursion_misses
    } else {
        0
    }
}
