use std::collections::{BTreeMap, BTreeSet};

use crate::syscall::shapes::GROUPS;
use crate::syscall::table::native;
use crate::syscall::*;

/// The 64 calls of the first implementation in its nine categories, by the names that its policies use.
const SEED: [(Category, &str); 9] = [
    (
        Category::File,
        "sys_open sys_openat sys_close sys_unlink sys_unlinkat sys_chown sys_fchownat sys_mount sys_umount sys_read \
         sys_write sys_pread64 sys_pwrite64 sys_lseek sys_stat sys_fstat sys_lstat sys_fcntl sys_fsync sys_fdatasync \
         sys_sync",
    ),
    (Category::Network, "sys_socket sys_connect sys_accept sys_bind sys_listen"),
    (
        Category::Process,
        "sys_execve sys_execveat sys_clone sys_fork sys_vfork sys_exit sys_exit_group sys_wait4 sys_waitid",
    ),
    (Category::Fd, "sys_dup sys_dup2 sys_dup3"),
    (Category::Memory, "sys_mmap sys_munmap sys_mprotect sys_madvise sys_brk"),
    (Category::Signal, "sys_signal sys_kill sys_tgkill sys_tkill"),
    (Category::Timer, "sys_timer_create sys_timer_settime sys_timer_gettime sys_timer_getoverrun sys_timer_delete"),
    (Category::User, "sys_setuid sys_setgid sys_getuid sys_geteuid sys_getgid sys_getegid"),
    (Category::System, "sys_getpid sys_getppid sys_uname sys_getrlimit sys_setrlimit sys_getrusage"),
];

#[test]
fn the_seeds_64_calls_keep_their_category() {
    let mut count = 0;
    for (category, names) in SEED {
        for name in names.split(' ') {
            count += 1;
            if name == "sys_signal" {
                continue; // x86-64 never had it; names::signal_is_told_to_be_missing
            }
            let call = resolve(name).unwrap_or_else(|error| panic!("{error}"));
            assert_eq!(call.category, category, "{name}");
        }
    }
    assert_eq!(count, 64);
}

#[test]
fn numbers_rise_and_each_has_a_name_of_its_own() {
    assert!(all().windows(2).all(|pair| pair[0].nr < pair[1].nr));
    let names: BTreeSet<&str> = all().iter().map(|call| call.name).collect();
    assert_eq!(names.len(), all().len());
    assert!(names.iter().all(|name| !name.is_empty() && !name.contains(char::is_whitespace)));
}

#[test]
fn the_table_is_the_kernels() {
    // 0 to 336 and 424 to 471; the numbers between belong to architectures with more of them. The last is nobody's.
    let numbers: Vec<u32> = (0..=336).chain(424..=471).chain([UNLISTED.into()]).collect();
    assert_eq!(all().iter().map(|call| u32::from(call.nr)).collect::<Vec<_>>(), numbers);
    for call in all() {
        if let Some(number) = libc_number(call.name) {
            assert_eq!(i64::from(call.nr), number, "{}", call.name);
        }
    }
}

/// The number that the libc crate has for a few calls spread over the table.
fn libc_number(name: &str) -> Option<i64> {
    Some(match name {
        "read" => libc::SYS_read,
        "ioctl" => libc::SYS_ioctl,
        "sendfile" => libc::SYS_sendfile,
        "uname" => libc::SYS_uname,
        "getdents" => libc::SYS_getdents,
        "umask" => libc::SYS_umask,
        "setresgid" => libc::SYS_setresgid,
        "sched_yield" => libc::SYS_sched_yield,
        "prctl" => libc::SYS_prctl,
        "umount2" => libc::SYS_umount2,
        "gettid" => libc::SYS_gettid,
        "timer_delete" => libc::SYS_timer_delete,
        "exit_group" => libc::SYS_exit_group,
        "openat" => libc::SYS_openat,
        "newfstatat" => libc::SYS_newfstatat,
        "prlimit64" => libc::SYS_prlimit64,
        "execveat" => libc::SYS_execveat,
        "statx" => libc::SYS_statx,
        "rseq" => libc::SYS_rseq,
        "pidfd_send_signal" => libc::SYS_pidfd_send_signal,
        "clone3" => libc::SYS_clone3,
        "openat2" => libc::SYS_openat2,
        "futex_waitv" => libc::SYS_futex_waitv,
        "mseal" => libc::SYS_mseal,
        _ => return None,
    })
}

