//! Facts about the system and the process, limits, and control of the machine.

use super::group;
use crate::syscall::flags::file::{OPEN, UNNAMED};
use crate::syscall::flags::system::*;
use crate::syscall::ArgKind::*;

group! { System:
    getpid();
    getppid();
    gettid();
    getpgrp();
    getpgid(pid: Pid);
    getsid(pid: Pid);
    uname(name: Ptr);
    sysinfo(info: Ptr);
    sysfs(option: Int, arg1: Hex, arg2: Hex);
    getcpu(cpup: Ptr, nodep: Ptr, unused: Ptr);
    getrandom(ubuf: Ptr, len: Size, flags: Flags(&GETRANDOM));
    getrlimit(resource: Flags(&RLIMIT), rlim: Ptr);
    setrlimit(resource: Flags(&RLIMIT), rlim: Ptr);
    prlimit64(pid: Pid, resource: Flags(&RLIMIT), new_rlim: Ptr, old_rlim: Ptr);
    getrusage(who: Flags(&RUSAGE), ru: Ptr);
    times(tbuf: Ptr);

    sethostname(name: Ptr, len: Int);
    setdomainname(name: Ptr, len: Int);
    syslog(type: Flags(&SYSLOG), buf: Ptr, len: Int);
    acct(name: Path);
    quotactl(cmd: Flags(&UNNAMED), special: Path, id: Int, addr: Ptr);
    quotactl_fd(fd: Fd, cmd: Flags(&UNNAMED), id: Int, addr: Ptr);
    swapon(specialfile: Path, swap_flags: Flags(&SWAP));
    swapoff(specialfile: Path);
    vhangup();
    reboot(magic1: Flags(&UNNAMED), magic2: Flags(&UNNAMED), cmd: Flags(&REBOOT), arg: Ptr);
    kexec_load(entry: Ptr, nr_segments: ULong, segments: Ptr, flags: Flags(&KEXEC));
    kexec_file_load(kernel_fd: Fd, initrd_fd: Fd, cmdline_len: Size, cmdline: Str, flags: Flags(&KEXEC_FILE));
    init_module(umod: Ptr, len: Size, uargs: Str);
    finit_module(fd: Fd, uargs: Str, flags: Flags(&FINIT_MODULE));
    delete_module(name_user: Str, flags: Flags(&OPEN));
    iopl(level: UInt);
    ioperm(from: Hex, num: ULong, turn_on: Int);
    bpf(cmd: Flags(&BPF), uattr: Ptr, size: UInt);
    perf_event_open(attr_uptr: Ptr, pid: Pid, cpu: Int, group_fd: Fd, flags: Flags(&PERF));
    lsm_get_self_attr(attr: Flags(&LSM_ATTR), ctx: Ptr, size: Ptr, flags: Flags(&LSM_FLAGS));
    lsm_set_self_attr(attr: Flags(&LSM_ATTR), ctx: Ptr, size: UInt, flags: Flags(&UNNAMED));
    lsm_list_modules(ids: Ptr, size: Ptr, flags: Flags(&UNNAMED));
}
