//! fentry and fexit: a pair of programs per function, loaded for the calls at hand into an object that shares the main one's maps.

use std::sync::Arc;

use kubeward_core::event::Probe;
use kubeward_core::syscall::{Syscall, UNLISTED};
use libbpf_rs::btf::types::Func;
use libbpf_rs::btf::Btf;
use libbpf_rs::{Link, Object};

use super::attach::{self, Hook, Programs};
use super::compat::{Entry, Function, Functions, DISPATCHER, SHARED_BITS};
use crate::object::{self, Engine, LoadError, Packed};
use crate::wire::{HOOK_ENTER, HOOK_EXIT};

static FENTRY: Packed = object::packed!("fentry");

/// What the names of a function's two programs end in.
fn suffix(program: u16) -> String {
    format!("_{program:04o}")
}

/// What the names of the dispatcher's two programs end in.
const DISPATCHER_SUFFIX: &str = "_dispatcher";

/// Hooks every call that the kernel lets be hooked this way. The others are left out.
pub(super) fn attach(engine: &Engine, calls: &[(&'static Syscall, u8)], entry: Entry) -> Vec<Hook> {
    let Ok(btf) = Btf::from_vmlinux() else { return Vec::new() };
    let targets: Vec<Targets> = calls.iter().filter_map(|&(call, bits)| Targets::of(&btf, call, bits, entry)).collect();
    drop(btf);
    match Objects::load(engine, &targets) {
        Ok(objects) => targets.iter().filter_map(|targets| hook(&objects, targets)).collect(),
        // One target that the kernel refuses takes the whole object with it: each has another chance alone.
        Err(_) => {
            targets.chunks(1).filter_map(|alone| hook(&Objects::load(engine, alone).ok()?, alone.first()?)).collect()
        }
    }
}

/// A function that serves many 32-bit calls; `None`: the kernel refused it.
pub(super) fn attach_shared(engine: &Engine, function: &Function) -> Option<Hook> {
    let targets = Targets { nr: function.program, bits: SHARED_BITS, native: None, compat: vec![function.clone()] };
    hook(&Objects::load(engine, std::slice::from_ref(&targets)).ok()?, &targets)
}

/// The function that all 32-bit calls go through; `None`: the kernel refused it.
pub(super) fn attach_dispatcher(engine: &Engine) -> Option<Hook> {
    let object = load_programs(engine, |name| name.ends_with(DISPATCHER_SUFFIX).then_some(DISPATCHER)).ok()?;
    let mut links = Vec::new();
    for moment in moments(SHARED_BITS) {
        links.push(Arc::new(link(&object, &format!("{moment}{DISPATCHER_SUFFIX}"))?));
    }
    Some(Hook {
        nr: UNLISTED,
        probe: Probe::Fentry,
        symbol: DISPATCHER.to_owned(),
        bits: SHARED_BITS,
        attached_ns: attach::now_ns(),
        links,
        programs: vec![Programs { object: Arc::new(object), suffix: DISPATCHER_SUFFIX.to_owned() }],
    })
}

/// Whether this kernel takes the programs at all, and if not, what it says.
pub(super) fn try_load(engine: &Engine, call: &'static Syscall) -> Result<(), LoadError> {
    let btf = Btf::from_vmlinux().map_err(|_| LoadError::NoBtf)?;
    let targets = Targets::of(&btf, call, HOOK_ENTER | HOOK_EXIT, Entry::Dispatcher);
    drop(btf);
    let targets = targets.ok_or_else(|| LoadError::Damaged { kind: "BTF function for", name: call.name.to_owned() })?;
    Objects::load(engine, &[targets]).map(drop)
}

/// The functions that one call comes by.
struct Targets {
    nr: u16,
    bits: u8,
    native: Option<Function>,
    compat: Vec<Function>,
}

impl Targets {
    /// `None` for a call of which some function has no type information to attach by.
    fn of(btf: &Btf<'_>, call: &Syscall, bits: u8, entry: Entry) -> Option<Self> {
        let symbol = call.symbol().filter(|_| !call.has_no_fentry())?;
        let native = Function { program: call.nr, symbol };
        let compat = match entry {
            Entry::Functions => Functions::of_this_kernel().own(call).to_vec(),
            Entry::Dispatcher => Vec::new(),
        };
        let has_type = |function: &Function| btf.type_by_name::<Func<'_>>(&function.symbol).is_some();
        let all_have = has_type(&native) && compat.iter().all(has_type);
        all_have.then_some(Self { nr: call.nr, bits, native: Some(native), compat })
    }
}

/// Numbers of both tables name the same programs, so that each table has an object of its own.
struct Objects {
    native: Option<Arc<Object>>,
    compat: Option<Arc<Object>>,
}

impl Objects {
    fn load(engine: &Engine, targets: &[Targets]) -> Result<Self, LoadError> {
        let native = targets.iter().flat_map(|call| call.native.iter().map(|function| (function, call.bits)));
        let compat = targets.iter().flat_map(|call| call.compat.iter().map(|function| (function, call.bits)));
        Ok(Self { native: load(engine, native.collect())?, compat: load(engine, compat.collect())? })
    }
}

fn load(engine: &Engine, targets: Vec<(&Function, u8)>) -> Result<Option<Arc<Object>>, LoadError> {
    if targets.is_empty() {
        return Ok(None);
    }
    let target_of = |name: &str| {
        let is_meant = |function: &Function, bits: u8| {
            name.ends_with(&suffix(function.program)) && moments(bits).contains(&kind(name))
        };
        targets.iter().find(|(function, bits)| is_meant(function, *bits)).map(|(function, _)| &*function.symbol)
    };
    Ok(Some(Arc::new(load_programs(engine, target_of)?)))
}

/// An object with those programs that have a target: the function that each is to be attached to.
fn load_programs<'t>(engine: &Engine, target_of: impl Fn(&str) -> Option<&'t str>) -> Result<Object, LoadError> {
    let mut open = FENTRY.open(engine.reads())?;
    for mut map in open.maps_mut() {
        let name = map.name().to_owned();
        if let Some(shared) = engine.shared_map(&name) {
            map.reuse_fd(std::os::fd::AsFd::as_fd(&shared)).map_err(object::refused("sharing maps"))?;
        }
    }
    for mut program in open.progs_mut() {
        let name = program.name().to_string_lossy().into_owned();
        if let Some(symbol) = target_of(&name) {
            program.set_autoload(true);
            program.set_attach_target(0, Some(symbol.to_owned())).map_err(object::refused("naming a function"))?;
        }
    }
    open.load().map_err(object::refused("loading fentry programs"))
}

fn link(object: &Object, program: &str) -> Option<Link> {
    object.progs_mut().find(|loaded| loaded.name() == program)?.attach_trace().ok()
}

fn kind(name: &str) -> &str {
    name.split('_').next().unwrap_or_default()
}

/// The return first: an entry whose return has no hook yet would wait for it in vain.
fn moments(bits: u8) -> Vec<&'static str> {
    let mut moments = Vec::new();
    if bits & HOOK_EXIT != 0 {
        moments.push("exit");
    }
    if bits & HOOK_ENTER != 0 {
        moments.push("enter");
    }
    moments
}

fn hook(objects: &Objects, targets: &Targets) -> Option<Hook> {
    let native = targets.native.iter().zip(&objects.native);
    let all: Vec<_> = native.chain(targets.compat.iter().zip(objects.compat.iter().cycle())).collect();
    let mut links = Vec::new();
    for moment in moments(targets.bits) {
        for (function, object) in &all {
            links.push(Arc::new(link(object, &format!("{moment}{}", suffix(function.program)))?));
        }
    }
    let programs = |(function, object): &(&Function, &Arc<Object>)| Programs {
        object: Arc::clone(object),
        suffix: suffix(function.program),
    };
    Some(Hook {
        nr: targets.nr,
        probe: Probe::Fentry,
        symbol: all.first()?.0.symbol.clone(),
        bits: targets.bits,
        attached_ns: attach::now_ns(),
        links,
        programs: all.iter().map(programs).collect(),
    })
}
