//! The loaded object: programs ready to attach, maps ready to fill.

mod forms;
mod parts;

use std::sync::Once;

use libbpf_rs::{MapHandle, Object, PrintLevel};

use crate::maps::Maps;
use crate::size;
use crate::support::Support;
pub use forms::TaskReads;
pub(crate) use forms::{load_either, packed, Loaded, Packed};
use parts::Parts;

static MONITOR: Packed = packed!("monitor");

/// The step that [`LoadError::Refused`] names where libbpf relocates and the verifier judges.
pub(crate) const LOADING: &str = "loading";

/// What user space decides before loading.
#[derive(Debug, Clone, Copy)]
pub struct LoadOptions {
    /// Size of the record ring: a power of two, in [`size::RING_BYTES`].
    pub ring_bytes: u32,
    /// Room for containers at a time, those included that ended a moment ago or wait for a name: 1 to [`size::MOST_CONTAINERS`].
    pub containers: u32,
    /// Entries of the exact table, and of its durations; `None`: as many as [`TableRoom::on`](crate::table::TableRoom::on) gives on this
    /// machine. 65,536 take the kernel some 50 ms to make.
    pub table_entries: Option<u32>,
    /// Whether each container's first results have a place of their own before the table, which takes 256 bytes a container and CPU,
    /// 16 MiB at most.
    pub has_first_results: bool,
    /// Whether one command is to be watched ([`crate::probe::Probes::for_command`]): what only a node's containers need is loaded when it
    /// is used.
    pub is_for_command: bool,
    /// How programs read tasks. Where the kernel refuses the cast, the other form is loaded.
    pub reads: TaskReads,
}

impl Default for LoadOptions {
    /// A ring by the number of CPUs: on two 8 MiB, about 50,000 records, 50 ms of what one busy CPU makes.
    fn default() -> Self {
        let ring_bytes = size::ring_bytes(size::online_cpus());
        Self {
            ring_bytes,
            containers: size::DEFAULT_CONTAINERS,
            table_entries: None,
            has_first_results: true,
            is_for_command: false,
            reads: TaskReads::ByCast,
        }
    }
}

