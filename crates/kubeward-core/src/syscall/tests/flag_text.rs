//! Expected texts are strace's for the same argument, except for its comments (`/* F_??? */`), without which an
//! unknown value stays a bare number.

use crate::syscall::*;

/// Text of argument `at` of a call made with these registers.
fn text(name: &str, at: usize, registers: &[u64]) -> String {
    let call = by_name(name).unwrap_or_else(|| panic!("{name} is in the catalogue"));
    let args = call.args.unwrap_or_else(|| panic!("{name} has a shape"));
    let mut out = Vec::new();
    args[at].kind.among(registers).write_text(registers[at], &mut out);
    String::from_utf8(out).expect("texts are ASCII")
}

/// Text of argument `at` when only its own register matters.
fn alone(name: &str, at: usize, raw: u64) -> String {
    let mut registers = [0; 6];
    registers[at] = raw;
    text(name, at, &registers)
}

const MINUS_1: u64 = u64::MAX;

#[test]
fn open_flags_begin_with_the_access_mode() {
    assert_eq!(alone("openat", 2, 0), "O_RDONLY");
    assert_eq!(alone("openat", 2, 0o2000000), "O_RDONLY|O_CLOEXEC");
    assert_eq!(alone("openat", 2, 0o1101), "O_WRONLY|O_CREAT|O_TRUNC");
    assert_eq!(alone("openat", 2, 2), "O_RDWR");
    assert_eq!(alone("openat", 2, 3), "O_ACCMODE");
    assert_eq!(alone("openat", 2, 0x410000 | 0o4010000), "O_RDONLY|O_SYNC|O_TMPFILE");
    assert_eq!(alone("openat", 2, 0o2_200_000), "O_RDONLY|O_CLOEXEC|O_DIRECTORY");
    assert_eq!(alone("openat", 2, 0x4000_0001), "O_WRONLY|0x40000000");
    assert_eq!(alone("open", 1, 0o100000), "O_RDONLY|O_LARGEFILE");
}

#[test]
fn an_int_ends_at_32_bits_and_a_long_does_not() {
    assert_eq!(alone("openat", 2, 0xdead_0000_0000_0001), "O_WRONLY");
    assert_eq!(alone("unshare", 0, 0x100_0000_0000), "0x10000000000");
    assert_eq!(alone("clone", 0, 0xdead_0000_0000_0011), "SIGCHLD");
    assert_eq!(alone("close", 0, 0xffff_ffff_0000_0003), "3");
}

#[test]
fn descriptors_ids_and_sizes_are_decimal() {
    assert_eq!(alone("openat", 0, -100i64 as u64), "AT_FDCWD");
    assert_eq!(alone("openat", 0, 0xffff_ff9c), "AT_FDCWD");
    assert_eq!(alone("openat", 0, 7), "7");
    assert_eq!(alone("mmap", 4, 0xffff_ffff), "-1");
    assert_eq!(alone("kill", 0, -1000000i64 as u64), "-1000000");
    assert_eq!(alone("chown", 1, 0xffff_ffff), "-1");
    assert_eq!(alone("chown", 2, 65534), "65534");
    assert_eq!(alone("chown", 1, 0xffff_fffe), "4294967294");
    assert_eq!(alone("read", 2, u64::MAX), "18446744073709551615");
    assert_eq!(alone("lseek", 1, MINUS_1), "-1");
    assert_eq!(alone("msgrcv", 3, MINUS_1), "-1");
}

#[test]
fn pointers_are_hexadecimal_and_null_has_a_name() {
    assert_eq!(alone("read", 1, 0), "NULL");
    assert_eq!(alone("read", 1, 0x7ffd_1234_5678), "0x7ffd12345678");
    assert_eq!(alone("openat", 1, 0), "NULL");
    assert_eq!(alone("connect", 1, 0x10), "0x10");
    assert_eq!(alone("prctl", 1, 0), "0");
    assert_eq!(alone("prctl", 1, 0x1f), "0x1f");
}

#[test]
fn modes_are_octal() {
    assert_eq!(alone("chmod", 1, 0o755), "0755");
    assert_eq!(alone("chmod", 1, 0o4755), "04755");
    assert_eq!(alone("chmod", 1, 0o7), "007");
    assert_eq!(alone("mkdir", 1, 0), "0");
    assert_eq!(alone("mknodat", 2, 0o020666), "S_IFCHR|0666");
    assert_eq!(alone("shmget", 2, 0o1600), "IPC_CREAT|0600");
}

