//! What stands in the agent's kernel maps, asked of the kernel itself.

use std::fs;

use anyhow::{ensure, Context, Result};
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
