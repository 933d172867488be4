//! Signals.

use super::{names, FlagTable, Name};

/// The signals that have names of their own; those from 32 on are real-time signals.
pub(in crate::syscall) const NAMES: &[Name] = names![
    SIGHUP, SIGINT, SIGQUIT, SIGILL, SIGTRAP, SIGABRT, SIGBUS, SIGFPE, SIGKILL, SIGUSR1, SIGSEGV, SIGUSR2, SIGPIPE,
    SIGALRM, SIGTERM, SIGSTKFLT, SIGCHLD, SIGCONT, SIGSTOP, SIGTSTP, SIGTTIN, SIGTTOU, SIGURG, SIGXCPU, SIGXFSZ,
    SIGVTALRM, SIGPROF, SIGWINCH, SIGIO, SIGPWR, SIGSYS,
];

pub(in crate::syscall) static SIGMASK_HOW: FlagTable = FlagTable::one_of(names![SIG_BLOCK, SIG_UNBLOCK, SIG_SETMASK]);
pub(in crate::syscall) static SIGNALFD: FlagTable = FlagTable::bits(names![SFD_CLOEXEC, SFD_NONBLOCK]);
pub(in crate::syscall) static PIDFD_SIGNAL: FlagTable =
    FlagTable::bits(names![PIDFD_SIGNAL_THREAD = 1, PIDFD_SIGNAL_THREAD_GROUP = 2, PIDFD_SIGNAL_PROCESS_GROUP = 4,]);
