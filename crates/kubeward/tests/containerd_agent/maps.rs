//! What stands in the agent's kernel maps, asked of the kernel itself.

use std::collections::BTreeSet;
use std::fs;
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{ensure, Context, Result};
use libbpf_rs::query::{MapInfoIter, ProgInfoIter};
use libbpf_rs::{MapCore, MapHandle};
use nix::unistd::Pid;

/// How many entries the agent's map of that name has.
pub(crate) fn entries(agent: Pid, name: &str) -> Result<usize> {
    let mut found = Vec::new();
    for entry in fs::read_dir(format!("/proc/{agent}/fdinfo"))? {
        // Descriptors come and go while they are listed.
        let Ok(facts) = fs::read_to_string(entry?.path()) else { continue };
        let Some(id) = facts.lines().find_map(|line| line.strip_prefix("map_id:")) else { continue };
        let map = MapHandle::from_map_id(id.trim().parse().context("the kernel writes a number")?)?;
        if map.name() == name {
            found.push(map);
        }
    }
    ensure!(!found.is_empty(), "the agent {agent} holds no map named {name}");
    Ok(found[0].keys().count())
}

/// The ids of programs and maps that a process holds.
pub(crate) struct Held {
    pub(crate) programs: BTreeSet<u32>,
    pub(crate) maps: BTreeSet<u32>,
}

pub(crate) fn held(process: u32) -> Result<Held> {
    let (mut programs, mut maps) = (BTreeSet::new(), BTreeSet::new());
    for entry in fs::read_dir(format!("/proc/{process}/fdinfo"))? {
        // Descriptors come and go while they are listed.
        let Ok(facts) = fs::read_to_string(entry?.path()) else { continue };
        let id = |name: &str| facts.lines().find_map(|line| line.strip_prefix(name)?.trim().parse::<u32>().ok());
        programs.extend(id("prog_id:"));
        maps.extend(id("map_id:"));
    }
    Ok(Held { programs, maps })
}

impl Held {
    /// Returns when the kernel has none of them any more: it frees them some time after their last holder has gone, and tells
    /// nobody.
    pub(crate) fn wait_until_gone(&self, deadline: Instant) -> Result<()> {
        loop {
            let programs = ProgInfoIter::default().filter(|program| self.programs.contains(&program.id)).count();
            let maps = MapInfoIter::default().filter(|map| self.maps.contains(&map.id)).count();
            if programs + maps == 0 {
                return Ok(());
            }
            ensure!(Instant::now() < deadline, "{programs} programs and {maps} maps of the agent's are left");
            sleep(Duration::from_millis(20));
        }
    }
}
