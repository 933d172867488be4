//! Numbers, flags and names of constants in arguments read as strace writes them.
//!
//! Compared where both say it in a word: not strings, addresses, structures and lists. strace leaves arguments
//! out that a call does not use (the mode of an open that creates nothing): there is nothing to compare then.
//! A mode of no bits is `000` there and `0` here.

use crate::events::Event;
use crate::strace::{arguments, read_threads};
use crate::truth::{Program, Stage};
use crate::witness::witness;

/// What strace and KubeWard write differently on purpose: call, argument and why.
const ON_PURPOSE: [(&str, usize, &str); 2] =
    [("chmod", 1, "bits of a file type are named"), ("sethostname", 1, "the kernel takes a signed number")];

/// Arguments that name a process: another in each run.
fn names_a_process(event: &Event, at: usize) -> bool {
    matches!(event.syscall.args[at].name.as_str(), "pid" | "tgid" | "pgid")
}

/// A number, or constants joined by `|`.
fn is_word(text: &str) -> bool {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '|' | '-');
    !text.is_empty() && !text.starts_with("0x") && text.chars().all(is_plain)
}

/// Compares the arguments of the root's calls, one by one. Returns how many were compared.
fn assert_texts(program: &Program) -> usize {
    let stage = Stage::of(program);
    let truth = read_threads(&stage.strace().0).unwrap_or_else(|e| panic!("{e}"));
    let truth = truth.into_values().next().expect("strace wrote a file");
    // Asked again by chance when the first random bits make no letter of a name.
    let truth: Vec<&str> = truth.lines().filter(|line| !line.starts_with("getrandom(")).collect();
    let stream = stage.kubeward().0;
    let start = stream.of("execve").into_iter().find(|event| event.syscall.ret == Some(0)).expect("the execve");
    let is_own = |event: &&Event| event.process.tid == start.process.tid && event.seq >= start.seq;
    let own = stream.events.iter().filter(is_own).filter(|event| event.syscall.name != "getrandom");
    let own: Vec<&Event> = own.collect();
    assert_eq!(own.len(), truth.len(), "calls of {}", program.name);
    let (mut compared, mut wrong) = (0, Vec::new());
    for (event, line) in own.into_iter().zip(truth) {
        let (name, args) = arguments(line).unwrap_or_else(|| panic!("not understood: {line}"));
        assert_eq!(event.syscall.name, name);
        for (at, (seen, expected)) in event.syscall.args.iter().zip(args).enumerate() {
            let excused = ON_PURPOSE.iter().any(|(call, arg, _)| (*call, *arg) == (name, at));
            let expected = if expected == "000" { "0" } else { expected };
            if is_word(&seen.text) && is_word(expected) && !names_a_process(event, at) && !excused {
                compared += 1;
                if seen.text != expected {
                    wrong.push(format!("argument {at} ({}) of {event}\n      strace: {line}", seen.name));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{}:\n{}", program.name, wrong.join("\n"));
    compared
}

#[test]
fn root_truth_texts_of_known_calls() {
    let known = witness("known").to_string_lossy().into_owned();
    for category in ["file", "network", "process", "fd", "memory", "signal", "timer", "user", "system"] {
        let compared = assert_texts(&Program::new("known", [known.as_str(), category]));
        assert!(compared > 20, "{category}: {compared} arguments");
    }
}

/// One call each of many that take flags.
const PYTHON_CALLS: &str = r#"
import fcntl, mmap, os, resource, select, signal, socket, time
sock = socket.socket(); sock.settimeout(1); sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
sock.setsockopt(6, socket.TCP_NODELAY, 1); sock.getsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF)
poll = select.epoll(); poll.register(sock); signal.signal(signal.SIGUSR1, signal.SIG_IGN); mmap.mmap(-1, 4096)
fd = os.open("l", os.O_CREAT | os.O_RDWR); fcntl.fcntl(fd, fcntl.F_GETFD); fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
os.posix_fallocate(fd, 0, 10); os.getpriority(os.PRIO_PROCESS, 0); resource.getrusage(resource.RUSAGE_SELF)
os.statvfs("."); os.pipe2(os.O_NONBLOCK); os.memfd_create("a", os.MFD_CLOEXEC); os.getrandom(4); os.mkfifo("f")
os.utime("l", (1, 2)); os.chown("l", 3, -1); os.access("l", os.R_OK | os.W_OK); os.link("l", "m"); os.umask(0o77)
os.eventfd(1); time.sleep(0.001)
"#;

#[test]
fn root_truth_texts_of_programs() {
    let sed = Program::new("sed", ["/usr/bin/sed", "-n", "s/a/b/p", "in"]).file("in", "a\nb\n");
    let script =
        "open F, '>', 'x'; chmod 0640, 'x'; utime 1, 2, 'x'; truncate 'x', 9; symlink 'x', 'y'; rename 'y', 'z'";
    let perl = Program::new("perl", ["/usr/bin/perl", "-e", script]);
    let openssl = Program::new("openssl", ["/usr/bin/openssl", "dgst", "-sha256", "in"]).file("in", "a\n");
    let python = Program::new("python", ["/usr/bin/python3", "-I", "-S", "-c", PYTHON_CALLS]);
    let tar = Program::new("tar", ["/usr/bin/tar", "cf", "a.tar", "in"]).file("in", "a\n");
    let git = Program::new("git", ["/usr/bin/git", "init", "-q", "r"]);
    for program in [sed, perl, openssl, python, tar, git] {
        let compared = assert_texts(&program);
        assert!(compared > 50, "{}: {compared} arguments", program.name);
    }
}
