//! Process 1 of the command's container: reaps, passes signals on, and says how the command ended.
//!
//! It keeps every signal blocked and takes them one by one, so that none is lost and none kills it. Its end is the end of
//! the pid namespace, so it stays until the last process in it has ended.

use std::fs::File;
use std::io::{self, Read, Write};

use kubeward_bpf::spawn::{fork, Forked};
use nix::errno::Errno;
use nix::mount::{mount, MsFlags};
use nix::sched::{unshare, CloneFlags};
use nix::sys::prctl::{set_name, set_pdeathsig};
use nix::sys::signal::{kill, SigSet, Signal};
use nix::sys::signalfd::SignalFd;
use nix::sys::wait::{waitpid, WaitPidFlag, WaitStatus};
use nix::unistd::Pid;

use super::launch::{become_program, ChildEnds, Program};
use super::{code_of_status, FAILED};

/// What init says to the process that traces.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Report {
    /// The container stands.
    Ready,
    /// The command is there and waits.
    Waiting,
    Failed(String),
    /// The command ended with this exit code, as a shell counts.
    Ended(u8),
}

impl Report {
    fn write(&self, to: &mut File) -> io::Result<()> {
        let (tag, content) = match self {
            Report::Ready => (b'R', Vec::new()),
            Report::Waiting => (b'W', Vec::new()),
            Report::Failed(what) => (b'F', what.clone().into_bytes()),
            Report::Ended(code) => (b'E', vec![*code]),
        };
        let length = u8::try_from(content.len()).unwrap_or(u8::MAX);
        let message = [&[tag, length], &content[..length.into()]].concat();
        to.write_all(&message)
    }

    /// `None` when init is gone.
    pub(super) fn read(from: &mut File) -> io::Result<Option<Report>> {
        let mut head = [0; 2];
        match from.read_exact(&mut head) {
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
            outcome => outcome?,
        }
        let mut content = vec![0; head[1].into()];
        from.read_exact(&mut content)?;
        Ok(Some(match (head[0], content.first()) {
            (b'R', _) => Report::Ready,
            (b'W', _) => Report::Waiting,
            (b'E', Some(&code)) => Report::Ended(code),
            _ => Report::Failed(String::from_utf8_lossy(&content).into_owned()),
        }))
    }
}

/// Runs as process 1 until the container is empty.
pub(super) fn run(program: &Program, mut ends: ChildEnds, mut report: File) -> ! {
    let prepared = prepare().and_then(|()| Report::Ready.write(&mut report).map_err(|error| error.to_string()));
    if prepared.is_ok() && !ends.wait_for_go() {
        std::process::exit(FAILED.into());
    }
    let command = prepared.and_then(|()| fork().map_err(|error| format!("starting the command: {error}")));
    match command {
        Ok(Forked::Child) => {
            drop(report);
            become_program(program, ends)
        }
        Ok(Forked::Parent { child }) => {
            drop(ends);
            let served = Report::Waiting.write(&mut report).and_then(|()| serve(child, &mut report));
            std::process::exit(if served.is_ok() { 0 } else { FAILED.into() })
        }
        Err(what) => {
            // Nobody is left to tell when this fails.
            let _ = Report::Failed(what).write(&mut report);
            std::process::exit(FAILED.into())
        }
    }
}

/// A mount namespace whose changes stay in it, with this pid namespace's own /proc.
fn prepare() -> Result<(), String> {
    let step = |what: &'static str| move |errno: Errno| format!("{what}: {}", errno.desc());
    // Without the one that watches, nobody would know what still runs here.
    set_pdeathsig(Signal::SIGKILL).map_err(step("asking to end with kubeward"))?;
    set_name(c"kubeward-init").map_err(step("naming init"))?;
    SigSet::all().thread_set_mask().map_err(step("blocking signals"))?;
    unshare(CloneFlags::CLONE_NEWNS).map_err(step("making a mount namespace"))?;
    let none = None::<&str>;
    mount(none, "/", none, MsFlags::MS_REC | MsFlags::MS_PRIVATE, none).map_err(step("making its mounts private"))?;
    let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC;
    mount(Some("proc"), "/proc", Some("proc"), flags, none).map_err(step("mounting /proc"))
}

fn serve(child: u32, report: &mut File) -> io::Result<()> {
    let command = Pid::from_raw(child.try_into().map_err(io::Error::other)?);
    let mut is_running = true;
    let signals = SignalFd::new(&SigSet::all())?;
    loop {
        let Some(info) = signals.read_signal()? else { continue };
        let Ok(signal) = Signal::try_from(info.ssi_signo.cast_signed()) else { continue };
        // From outside the namespace, whose processes have no number here; not from the terminal, whose signals reach the
        // command without help.
        let is_for_command = info.ssi_code <= 0 && info.ssi_pid == 0;
        if signal == Signal::SIGCHLD {
            if !reap(command, &mut is_running, report)? {
                return Ok(());
            }
        } else if is_for_command {
            // With the command gone, it is for all that it left behind. They may be gone too.
            let target = if is_running { command } else { Pid::from_raw(-1) };
            let _ = kill(target, signal);
        }
    }
}

/// Takes the ended children. False when there are none left, ended or running.
fn reap(command: Pid, is_running: &mut bool, report: &mut File) -> io::Result<bool> {
    loop {
        let status = match waitpid(None, Some(WaitPidFlag::WNOHANG)) {
            Ok(WaitStatus::StillAlive) => return Ok(true),
            Err(Errno::ECHILD) => return Ok(false),
            Err(errno) => return Err(errno.into()),
            Ok(status) => status,
        };
        if let (Some(pid), Some(code)) = (status.pid(), code_of_status(&status)) {
            if pid == command {
                *is_running = false;
                Report::Ended(code).write(report)?;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::fd::OwnedFd;

    use super::*;

    #[test]
    fn reports_arrive_as_they_were_sent_and_end_with_init() {
        let (read, write): (OwnedFd, OwnedFd) = nix::unistd::pipe().expect("a pipe");
        let (mut read, mut write): (File, File) = (read.into(), write.into());
        let sent =
            [Report::Ready, Report::Waiting, Report::Failed("mounting /proc: no".to_owned()), Report::Ended(137)];
        sent.iter().for_each(|report| report.write(&mut write).expect("the pipe has room"));
        drop(write);
        for report in sent {
            assert_eq!(Report::read(&mut read).expect("the pipe is whole"), Some(report));
        }
        assert_eq!(Report::read(&mut read).expect("the end is no failure"), None);
    }

    #[test]
    fn overlong_report_is_cut_and_the_next_one_is_whole() {
        let (read, write): (OwnedFd, OwnedFd) = nix::unistd::pipe().expect("a pipe");
        let (mut read, mut write): (File, File) = (read.into(), write.into());
        Report::Failed("x".repeat(1000)).write(&mut write).expect("the pipe has room");
        Report::Ended(0).write(&mut write).expect("the pipe has room");
        assert_eq!(Report::read(&mut read).expect("whole"), Some(Report::Failed("x".repeat(255))));
        assert_eq!(Report::read(&mut read).expect("whole"), Some(Report::Ended(0)));
    }
}
