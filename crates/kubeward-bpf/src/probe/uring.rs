//! Hooks on io_uring: operations that a program submits in place of calls.
//!
//! They have an object of their own, loaded when the first policy names a call that an operation stands for, and attached for
//! as long as one does: where nobody names such a call, a request costs nothing.

use std::os::fd::AsFd;

use kubeward_core::event::Probe;
use kubeward_core::syscall::{uring_ops_of, Syscall};
use libbpf_rs::btf::types::{Enum, FuncProto, Ptr, Struct, Typedef};
use libbpf_rs::btf::{Btf, BtfType};
use libbpf_rs::{Link, MapCore, MapFlags, MapHandle, Object, ProgramInput, TracepointCategory};

use super::attach::{self, AttachError};
use crate::object::{self, Engine, LoadError, Packed};
use crate::wire::Wire;
use crate::{process, shapes};

static URING: Packed = object::packed!("uring");

/// The program that ends the requests which are under way.
const END_ALL: &str = "end_all";

/// Whether this kernel's io_uring can be watched.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UringSupport {
    Watched(Tracepoints),
    /// The kernel has none.
    Absent,
    /// Its tracepoints do not name the requests (before 6.1).
    Nameless,
}

/// The forms that the tracepoints have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tracepoints {
    /// `io_uring_submit_req`; before 6.4 `io_uring_submit_sqe`.
    has_submit_req: bool,
    /// `io_uring_complete` tells an answer by a pointer, from 6.16 on, and not by numbers.
    has_answer: bool,
}

