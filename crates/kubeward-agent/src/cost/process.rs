//! What the kernel says of this process.

use std::fs;

use rustix::param::page_size;
use rustix::time::{clock_gettime, ClockId};

/// CPU time of all its threads since its start, user and system together.
pub(super) fn cpu_ns() -> u64 {
    let spent = clock_gettime(ClockId::ProcessCPUTime);
    u64::try_from(spent.tv_sec).unwrap_or(0) * 1_000_000_000 + u64::try_from(spent.tv_nsec).unwrap_or(0)
}

/// Memory of it that is in RAM. `None` without /proc.
pub(super) fn resident_bytes() -> Option<u64> {
    pages(&fs::read_to_string("/proc/self/statm").ok()?).map(|pages| pages * page_size() as u64)
}

/// The second number of `statm`.
fn pages(statm: &str) -> Option<u64> {
    statm.split(' ').nth(1)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn resident_memory_is_the_second_number() {
        assert_eq!(pages("5620 1234 980 12 0 560 0\n"), Some(1234));
        assert_eq!(pages(""), None);
    }

    #[test]
    fn this_process_has_spent_time_and_memory() {
        assert!(cpu_ns() > 0);
        assert!(resident_bytes().is_some_and(|bytes| bytes > 1 << 20));
    }
}