#[test]
fn memory_flags() {
    assert_eq!(alone("mmap", 2, 0), "PROT_NONE");
    assert_eq!(alone("mmap", 2, 5), "PROT_READ|PROT_EXEC");
    assert_eq!(alone("mmap", 2, 0x108), "PROT_SEM|0x100");
    assert_eq!(alone("mmap", 3, 0x22), "MAP_PRIVATE|MAP_ANONYMOUS");
    assert_eq!(alone("mmap", 3, 0x812), "MAP_PRIVATE|MAP_FIXED|MAP_DENYWRITE");
    assert_eq!(alone("mmap", 3, 0x4_0022 | 21 << 26), "MAP_PRIVATE|MAP_ANONYMOUS|MAP_HUGETLB|MAP_HUGE_2MB");
    assert_eq!(alone("mmap", 5, 0x1000), "0x1000");
    assert_eq!(alone("madvise", 2, 4), "MADV_DONTNEED");
    assert_eq!(alone("madvise", 2, 99), "0x63");
    assert_eq!(alone("mremap", 3, 1), "MREMAP_MAYMOVE");
    assert_eq!(alone("membarrier", 0, 0), "MEMBARRIER_CMD_QUERY");
    assert_eq!(alone("membarrier", 0, 8), "MEMBARRIER_CMD_PRIVATE_EXPEDITED");
    assert_eq!(alone("memfd_create", 1, 3), "MFD_CLOEXEC|MFD_ALLOW_SEALING");
    assert_eq!(alone("shmget", 0, 0), "IPC_PRIVATE");
    assert_eq!(alone("shmctl", 1, 2), "IPC_STAT");
}

#[test]
fn process_flags() {
    assert_eq!(alone("clone", 0, 0x0120_0011), "CLONE_CHILD_CLEARTID|CLONE_CHILD_SETTID|SIGCHLD");
    assert_eq!(
        alone("clone", 0, 0x003d_0f00),
        "CLONE_VM|CLONE_FS|CLONE_FILES|CLONE_SIGHAND|CLONE_THREAD|CLONE_SYSVSEM|CLONE_SETTLS|CLONE_PARENT_SETTID|\
         CLONE_CHILD_CLEARTID"
    );
    assert_eq!(alone("unshare", 0, 0x1002_0000), "CLONE_NEWNS|CLONE_NEWUSER");
    assert_eq!(alone("setns", 1, 0), "0");
    assert_eq!(alone("wait4", 2, 0x4000_0001), "WNOHANG|__WALL");
    assert_eq!(alone("wait4", 2, 0x8000_0000), "__WCLONE");
    assert_eq!(alone("waitid", 0, 3), "P_PIDFD");
    assert_eq!(alone("prctl", 0, 15), "PR_SET_NAME");
    assert_eq!(alone("prctl", 0, 9999), "0x270f");
    assert_eq!(alone("ptrace", 0, 16), "PTRACE_ATTACH");
    assert_eq!(alone("seccomp", 0, 1), "SECCOMP_SET_MODE_FILTER");
    assert_eq!(alone("arch_prctl", 0, 0x1002), "ARCH_SET_FS");
    assert_eq!(alone("personality", 0, 0xffff_ffff), "0xffffffff");
    assert_eq!(alone("personality", 0, 0x4_0000), "PER_LINUX|ADDR_NO_RANDOMIZE");
    assert_eq!(alone("sched_setscheduler", 1, 0x4000_0001), "SCHED_FIFO|SCHED_RESET_ON_FORK");
}

