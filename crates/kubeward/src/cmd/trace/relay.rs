//! Waits for the command to end and passes on the signals that are meant for it.
//!
//! A signal of the terminal (Ctrl-C) reaches the whole foreground group, the command in it, without help; passing it on
//! would make it two. One that was sent to this process alone is passed on. Ctrl-Z keeps its default effect here.

use std::io;
use std::os::fd::AsFd;
use std::time::Duration;

use anyhow::Context;
use kubeward_bpf::object::Engine;
use nix::errno::Errno;
use nix::poll::{poll, PollFd, PollFlags, PollTimeout};
use nix::sys::signal::{kill, SigSet, SigmaskHow, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use nix::sys::wait::{waitpid, WaitPidFlag};

use super::init::Report;
use super::launch::Launched;
use super::{code_of_status, FAILED, SLOT};

/// Between two looks at what a command left running, under `--host`.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// Signals that are passed on, and the one that tells of children.
fn taken() -> SigSet {
    use Signal::*;
    [SIGTERM, SIGINT, SIGHUP, SIGQUIT, SIGUSR1, SIGUSR2, SIGCHLD].into_iter().collect()
}

/// Blocks the signals that [`Relay`] will take. Returns the mask that was there.
pub(super) fn block_signals() -> anyhow::Result<SigSet> {
    taken().thread_swap_mask(SigmaskHow::SIG_BLOCK).context("blocking signals")
}

pub(super) struct Relay {
    signals: SignalFd,
}

impl Relay {
    /// [`block_signals`] must have been called before any thread was started.
    pub(super) fn new() -> anyhow::Result<Self> {
        let signals = SignalFd::with_flags(&taken(), SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK);
        Ok(Self { signals: signals.context("making a signalfd")? })
    }

    /// The command's exit code, once it and all that came of it have ended.
    pub(super) fn wait(&self, launched: &mut Launched, engine: &Engine) -> anyhow::Result<u8> {
        match launched.report.take() {
            Some(report) => self.wait_for_init(launched, report),
            None => self.wait_in_place(launched, engine),
        }
    }

    fn wait_for_init(&self, launched: &Launched, mut report: std::fs::File) -> anyhow::Result<u8> {
        let mut code = None;
        loop {
            let mut fds =
                [PollFd::new(self.signals.as_fd(), PollFlags::POLLIN), PollFd::new(report.as_fd(), PollFlags::POLLIN)];
            wait_for(&mut fds, PollTimeout::NONE)?;
            let [_, reported] = fds.map(|fd| fd.any().unwrap_or(false));
            self.pass_on(launched, true)?;
            if reported {
                match Report::read(&mut report).context("listening to init")? {
                    Some(Report::Ended(ended)) => code = Some(ended),
                    Some(_) => {}
                    None => break,
                }
            }
        }
        let init = waitpid(launched.leader, None).context("waiting for init")?;
        // Without a word of the command's end, init itself was killed, and the command with it.
        Ok(code.or_else(|| code_of_status(&init)).unwrap_or(FAILED))
    }

    /// Without a pid namespace only the kernel side knows what came of the command.
    fn wait_in_place(&self, launched: &Launched, engine: &Engine) -> anyhow::Result<u8> {
        let mut code = None;
        loop {
            if code.is_none() {
                let status = waitpid(launched.leader, Some(WaitPidFlag::WNOHANG)).context("waiting for the command")?;
                code = code_of_status(&status);
            }
            if let Some(code) = code {
                let tasks = engine.tasks().context("looking for what the command left")?;
                // A task that has ended and was not waited for is in no namespace any more.
                if !tasks.iter().any(|task| task.slot == SLOT.0 && task.ns.mnt_ns != 0) {
                    return Ok(code);
                }
            }
            let timeout =
                if code.is_some() { LOOK_EVERY.try_into().unwrap_or(PollTimeout::MAX) } else { PollTimeout::NONE };
            wait_for(&mut [PollFd::new(self.signals.as_fd(), PollFlags::POLLIN)], timeout)?;
            // The number of a command that was reaped may be another's by now.
            self.pass_on(launched, code.is_none())?;
        }
    }

    fn pass_on(&self, launched: &Launched, is_there: bool) -> anyhow::Result<()> {
        while let Some(info) = self.signals.read_signal().context("reading signals")? {
            match Signal::try_from(info.ssi_signo.cast_signed()) {
                Ok(Signal::SIGCHLD) | Err(_) => {}
                // Codes above 0 are the kernel's own: the terminal's.
                Ok(signal) if info.ssi_code <= 0 && is_there => {
                    // It may have ended just now.
                    let _ = kill(launched.leader, signal);
                }
                Ok(_) => {}
            }
        }
        Ok(())
    }
}

fn wait_for(fds: &mut [PollFd<'_>], timeout: PollTimeout) -> io::Result<()> {
    match poll(fds, timeout) {
        Ok(_) | Err(Errno::EINTR) => Ok(()),
        Err(errno) => Err(errno.into()),
    }
}
