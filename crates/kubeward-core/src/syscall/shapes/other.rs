//! What fits none of the nine categories: waiting on memory words, message queues and semaphores, the kernel's own
//! trampolines, and numbers that no supported kernel serves.

use super::group;
use crate::syscall::flags::file::{OPEN, UNNAMED};
use crate::syscall::flags::memory::{IPC_CTL, IPC_GET, IPC_KEY};
use crate::syscall::flags::other::*;
use crate::syscall::flags::timer::CLOCK;
use crate::syscall::ArgKind::*;

group! { Other:
    futex(uaddr: Ptr, op: Flags(&FUTEX), val: UInt, utime: Ptr, uaddr2: Ptr, val3: Flags(&UNNAMED));
    futex_wait(uaddr: Ptr, val: ULong, mask: Hex, flags: Flags(&FUTEX2), timeout: Ptr, clockid: Flags(&CLOCK));
    futex_wake(uaddr: Ptr, mask: Hex, nr: Int, flags: Flags(&FUTEX2));
    futex_requeue(waiters: Ptr, flags: Flags(&FUTEX2), nr_wake: Int, nr_requeue: Int);
    futex_waitv(waiters: Ptr, nr_futexes: UInt, flags: Flags(&FUTEX2), timeout: Ptr, clockid: Flags(&CLOCK));

    semget(key: Flags(&IPC_KEY), nsems: Int, semflg: Flags(&IPC_GET));
    semop(semid: Int, tsops: Ptr, nsops: UInt);
    semtimedop(semid: Int, tsops: Ptr, nsops: UInt, timeout: Ptr);
    semctl(semid: Int, semnum: Int, cmd: Flags(&IPC_CTL), arg: Hex);
    msgget(key: Flags(&IPC_KEY), msgflg: Flags(&IPC_GET));
    msgsnd(msqid: Int, msgp: Ptr, msgsz: Size, msgflg: Flags(&MSG_QUEUE));
    msgrcv(msqid: Int, msgp: Ptr, msgsz: Size, msgtyp: Long, msgflg: Flags(&MSG_QUEUE));
    msgctl(msqid: Int, cmd: Flags(&IPC_CTL), buf: Ptr);
    mq_open(name: Str, oflag: Flags(&OPEN), mode: Mode, attr: Ptr);
    mq_unlink(name: Str);
    mq_timedsend(mqdes: Fd, msg_ptr: Ptr, msg_len: Size, msg_prio: UInt, abs_timeout: Ptr);
    mq_timedreceive(mqdes: Fd, msg_ptr: Ptr, msg_len: Size, msg_prio: Ptr, abs_timeout: Ptr);
    mq_notify(mqdes: Fd, notification: Ptr);
    mq_getsetattr(mqdes: Fd, mqstat: Ptr, omqstat: Ptr);

    restart_syscall();
    uprobe();
    uretprobe();

    uselib(library: Path);
    _sysctl?;
    create_module?;
    get_kernel_syms?;
    query_module?;
    nfsservctl?;
    getpmsg?;
    putpmsg?;
    afs_syscall?;
    tuxcall?;
    security?;
    lookup_dcookie?;
    epoll_ctl_old?;
    epoll_wait_old?;
    vserver?;
    unlisted?;
}
