//! An output that is full, and the agent's own end.

use anyhow::{Context, Result};
use nix::mount::{mount, umount2, MntFlags, MsFlags};
use nix::sys::signal::Signal;
use tempfile::TempDir;

use crate::agent::Agent;
use crate::containerd_with_image;
use crate::policy::Policies;
use crate::stream::{container, number};
use crate::told::Told;

/// More than the agent keeps of what it cannot write, 1 MiB: an event has some hundred bytes.
const FLOOD: u64 = 6000;

/// A file system of a size of its own.
struct Small(TempDir);

impl Small {
    fn new(size: &str) -> Result<Self> {
        let small = Self(tempfile::tempdir()?);
        small.mount(MsFlags::empty(), size)?;
        Ok(small)
    }

    fn grow(&self, size: &str) -> Result<()> {
        self.mount(MsFlags::MS_REMOUNT, size)
    }

    fn mount(&self, flags: MsFlags, size: &str) -> Result<()> {
        let options = format!("size={size}");
        mount(Some("tmpfs"), self.0.path(), Some("tmpfs"), flags, Some(options.as_str()))
            .with_context(|| format!("mounting a tmpfs of {size} at {}", self.0.path().display()))
    }
}

impl Drop for Small {
    fn drop(&mut self) {
        if let Err(error) = umount2(self.0.path(), MntFlags::MNT_DETACH) {
            eprintln!("cleaning up: {}: {error}", self.0.path().display());
        }
    }
}

#[test]
fn containerd_full_output_is_counted_as_lost_and_the_agent_goes_on() -> Result<()> {
    let containerd = containerd_with_image()?;
    let policies = Policies::new(&[("all", "{syscalls: [{name: openat}, {name: mkdirat}]}")])?;
    let small = Small::new("128k")?;
    let mut agent =
        Agent::start_writing_to(&containerd.socket(), policies.folder(), &small.0.path().join("events.jsonl"))?;
    agent.ready();
    let mut told = Told::start(&containerd, "web")?;
    agent.sees(&mut told, "mkdirat")?;

    told.tell(&format!("flood {FLOOD}"))?;
    agent.logged("events wait, and are counted as lost", 0);
    // The agent takes a SIGHUP between two drains of the ring: at the second it has read all of the flood.
    for nth in 0..2 {
        agent.signal(Signal::SIGHUP);
        agent.logged("events wait", nth + 1);
    }
    small.grow("64m")?;
    agent.logged("the output takes events again", 0);
    told.tell("mkdir /afterwards")?;
    agent.event(&told.id, "mkdirat", "/afterwards");

    let stream = agent.stop().stream;
    let ledgers = stream.final_ledgers(&told.id);
    assert_eq!(ledgers.len(), 1);
    let (ledger, lost) = (ledgers[0], number(&ledgers[0]["lost"]["output"]));
    let flooded = stream.paths(&told.id, "openat").iter().filter(|path| **path == "/flood").count() as u64;
    assert!(lost > 0, "{ledger}");
    assert_eq!(flooded + lost, FLOOD, "each is written or counted as lost: {ledger}");
    assert_eq!(number(&ledger["emitted"]), stream.events_of(&told.id).count() as u64, "{ledger}");
    assert_eq!((&ledger["balanced"], number(&ledger["lost"]["total"])), (&true.into(), lost), "{ledger}");
    let gaps = stream.0.iter().filter(|line| line["kind"] == "gap" && line["reason"] == "output");
    let told_lost: u64 = gaps.filter(|gap| container(gap) == told.id).map(|gap| number(&gap["lost"])).sum();
    assert_eq!(told_lost, lost, "the gap lines say as much");
    Ok(())
}

#[test]
fn containerd_ending_agent_reads_what_was_seen_before_the_signal() -> Result<()> {
    let containerd = containerd_with_image()?;
    let policies = Policies::new(&[("all", "{syscalls: [{name: openat}, {name: mkdirat}]}")])?;
    let mut agent = Agent::start(&containerd.socket(), policies.folder())?;
    agent.ready();
    let mut told = Told::start(&containerd, "web")?;
    agent.sees(&mut told, "mkdirat")?;
    told.tell("flood 2000")?;

    let ended = agent.stop();
    assert!(ended.log.iter().any(|line| line.contains("SIGTERM: ending")), "{:?}", ended.log);
    let flooded = ended.stream.paths(&told.id, "openat").iter().filter(|path| **path == "/flood").count();
    assert_eq!(flooded, 2000, "made before the signal, read after it");
    ended.stream.assert_whole(&told.id);
    ended.stream.node_ledger();
    Ok(())
}
