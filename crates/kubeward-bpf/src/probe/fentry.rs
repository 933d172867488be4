//! fentry and fexit: a pair of programs per call, loaded for the calls at hand into an object that shares the main one's maps.

use std::sync::Arc;

use kubeward_core::event::Probe;
use kubeward_core::syscall::Syscall;
use libbpf_rs::btf::types::Func;
use libbpf_rs::btf::Btf;
use libbpf_rs::Object;

use super::attach::{self, Hook};
use crate::object::{self, Engine, LoadError};
use crate::wire::{HOOK_ENTER, HOOK_EXIT};

static FENTRY: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/fentry.bpf.o"));

/// What the names of a call's two programs end in.
pub(super) fn suffix(nr: u16) -> String {
    format!("_{nr:04o}")
}

/// Hooks every call that the kernel lets be hooked this way. The others are left out.
pub(super) fn attach(engine: &Engine, calls: &[(&'static Syscall, u8)]) -> Vec<Hook> {
    let Ok(btf) = Btf::from_vmlinux() else { return Vec::new() };
    let targets: Vec<Target> = calls.iter().filter_map(|&(call, bits)| Target::of(&btf, call, bits)).collect();
    drop(btf);
    match load(engine, &targets) {
        Ok(object) => hooks(&object, &targets),
        // One target that the kernel refuses takes the whole object with it: each has another chance alone.
        Err(_) => {
            targets.chunks(1).filter_map(|target| Some(hooks(&load(engine, target).ok()?, target))).flatten().collect()
        }
    }
}

/// Whether this kernel takes the programs at all, and if not, what it says.
pub(super) fn try_load(engine: &Engine, call: &'static Syscall) -> Result<(), LoadError> {
    let btf = Btf::from_vmlinux().map_err(|_| LoadError::NoBtf)?;
    let target = Target::of(&btf, call, HOOK_ENTER | HOOK_EXIT);
    drop(btf);
    let target = target.ok_or_else(|| LoadError::Damaged { kind: "BTF function for", name: call.name.to_owned() })?;
    load(engine, &[target]).map(drop)
}

struct Target {
    nr: u16,
    symbol: String,
    bits: u8,
}

impl Target {
    /// `None` for a call whose function has no type information to attach by.
    fn of(btf: &Btf<'_>, call: &Syscall, bits: u8) -> Option<Self> {
        let symbol = call.symbol().filter(|_| !call.has_no_fentry())?;
        btf.type_by_name::<Func<'_>>(&symbol)?;
        Some(Self { nr: call.nr, symbol, bits })
    }
}

fn load(engine: &Engine, targets: &[Target]) -> Result<Arc<Object>, LoadError> {
    let mut open = object::open(FENTRY)?;
    for mut map in open.maps_mut() {
        let name = map.name().to_owned();
        if let Some(shared) = engine.shared_map(&name) {
            map.reuse_fd(std::os::fd::AsFd::as_fd(&shared)).map_err(object::refused("sharing maps"))?;
        }
    }
    for mut program in open.progs_mut() {
        let name = program.name().to_string_lossy().into_owned();
        let wanted =
            targets.iter().find(|target| name.ends_with(&suffix(target.nr)) && moments(target).contains(&kind(&name)));
        if let Some(target) = wanted {
            program.set_autoload(true);
            program.set_attach_target(0, Some(target.symbol.clone())).map_err(object::refused("naming a function"))?;
        }
    }
    Ok(Arc::new(open.load().map_err(object::refused("loading fentry programs"))?))
}

fn kind(name: &str) -> &str {
    name.split('_').next().unwrap_or_default()
}

/// The return first: an entry whose return has no hook yet would wait for it in vain.
fn moments(target: &Target) -> Vec<&'static str> {
    let mut moments = Vec::new();
    if target.bits & HOOK_EXIT != 0 {
        moments.push("exit");
    }
    if target.bits & HOOK_ENTER != 0 {
        moments.push("enter");
    }
    moments
}

fn hooks(object: &Arc<Object>, targets: &[Target]) -> Vec<Hook> {
    targets.iter().filter_map(|target| hook(object, target)).collect()
}

fn hook(object: &Arc<Object>, target: &Target) -> Option<Hook> {
    let mut links = Vec::new();
    for moment in moments(target) {
        let name = format!("{moment}{}", suffix(target.nr));
        let program = object.progs_mut().find(|program| program.name() == name.as_str())?;
        links.push(Arc::new(program.attach_trace().ok()?));
    }
    Some(Hook {
        nr: target.nr,
        probe: Probe::Fentry,
        symbol: target.symbol.clone(),
        bits: target.bits,
        attached_ns: attach::now_ns(),
        links,
        object: Some(Arc::clone(object)),
    })
}
