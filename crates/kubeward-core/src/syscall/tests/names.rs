use crate::syscall::*;

fn resolved(name: &str) -> &'static str {
    resolve(name).unwrap_or_else(|error| panic!("{error}")).name
}

fn refusal(name: &str) -> String {
    resolve(name).map(|call| call.name).expect_err("the name is no call's").to_string()
}

#[test]
fn the_three_forms_name_the_same_call() {
    for call in all() {
        for form in ["", "sys_", "__x64_sys_"] {
            assert_eq!(resolved(&format!("{form}{}", call.name)), call.name);
        }
    }
}

#[test]
fn kernel_functions_with_another_name_resolve_to_their_call() {
    for (kernel_name, name) in [
        ("newstat", "stat"),
        ("newfstat", "fstat"),
        ("newlstat", "lstat"),
        ("newuname", "uname"),
        ("umount", "umount2"),
        ("sendfile64", "sendfile"),
    ] {
        for form in ["", "sys_", "__x64_sys_"] {
            assert_eq!(resolved(&format!("{form}{kernel_name}")), name);
        }
        assert_eq!(by_name(name).and_then(Syscall::symbol), Some(format!("__x64_sys_{kernel_name}")));
    }
    assert_eq!(resolve("sys_openat").map(|call| call.symbol()), Ok(Some("__x64_sys_openat".into())));
    assert_eq!(resolve("sys_create_module").map(|call| call.symbol()), Ok(None));
}

/// Symbols of a 6.18 kernel, by `sed -n 's/.* __x64_sys_//p' /proc/kallsyms`.
const SYMBOLS_6_18: &str = include_str!("symbols_6_18.txt");

#[test]
fn the_kernel_has_the_function_of_every_call() {
    let newer = ["listns", "rseq_slice_yield"]; // 6.19 and 7.0
    let missing: Vec<&str> = all()
        .iter()
        .filter(|call| {
            call.symbol().is_some_and(|symbol| {
                SYMBOLS_6_18.lines().all(|known| Some(known) != symbol.strip_prefix("__x64_sys_"))
            })
        })
        .map(|call| call.name)
        .collect();
    assert_eq!(missing, newer);
}

#[test]
fn a_slip_is_answered_with_the_nearest_name_in_the_same_form() {
    assert_eq!(refusal("sys_opnat"), r#"unknown call "sys_opnat" (did you mean "sys_openat"?)"#);
    assert_eq!(refusal("opneat"), r#"unknown call "opneat" (did you mean "openat"?)"#);
    assert_eq!(refusal("__x64_sys_exeve"), r#"unknown call "__x64_sys_exeve" (did you mean "__x64_sys_execve"?)"#);
    assert_eq!(refusal("SYS_openat"), r#"unknown call "SYS_openat" (did you mean "sys_openat"?)"#);
    assert_eq!(refusal("Openat"), r#"unknown call "Openat" (did you mean "openat"?)"#);
    assert_eq!(
        resolve("renameta").map_err(|error| error.suggestion().map(str::to_owned)).err(),
        Some(Some("renameat".into()))
    );
}

#[test]
fn a_name_near_nothing_gets_no_guess() {
    assert_eq!(refusal("frobnicate"), r#"unknown call "frobnicate" (`kubeward syscalls` lists them)"#);
    assert_eq!(refusal(""), r#"unknown call "" (`kubeward syscalls` lists them)"#);
    assert_eq!(refusal("sys_"), r#"unknown call "sys_" (`kubeward syscalls` lists them)"#);
    assert_eq!(refusal("a\n\u{1b}[2J"), r#"unknown call "a\n\u{1b}[2J" (`kubeward syscalls` lists them)"#);
    assert_eq!(resolve("zzzzzzzz").expect_err("no call").given(), "zzzzzzzz");
}

#[test]
fn signal_is_told_to_be_missing() {
    assert_eq!(refusal("sys_signal"), r#"x86-64 has no call "sys_signal" ("sys_rt_sigaction" does its work there)"#);
    assert_eq!(resolve("signal").expect_err("no call").suggestion(), Some("rt_sigaction"));
    assert_eq!(
        refusal("__x64_sys_waitpid"),
        r#"x86-64 has no call "__x64_sys_waitpid" ("__x64_sys_wait4" does its work there)"#
    );
}

#[test]
fn categories_have_names_both_ways() {
    for category in Category::ALL {
        assert_eq!(category.name().parse(), Ok(category));
    }
    assert_eq!(Category::nine().len(), 9);
    assert!(!Category::nine().contains(&Category::Other));
    let refused = |name: &str| name.parse::<Category>().expect_err("no category").to_string();
    assert_eq!(refused("netwrok"), r#"unknown category "netwrok" (did you mean "network"?)"#);
    assert_eq!(
        refused("everything"),
        r#"unknown category "everything" (one of file, network, process, fd, memory, signal, timer, user, system, other)"#
    );
}

#[test]
fn errno_names_go_both_ways() {
    for (number, name) in [
        (1, "EPERM"),
        (2, "ENOENT"),
        (11, "EAGAIN"),
        (38, "ENOSYS"),
        (95, "EOPNOTSUPP"),
        (133, "EHWPOISON"),
        (512, "ERESTARTSYS"),
        (513, "ERESTARTNOINTR"),
        (514, "ERESTARTNOHAND"),
        (516, "ERESTART_RESTARTBLOCK"),
    ] {
        assert_eq!(errno_name(number), Some(name));
        assert_eq!(errno_by_name(name), Some(number));
    }
    assert_eq!([0, 41, 58, 134, 4095].map(errno_name), [None; 5]);
    assert!((1..=133).filter(|number| ![41, 58].contains(number)).all(|number| errno_name(number).is_some()));
    assert_eq!(errno_by_name("EWOULDBLOCK"), Some(11));
    assert_eq!(errno_by_name("enoent"), None);
}
