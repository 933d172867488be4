//! fentry and fexit: a pair of programs per function, loaded for the calls at hand into an object that shares the main one's maps.

use std::sync::Arc;

use kubeward_core::event::Probe;
use kubeward_core::syscall::Syscall;
use libbpf_rs::btf::types::Func;
use libbpf_rs::btf::Btf;
use libbpf_rs::Object;

use super::attach::{self, Hook, Programs};
use super::compat::{Function, Functions, SHARED_BITS};
use crate::object::{self, Engine, LoadError};
use crate::wire::{HOOK_ENTER, HOOK_EXIT};

static FENTRY: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/fentry.bpf.o"));

/// What the names of a function's two programs end in.
fn suffix(program: u16) -> String {
    format!("_{program:04o}")
}

/// Hooks every call that the kernel lets be hooked this way. The others are left out.
pub(super) fn attach(engine: &Engine, calls: &[(&'static Syscall, u8)]) -> Vec<Hook> {
    let Ok(btf) = Btf::from_vmlinux() else { return Vec::new() };
    let targets: Vec<Targets> = calls.iter().filter_map(|&(call, bits)| Targets::of(&btf, call, bits)).collect();
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

/// Whether this kernel takes the programs at all, and if not, what it says.
pub(super) fn try_load(engine: &Engine, call: &'static Syscall) -> Result<(), LoadError> {
    let btf = Btf::from_vmlinux().map_err(|_| LoadError::NoBtf)?;
    let targets = Targets::of(&btf, call, HOOK_ENTER | HOOK_EXIT);
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
    fn of(btf: &Btf<'_>, call: &Syscall, bits: u8) -> Option<Self> {
        let symbol = call.symbol().filter(|_| !call.has_no_fentry())?;
        let native = Function { program: call.nr, symbol };
        let compat = Functions::of_this_kernel().own(call).to_vec();
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
    let mut open = object::open(FENTRY)?;
    for mut map in open.maps_mut() {
        let name = map.name().to_owned();
        if let Some(shared) = engine.shared_map(&name) {
            map.reuse_fd(std::os::fd::AsFd::as_fd(&shared)).map_err(object::refused("sharing maps"))?;
        }
    }
    for mut program in open.progs_mut() {
        let name = program.name().to_string_lossy().into_owned();
        let wanted = targets.iter().find(|(function, bits)| {
            name.ends_with(&suffix(function.program)) && moments(*bits).contains(&kind(&name))
        });
        if let Some((function, _)) = wanted {
            program.set_autoload(true);
            program
                .set_attach_target(0, Some(function.symbol.clone()))
                .map_err(object::refused("naming a function"))?;
        }
    }
    Ok(Some(Arc::new(open.load().map_err(object::refused("loading fentry programs"))?)))
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
            let name = format!("{moment}{}", suffix(function.program));
            let program = object.progs_mut().find(|program| program.name() == name.as_str())?;
            links.push(Arc::new(program.attach_trace().ok()?));
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
