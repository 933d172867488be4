//! Programs and threads: start, end, wait, scheduling, namespaces, tracing and confinement.

use super::group;
use crate::syscall::flags::file::{AT_EXEC, UNNAMED, UNNAMED_LONG};
use crate::syscall::flags::process::*;
use crate::syscall::ArgKind::*;

group! { Process:
    execve(filename: Path, argv: Argv, envp: Ptr);
    execveat(dfd: DirFd, filename: Path, argv: Argv, envp: Ptr, flags: Flags(&AT_EXEC));
    clone(clone_flags: Flags(&CLONE), newsp: Ptr, parent_tidptr: Ptr, child_tidptr: Ptr, tls: Hex);
    clone3(uargs: Ptr, size: Size);
    fork();
    vfork();
    exit(error_code: Int);
    exit_group(error_code: Int);
    wait4(pid: Pid, stat_addr: Ptr, options: Flags(&WAIT), ru: Ptr);
    waitid(which: Flags(&WAIT_ID), pid: Pid, infop: Ptr, options: Flags(&WAIT), ru: Ptr);
    pidfd_open(pid: Pid, flags: Flags(&PIDFD));
    unshare(unshare_flags: Flags(&CLONE_NAMESPACES));
    setns(fd: Fd, flags: Flags(&SETNS));
    listns(req: Ptr, ns_ids: Ptr, nr_ns_ids: Size, flags: Flags(&UNNAMED));
    setpgid(pid: Pid, pgid: Pid);
    setsid();

    ptrace(request: Flags(&PTRACE), pid: Pid, addr: Hex, data: Hex);
    process_vm_readv(pid: Pid, lvec: Ptr, liovcnt: ULong, rvec: Ptr, riovcnt: ULong, flags: Flags(&UNNAMED_LONG));
    process_vm_writev(pid: Pid, lvec: Ptr, liovcnt: ULong, rvec: Ptr, riovcnt: ULong, flags: Flags(&UNNAMED_LONG));
    kcmp(pid1: Pid, pid2: Pid, type: Flags(&KCMP), idx1: Hex, idx2: Hex);
    prctl(
        option: Flags(&PRCTL), arg2: By { arg: 0, kind: prctl_arg2 }, arg3: By { arg: 0, kind: prctl_arg3 }, arg4: Hex,
        arg5: Hex
    );
    arch_prctl(option: Flags(&ARCH_PRCTL), arg2: Hex);
    personality(personality: Flags(&PERSONALITY));
    seccomp(op: Flags(&SECCOMP), flags: Flags(&SECCOMP_FILTER), uargs: Ptr);
    landlock_create_ruleset(attr: Ptr, size: Size, flags: Flags(&LANDLOCK_CREATE));
    landlock_add_rule(ruleset_fd: Fd, rule_type: Flags(&LANDLOCK_RULE), rule_attr: Ptr, flags: Flags(&UNNAMED));
    landlock_restrict_self(ruleset_fd: Fd, flags: Flags(&LANDLOCK_RESTRICT));

    set_tid_address(tidptr: Ptr);
    set_robust_list(head: Ptr, len: Size);
    get_robust_list(pid: Pid, head_ptr: Ptr, len_ptr: Ptr);
    set_thread_area(u_info: Ptr);
    get_thread_area(u_info: Ptr);
    modify_ldt(func: Int, ptr: Ptr, bytecount: Size);
    rseq(rseq: Ptr, rseq_len: UInt, flags: Flags(&RSEQ), sig: Flags(&UNNAMED));
    rseq_slice_yield();

    sched_yield();
    sched_setparam(pid: Pid, param: Ptr);
    sched_getparam(pid: Pid, param: Ptr);
    sched_setscheduler(pid: Pid, policy: Flags(&SCHED), param: Ptr);
    sched_getscheduler(pid: Pid);
    sched_get_priority_max(policy: Flags(&SCHED));
    sched_get_priority_min(policy: Flags(&SCHED));
    sched_rr_get_interval(pid: Pid, interval: Ptr);
    sched_setaffinity(pid: Pid, len: UInt, user_mask_ptr: Ptr);
    sched_getaffinity(pid: Pid, len: UInt, user_mask_ptr: Ptr);
    sched_setattr(pid: Pid, uattr: Ptr, flags: Flags(&UNNAMED));
    sched_getattr(pid: Pid, uattr: Ptr, usize: UInt, flags: Flags(&UNNAMED));
    getpriority(which: Flags(&PRIORITY), who: Int);
    setpriority(which: Flags(&PRIORITY), who: Int, niceval: Int);
    ioprio_get(which: Flags(&IOPRIO), who: Int);
    ioprio_set(which: Flags(&IOPRIO), who: Int, ioprio: Flags(&UNNAMED));
}
