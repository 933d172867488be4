//! Signals: sent, handled, blocked and waited for.

use super::group;
use crate::syscall::flags::signal::*;
use crate::syscall::ArgKind::*;

group! { Signal:
    kill(pid: Pid, sig: Signal);
    tkill(pid: Pid, sig: Signal);
    tgkill(tgid: Pid, pid: Pid, sig: Signal);
    pidfd_send_signal(pidfd: Fd, sig: Signal, info: Ptr, flags: Flags(&PIDFD_SIGNAL));
    rt_sigqueueinfo(pid: Pid, sig: Signal, uinfo: Ptr);
    rt_tgsigqueueinfo(tgid: Pid, pid: Pid, sig: Signal, uinfo: Ptr);
    rt_sigaction(sig: Signal, act: Ptr, oact: Ptr, sigsetsize: Size);
    rt_sigprocmask(how: Flags(&SIGMASK_HOW), nset: Ptr, oset: Ptr, sigsetsize: Size);
    rt_sigpending(uset: Ptr, sigsetsize: Size);
    rt_sigsuspend(unewset: Ptr, sigsetsize: Size);
    rt_sigtimedwait(uthese: Ptr, uinfo: Ptr, uts: Ptr, sigsetsize: Size);
    rt_sigreturn();
    sigaltstack(uss: Ptr, uoss: Ptr);
    signalfd(ufd: Fd, user_mask: Ptr, sizemask: Size);
    signalfd4(ufd: Fd, user_mask: Ptr, sizemask: Size, flags: Flags(&SIGNALFD));
    pause();
}
