//! KubeWard's own kernel side through its library, as the agent sets it up: shared ring and table, no limits.

use std::collections::BTreeMap;
use std::os::unix::fs::MetadataExt;
use std::sync::Arc;

use anyhow::{bail, ensure, Context, Result};
use kubeward_bpf::object::{Engine, LoadOptions};
use kubeward_bpf::probe::{Backend, Probes};
use kubeward_bpf::process::Pidfd;
use kubeward_bpf::read::{Reader, RecordSink};
use kubeward_bpf::wire::{self, Container, Limits, Profile, Record, CALLS, HOOK_ENTER, HOOK_EXIT};
use kubeward_core::container::ContainerSlot;
use kubeward_core::syscall;

use super::floor::RecordSizes;
use crate::load::Load;

/// The container that is watched, each way in its turn.
pub const WATCHED: ContainerSlot = ContainerSlot(1);
/// A container that no policy selects.
pub const UNSELECTED: ContainerSlot = ContainerSlot(2);

const NR_AT: usize = std::mem::offset_of!(Record, nr);

/// The profile that wants nothing.
const NOTHING: u32 = 0;

/// What hooks and profile want of calls.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Want {
    /// A record at the call's exit.
    Exit,
    /// A record of the whole call with its duration.
    Call,
    /// A count, from the exit alone.
    CountExit,
    /// A count, and how long the calls took.
    CountCall,
}

impl Want {
    fn in_profile(self) -> u8 {
        match self {
            Self::Exit => wire::WANT_EXIT,
            Self::Call => wire::WANT_CALL,
            Self::CountExit => wire::WANT_EXIT | wire::WANT_COUNT,
            Self::CountCall => wire::WANT_CALL | wire::WANT_COUNT,
        }
    }

    fn hooks(self) -> u8 {
        match self {
            Self::Exit | Self::CountExit => HOOK_EXIT,
            Self::Call | Self::CountCall => HOOK_ENTER | HOOK_EXIT,
        }
    }

    pub fn makes_records(self) -> bool {
        matches!(self, Self::Exit | Self::Call)
    }
}

#[derive(Debug)]
pub struct Watch {
    engine: Arc<Engine>,
    probes: Probes,
    next_profile: u32,
}

impl Watch {
    /// To be called from the first thread, before others start: the hooks' self-test counts the calls of the whole process.
    pub fn load(backend: Backend) -> Result<Self> {
        let engine = Arc::new(Engine::load(&LoadOptions::default())?);
        let maps = engine.maps();
        maps.share_ring()?;
        maps.share_table()?;
        let mnt_ns = std::fs::metadata("/proc/self/ns/mnt").context("reading /proc/self/ns/mnt")?.ino();
        maps.change_settings(|settings| settings.host_mnt_ns = mnt_ns as u32)?;
        let probes = Probes::new(engine.clone(), backend)?;
        for slot in [WATCHED, UNSELECTED] {
            maps.open_slot(slot, &Container::watched(NOTHING, 0), wire::STAGE_RUN)?;
        }
        Ok(Self { engine, probes, next_profile: 1 })
    }

    pub fn ring_bytes() -> u32 {
        LoadOptions::default().ring_bytes
    }

    pub fn tag(&self, pid: u32, slot: ContainerSlot) -> Result<()> {
        let pidfd = Pidfd::open(pid).with_context(|| format!("opening process {pid}"))?;
        Ok(self.engine.maps().tag_task(pidfd.as_fd(), slot.0)?)
    }

    /// The watched container's calls are wanted so, and hooked.
    pub fn want(&mut self, calls: &[&str], want: Want) -> Result<()> {
        let mut profile = Profile {
            want: [0; CALLS],
            errors: [0; wire::ERRNO_WORDS],
            min_duration_ns: 0,
            arg_bytes: 256,
            argv_bytes: 4096,
        };
        let mut hooks = [0; CALLS];
        for name in calls {
            let nr = number(name)?;
            profile.want[nr] = want.in_profile();
            hooks[nr] = want.hooks();
        }
        self.put_in_force(&profile, &Limits::NONE, &hooks)
    }

    /// As the agent puts policies in force.
    pub fn put_in_force(&mut self, profile: &Profile, limits: &Limits, hooks: &[u8; CALLS]) -> Result<()> {
        // A profile is not changed under its container; the two in turn are enough here, where nothing runs meanwhile.
        self.next_profile = 3 - self.next_profile;
        let id = self.next_profile;
        let report = self.probes.apply(hooks);
        if let Some(refused) = report.refused.first() {
            bail!("call {} cannot be hooked: {}", refused.nr, refused.reason);
        }
        let maps = self.engine.maps();
        maps.set_limits(id, limits)?;
        maps.set_profile(id, profile)?;
        Ok(maps.set_container(WATCHED, &Container::watched(id, 0))?)
    }

    /// Nothing is hooked, and nothing wanted.
    pub fn want_nothing(&mut self) -> Result<()> {
        self.probes.apply(&[0; CALLS]);
        Ok(self.engine.maps().set_container(WATCHED, &Container::watched(NOTHING, 0))?)
    }

    pub fn read(&self) -> Result<Reader<Counter>> {
        Ok(Reader::spawn(self.engine.clone(), Counter::default())?)
    }

    /// Calls of the slot that were seen, ever.
    pub fn seen(&self, slot: ContainerSlot) -> Result<u64> {
        Ok(self.engine.maps().account(slot)?.seen())
    }

    /// Records of the slot's calls that were made and did not reach the reader, ever: neither ring nor share had room.
    pub fn lost(&self, slot: ContainerSlot) -> Result<u64> {
        let account = self.engine.maps().account(slot)?;
        Ok(account.lost_ring + account.lost_share)
    }

    /// How long records of a load's calls are.
    pub fn record_sizes(&self, counter: &Counter, load: Load) -> Result<RecordSizes> {
        let calls = load.calls().iter();
        calls
            .map(|name| {
                let nr = number(name)? as u16;
                let bytes = *counter.last_bytes.get(&nr).with_context(|| format!("no record of {name} came"))?;
                Ok((nr, bytes))
            })
            .collect()
    }
}

pub fn number(name: &str) -> Result<usize> {
    let call = syscall::by_name(name).with_context(|| format!("the catalogue has no call {name}"))?;
    ensure!(usize::from(call.nr) < CALLS, "{name} has a number beyond the tables");
    Ok(call.nr.into())
}

/// Counts records, and keeps how long the last one of each call was.
#[derive(Debug, Default)]
pub struct Counter {
    pub records: u64,
    last_bytes: BTreeMap<u16, u32>,
    /// The load's calls are all of a few kinds, and a map is looked into once a kind and not once a record.
    last: (u16, u32),
}

impl RecordSink for Counter {
    fn record(&mut self, bytes: &[u8]) {
        self.records += 1;
        let nr = bytes.get(NR_AT..NR_AT + 2).and_then(|nr| nr.try_into().ok()).map_or(0, u16::from_ne_bytes);
        let this = (nr, bytes.len() as u32);
        if this != self.last {
            self.last = this;
            self.last_bytes.insert(this.0, this.1);
        }
    }

    fn drained(&mut self) {}
}
