//! What the kernel's maps take in all, which is decided at loading: by room for containers, by the ring, by the machine's CPUs.

use std::io;

use kubeward_bpf::memory::{cpus, map_bytes};
use kubeward_bpf::object::LoadOptions;
use kubeward_bpf::size;

use super::cgroup::{memory_limit, MemoryLimit};

/// Kernel memory of this process's maps, beside what it may have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MapMemory {
    bytes: u64,
    /// How much of it goes with the room for containers.
    container_bytes: u64,
    containers: u32,
    /// That the machine could have: many maps have a value for each.
    cpus: usize,
    limit: Option<MemoryLimit>,
}

impl MapMemory {
    /// After loading with these options.
    pub fn now(options: &LoadOptions) -> io::Result<Self> {
        let (containers, cpus) = (options.containers, cpus()?);
        let container_bytes = size::container_bytes(containers, cpus);
        Ok(Self { bytes: map_bytes()?, container_bytes, containers, cpus, limit: memory_limit() })
    }

    /// In a sentence.
    pub fn said(&self) -> String {
        let limit = self.limit.as_ref().map_or_else(
            || "its cgroup has no memory limit".to_owned(),
            |limit| format!("its memory limit is {} ({})", mib(limit.bytes), limit.file.display()),
        );
        format!("{} in all, {} of it for {}; {limit}", mib(self.bytes), mib(self.container_bytes), self.room())
    }

    /// What is wrong and what helps, where that is more than half of the limit.
    pub fn warning(&self) -> Option<String> {
        let limit = self.limit.as_ref().filter(|limit| self.bytes > limit.bytes / 2)?;
        Some(format!(
            "the kernel's maps take {}, more than half of the memory limit of {} ({}), and leave little for the rest of the \
             agent: {} of it are for {}; start it with a smaller --max-containers, or raise the limit",
            mib(self.bytes),
            mib(limit.bytes),
            limit.file.display(),
            mib(self.container_bytes),
            self.room(),
        ))
    }

    fn room(&self) -> String {
        format!("--max-containers {} on {} CPUs that this machine could have", self.containers, self.cpus)
    }
}

fn mib(bytes: u64) -> String {
    format!("{:.1} MiB", bytes as f64 / f64::from(1 << 20))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn memory(bytes: u64, limit: Option<u64>) -> MapMemory {
        let limit = limit.map(|bytes| MemoryLimit { bytes, file: "/sys/fs/cgroup/memory.max".into() });
        MapMemory { bytes, container_bytes: 190 << 20, containers: 16_383, cpus: 64, limit }
    }

    #[test]
    fn maps_that_take_more_than_half_of_the_limit_are_warned_of_with_the_remedy() {
        let expected = "the kernel's maps take 300.0 MiB, more than half of the memory limit of 512.0 MiB \
                        (/sys/fs/cgroup/memory.max), and leave little for the rest of the agent: 190.0 MiB of it are for \
                        --max-containers 16383 on 64 CPUs that this machine could have; start it with a smaller \
                        --max-containers, or raise the limit";
        assert_eq!(memory(300 << 20, Some(512 << 20)).warning().as_deref(), Some(expected));
        assert_eq!(memory(256 << 20, Some(512 << 20)).warning(), None);
        assert_eq!(memory(300 << 20, None).warning(), None);
    }

    #[test]
    fn what_maps_take_is_said_beside_what_decides_it() {
        let room =
            "300.0 MiB in all, 190.0 MiB of it for --max-containers 16383 on 64 CPUs that this machine could have";
        assert_eq!(memory(300 << 20, None).said(), format!("{room}; its cgroup has no memory limit"));
        let limited = format!("{room}; its memory limit is 512.0 MiB (/sys/fs/cgroup/memory.max)");
        assert_eq!(memory(300 << 20, Some(512 << 20)).said(), limited);
    }
}
