//! Known calls of each of the nine categories are told with exactly these arguments and results.
//!
//! The program is `tests/witness/known.c`. In what is expected, `*` stands for an address or an id that is
//! another in every run.

use std::path::Path;

use crate::events::{Arg, Event, Stream};
use crate::tracer::{trace_in, Traced};
use crate::witness::witness;

/// Traces the calls of one category and returns the folder they were made in with what was seen.
fn known(category: &str) -> (tempfile::TempDir, Traced) {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let program = witness("known");
    let traced = trace_in(dir.path(), &["-e", "all"], [program.as_os_str(), category.as_ref()]);
    assert_eq!(traced.code(), 0, "{}", traced.stderr());
    traced.stream.assert_nothing_lost();
    (dir, traced)
}

/// What the program's first process did between its marks.
fn between_marks(stream: &Stream) -> Vec<&Event> {
    let is_mark = |event: &&Event| {
        event.syscall.name == "access"
            && event.syscall.args.first().is_some_and(|arg| arg.str.as_deref() == Some("/mark"))
    };
    let first = stream.events.iter().find(is_mark).expect("the first mark");
    let own = stream.events.iter().filter(|event| event.process.tid == first.process.tid && event.seq > first.seq);
    own.take_while(|event| !is_mark(event)).collect()
}

/// `*` stands for one or more characters other than `, `, `)` and spaces.
fn matches(pattern: &str, line: &str) -> bool {
    match pattern.split_once('*') {
        None => pattern == line,
        Some((before, after)) => line.strip_prefix(before).is_some_and(|rest| {
            let end = rest.find([',', ')', ' ']).unwrap_or(rest.len());
            end > 0 && matches(after, &rest[end..])
        }),
    }
}

fn assert_lines(events: &[&Event], expected: &str) {
    let lines: Vec<String> = events.iter().map(|event| event.to_string()).collect();
    let expected: Vec<&str> = expected.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    let wrong = expected.iter().zip(&lines).position(|(pattern, line)| !matches(pattern, line));
    let wrong = wrong.or((expected.len() != lines.len()).then_some(expected.len().min(lines.len())));
    if let Some(at) = wrong {
        let (seen, expected) = (lines.get(at).map_or("nothing", |l| l), expected.get(at).unwrap_or(&"nothing"));
        panic!("call {at} is\n  {seen}\nand not\n  {expected}\nof\n{}", lines.join("\n"));
    }
}

fn assert_category(events: &[&Event], names: &[&str], category: &str) {
    for name in names {
        let event = events.iter().find(|event| event.syscall.name == *name);
        let event = event.unwrap_or_else(|| panic!("no {name} was seen"));
        assert_eq!(event.syscall.category, category, "of {name}");
    }
}

/// One member by the argument's kind, whatever its value.
fn assert_int(arg: &Arg, name: &str, value: i64, text: &str) {
    assert_eq!((arg.name.as_str(), arg.text.as_str()), (name, text));
    assert_eq!(arg.int.as_ref().and_then(|int| int.as_i64()), Some(value), "{name}");
    assert_eq!(arg.str, None, "{name} is a number");
}

fn assert_str(arg: &Arg, name: &str, value: &str) {
    assert_eq!((arg.name.as_str(), arg.str.as_deref()), (name, Some(value)));
    assert_eq!(arg.text, format!("{value:?}"));
    assert!(arg.int.is_none() && arg.bytes.is_none() && !arg.cut, "{name} is a whole string");
}