#[test]
fn file_flags() {
    assert_eq!(alone("access", 1, 0), "F_OK");
    assert_eq!(alone("access", 1, 5), "R_OK|X_OK");
    assert_eq!(alone("access", 1, 16), "0x10");
    assert_eq!(alone("lseek", 2, 2), "SEEK_END");
    assert_eq!(alone("lseek", 2, 9), "0x9");
    assert_eq!(alone("fcntl", 1, 1030), "F_DUPFD_CLOEXEC");
    assert_eq!(alone("fcntl", 1, 99), "0x63");
    assert_eq!(alone("newfstatat", 3, 0x1000), "AT_EMPTY_PATH");
    assert_eq!(alone("statx", 2, 0x900), "AT_STATX_SYNC_AS_STAT|AT_SYMLINK_NOFOLLOW|AT_NO_AUTOMOUNT");
    assert_eq!(alone("statx", 3, 0xfff), "STATX_ALL");
    assert_eq!(alone("unlinkat", 2, 0x200), "AT_REMOVEDIR");
    assert_eq!(alone("faccessat2", 3, 0x200), "AT_EACCESS");
    assert_eq!(alone("flock", 1, 6), "LOCK_EX|LOCK_NB");
    assert_eq!(alone("renameat2", 4, 1), "RENAME_NOREPLACE");
    assert_eq!(alone("mount", 3, 0x4_9000), "MS_BIND|MS_SILENT|MS_PRIVATE");
    assert_eq!(alone("umount2", 1, 10), "MNT_DETACH|UMOUNT_NOFOLLOW");
    assert_eq!(alone("inotify_add_watch", 2, 0x8000_0002), "IN_MODIFY|IN_ONESHOT");
    assert_eq!(alone("close_range", 2, 2), "CLOSE_RANGE_UNSHARE");
    assert_eq!(alone("ioctl", 1, 0x5401), "TCGETS");
    assert_eq!(alone("ioctl", 1, 0xdead_beef), "0xdeadbeef");
    assert_eq!(alone("epoll_ctl", 1, 3), "EPOLL_CTL_MOD");
}

#[test]
fn socket_arguments_are_named_by_their_family_and_level() {
    assert_eq!(alone("socket", 0, 10), "AF_INET6");
    assert_eq!(alone("socket", 0, 99), "0x63");
    assert_eq!(alone("socket", 1, 0x8_0001), "SOCK_STREAM|SOCK_CLOEXEC");
    assert_eq!(alone("socket", 1, 0x41), "SOCK_STREAM|0x40");
    assert_eq!(text("socket", 2, &[2, 1, 6]), "IPPROTO_TCP");
    assert_eq!(text("socket", 2, &[10, 1, 0]), "IPPROTO_IP");
    assert_eq!(text("socket", 2, &[16, 3, 0]), "NETLINK_ROUTE");
    assert_eq!(text("socket", 2, &[1, 1, 0]), "0");
    assert_eq!(text("socket", 2, &[99, 1, 99]), "99");
    assert_eq!(alone("setsockopt", 1, 1), "SOL_SOCKET");
    assert_eq!(text("setsockopt", 2, &[3, 1, 2, 0, 4]), "SO_REUSEADDR");
    assert_eq!(text("getsockopt", 2, &[3, 1, 4, 0, 0]), "SO_ERROR");
    assert_eq!(text("setsockopt", 2, &[3, 6, 1, 0, 4]), "TCP_NODELAY");
    assert_eq!(text("setsockopt", 2, &[3, 41, 26, 0, 4]), "IPV6_V6ONLY");
    assert_eq!(text("setsockopt", 2, &[3, 270, 11, 0, 4]), "NETLINK_EXT_ACK");
    assert_eq!(text("setsockopt", 2, &[3, 999, 3, 0, 4]), "3");
    assert_eq!(alone("sendto", 3, 0x4040), "MSG_DONTWAIT|MSG_NOSIGNAL");
    assert_eq!(alone("shutdown", 1, 2), "SHUT_RDWR");
}

#[test]
fn the_command_decides_what_fcntl_and_prctl_take() {
    assert_eq!(text("fcntl", 2, &[3, 2, 1]), "FD_CLOEXEC");
    assert_eq!(text("fcntl", 2, &[3, 4, 0o4000]), "O_RDONLY|O_NONBLOCK");
    assert_eq!(text("fcntl", 2, &[3, 1030, 10]), "10");
    assert_eq!(text("fcntl", 2, &[3, 6, 0x7ffe_0000_0000]), "0x7ffe00000000");
    assert_eq!(text("fcntl", 2, &[3, 99, 1]), "0x1");
    assert_eq!(text("prctl", 1, &[1, 9, 0, 0, 0]), "SIGKILL");
    assert_eq!(text("prctl", 1, &[15, 0, 0, 0, 0]), "NULL");
    assert_eq!(text("prctl", 1, &[24, 21, 0, 0, 0]), "CAP_SYS_ADMIN");
    assert_eq!(text("prctl", 2, &[47, 2, 40, 0, 0]), "CAP_CHECKPOINT_RESTORE");
    assert_eq!(text("prctl", 1, &[38, 1, 0, 0, 0]), "1");
    assert_eq!(ArgKind::By { arg: 9, kind: |_| ArgKind::Uid }.among(&[]).integer(5), Some(5));
}

