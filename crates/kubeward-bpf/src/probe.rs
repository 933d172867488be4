//! Hooks on calls: which backend serves which call, attached and detached while everything else goes on.

mod attach;
mod compat;
mod cost;
mod fentry;
mod plan;
mod preemption;
mod raw;
mod retire;
mod selftest;
mod settle;
mod survey;
mod tables;
mod uring;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;
use std::thread;
use std::time::Instant;

use kubeward_core::event::Probe;
use kubeward_core::syscall::{self, EntryRule, Syscall};
use libbpf_rs::Link;

use crate::object::Engine;
use crate::wire::{CALLS, HOOK_ENTER, HOOK_EXIT};
pub(crate) use attach::trace;
pub use attach::AttachError;
use attach::Hook;
use compat::SharedHooks;
use cost::Horizon;
use plan::Verdicts;
use raw::RawHooks;
use retire::Retirement;
use tables::Tables;
use uring::Uring;

pub use compat::compat_functions;
pub use settle::Settling;
pub use survey::{survey, BackendVerdict};
pub use uring::{uring_support, UringSupport};

/// Beside [`HOOK_ENTER`] and [`HOOK_EXIT`] in what is asked of a call: refusals by seccomp must be seen, which only the
/// raw tracepoint shows.
pub const ASK_REFUSED: u8 = 1 << 2;

/// `--probe-backend`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Backend {
    /// What is exact on this kernel, and of that the cheapest.
    #[default]
    Auto,
    /// Raw syscall tracepoints: every call of the machine comes by.
    Tracepoint,
    /// kprobe and kretprobe per call, kprobe.multi where the kernel has it.
    Kprobe,
    /// fentry and fexit per call.
    Fentry,
}

impl Backend {
    pub const ALL: [Self; 4] = [Self::Auto, Self::Tracepoint, Self::Kprobe, Self::Fentry];

    pub fn name(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::Tracepoint => "tracepoint",
            Self::Kprobe => "kprobe",
            Self::Fentry => "fentry",
        }
    }
}

impl fmt::Display for Backend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

#[derive(Debug, thiserror::Error)]
#[error("no probe backend is called \"{0}\": it is auto, tracepoint, kprobe or fentry")]
pub struct UnknownBackend(String);

impl FromStr for Backend {
    type Err = UnknownBackend;

    fn from_str(name: &str) -> Result<Self, UnknownBackend> {
        Self::ALL.into_iter().find(|backend| backend.name() == name).ok_or_else(|| UnknownBackend(name.to_owned()))
    }
}

#[derive(Debug, thiserror::Error)]
pub enum ProbeError {
    #[error("watching forks and execs: {0}")]
    Lifecycle(#[source] AttachError),
    #[error("no backend works on this kernel; `kubeward doctor` says more: {}", .0.join("; "))]
    NoBackend(Vec<String>),
    #[error("the {backend} backend does not work on this kernel: {reason} (--probe-backend auto picks one that does)")]
    BackendRefused { backend: Backend, reason: String },
}

/// One call's hook as it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attached {
    pub nr: u16,
    pub probe: Probe,
    /// The kernel function, or the tracepoint.
    pub symbol: String,
}

/// A call that no hook serves, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refused {
    pub nr: u16,
    pub reason: String,
}

/// What serves which call.
#[derive(Debug, Clone, Default)]
pub struct Report {
    pub attached: Vec<Attached>,
    pub refused: Vec<Refused>,
    /// Why operations of io_uring that stand for attached calls are not seen. `None`: they are, or there are none.
    pub uring_trouble: Option<String>,
}

/// All hooks of one engine. Dropping it detaches them.
#[derive(Debug)]
pub struct Probes {
    engine: Arc<Engine>,
    backend: Backend,
    horizon: Horizon,
    verdicts: Verdicts,
    /// Whether `auto` hooks the functions of what is wanted.
    by_function: bool,
    /// Since when the raw tracepoint serves calls in place of slow hooks that shall.
    raw_since: Option<Instant>,
    raw: RawHooks,
    uring: Uring,
    tables: Tables,
    /// What is asked for: entry, return, and whether refusals must be seen.
    wanted: Vec<(&'static Syscall, u8)>,
    /// Each hook of a call shows moments that the others do not.
    hooks: BTreeMap<u16, Vec<Hook>>,
    shared: SharedHooks,
    /// What the kernel has refused to hook of which call: not tried again.
    unhookable: BTreeSet<(u16, u8)>,
    retirement: Retirement,
    /// Why calls that the raw tracepoint should serve are not shown.
    trouble: Option<String>,
    /// What hooks that are gone had missed and skipped.
    missed_before: u64,
    skipped_before: u64,
    /// What the self-test's trials made the main object's programs skip.
    skipped_in_trials: u64,
    _lifecycle: Vec<Link>,
}

impl Probes {
    /// Attaches what follows forks and execs, and finds out what `backend` may use here: a fraction of
    /// a second on an idle machine, up to two for each kind of hook on a busy one.
    pub fn new(engine: Arc<Engine>, backend: Backend) -> Result<Self, ProbeError> {
        let lifecycle = attach::lifecycle(&engine).map_err(ProbeError::Lifecycle)?;
        let verdicts = plan::verdicts(&engine, backend, Horizon::Agent)?;
        Ok(Self::with(engine, (backend, Horizon::Agent), verdicts, None, lifecycle))
    }

