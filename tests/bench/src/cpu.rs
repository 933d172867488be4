//! Which CPU does what: loads on one, whatever reads and judges on another, so that a call's cost is the call's own.

use std::process::Command;

use anyhow::{ensure, Context, Result};
use nix::sched::{sched_getaffinity, sched_setaffinity, CpuSet};
use nix::unistd::Pid;

/// Where reader and everything else run.
pub const READER: usize = 0;
/// Where the load runs.
pub const LOAD: usize = 1;

/// While it lives, this thread and the children and threads that it starts are kept on the reader's CPU.
#[derive(Debug)]
pub struct OnReaderCpu {
    before: CpuSet,
}

impl OnReaderCpu {
    pub fn begin() -> Result<Self> {
        let before = sched_getaffinity(Pid::from_raw(0)).context("asking which CPUs there are")?;
        let is_usable = |cpu: usize| before.is_set(cpu).unwrap_or(false);
        ensure!(
            is_usable(READER) && is_usable(LOAD),
            "two CPUs are needed: {READER} for the reader and {LOAD} for the load, and this process may not use both"
        );
        pin(Pid::from_raw(0), READER)?;
        Ok(Self { before })
    }
}

impl Drop for OnReaderCpu {
    fn drop(&mut self) {
        // It was so before, and a set of CPUs that was usable stays so.
        let _ = sched_setaffinity(Pid::from_raw(0), &self.before);
    }
}

/// `pid` goes to `cpu`, 0: this thread.
pub fn pin(pid: Pid, cpu: usize) -> Result<()> {
    let mut set = CpuSet::new();
    set.set(cpu).context("a set of CPUs")?;
    sched_setaffinity(pid, &set).with_context(|| format!("keeping a process on CPU {cpu}"))
}

/// While it lives, this thread and the children and threads that it starts run before all that is not as urgent: what else runs on the
/// machine does not show in the figures. Where that is not allowed they run as everything does.
#[derive(Debug)]
pub struct Urgent(());

impl Urgent {
    pub fn begin() -> Self {
        change_class(&["--fifo", "--pid", "1"]);
        Self(())
    }
}

impl Drop for Urgent {
    fn drop(&mut self) {
        change_class(&["--other", "--pid", "0"]);
    }
}

/// std and nix have no call for it; util-linux has.
fn change_class(args: &[&str]) {
    let own = std::process::id().to_string();
    // A machine that does not let us, or has no such program, measures with more noise: that is all.
    let _ = Command::new("chrt").args(args).arg(own).output();
}
