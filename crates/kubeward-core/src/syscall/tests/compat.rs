use std::collections::BTreeSet;

use crate::syscall::*;

fn named(name: &str) -> &'static CompatCall {
    compat_calls().iter().find(|call| call.name == name && call.key < FIRST_SUB_CALL).expect("the table has the call")
}

fn native(name: &str) -> Option<&'static str> {
    named(name).native.map(|call| call.name)
}

fn arguments(call: &CompatCall) -> Vec<&'static str> {
    call.args.unwrap_or_default().iter().map(|arg| arg.name).collect()
}

#[test]
fn thirty_two_bit_numbers_have_the_names_of_their_own_table() {
    let name = |nr| compat_by_nr(nr).map(|call| call.name);
    assert_eq!(name(5), Some("open"));
    assert_eq!(name(11), Some("execve"));
    assert_eq!(name(17), None, "break was never a call");
    assert_eq!(name(295), Some("openat"));
    assert_eq!(name(403), Some("clock_gettime64"));
    assert_eq!(name(471), Some("rseq_slice_yield"));
    assert_eq!(name(472), None);
    assert_eq!(name(515), None, "a sub-call's key is no number");
    assert_eq!(name(u32::MAX), None);
}

#[test]
fn a_32_bit_call_is_the_native_call_that_does_the_same() {
    for (name, same) in [
        ("openat", "openat"),
        ("stat64", "stat"),
        ("fstatat64", "newfstatat"),
        ("mmap2", "mmap"),
        ("fcntl64", "fcntl"),
        ("getuid32", "getuid"),
        ("waitpid", "wait4"),
        ("_llseek", "lseek"),
        ("clock_nanosleep_time64", "clock_nanosleep"),
        ("futex_time64", "futex"),
        ("fadvise64_64", "fadvise64"),
        ("sigreturn", "rt_sigreturn"),
        ("prlimit64", "prlimit64"),
    ] {
        assert_eq!(native(name), Some(same), "{name}");
    }
}

/// `socketcall` and `ipc` without a sub-call; the others fail with ENOSYS everywhere.
#[test]
fn nothing_with_a_function_lacks_a_native_equal() {
    let lacking: Vec<&str> = compat_calls().iter().filter(|call| call.native.is_none()).map(|call| call.name).collect();
    let (with, without): (Vec<&str>, Vec<&str>) =
        lacking.into_iter().partition(|name| !named(name).symbols().is_empty());
    assert_eq!(with, ["socketcall", "ipc"]);
    assert_eq!(without.join(" "), "stty gtty ftime prof lock mpx ulimit profil idle vm86old bdflush vm86");
}

#[test]
fn arguments_that_differ_have_the_names_of_the_32_bit_call() {
    assert_eq!(arguments(named("mmap2")).last(), Some(&"pgoff"));
    assert_eq!(arguments(named("_llseek")), ["fd", "offset_high", "offset_low", "result", "whence"]);
    assert_eq!(arguments(named("clone"))[3..], ["tls", "child_tidptr"]);
    assert_eq!(arguments(named("open")), ["filename", "flags", "mode"], "the native call's");
    assert_eq!(named("mmap").places.words_in, Some(0));
    let fanotify_mark = named("fanotify_mark").captures();
    assert_eq!((fanotify_mark[4], fanotify_mark[5]), (Capture::None, Capture::Str));
}

#[test]
fn one_number_stands_for_all_socket_calls() {
    let sub_calls = named("socketcall").sub_calls.expect("it has sub-calls");
    let connect = compat(sub_calls.first_key + 3).expect("connect is sub-call 3");
    assert_eq!((connect.nr, connect.native.map(|call| call.name)), (102, Some("connect")));
    assert_eq!(connect.places, Places { words_in: Some(1), from: &[0, 1, 2] });
    assert_eq!(connect.captures()[1], Capture::SockaddrIn { len: 2 });
    let send = compat(sub_calls.first_key + 9).expect("send is sub-call 9");
    assert_eq!((send.native.map(|call| call.name), arguments(send).len()), (Some("sendto"), 4));
    assert_eq!(connect.symbols(), ["__ia32_compat_sys_socketcall"]);
    let semop = compat(named("ipc").sub_calls.expect("it has sub-calls").first_key + 1).expect("semop is sub-call 1");
    assert_eq!((arguments(semop), semop.places.from), (vec!["semid", "tsops", "nsops"], &[1, 4, 2][..]));
}

#[test]
fn every_argument_has_a_place() {
    for call in compat_calls() {
        let arguments = call.args.unwrap_or_default().len();
        assert!(call.places.from.len() >= arguments && arguments <= 6, "{}", call.name);
        assert!(call.places.from.iter().all(|&place| place < 6), "{}", call.name);
    }
}

#[test]
fn keys_rise() {
    assert!(compat_calls().windows(2).all(|pair| pair[0].key < pair[1].key));
    assert!(compat_calls().iter().all(|call| call.key < FIRST_SUB_CALL + 2 * SUB_CALLS));
}

/// The names of `/proc/kallsyms` without `__ia32_`, of Linux 6.18 with CONFIG_IA32_EMULATION.
#[test]
fn every_function_is_one_of_the_kernels() {
    let symbols: BTreeSet<&str> = include_str!("symbols_ia32_6_18.txt").split_whitespace().collect();
    let younger = ["__ia32_sys_listns", "__ia32_sys_rseq_slice_yield"];
    let missing: Vec<String> = compat_calls()
        .iter()
        .filter(|call| call.native.is_none_or(|native| native.has_function))
        .filter(|call| {
            let functions = call.symbols();
            !functions.is_empty() && !functions.iter().any(|symbol| symbols.contains(&symbol["__ia32_".len()..]))
        })
        .flat_map(CompatCall::symbols)
        .collect();
    assert_eq!(missing, younger);
}
