//! The loaded object: programs ready to attach, maps ready to fill.

mod parts;

use std::sync::Once;

use libbpf_rs::{MapHandle, Object, ObjectBuilder, OpenObject, PrintLevel};

use crate::maps::Maps;
use crate::size;
use crate::support::Support;
use parts::Parts;

static MONITOR: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/monitor.bpf.o.z"));

/// What user space decides before loading.
#[derive(Debug, Clone, Copy)]
pub struct LoadOptions {
    /// Size of the record ring: a power of two, in [`size::RING_BYTES`].
    pub ring_bytes: u32,
    /// Room for containers at a time, those included that ended a moment ago or wait for a name: 1 to [`size::MOST_CONTAINERS`].
    pub containers: u32,
    /// Entries of the exact table, and of its durations; `None`: as many as [`TableRoom::on`](crate::table::TableRoom::on) gives on this machine. 65,536 take
    /// the kernel some 50 ms to make.
    pub table_entries: Option<u32>,
    /// Whether each container's first results have a place of their own before the table, which takes 256 bytes a container and CPU, 16 MiB at most.
    pub has_first_results: bool,
    /// Whether one command is to be watched ([`crate::probe::Probes::for_command`]): what only a node's containers need is loaded when it
    /// is used.
    pub is_for_command: bool,
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

/// The main object in the kernel. Programs are attached through [`crate::probe::Probes`].
#[derive(Debug)]
pub struct Engine {
    object: Object,
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
        let mut open = open(MONITOR)?;
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
        let object = open.load().map_err(refused("loading"))?;
        let maps = Maps::of(&object)?;
        crate::shapes::fill(&maps)?;
        let engine = Self { object, parts: Parts::default(), maps, support };
        engine.find_pid_level().map_err(|error| LoadError::Tasks(Box::new(error)))?;
        Ok(engine)
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
        self.parts.object(&self.object, program)
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

/// Opens one of the objects that build.rs has compressed: they are a tenth of the program otherwise.
pub(crate) fn open(compressed: &[u8]) -> Result<OpenObject, LoadError> {
    let bytes = miniz_oxide::inflate::decompress_to_vec(compressed).map_err(|_| LoadError::Packed)?;
    ObjectBuilder::default().open_memory(&bytes).map_err(refused("opening"))
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
