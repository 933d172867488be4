//! Starts the command, held back until it is watched, in a container of its own or in place.
//!
//! Pipes between this process and the others: `go` holds the command back, `exec` says how its exec went (closed by the
//! exec itself), `report` is init's voice.

use std::ffi::OsString;
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::process::CommandExt;
use std::process::Command;

use anyhow::{bail, Context};
use kubeward_bpf::spawn::{fork, Forked};
use nix::fcntl::OFlag;
use nix::sched::{setns, unshare, CloneFlags};
use nix::sys::signal::SigSet;
use nix::unistd::{pipe2, Pid};

use super::init::{self, Report};

/// What is to be run. `mask` is the signal mask it is to have.
pub(super) struct Program {
    pub(super) argv: Vec<OsString>,
    pub(super) mask: SigSet,
}

/// The command, held back.
pub(super) struct Launched {
    /// The process to wait for and to send signals to: init, or the command itself under `--host`.
    pub(super) leader: Pid,
    /// Absent under `--host`.
    pub(super) report: Option<File>,
    go: File,
    exec: File,
}

/// The ends of the pipes that are not this process's.
pub(super) struct ChildEnds {
    go: File,
    exec: File,
}

impl ChildEnds {
    /// False when whoever was to watch is gone.
    pub(super) fn wait_for_go(&mut self) -> bool {
        self.go.read_exact(&mut [0]).is_ok()
    }
}

/// A container with nothing in it but its init.
pub(super) struct Empty {
    init: Pid,
    report: File,
    go: File,
    exec: File,
}

/// Makes new pid and mount namespaces with a small init, which will start the command.
///
/// To be done before anything is loaded: init holds what is open now for as long as it lives.
pub(super) fn container(program: &Program) -> anyhow::Result<Empty> {
    let (go_read, go) = pipe()?;
    let (exec, exec_write) = pipe()?;
    let (report, report_write) = pipe()?;
    let own_pid_ns = File::open("/proc/self/ns/pid").context("opening /proc/self/ns/pid")?;
    unshare(CloneFlags::CLONE_NEWPID)
        .context("making a pid namespace for the command (this needs CAP_SYS_ADMIN; --host does without)")?;
    let forked = fork();
    if !matches!(forked, Ok(Forked::Child)) {
        // Only the next child was meant; and a process with another pid namespace for its children cannot have threads.
        setns(&own_pid_ns, CloneFlags::CLONE_NEWPID).context("returning to this process's pid namespace")?;
    }
    match forked.context("starting init")? {
        Forked::Child => {
            drop((go, exec, report, own_pid_ns));
            init::run(program, ChildEnds { go: go_read, exec: exec_write }, report_write)
        }
        Forked::Parent { child } => {
            drop((go_read, exec_write, report_write));
            let mut empty = Empty { init: pid(child)?, report, go, exec };
            empty.expect(&Report::Ready)?;
            Ok(empty)
        }
    }
}

impl Empty {
    /// Starts the command in the container. Hooks that are attached by now show its very first call.
    pub(super) fn start(mut self) -> anyhow::Result<Launched> {
        self.go.write_all(&[1]).context("asking init for the command")?;
        self.expect(&Report::Waiting)?;
        Ok(Launched { leader: self.init, report: Some(self.report), go: self.go, exec: self.exec })
    }

    fn expect(&mut self, expected: &Report) -> anyhow::Result<()> {
        match Report::read(&mut self.report).context("listening to init")? {
            Some(report) if report == *expected => Ok(()),
            Some(Report::Failed(what)) => bail!("making a container for the command: {what}"),
            _ => bail!("the command's init ended before the command began"),
        }
    }
}

/// Starts the command as a child of this process.
pub(super) fn in_place(program: &Program) -> anyhow::Result<Launched> {
    let (go_read, go) = pipe()?;
    let (exec, exec_write) = pipe()?;
    match fork().context("starting the command")? {
        Forked::Child => {
            drop((go, exec));
            become_program(program, ChildEnds { go: go_read, exec: exec_write })
        }
        Forked::Parent { child } => {
            drop((go_read, exec_write));
            Ok(Launched { leader: pid(child)?, report: None, go, exec })
        }
    }
}

/// How the command's exec went.
pub(super) enum Started {
    Running,
    /// It does not exist, cannot be executed, ...
    Failed(io::Error),
}

impl Launched {
    /// Lets the command go, and waits until it runs or could not be run.
    pub(super) fn release(&mut self) -> anyhow::Result<Started> {
        self.go.write_all(&[1]).context("letting the command go")?;
        let mut errno = [0; 4];
        Ok(match self.exec.read_exact(&mut errno) {
            Ok(()) => Started::Failed(io::Error::from_raw_os_error(i32::from_ne_bytes(errno))),
            // Closed without a word: by the exec.
            Err(_) => Started::Running,
        })
    }
}

/// Waits to be let go, then becomes the program.
pub(super) fn become_program(program: &Program, mut ends: ChildEnds) -> ! {
    if !ends.wait_for_go() {
        // Better not run at all than unwatched.
        std::process::exit(super::FAILED.into());
    }
    let error = match program.mask.thread_set_mask() {
        Ok(()) => Command::new(&program.argv[0]).args(&program.argv[1..]).exec(),
        Err(errno) => errno.into(),
    };
    let _ = ends.exec.write_all(&error.raw_os_error().unwrap_or(nix::libc::EINVAL).to_ne_bytes());
    std::process::exit(super::code_of_failed_exec(&error).into())
}

fn pid(child: u32) -> anyhow::Result<Pid> {
    Ok(Pid::from_raw(child.try_into().context("pids are below 2^22")?))
}

/// Read end and write end, closed by exec.
fn pipe() -> anyhow::Result<(File, File)> {
    let (read, write): (OwnedFd, OwnedFd) = pipe2(OFlag::O_CLOEXEC).context("making a pipe")?;
    Ok((read.into(), write.into()))
}