#[test]
fn root_trace_tells_file_calls() {
    let (dir, traced) = known("file");
    let events = between_marks(&traced.stream);
    assert_lines(
        &events,
        r#"
        openat(AT_FDCWD, "f", O_RDWR|O_CREAT|O_EXCL|O_CLOEXEC, 0640) = 3
        openat(AT_FDCWD, "f", O_RDWR|O_CREAT|O_EXCL|O_CLOEXEC, 0640) = -17 EEXIST
        mkdir("d", 0755) = 0
        openat(AT_FDCWD, "d", O_RDONLY|O_DIRECTORY, 0) = 4
        openat(4, "g", O_WRONLY|O_CREAT|O_APPEND, 0600) = 5
        openat(AT_FDCWD, NULL, O_RDONLY, 0) = -14 EFAULT
        openat(AT_FDCWD, 0x1, O_RDONLY, 0) = -14 EFAULT
        openat(77, "g", O_RDONLY, 0) = -9 EBADF
        pwrite64(3, *, 5, 4096) = 5
        lseek(3, -5, SEEK_END) = 4096
        read(3, *, 100) = 5
        pread64(3, *, 100, -1) = -22 EINVAL
        fchownat(AT_FDCWD, "f", 1000, 1001, AT_SYMLINK_NOFOLLOW) = 0
        chown("f", -1, 0) = 0
        chmod("f", 04711) = 0
        mknodat(AT_FDCWD, "p", S_IFIFO|0622, 0) = 0
        symlinkat("target", AT_FDCWD, "l") = 0
        readlink("l", *, 100) = 6
        renameat2(AT_FDCWD, "f", 4, "h", RENAME_NOREPLACE) = 0
        unlinkat(4, "h", 0) = 0
        unlinkat(AT_FDCWD, "h", AT_REMOVEDIR) = -2 ENOENT
        newfstatat(AT_FDCWD, "missing", *, AT_SYMLINK_NOFOLLOW) = -2 ENOENT
        close(99) = -9 EBADF
        "#,
    );
    assert_category(&events, &["openat", "mkdir", "read", "lseek", "close", "unlinkat", "newfstatat"], "file");
    let opened = |event: &Event| event.syscall.path.clone();
    let within = |name: &str| Some(Path::new(&real(dir.path())).join(name).to_string_lossy().into_owned());
    assert_eq!(opened(events[0]), within("f"));
    assert_eq!(opened(events[1]), None, "nothing was opened");
    assert_eq!(opened(events[3]), within("d"));
    assert_eq!(opened(events[4]), within("d/g"), "relative to a descriptor");
    assert_eq!(events[0].phase, "call");
    assert_eq!(events[0].syscall.nr, 257);
    assert!(events.iter().all(|event| event.syscall.duration_ns.is_some_and(|ns| ns > 0)));
    assert_int(events[0].arg(0), "dfd", -100, "AT_FDCWD");
    assert_str(events[0].arg(1), "filename", "f");
    assert_int(events[0].arg(2), "flags", 0o2000302, "O_RDWR|O_CREAT|O_EXCL|O_CLOEXEC");
    assert_int(events[0].arg(3), "mode", 0o640, "0640");
    assert_int(events[8].arg(3), "pos", 4096, "4096");
    assert_int(events[9].arg(1), "offset", -5, "-5");
    assert_int(events[12].arg(2), "user", 1000, "1000");
    assert_int(events[12].arg(3), "group", 1001, "1001");
    assert!(events[5].arg(1).str.is_none() && events[6].arg(1).str.is_none(), "there is no string");
}

fn real(path: &Path) -> String {
    path.canonicalize().expect("the folder is there").to_string_lossy().into_owned()
}

#[test]
fn root_trace_tells_network_calls() {
    let (_dir, traced) = known("network");
    let events = between_marks(&traced.stream);
    assert_lines(
        &events,
        r#"
        socket(AF_INET, SOCK_STREAM|SOCK_CLOEXEC, IPPROTO_IP) = 3
        socket(AF_INET6, SOCK_DGRAM|SOCK_NONBLOCK, IPPROTO_UDP) = 4
        socket(AF_UNIX, SOCK_STREAM, 0) = 5
        socket(0xc8, SOCK_STREAM, 0) = -97 EAFNOSUPPORT
        setsockopt(3, SOL_SOCKET, SO_REUSEADDR, *, 4) = 0
        connect(3, {sa_family=AF_INET, sin_port=htons(9), sin_addr=inet_addr("127.0.0.1")}, 16) = -111 ECONNREFUSED
        sendto(4, *, 5, MSG_NOSIGNAL, {sa_family=AF_INET6, sin6_port=htons(51966), sin6_flowinfo=htonl(0), inet_pton(AF_INET6, "::1", &sin6_addr), sin6_scope_id=0}, 28) = 5
        recvfrom(4, *, 100, MSG_PEEK, NULL, NULL) = -11 EAGAIN
        bind(5, {sa_family=AF_UNIX, sun_path="s.sock"}, 9) = 0
        listen(5, 7) = 0
        getsockname(5, {sa_family=AF_UNIX, sun_path="s.sock"}, *) = 0
        connect(5, {sa_family=AF_UNIX, sun_path=@"kubeward-test"}, 16) = -111 ECONNREFUSED
        accept4(3, NULL, NULL, SOCK_CLOEXEC) = -22 EINVAL
        shutdown(4, SHUT_WR) = -107 ENOTCONN
        bind(77, 0x1, 16) = -9 EBADF
        "#,
    );
    assert_category(&events, &["socket", "connect", "sendto", "bind", "getsockname"], "network");
    let address = |event: &Event, at: usize| event.arg(at).str.clone().expect("an address in short");
    assert_eq!(address(events[5], 1), "127.0.0.1:9");
    assert_eq!(address(events[6], 4), "[::1]:51966");
    assert_eq!(address(events[8], 1), "s.sock");
    assert_eq!(address(events[11], 1), "@kubeward-test");
}