#[test]
fn futex_operations_name_their_private_form() {
    assert_eq!(alone("futex", 1, 0), "FUTEX_WAIT");
    assert_eq!(alone("futex", 1, 0x81), "FUTEX_WAKE_PRIVATE");
    assert_eq!(alone("futex", 1, 0x189), "FUTEX_WAIT_BITSET_PRIVATE|FUTEX_CLOCK_REALTIME");
    assert_eq!(alone("futex", 5, 0xffff_ffff), "0xffffffff");
}

#[test]
fn system_timer_and_user_values() {
    assert_eq!(alone("prlimit64", 1, 7), "RLIMIT_NOFILE");
    assert_eq!(alone("getrusage", 0, MINUS_1), "RUSAGE_CHILDREN");
    assert_eq!(alone("clock_gettime", 0, 1), "CLOCK_MONOTONIC");
    assert_eq!(alone("rt_sigprocmask", 0, 2), "SIG_SETMASK");
    assert_eq!(alone("getrandom", 2, 1), "GRND_NONBLOCK");
    assert_eq!(alone("request_key", 3, -3i64 as u64), "KEY_SPEC_SESSION_KEYRING");
    assert_eq!(alone("bpf", 0, 5), "BPF_PROG_LOAD");
    assert_eq!(alone("reboot", 2, 0x0123_4567), "LINUX_REBOOT_CMD_RESTART");
}

#[test]
fn signals_have_names_from_1_to_64() {
    assert_eq!(signal_name(0), None);
    assert_eq!(signal_name(1), Some("SIGHUP"));
    assert_eq!(signal_name(15), Some("SIGTERM"));
    assert_eq!(signal_name(31), Some("SIGSYS"));
    assert_eq!(signal_name(32), Some("SIGRTMIN"));
    assert_eq!(signal_name(34), Some("SIGRT_2"));
    assert_eq!(signal_name(64), Some("SIGRT_32"));
    assert_eq!(signal_name(65), None);
    assert!((1..=64).all(|number| signal_name(number).is_some()));
    assert_eq!(alone("kill", 1, 9), "SIGKILL");
    assert_eq!(alone("kill", 1, 0), "0");
    assert_eq!(alone("kill", 1, 65), "65");
}

#[test]
fn the_integer_of_an_argument_has_its_width_and_sign() {
    assert_eq!(ArgKind::Int.integer(0xffff_ffff), Some(-1));
    assert_eq!(ArgKind::UInt.integer(MINUS_1), Some(0xffff_ffff));
    assert_eq!(ArgKind::Long.integer(MINUS_1), Some(-1));
    assert_eq!(ArgKind::Size.integer(MINUS_1), Some(u64::MAX.into()));
    assert_eq!(ArgKind::DirFd.integer(0xffff_ff9c), Some(-100));
    assert_eq!(ArgKind::Uid.integer(0xffff_ffff), Some(-1));
    assert_eq!(ArgKind::Mode.integer(0xdead_01a4), Some(0o644));
    assert_eq!(ArgKind::Path.integer(1), None);
    assert!(ArgKind::Path.is_pointer() && !ArgKind::Fd.is_pointer());
}

/// Whatever the register, every argument has a text of one printable line.
#[test]
fn every_argument_of_every_call_has_a_text() {
    for call in all() {
        for arg in call.args.unwrap_or_default() {
            for raw in [0, 1, 0x8000_0000, u64::MAX, 0x1234_5678_9abc_def0] {
                let mut out = b"=".to_vec();
                arg.kind.write_text(raw, &mut out);
                let out = String::from_utf8(out).expect("texts are ASCII");
                assert!(!out.contains(['"', '\\']), "needs no escaping in JSON: {out}");
                assert!(
                    out.len() > 1 && out.bytes().all(|byte| byte.is_ascii_graphic()),
                    "{} {}: {out}",
                    call.name,
                    arg.name
                );
                assert_eq!(arg.kind.integer(raw).is_none(), arg.kind.is_pointer(), "{} {}", call.name, arg.name);
            }
        }
    }
}