#[test]
fn every_call_has_exactly_one_shape_entry() {
    let mut entries = BTreeMap::<&str, usize>::new();
    for call in GROUPS.iter().flat_map(|group| group.calls) {
        *entries.entry(call.name).or_default() += 1;
    }
    for call in all() {
        assert_eq!(entries.remove(call.name), Some(1), "{}", call.name);
    }
    assert_eq!(entries, BTreeMap::new(), "shapes of calls that the table lacks");
}

#[test]
fn only_calls_without_a_function_lack_a_shape() {
    for call in all() {
        assert!(call.args.is_some() || !call.has_function, "{}", call.name);
        assert!(call.args.unwrap_or_default().len() <= 6, "{}", call.name);
    }
}

#[test]
fn the_tables_own_lists_name_its_calls() {
    let is_call = |name: &str| by_name(name).is_some();
    assert!(native().kernel_names.iter().all(|(name, kernel_name)| is_call(name) && !is_call(kernel_name)));
    assert!(native().without_function.iter().all(|name| is_call(name)));
    assert!(native().never_had.iter().all(|(name, instead)| !is_call(name) && is_call(instead)));
}

#[test]
fn lookups_find_calls_by_number_name_and_category() {
    assert_eq!(by_nr(257).map(|call| call.name), Some("openat"));
    assert_eq!(by_nr(UNLISTED.into()).map(|call| (call.name, call.category)), Some(("unlisted", Category::Other)));
    assert_eq!(by_nr(337).map(|call| call.name), None);
    assert_eq!(by_nr(1 << 30).map(|call| call.name), None);
    assert_eq!(by_name("openat").map(|call| call.nr), Some(257));
    assert_eq!(by_name("sys_openat").map(|call| call.nr), None);
    let network: Vec<&str> = in_category(Category::Network).map(|call| call.name).collect();
    assert_eq!(network.len(), 18);
    assert_eq!(network[..3], ["socket", "connect", "accept"]);
    let total: usize = Category::ALL.into_iter().map(|category| in_category(category).count()).sum();
    assert_eq!(total, all().len());
}

#[test]
fn captures_follow_the_argument_kinds() {
    let captures = |name| resolve(name).map(|call| call.captures().to_vec()).unwrap_or_default();
    use Capture::*;
    assert_eq!(captures("openat"), [None, Str, None, None, None, None]);
    assert_eq!(captures("execve"), [Str, Argv, None, None, None, None]);
    assert_eq!(captures("renameat2"), [None, Str, None, Str, None, None]);
    assert_eq!(captures("connect"), [None, SockaddrIn { len: 2 }, None, None, None, None]);
    assert_eq!(captures("sendto"), [None, None, None, None, SockaddrIn { len: 5 }, None]);
    assert_eq!(captures("accept4"), [None, SockaddrOut { len: 2 }, None, None, None, None]);
    assert_eq!(captures("read"), [None; 6]);
    assert_eq!(captures("epoll_ctl_old"), [None; 6]);
}

#[test]
fn an_address_has_its_length_among_the_calls_arguments() {
    for call in all() {
        let args = call.args.unwrap_or_default();
        for arg in args {
            let other = match arg.kind {
                ArgKind::SockaddrIn { len } | ArgKind::SockaddrOut { len } => len,
                ArgKind::By { arg, .. } => arg,
                _ => continue,
            };
            let other = &args[usize::from(other)];
            match arg.kind {
                ArgKind::SockaddrIn { .. } => assert!(matches!(other.kind, ArgKind::Int), "{}", call.name),
                ArgKind::SockaddrOut { .. } => assert!(matches!(other.kind, ArgKind::Ptr), "{}", call.name),
                _ => assert!(matches!(other.kind, ArgKind::Flags(_)), "{}", call.name),
            }
        }
    }
}

#[test]
fn hook_facts_hold_for_the_calls_they_name() {
    let named =
        |is: fn(&Syscall) -> bool| all().iter().filter(|call| is(call)).map(|call| call.name).collect::<Vec<_>>();
    assert_eq!(named(Syscall::opens_file), ["open", "creat", "openat", "open_by_handle_at", "openat2"]);
    assert_eq!(named(|call| call.entry_rule() == EntryRule::NeverReturns), ["exit", "exit_group"]);
    assert_eq!(named(|call| call.entry_rule() == EntryRule::Always), ["rt_sigreturn", "execve", "reboot", "execveat"]);
    let no_fentry = named(Syscall::has_no_fentry);
    assert_eq!(no_fentry.len(), 17);
    assert!(no_fentry.iter().all(|name| by_name(name).and_then(|call| call.args).is_some_and(<[_]>::is_empty)));
}