#[test]
fn root_trace_tells_process_calls() {
    let (_dir, traced) = known("process");
    let events = between_marks(&traced.stream);
    assert_lines(
        &events,
        r#"
        wait4(-1, NULL, WNOHANG, NULL) = -10 ECHILD
        execve("/missing/program", ["a", "b c", ""], NULL) = -2 ENOENT
        prctl(PR_SET_NAME, *, 0, 0, 0) = 0
        fork() = *
        wait4(*, *, 0, NULL) = *
        unshare(CLONE_NEWUTS) = 0
        setns(99, CLONE_NEWNET) = -9 EBADF
        sched_yield() = 0
        "#,
    );
    assert_category(&events, &["wait4", "execve", "fork", "unshare", "prctl"], "process");
    assert_eq!(events[4].syscall.ret, events[3].syscall.ret, "the child that was made is the one that ended");
    assert_eq!(events[5].process.comm, "renamed");
    let child = traced.stream.events.iter().filter(|event| Some(event.process.container_pid) == events[3].syscall.ret);
    let child: Vec<&Event> = child.collect();
    assert_lines(
        &child[..2],
        r#"setpgid(0, 0) = 0
        execve("/proc/self/exe", ["known", "nothing", "x y"], NULL) = 0"#,
    );
    assert_eq!(child[2].process.exe.as_deref(), Some(witness("known").to_str().expect("a path of text")));
    assert_lines(&child[child.len() - 1..], "exit_group(0) = ?");
}

#[test]
fn root_trace_tells_descriptor_calls() {
    let (_dir, traced) = known("fd");
    let events = between_marks(&traced.stream);
    assert_lines(
        &events,
        "
        pipe2(*, O_CLOEXEC) = 0
        dup3(3, 9, O_CLOEXEC) = 9
        dup2(4, 8) = 8
        dup(55) = -9 EBADF
        poll(*, 1, 0) = 0
        epoll_create1(EPOLL_CLOEXEC) = 5
        epoll_ctl(5, EPOLL_CTL_ADD, 3, *) = 0
        epoll_wait(5, *, 4, 0) = 0
        eventfd2(3, EFD_NONBLOCK) = 6
        close_range(8, 9, 0) = 0
        ",
    );
    assert_category(&events, &["pipe2", "dup3", "dup2", "dup", "poll", "epoll_ctl"], "fd");
}

#[test]
fn root_trace_tells_memory_calls() {
    let (_dir, traced) = known("memory");
    let events = between_marks(&traced.stream);
    assert_lines(
        &events,
        r#"
        mmap(NULL, 8192, PROT_READ|PROT_WRITE, MAP_PRIVATE|MAP_ANONYMOUS, -1, 0) = *
        mprotect(*, 4096, PROT_READ) = 0
        madvise(*, 8192, MADV_DONTNEED) = 0
        munmap(*, 8192) = 0
        munmap(0x1, 4096) = -22 EINVAL
        mmap(NULL, 4096, PROT_NONE, MAP_SHARED, 99, 0x1000) = -9 EBADF
        memfd_create("secret name", MFD_CLOEXEC) = 3
        "#,
    );
    assert_category(&events, &["mmap", "mprotect", "munmap", "madvise"], "memory");
    let address = events[0].syscall.ret.expect("mmap returned");
    assert_eq!(events[1].arg(0).text, format!("{address:#x}"), "the same memory");
}