#[derive(Debug, thiserror::Error)]
enum UringError {
    #[error("{0}")]
    Load(#[from] LoadError),
    #[error("{0}")]
    Attach(#[from] AttachError),
    #[error("this kernel's tracepoints of io_uring do not name the requests (6.1 and later do)")]
    Nameless,
    #[error("this kernel's types do not say by which flag a request has credentials of its own (REQ_F_CREDS_BIT)")]
    NoCredsFlag,
}

/// The hooks as they stand.
#[derive(Debug)]
pub(super) struct Uring {
    probe: Probe,
    /// Before `loaded`: a link goes before its program.
    links: Vec<Link>,
    loaded: Option<Loaded>,
    trouble: Option<String>,
    /// What an object that is gone had skipped.
    skipped_before: u64,
}

#[derive(Debug)]
struct Loaded {
    object: Object,
    /// Those to attach, in that order.
    programs: Vec<&'static str>,
}

impl Uring {
    /// `probe` is [`Probe::TpBtf`] or [`Probe::Tracepoint`].
    pub(super) fn new(probe: Probe) -> Self {
        Self { probe, links: Vec::new(), loaded: None, trouble: None, skipped_before: 0 }
    }

    /// As [`Uring::new`], with the programs loaded, which is most of what [`Uring::serve`] takes. A refusal is told there.
    pub(super) fn loaded(engine: &Engine, probe: Probe) -> Self {
        let loaded = Loaded::load(engine, probe).ok().flatten();
        Self { loaded, ..Self::new(probe) }
    }

    pub(super) fn probe(&self) -> Probe {
        self.probe
    }

    /// Attaches the hooks if one of the calls may come by a ring, and detaches them otherwise.
    pub(super) fn serve(&mut self, engine: &Engine, wanted: &[(&'static Syscall, u8)]) {
        if !is_wanted(wanted) {
            self.detach();
        } else if self.links.is_empty() {
            self.trouble = self.attach(engine).err().map(|error| error.to_string());
        }
    }

    /// Why operations are not seen that should be.
    pub(super) fn trouble(&self) -> Option<String> {
        self.trouble.clone()
    }

    /// Runs that the kernel skipped, since the object was loaded.
    pub(super) fn skipped(&self) -> u64 {
        self.skipped_before + attach::recursion_misses(self.loaded.as_ref().map(|loaded| &loaded.object))
    }

    /// Detaches the hooks and ends, in the accounts, the requests that are under way: their answers are not seen any more, and
    /// the kernel uses their addresses for others.
    fn detach(&mut self) {
        if self.links.is_empty() {
            return;
        }
        self.links.clear();
        process::let_pass();
        let Some(loaded) = self.loaded.take() else { return };
        self.trouble = match end_requests(&loaded.object) {
            Ok(()) => {
                self.loaded = Some(loaded);
                None
            }
            // What it kept goes with it, so that nothing of it answers for others.
            Err(error) => {
                self.skipped_before += attach::recursion_misses([&loaded.object]);
                Some(format!(
                    "requests that were under way when the hooks went stay in flight in the accounts: {error}"
                ))
            }
        };
    }

    fn attach(&mut self, engine: &Engine) -> Result<(), UringError> {
        if self.loaded.is_none() {
            self.loaded = Loaded::load(engine, self.probe)?;
        }
        let Some(Loaded { object, programs }) = &self.loaded else { return Ok(()) };
        let links: Result<Vec<Link>, AttachError> =
            programs.iter().map(|program| link(object, self.probe, program)).collect();
        self.links = links?;
        Ok(())
    }
}

/// Whether an operation stands for one of the calls.
pub(super) fn is_wanted(wanted: &[(&'static Syscall, u8)]) -> bool {
    wanted.iter().any(|(call, _)| uring_ops_of(call).next().is_some())
}

impl Loaded {
    /// `None`: the kernel has no io_uring.
    fn load(engine: &Engine, probe: Probe) -> Result<Option<Self>, UringError> {
        let tracepoints = match uring_support() {
            UringSupport::Watched(tracepoints) => tracepoints,
            UringSupport::Absent => return Ok(None),
            UringSupport::Nameless => return Err(UringError::Nameless),
        };
        let programs = tracepoints.programs(probe);
        let object = load(engine, &programs, creds_flag().ok_or(UringError::NoCredsFlag)?)?;
        Ok(Some(Self { object, programs }))
    }
}

impl Tracepoints {
    /// The programs for the hooks, answers first: a request whose answer has no hook yet would wait for it in vain.
    fn programs(self, probe: Probe) -> Vec<&'static str> {
        let (req, answer) = (self.has_submit_req, self.has_answer);
        match probe {
            Probe::Tracepoint => vec![
                "classic_complete",
                "classic_overflow",
                "classic_failed",
                if req { "classic_submit_req" } else { "classic_submit_sqe" },
            ],
            _ => vec![
                if answer { "raw_complete" } else { "raw_complete_numbers" },
                "raw_overflow",
                "raw_failed",
                if req { "raw_submit_req" } else { "raw_submit_sqe" },
            ],
        }
    }
}

/// The tracepoint that a program is for, without the category.
fn event(program: &str) -> &'static str {
    match program.split_once('_').map_or(program, |(_, moment)| moment) {
        "submit_req" => "io_uring_submit_req",
        "submit_sqe" => "io_uring_submit_sqe",
        "failed" => "io_uring_req_failed",
        "overflow" => "io_uring_cqe_overflow",
        _ => "io_uring_complete",
    }
}

fn load(engine: &Engine, programs: &[&str], creds_flag: u32) -> Result<Object, LoadError> {
    let mut open = URING.open(engine.reads())?;
    for mut map in open.maps_mut() {
        let name = map.name().to_owned();
        if let Some(shared) = engine.shared_map(&name) {
            map.reuse_fd(shared.as_fd()).map_err(object::refused("sharing maps"))?;
        }
    }
    for mut program in open.progs_mut() {
        let is_wanted = programs.iter().chain(&[END_ALL]).any(|name| program.name() == *name);
        program.set_autoload(is_wanted);
    }
    let object = open.load().map_err(object::refused("loading the hooks on io_uring"))?;
    fill(&find(&object, "uring_ops")?)?;
    let written = find(&object, "uring_creds_flag")?.update(&[0; 4], &creds_flag.to_ne_bytes(), MapFlags::ANY);
    written.map_err(object::refused("filling uring_creds_flag"))?;
    Ok(object)
}

fn end_requests(object: &Object) -> Result<(), LoadError> {
    let damaged = || LoadError::Damaged { kind: "program", name: END_ALL.to_owned() };
    let program = object.progs_mut().find(|program| program.name() == END_ALL).ok_or_else(damaged)?;
    program.test_run(ProgramInput::default()).map_err(object::refused("ending requests to rings"))?;
    Ok(())
}

fn find(object: &Object, name: &'static str) -> Result<MapHandle, LoadError> {
    let map = object.maps().find(|map| map.name() == name).and_then(|map| MapHandle::try_from(&map).ok());
    map.ok_or_else(|| LoadError::Damaged { kind: "map", name: name.to_owned() })
}

fn fill(ops: &MapHandle) -> Result<(), LoadError> {
    for (opcode, op) in shapes::uring_ops().enumerate() {
        let written = ops.update(&(opcode as u32).to_ne_bytes(), op.as_bytes(), MapFlags::ANY);
        written.map_err(object::refused("filling uring_ops"))?;
    }
    Ok(())
}

fn link(object: &Object, probe: Probe, name: &'static str) -> Result<Link, AttachError> {
    match probe {
        Probe::Tracepoint => attach::tracepoint_of(object, name, TracepointCategory::IoUring, event(name)),
        _ => attach::trace_of(object, name),
    }
}

/// The flag of the kernel's `io_kiocb` by which a request has credentials of its own. The enum has no name, so that no relocation
/// finds it. Some ten milliseconds.
fn creds_flag() -> Option<u32> {
    let btf = Btf::from_vmlinux().ok()?;
    let bit = btf.type_by_kind::<Enum<'_>>().find_map(|kind| {
        let member = kind.iter().find(|member| member.name.is_some_and(|name| name == "REQ_F_CREDS_BIT"));
        member.map(|member| member.value)
    })?;
    1_u32.checked_shl(bit.try_into().ok()?)
}

/// Finds it out from the kernel's types.
pub fn uring_support() -> UringSupport {
    let Ok(btf) = Btf::from_vmlinux() else { return UringSupport::Nameless };
    let names_request = |event: &str| prototype(&btf, event).and_then(|event| pointee(&btf, &event, 1));
    let has_submit_req = match (names_request("submit_req"), names_request("submit_sqe")) {
        (Some(submit), _) if submit == "io_kiocb" => true,
        (_, Some(submit)) if submit == "io_kiocb" => false,
        _ if prototype(&btf, "create").is_none() => return UringSupport::Absent,
        _ => return UringSupport::Nameless,
    };
    // Beside the tracepoint's own: ring, request, and an answer in one or more.
    let answer = prototype(&btf, "complete").map_or(0, |event| event.len());
    match answer {
        4 => UringSupport::Watched(Tracepoints { has_submit_req, has_answer: true }),
        6.. => UringSupport::Watched(Tracepoints { has_submit_req, has_answer: false }),
        _ => UringSupport::Nameless,
    }
}

fn prototype<'b>(btf: &'b Btf<'b>, event: &str) -> Option<FuncProto<'b>> {
    let name = format!("btf_trace_io_uring_{event}");
    let pointer = btf.type_by_name::<Typedef<'b>>(&name)?.next_type()?;
    FuncProto::try_from(pointer.next_type()?).ok()
}

/// The struct that a parameter points to; the first one is the tracepoint's own.
fn pointee(btf: &Btf<'_>, event: &FuncProto<'_>, at: usize) -> Option<String> {
    let parameter = btf.type_by_id::<Ptr<'_>>(event.get(at)?.ty)?;
    let pointee: BtfType<'_> = parameter.next_type()?.skip_mods_and_typedefs();
    let pointee = Struct::try_from(pointee).ok()?;
    Some(pointee.name()?.to_string_lossy().into_owned())
}
