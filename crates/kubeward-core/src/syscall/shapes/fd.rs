//! Descriptors, whatever they refer to: copies, pipes, readiness, device control.

use super::group;
use crate::syscall::flags::fd::*;
use crate::syscall::flags::file::UNNAMED;
use crate::syscall::ArgKind::*;

group! { Fd:
    dup(fildes: Fd);
    dup2(oldfd: Fd, newfd: Fd);
    dup3(oldfd: Fd, newfd: Fd, flags: Flags(&DUP3));
    close_range(fd: Fd, max_fd: UInt, flags: Flags(&CLOSE_RANGE));
    pidfd_getfd(pidfd: Fd, fd: Fd, flags: Flags(&UNNAMED));
    pipe(fildes: Ptr);
    pipe2(fildes: Ptr, flags: Flags(&PIPE2));
    eventfd(count: UInt);
    eventfd2(count: UInt, flags: Flags(&EVENTFD));
    ioctl(fd: Fd, cmd: Flags(&IOCTL), arg: Hex);

    poll(ufds: Ptr, nfds: UInt, timeout_msecs: Int);
    ppoll(ufds: Ptr, nfds: UInt, tsp: Ptr, sigmask: Ptr, sigsetsize: Size);
    select(n: Int, inp: Ptr, outp: Ptr, exp: Ptr, tvp: Ptr);
    pselect6(n: Int, inp: Ptr, outp: Ptr, exp: Ptr, tsp: Ptr, sig: Ptr);
    epoll_create(size: Int);
    epoll_create1(flags: Flags(&EPOLL_CREATE));
    epoll_ctl(epfd: Fd, op: Flags(&EPOLL_OP), fd: Fd, event: Ptr);
    epoll_wait(epfd: Fd, events: Ptr, maxevents: Int, timeout: Int);
    epoll_pwait(epfd: Fd, events: Ptr, maxevents: Int, timeout: Int, sigmask: Ptr, sigsetsize: Size);
    epoll_pwait2(epfd: Fd, events: Ptr, maxevents: Int, timeout: Ptr, sigmask: Ptr, sigsetsize: Size);
}