#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    #[error("loading eBPF programs was refused: {missing} missing (run as root, or give the process CAP_BPF and CAP_PERFMON)")]
    Privilege { missing: String },
    #[error("this kernel has no type information at /sys/kernel/btf/vmlinux (it needs CONFIG_DEBUG_INFO_BTF=y; every distribution kernel from 5.15 on that we know has it)")]
    NoBtf,
    #[error("the ring's size must be a power of two from {least} to {most} bytes, not {bytes}", least = size::RING_BYTES.start(), most = size::RING_BYTES.end())]
    RingSize { bytes: u32 },
    #[error("there can be room for 1 to {most} containers, not {containers}", most = size::MOST_CONTAINERS)]
    Containers { containers: u32 },
    #[error("the kernel refused the object ({step}): {source}\n{log}")]
    Refused {
        step: &'static str,
        /// What libbpf and the verifier said, the last lines of it.
        log: String,
        source: libbpf_rs::Error,
    },
    #[error("filling the kernel's maps: {0}")]
    Maps(#[from] crate::maps::MapError),
    #[error(transparent)]
    Tasks(Box<crate::tasks::TasksError>),
    #[error("the eBPF object that this program carries cannot be unpacked: the binary is damaged")]
    Packed,
    #[error("the object has no {kind} named {name}: the binary is damaged")]
    Damaged { kind: &'static str, name: String },
}

impl LoadError {
    fn is_of(&self, loading: &str) -> bool {
        matches!(self, Self::Refused { step, .. } if *step == loading)
    }
}

/// The main object in the kernel. Programs are attached through [`crate::probe::Probes`].
#[derive(Debug)]
pub struct Engine {
    object: Object,
    reads: TaskReads,
    cast_refusal: Option<String>,
    /// Their maps are the main object's.
    parts: Parts,
    maps: Maps,
    support: Support,
}

impl Engine {
    /// Loads what every backend needs; other kinds of hooks are loaded when they are tried or attached. Nothing is attached yet.
    pub fn load(options: &LoadOptions) -> Result<Self, LoadError> {
        silence_libbpf();
        if !options.ring_bytes.is_power_of_two() || !size::RING_BYTES.contains(&options.ring_bytes) {
            return Err(LoadError::RingSize { bytes: options.ring_bytes });
        }
        if !(1..=size::MOST_CONTAINERS).contains(&options.containers) {
            return Err(LoadError::Containers { containers: options.containers });
        }
        let support = Support::probe()?;
        let Loaded { object, reads, refusal } = load_either(options.reads, |reads| load(options, &support, reads))?;
        let maps = Maps::of(&object)?;
        crate::shapes::fill(&maps)?;
        let cast_refusal = refusal.map(|refusal| refusal.to_string());
        let engine = Self { object, reads, cast_refusal, parts: Parts::default(), maps, support };
        engine.find_pid_level().map_err(|error| LoadError::Tasks(Box::new(error)))?;
        Ok(engine)
    }

    /// What the kernel said of the programs that read tasks by a cast, where those that do not are loaded in their place. They are
    /// as exact; verifying them takes three times as long on kernels from 6.3 to 6.19.
    pub fn cast_refusal(&self) -> Option<&str> {
        self.cast_refusal.as_deref()
    }

    /// How the programs that are loaded read tasks.
    pub fn reads(&self) -> TaskReads {
        self.reads
    }

    pub fn maps(&self) -> &Maps {
        &self.maps
    }

    pub fn support(&self) -> &Support {
        &self.support
    }

    /// The object with the program, loaded now if it was not yet: some hundred milliseconds. The main one has those that this
    /// kernel does not take.
    pub(crate) fn object_with(&self, program: &str) -> Result<&Object, LoadError> {
        if !self.support.takes(program) {
            return Ok(&self.object);
        }
        self.parts.object(&self.object, program, self.reads)
    }

    /// All that are loaded by now.
    pub(crate) fn objects(&self) -> impl Iterator<Item = &Object> {
        std::iter::once(&self.object).chain(self.parts.loaded())
    }

    /// The map called `name`, for an object that shares it.
    pub(crate) fn shared_map(&self, name: &std::ffi::OsStr) -> Option<MapHandle> {
        let map = self.object.maps().find(|map| libbpf_rs::MapCore::name(map) == name)?;
        MapHandle::try_from(&map).ok()
    }
}

/// The main object in one of its forms.
fn load(options: &LoadOptions, support: &Support, reads: TaskReads) -> Result<Object, LoadError> {
    let mut open = MONITOR.open(reads)?;
    for mut program in open.progs_mut() {
        let name = program.name().to_string_lossy().into_owned();
        if let Some(wanted) = support.loads_at_once(&name, options.is_for_command) {
            program.set_autoload(wanted);
        }
    }
    let cpus = libbpf_rs::num_possible_cpus().map_err(refused("counting CPUs"))?;
    for mut map in open.maps_mut() {
        let name = map.name().to_string_lossy().into_owned();
        if let Some(entries) = size::entries(&name, options, cpus) {
            map.set_max_entries(entries).map_err(refused("sizing a map"))?;
        }
    }
    open.load().map_err(refused(LOADING))
}

pub(crate) fn refused(step: &'static str) -> impl FnOnce(libbpf_rs::Error) -> LoadError {
    move |source| LoadError::Refused { step, log: log::last_lines(), source }
}

/// libbpf prints to stderr by default, where a user's program may be talking: its words go into our errors instead.
pub(crate) fn silence_libbpf() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        libbpf_rs::set_print(Some((PrintLevel::Info, log::keep)));
    });
}

/// The last lines that libbpf said, for the error that follows.
mod log {
    use std::collections::VecDeque;
    use std::sync::Mutex;

    use libbpf_rs::PrintLevel;

    const LINES: usize = 40;

    static KEPT: Mutex<VecDeque<String>> = Mutex::new(VecDeque::new());

    pub(super) fn keep(_level: PrintLevel, message: String) {
        let mut kept = KEPT.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        for line in message.lines() {
            if kept.len() == LINES {
                kept.pop_front();
            }
            kept.push_back(line.to_owned());
        }
    }

    pub(super) fn last_lines() -> String {
        let mut kept = KEPT.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        kept.drain(..).collect::<Vec<_>>().join("\n")
    }
}
