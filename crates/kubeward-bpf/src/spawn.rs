//! fork, for a process that has no second thread.

use std::fs;
use std::io;

/// Which side of the fork this is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Forked {
    Child,
    Parent { child: u32 },
}

/// Copies the process. Refused once it has threads: they are not copied, and a lock that one of them held would stay locked
/// in the child.
pub fn fork() -> io::Result<Forked> {
    let threads = fs::read_dir("/proc/self/task")
        .map_err(|error| io::Error::new(error.kind(), format!("/proc/self/task: {error} (is /proc mounted?)")))?
        .count();
    if threads != 1 {
        return Err(io::Error::other(format!("cannot fork with {threads} threads")));
    }
    // SAFETY: this is the only thread, so no lock or half-changed state of another one is copied.
    match unsafe { libc::fork() } {
        0 => Ok(Forked::Child),
        child @ 1.. => Ok(Forked::Parent { child: child.unsigned_abs() }),
        _ => Err(io::Error::last_os_error()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn process_with_threads_does_not_fork() {
        // The test harness runs every test in a thread of its own beside the main thread.
        let refused = std::thread::scope(|scope| scope.spawn(fork).join().expect("fork does not panic"));
        assert!(refused.expect_err("there are threads").to_string().contains("threads"));
    }
}
