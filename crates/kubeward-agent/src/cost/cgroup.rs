//! How much memory this process's own cgroup lets it have. What BPF maps take in the kernel counts against it.

use std::fs;
use std::path::{Path, PathBuf};

/// The least of the limits on the way from the process's cgroup up to where the hierarchy is mounted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct MemoryLimit {
    pub(super) bytes: u64,
    /// The file that says so.
    pub(super) file: PathBuf,
}

/// v1 says so, by a number of pages that is a page short of 2^63 bytes, where v2 says `max`.
const UNLIMITED: u64 = 1 << 62;

/// `None`: there is none, or no hierarchy with memory is mounted here.
pub(super) fn memory_limit() -> Option<MemoryLimit> {
    let own = fs::read_to_string("/proc/self/cgroup").ok()?;
    let mounts = fs::read_to_string("/proc/self/mountinfo").ok()?;
    least(&own, &mounts, |file| fs::read_to_string(file).ok())
}

fn least(own: &str, mounts: &str, read: impl Fn(&Path) -> Option<String>) -> Option<MemoryLimit> {
    let limit_in = |file: PathBuf| {
        let bytes: u64 = read(&file)?.trim().parse().ok()?;
        (bytes < UNLIMITED).then_some(MemoryLimit { bytes, file })
    };
    let hierarchies = mounts.lines().filter_map(Hierarchy::of);
    let files = hierarchies.flat_map(|hierarchy| hierarchy.limit_files(own));
    files.filter_map(limit_in).min_by_key(|limit| limit.bytes)
}

/// A mounted hierarchy that may limit memory.
struct Hierarchy<'a> {
    /// Which of its cgroups is at the mount point.
    root: &'a str,
    at: &'a str,
    is_v2: bool,
}

impl<'a> Hierarchy<'a> {
    /// Of a line of mountinfo: `36 35 0:30 ROOT AT rw shared:9 - TYPE SOURCE OPTIONS`.
    fn of(line: &'a str) -> Option<Self> {
        let (mount, filesystem) = line.split_once(" - ")?;
        let mut mount = mount.split(' ').skip(3);
        let (root, at) = (mount.next()?, mount.next()?);
        let mut filesystem = filesystem.split(' ');
        let is_v2 = match filesystem.next()? {
            "cgroup2" => true,
            // v1 hierarchies of other controllers limit no memory.
            "cgroup" if filesystem.nth(1)?.split(',').any(|option| option == "memory") => false,
            _ => return None,
        };
        Some(Self { root, at, is_v2 })
    }

    /// Of the process's own cgroup and those above it.
    fn limit_files(&self, own: &str) -> Vec<PathBuf> {
        let name = if self.is_v2 { "memory.max" } else { "memory.limit_in_bytes" };
        let at = Path::new(self.at);
        // In a cgroup namespace of its own, and where no more is mounted than the own cgroup, that is at the mount point.
        let inside = self.path_in(own).and_then(|path| Path::new(path).strip_prefix(self.root).ok());
        let own = at.join(inside.unwrap_or(Path::new("")));
        own.ancestors().take_while(|folder| folder.starts_with(at)).map(|folder| folder.join(name)).collect()
    }

    /// Of the lines of /proc/self/cgroup: `0::/path` of v2, `4:memory:/path` of v1.
    fn path_in<'p>(&self, own: &'p str) -> Option<&'p str> {
        own.lines().find_map(|line| {
            let mut fields = line.splitn(3, ':');
            let (number, controllers, path) = (fields.next()?, fields.next()?, fields.next()?);
            let is_its = if self.is_v2 { number == "0" } else { controllers.split(',').any(|name| name == "memory") };
            is_its.then_some(path)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const V2: &str = "29 23 0:26 / /sys/fs/cgroup rw,nosuid shared:4 - cgroup2 cgroup2 rw,nsdelegate\n";
    const V1: &str = "30 29 0:27 / /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu,cpuacct\n\
                      31 29 0:28 /docker/7b1f /sys/fs/cgroup/memory ro - cgroup cgroup rw,memory\n";

    fn limit(own: &str, mounts: &str, files: &[(&str, &str)]) -> Option<(u64, String)> {
        let read = |file: &Path| {
            let found = files.iter().find(|(name, _)| Path::new(name) == file);
            found.map(|(_, text)| format!("{text}\n"))
        };
        least(own, mounts, read).map(|limit| (limit.bytes, limit.file.display().to_string()))
    }

    #[test]
    fn least_limit_of_the_own_cgroup_and_those_above_holds() {
        let files = [
            ("/sys/fs/cgroup/kubepods/memory.max", "1000"),
            ("/sys/fs/cgroup/kubepods/pod1/memory.max", "500"),
            ("/sys/fs/cgroup/kubepods/pod1/agent/memory.max", "max"),
            ("/sys/fs/cgroup/kubepods/pod2/memory.max", "1"),
        ];
        let expected = (500, "/sys/fs/cgroup/kubepods/pod1/memory.max".to_owned());
        assert_eq!(limit("0::/kubepods/pod1/agent\n", V2, &files), Some(expected));
        assert_eq!(limit("0::/\n", V2, &files), None);
    }

    #[test]
    fn container_that_sees_its_own_cgroup_alone_finds_its_limit() {
        let expected = (500, "/sys/fs/cgroup/memory.max".to_owned());
        assert_eq!(limit("0::/\n", V2, &[("/sys/fs/cgroup/memory.max", "500")]), Some(expected));
        let own = "4:cpu,cpuacct:/docker/7b1f\n3:memory:/docker/7b1f\n0::/docker/7b1f\n";
        let files = [("/sys/fs/cgroup/memory/memory.limit_in_bytes", "700"), ("/sys/fs/cgroup/cpu/memory.max", "1")];
        let expected = (700, "/sys/fs/cgroup/memory/memory.limit_in_bytes".to_owned());
        assert_eq!(limit(own, V1, &files), Some(expected));
    }

    #[test]
    fn number_that_stands_for_none_in_v1_is_no_limit() {
        let files = [("/sys/fs/cgroup/memory/memory.limit_in_bytes", "9223372036854771712")];
        assert_eq!(limit("3:memory:/docker/7b1f\n", V1, &files), None);
        assert_eq!(limit("", "", &[]), None);
    }
}
