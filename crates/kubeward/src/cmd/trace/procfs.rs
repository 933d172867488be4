//! Facts of processes by the numbers they have here. The kernel side's list of tasks has those of the initial pid namespace,
//! which are others when KubeWard itself runs in a container.

use std::fs;
use std::io;

use anyhow::Context;

/// A child of this process, if it has one.
pub(super) fn child_of(parent: u32) -> anyhow::Result<Option<u32>> {
    let entries = fs::read_dir("/proc").context("reading /proc")?.collect::<io::Result<Vec<_>>>()?;
    let pids = entries.iter().filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    // A process that ends meanwhile has no line any more.
    let is_child = |pid: &u32| fs::read(format!("/proc/{pid}/stat")).is_ok_and(|stat| parent_of(&stat) == Some(parent));
    Ok(pids.into_iter().find(is_child))
}

/// Field 4 of a `stat` line. Field 2 is the program's own choice and may hold anything: the last parenthesis closes it.
fn parent_of(stat: &[u8]) -> Option<u32> {
    let after_comm = stat.iter().rposition(|&byte| byte == b')')? + 1;
    std::str::from_utf8(&stat[after_comm..]).ok()?.split_ascii_whitespace().nth(1)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parent_is_found_behind_a_hostile_name() {
        assert_eq!(parent_of(b"42 (a) S 1 (b)) S 7 42 42"), Some(7));
        assert_eq!(parent_of(b"42 (sh"), None);
    }
}