#[test]
fn root_trace_tells_signal_calls() {
    let (_dir, traced) = known("signal");
    let events = between_marks(&traced.stream);
    let own = events[0].syscall.ret.expect("getpid returned");
    assert_eq!(events[0].process.container_pid, own);
    assert_lines(
        &events,
        "
        getpid() = *
        kill(*, SIGUSR1) = 0
        tgkill(*, *, SIGTERM) = 0
        rt_sigreturn() = 0
        kill(*, 0) = 0
        kill(4194303, SIGKILL) = -3 ESRCH
        kill(*, 65) = -22 EINVAL
        rt_sigprocmask(SIG_BLOCK, NULL, *, 8) = 0
        rt_sigaction(SIGKILL, NULL, *, 9) = -22 EINVAL
        ",
    );
    assert_category(&events, &["kill", "tgkill", "rt_sigprocmask", "rt_sigaction"], "signal");
    assert_int(events[1].arg(0), "pid", own, &own.to_string());
    assert_int(events[1].arg(1), "sig", 10, "SIGUSR1");
}

#[test]
fn root_trace_tells_timer_calls() {
    let (_dir, traced) = known("timer");
    let events = between_marks(&traced.stream);
    assert_lines(
        &events,
        "
        clock_nanosleep(CLOCK_MONOTONIC, 0, *, NULL) = 0
        nanosleep(NULL, NULL) = -14 EFAULT
        timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC|TFD_NONBLOCK) = 3
        clock_gettime(CLOCK_BOOTTIME, *) = 0
        clock_gettime(0x3e7, *) = -22 EINVAL
        alarm(0) = 0
        ",
    );
    assert_category(&events, &["clock_nanosleep", "nanosleep", "timerfd_create", "alarm"], "timer");
    assert!(events[0].syscall.duration_ns >= Some(1000), "it slept for a microsecond");
}

#[test]
fn root_trace_tells_user_calls() {
    let (_dir, traced) = known("user");
    let events = between_marks(&traced.stream);
    assert_lines(
        &events,
        "
        getuid() = 0
        setresgid(-1, 1001, -1) = 0
        setresuid(1000, 1000, 1000) = 0
        setuid(0) = -1 EPERM
        getegid() = 1001
        setgid(4) = -1 EPERM
        setgroups(1, *) = -1 EPERM
        ",
    );
    assert_category(&events, &["getuid", "setresuid", "setuid", "setgid", "setgroups"], "user");
    assert_int(events[2].arg(0), "ruid", 1000, "1000");
    assert_int(events[5].arg(0), "gid", 4, "4");
    assert_eq!((events[0].process.uid, events[3].process.uid), (0, 1000));
}

#[test]
fn root_trace_tells_system_calls() {
    let (_dir, traced) = known("system");
    let events = between_marks(&traced.stream);
    assert_lines(
        &events,
        "
        uname(*) = 0
        uname(NULL) = -14 EFAULT
        getrandom(*, 8, GRND_NONBLOCK) = 8
        prlimit64(0, RLIMIT_NOFILE, NULL, *) = 0
        prlimit64(4194303, RLIMIT_CORE, NULL, *) = -3 ESRCH
        sysinfo(*) = 0
        sethostname(NULL, -1) = -22 EINVAL
        ",
    );
    assert_category(&events, &["uname", "prlimit64", "sysinfo"], "system");
}

#[cfg(test)]
mod tests {
    use super::matches;

    #[test]
    fn a_star_is_one_value() {
        assert!(matches("read(3, *, 5) = *", "read(3, 0x7f, 5) = 5"));
        assert!(!matches("read(3, *, 5) = 5", "read(3, 0x7f, 6, 5) = 5"));
        assert!(!matches("read(3, *) = 5", "read(3, 0x7f, 6) = 5"));
        assert!(!matches("fork() = *", "fork() = -11 EAGAIN"));
    }
}
