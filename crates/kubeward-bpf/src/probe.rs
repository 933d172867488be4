//! Hooks on calls: which backend serves which call, attached and detached while everything else goes on.

mod attach;
mod fentry;
mod plan;
mod raw;
mod selftest;
mod survey;
mod tables;

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;
use std::thread;

use kubeward_core::event::Probe;
use kubeward_core::syscall::{self, EntryRule, Syscall};
use libbpf_rs::Link;

use crate::object::Engine;
use crate::wire::{CALLS, HOOK_ENTER, HOOK_EXIT};
use attach::{AttachError, Hook};
use plan::Verdicts;
use raw::RawHooks;
use tables::Tables;

pub use survey::{survey, BackendVerdict};

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

/// What an [`Probes::apply`] left behind.
#[derive(Debug, Clone, Default)]
pub struct Report {
    pub attached: Vec<Attached>,
    pub refused: Vec<Refused>,
}

/// All hooks of one engine. Dropping it detaches them.
#[derive(Debug)]
pub struct Probes {
    engine: Arc<Engine>,
    backend: Backend,
    verdicts: Verdicts,
    raw: RawHooks,
    tables: Tables,
    /// Each hook of a call shows moments that the others do not.
    hooks: BTreeMap<u16, Vec<Hook>>,
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
        let verdicts = plan::verdicts(&engine, backend)?;
        Ok(Self {
            raw: RawHooks::new(verdicts.raw_probe()),
            skipped_in_trials: attach::recursion_misses(engine.object()),
            engine,
            backend,
            verdicts,
            tables: Tables::NOTHING,
            hooks: BTreeMap::new(),
            missed_before: 0,
            skipped_before: 0,
            _lifecycle: lifecycle,
        })
    }

    pub fn backend(&self) -> Backend {
        self.backend
    }

    /// Whether some call's returns may be missed without a trace: profiles must then want the whole call, entry and return,
    /// wherever they want its return, so that a return that never comes is counted.
    pub fn upgrades_exit(&self) -> bool {
        self.verdicts.uses_kretprobes(self.backend)
    }

    /// Makes the hooks be what `asked` says, by native call number: [`HOOK_ENTER`], [`HOOK_EXIT`] and [`ASK_REFUSED`].
    ///
    /// New hooks are attached first, then one write to the kernel switches to them, then those that nobody asks for go: at
    /// once from the raw tracepoint, in the background from functions. A call that stays named misses nothing.
    pub fn apply(&mut self, asked: &[u8; CALLS]) -> Report {
        let wanted = wanted_calls(asked);
        self.attach_functions(&wanted);
        let mut raw_bits = [0_u8; CALLS];
        let mut function_bits = [0_u8; CALLS];
        for &(call, bits) in &wanted {
            let moments = bits & (HOOK_ENTER | HOOK_EXIT);
            let by_function = bits & ASK_REFUSED == 0 && moments & !self.function_bits(call.nr) == 0;
            let table = if by_function { &mut function_bits } else { &mut raw_bits };
            table[usize::from(call.nr)] = moments;
        }
        let attached = self.raw.attach(&self.engine, &raw_bits).map_err(|error| error.to_string());
        let shown = self.tables.show(&self.engine, &raw_bits, &function_bits).map_err(|error| error.to_string());
        self.raw.detach(&raw_bits);
        self.detach_functions(&function_bits);
        self.report(attached.and(shown).err())
    }

    /// What the hooks on a call's function show of it.
    fn function_bits(&self, nr: u16) -> u8 {
        self.hooks.get(&nr).into_iter().flatten().fold(0, |bits, hook| bits | hook.bits)
    }

    /// A call that some hook serves already stays with its kind of hook, and gets what it lacks.
    fn attach_functions(&mut self, wanted: &[(&'static Syscall, u8)]) {
        let few = wanted.len() <= plan::FEW_CALLS;
        let mut to_attach: BTreeMap<Probe, Vec<(&'static Syscall, u8)>> = BTreeMap::new();
        for &(call, bits) in wanted {
            let missing = bits & (HOOK_ENTER | HOOK_EXIT) & !self.function_bits(call.nr);
            if missing != 0 && self.tables.raw[usize::from(call.nr)] == 0 {
                let probe = self.verdicts.choose(self.backend, call, bits, few);
                to_attach.entry(probe).or_default().push((call, missing));
            }
        }
        for (probe, calls) in to_attach {
            let hooks = match probe {
                Probe::TpBtf | Probe::Tracepoint => Vec::new(),
                Probe::Fentry => fentry::attach(&self.engine, &calls),
                Probe::Kprobe | Probe::KprobeMulti => {
                    attach::functions(&self.engine, probe, &calls, self.backend == Backend::Kprobe)
                }
            };
            for hook in hooks {
                self.hooks.entry(hook.nr).or_default().push(hook);
            }
        }
    }

    fn detach_functions(&mut self, function_bits: &[u8; CALLS]) {
        let unwanted: Vec<u16> = self.hooks.keys().copied().filter(|&nr| function_bits[usize::from(nr)] == 0).collect();
        if unwanted.is_empty() {
            return;
        }
        // A link may serve other calls still: what has gone is what is no longer among those that stay.
        let missed = attach::missed_returns(self.hooks.values().flatten());
        let retired: Vec<Hook> = unwanted.into_iter().filter_map(|nr| self.hooks.remove(&nr)).flatten().collect();
        self.missed_before += missed.saturating_sub(attach::missed_returns(self.hooks.values().flatten()));
        self.skipped_before += retired.iter().map(Hook::recursion_misses).sum::<u64>();
        // Detaching waits for the kernel, tens of milliseconds a hook: nobody waits with it. Without a thread the closure, and
        // the hooks in it, are dropped here and now.
        drop(thread::Builder::new().name("kubeward-detach".to_owned()).spawn(move || drop(retired)));
    }

    fn report(&self, raw_error: Option<String>) -> Report {
        let mut report = Report::default();
        for hook in self.hooks.values().filter_map(|hooks| hooks.first()) {
            report.attached.push(Attached { nr: hook.nr, probe: hook.probe, symbol: hook.symbol.clone() });
        }
        for nr in (0..CALLS as u16).filter(|&nr| self.tables.raw[usize::from(nr)] != 0) {
            match &raw_error {
                Some(error) => report.refused.push(Refused { nr, reason: error.clone() }),
                None => report.attached.push(Attached { nr, probe: self.raw.probe(), symbol: "sys_exit".to_owned() }),
            }
        }
        report.attached.sort_by_key(|attached| attached.nr);
        report
    }

    /// Runs that the kernel skipped because one of our programs was already running on that CPU, since the self-test.
    /// They belong to no container that could be told.
    pub fn skipped(&self) -> u64 {
        attach::recursion_misses(self.engine.object()) - self.skipped_in_trials
            + self.skipped_before
            + self.hooks.values().flatten().map(Hook::recursion_misses).sum::<u64>()
    }

    /// Returns that the kernel says our kretprobes missed, where it counts them (6.7 and later).
    pub fn missed_returns(&self) -> u64 {
        self.missed_before + attach::missed_returns(self.hooks.values().flatten())
    }

    /// Why the backend serves calls as it does, in sentences.
    pub fn explain(&self) -> Vec<String> {
        self.verdicts.explain(self.backend)
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