    /// As [`Probes::new`], for one command, whose start somebody waits for: `asked` is what [`Probes::apply`] will be asked for.
    pub fn for_command(engine: Arc<Engine>, backend: Backend, asked: &[u8; CALLS]) -> Result<Self, ProbeError> {
        let mut lifecycle = attach::lifecycle_by_tp_btf(&engine).map_err(ProbeError::Lifecycle)?;
        let (verdicts, early) = thread::scope(|scope| {
            let name = || thread::Builder::new().name("kubeward-load".to_owned());
            // The verifier takes as long as the self-test, which is on one CPU. The first kind tried is mostly the one to use.
            let load = || Uring::loaded(&engine, Probe::TpBtf);
            let early = uring::is_wanted(&wanted_calls(asked)).then(|| name().spawn_scoped(scope, load).ok()).flatten();
            let verdicts = plan::verdicts(&engine, backend, Horizon::Trace);
            (verdicts, early.and_then(|loading| loading.join().ok()))
        });
        let verdicts = verdicts?;
        if !verdicts.tp_btf_is_exact() {
            drop(std::mem::take(&mut lifecycle));
            lifecycle = attach::lifecycle(&engine).map_err(ProbeError::Lifecycle)?;
        }
        let uring = early.filter(|uring| uring.probe() == verdicts.raw_probe());
        Ok(Self::with(engine, (backend, Horizon::Trace), verdicts, uring, lifecycle))
    }

    fn with(
        engine: Arc<Engine>,
        (backend, horizon): (Backend, Horizon),
        verdicts: Verdicts,
        uring: Option<Uring>,
        lifecycle: Vec<Link>,
    ) -> Self {
        Self {
            raw: RawHooks::new(verdicts.raw_probe()),
            uring: uring.unwrap_or_else(|| Uring::new(verdicts.raw_probe())),
            skipped_in_trials: attach::recursion_misses(engine.objects()),
            engine,
            backend,
            horizon,
            by_function: false,
            raw_since: None,
            shared: SharedHooks::new(verdicts.compat_entry()),
            verdicts,
            tables: Tables::NOTHING,
            wanted: Vec::new(),
            hooks: BTreeMap::new(),
            unhookable: BTreeSet::new(),
            retirement: Retirement::default(),
            trouble: None,
            missed_before: 0,
            skipped_before: 0,
            _lifecycle: lifecycle,
        }
    }

    pub fn backend(&self) -> Backend {
        self.backend
    }

    /// Whether some call's returns may be missed without a trace: profiles must then want the whole call, entry and return,
    /// wherever they want its return, so that a return that never comes is counted.
    pub fn upgrades_exit(&self) -> bool {
        self.verdicts.uses_kretprobes(self.backend)
    }

    /// The hooks that serve now; where two kinds do, the one that was there first.
    pub fn report(&self) -> Report {
        let mut report = Report { uring_trouble: self.uring.trouble(), ..Report::default() };
        for &(call, _) in &self.wanted {
            let nr = call.nr;
            let hook = self.hooks.get(&nr).and_then(|hooks| hooks.first());
            match (self.tables.raw[usize::from(nr)], hook, &self.trouble) {
                (0, Some(hook), _) => {
                    report.attached.push(Attached { nr, probe: hook.probe, symbol: hook.symbol.clone() });
                }
                (_, _, Some(error)) => report.refused.push(Refused { nr, reason: error.clone() }),
                _ => report.attached.push(Attached { nr, probe: self.raw.probe(), symbol: "sys_exit".to_owned() }),
            }
        }
        report
    }

    /// Runs that the kernel skipped because one of our programs was already running on that CPU, since the self-test.
    /// They belong to no container that could be told.
    pub fn skipped(&self) -> u64 {
        // First: a run that is made up for was skipped before.
        let made_up = self.engine.maps().tags_made_up();
        let skipped = attach::recursion_misses(self.engine.objects()) - self.skipped_in_trials
            + self.skipped_before
            + self.uring.skipped()
            + self.hooks.values().flatten().chain(self.shared.iter()).map(Hook::recursion_misses).sum::<u64>();
        skipped.saturating_sub(made_up)
    }

    /// Returns that the kernel says our kretprobes missed, where it counts them (6.7 and later).
    pub fn missed_returns(&self) -> u64 {
        self.missed_before + attach::missed_returns(self.hooks.values().flatten().chain(self.shared.iter()))
    }

    /// Why the backend serves calls as it does, in sentences.
    pub fn explain(&self) -> Vec<String> {
        self.verdicts.explain(self.backend, self.horizon)
    }
}

/// The asked calls that exist, with entry and return as the call itself allows.
fn wanted_calls(asked: &[u8; CALLS]) -> Vec<(&'static Syscall, u8)> {
    let hooked = syscall::all().iter().filter_map(|call| {
        let bits = asked[usize::from(call.nr)];
        let bits = match call.entry_rule() {
            _ if bits & (HOOK_ENTER | HOOK_EXIT) == 0 => 0,
            EntryRule::NeverReturns => HOOK_ENTER,
            EntryRule::Always => bits | HOOK_ENTER | HOOK_EXIT,
            EntryRule::WhenAsked => bits,
        };
        (bits != 0).then_some((call, bits))
    });
    hooked.collect()
}
