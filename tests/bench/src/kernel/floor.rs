//! The programs of `bpf/floor.bpf.c`, attached and read.

use std::collections::BTreeMap;
use std::os::fd::AsRawFd;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::{Context, Result};
use kubeward_bpf::process::Pidfd;
use libbpf_rs::{Link, MapCore, MapFlags, MapHandle, Object, ObjectBuilder, RingBufferBuilder};

static OBJECT: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/floor.bpf.o"));

/// `FLOOR_CALLS` of the C.
const CALLS: usize = 4;
/// `struct floor_record` of the C: no record is smaller.
const HEAD_BYTES: u32 = 128;
const MOST_BYTES: u32 = 1024;
/// KubeWard's reader looks as often, and takes as many at a time.
const INTERVAL: Duration = Duration::from_millis(5);
const BATCH: usize = kubeward_bpf::read::BATCH;

/// One object with the programs of one configuration loaded.
#[derive(Debug)]
pub struct Floor {
    object: Object,
    programs: Vec<String>,
}

/// Bytes of KubeWard's record, by call number.
pub type RecordSizes = BTreeMap<u16, u32>;

impl Floor {
    /// `target`: the kernel function of the programs that are attached to one.
    pub fn load(programs: &[&str], sizes: &RecordSizes, ring_bytes: u32, target: Option<&str>) -> Result<Self> {
        let mut open = ObjectBuilder::default().open_memory(OBJECT).context("opening the floor's object")?;
        for mut program in open.progs_mut() {
            let is_wanted = programs.iter().any(|name| program.name() == *name);
            program.set_autoload(is_wanted);
            if let (true, Some(function)) = (is_wanted, target) {
                program.set_attach_target(0, Some(function.to_owned())).context("naming the floor's function")?;
            }
        }
        for mut map in open.maps_mut() {
            let name = map.name().to_string_lossy().into_owned();
            if name == "floor_records" {
                map.set_max_entries(ring_bytes).context("sizing the floor's ring")?;
            } else if name.ends_with(".rodata") {
                map.set_initial_value(&laid_out(sizes)).context("setting the floor's sizes")?;
            }
        }
        let object = open.load().with_context(|| format!("loading {}", programs.join(" and ")))?;
        Ok(Self { object, programs: programs.iter().map(|&name| name.to_owned()).collect() })
    }

    /// Until the links are dropped.
    pub fn attach(&self) -> Result<Vec<Link>> {
        let ours =
            self.object.progs_mut().filter(|program| self.programs.iter().any(|name| program.name() == name.as_str()));
        ours.map(|program| program.attach().with_context(|| format!("attaching {}", program.name().display())))
            .collect()
    }

    /// The process's calls are written from now on, while the programs are attached.
    pub fn watch(&self, pid: u32) -> Result<()> {
        let pidfd = Pidfd::open(pid).with_context(|| format!("opening process {pid}"))?;
        // struct floor_tag: slot 1, and no call yet.
        let mut tag = [0_u8; 64];
        tag[..4].copy_from_slice(&1_u32.to_ne_bytes());
        let key = pidfd.as_fd().as_raw_fd().to_ne_bytes();
        self.map("floor_tags")?.update(&key, &tag, MapFlags::ANY).context("tagging the load")
    }

    pub fn read(&self) -> Result<FloorReader> {
        let records = self.map("floor_records")?;
        let stopping = Arc::new(AtomicBool::new(false));
        let flag = stopping.clone();
        let thread = std::thread::Builder::new().name("floor-reader".to_owned());
        let thread = thread.spawn(move || count(&records, &flag)).context("starting the floor's reader")?;
        Ok(FloorReader { stopping, thread })
    }

    /// Calls for which the ring had no room, since it was loaded.
    pub fn lost(&self) -> Result<u64> {
        let maps = self.object.maps();
        let name = maps.map(|map| map.name().to_string_lossy().into_owned()).find(|name| name.ends_with(".bss"));
        let bss = self.map(&name.context("the floor's object has no variables")?)?;
        let value = bss.lookup(&0_u32.to_ne_bytes(), MapFlags::ANY).context("reading what the floor lost")?;
        let lost = value.and_then(|bytes| bytes.first_chunk().copied()).context("the floor counts what it loses")?;
        Ok(u64::from_ne_bytes(lost))
    }

    fn map(&self, name: &str) -> Result<MapHandle> {
        let map = self.object.maps().find(|map| map.name() == name);
        let map = map.with_context(|| format!("the floor's object has no map {name}"))?;
        MapHandle::try_from(&map).with_context(|| format!("a handle on {name}"))
    }
}

/// As `sizes` of the C: numbers, then bytes. What is not there has a number that no call has.
fn laid_out(sizes: &RecordSizes) -> Vec<u8> {
    let all =
        || sizes.iter().map(|(&nr, &bytes)| (u32::from(nr), bytes.next_multiple_of(8).clamp(HEAD_BYTES, MOST_BYTES)));
    let pad = std::iter::repeat((u32::MAX, HEAD_BYTES));
    let padded: Vec<(u32, u32)> = all().chain(pad).take(CALLS).collect();
    let numbers = padded.iter().map(|(nr, _)| *nr);
    numbers.chain(padded.iter().map(|(_, bytes)| *bytes)).flat_map(u32::to_ne_bytes).collect()
}

/// Counts records, on a timer.
#[derive(Debug)]
pub struct FloorReader {
    stopping: Arc<AtomicBool>,
    thread: JoinHandle<Result<u64>>,
}

impl FloorReader {
    /// The number of records, with those that are in the ring by now.
    pub fn stop(self) -> Result<u64> {
        self.stopping.store(true, Ordering::Release);
        self.thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    }
}

fn count(records: &MapHandle, stopping: &AtomicBool) -> Result<u64> {
    let counted = std::cell::Cell::new(0_u64);
    let mut builder = RingBufferBuilder::new();
    builder
        .add(records, |_| {
            counted.set(counted.get() + 1);
            0
        })
        .context("reading the floor's ring")?;
    let ring = builder.build().context("mapping the floor's ring")?;
    loop {
        let last = stopping.load(Ordering::Acquire);
        while ring.consume_raw_n(BATCH) as usize >= BATCH {}
        if last {
            return Ok(counted.get());
        }
        std::thread::sleep(INTERVAL);
    }
}
