//! A process stays watched whatever it does to get away, and nobody else is watched.

use std::ffi::OsString;
use std::io::{BufRead, BufReader, Write};
use std::process::{Command, Stdio};

use crate::escape_ways::{self, sorted};
use crate::events::Event;
use crate::tracer::{binary, plain_environment, read_stream, trace, trace_command, Traced};
use crate::witness::witness;

/// The way that an event says was gone.
fn way(event: &Event) -> Option<&str> {
    (event.syscall.name == "access").then(|| event.arg(0).str.as_deref().and_then(escape_ways::of_path)).flatten()
}

fn ways(traced: &Traced) -> Vec<String> {
    assert_eq!(traced.code(), 0, "{}", traced.stderr());
    traced.stream.assert_nothing_lost();
    sorted(traced.stream.events.iter().filter_map(way).map(str::to_owned))
}

#[test]
fn root_trace_follows_processes_threads_names_and_roots() {
    let traced = trace(&["-e", "all"], [witness("escape")]);
    assert_eq!(ways(&traced), escape_ways::by_processes());
    let who = |gone: &str| {
        let event = traced.stream.events.iter().find(|event| way(event) == Some(gone));
        event.map(|event| event.process.clone()).expect("it was just seen")
    };
    let thread = who("thread");
    assert_ne!(thread.tid, thread.pid, "a thread is not its process");
    assert_eq!(who("memfd").exe.as_deref(), Some("/memfd:nothing"));
    assert_eq!(who("name-3").comm, "\n{\"a\":1}");
}

#[test]
fn root_trace_follows_into_namespaces_of_every_kind() {
    let traced = trace(&["-e", "access"], [witness("escape_namespaces")]);
    assert_eq!(ways(&traced), escape_ways::by_namespaces());
    let inner = traced.stream.events.iter().find(|event| way(event) == Some("unshare-pid"));
    assert_eq!(inner.map(|event| event.process.container_pid), Some(1), "in the innermost namespace");
}

/// A sandbox in the sandbox.
#[test]
fn root_trace_follows_into_bubblewrap() {
    let escape = witness("escape");
    let sandbox = ["/usr/bin/bwrap", "--ro-bind", "/", "/", "--proc", "/proc", "--unshare-all"].map(OsString::from);
    let line = sandbox.into_iter().chain([escape.into(), "bubblewrap".into()]);
    assert_eq!(ways(&trace(&["-e", "access"], line)), ["bubblewrap"]);
}

#[test]
fn root_trace_does_not_see_a_process_outside() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let events = dir.path().join("events.jsonl");
    let script = "mkdir before; echo ready; read answer; mkdir after";
    let mut running = trace_command(&["-e", "all"], &events)
        .args(["/bin/sh", "-c", script])
        .current_dir(dir.path())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("kubeward starts");
    let mut said = String::new();
    BufReader::new(running.stdout.as_mut().expect("it is piped")).read_line(&mut said).expect("its output");
    assert_eq!(said, "ready\n");
    let mut outsider = Command::new("/bin/mkdir").arg(dir.path().join("outside")).spawn().expect("mkdir starts");
    let outsider_pid = i64::from(outsider.id());
    assert!(outsider.wait().expect("mkdir ends").success());
    writeln!(running.stdin.as_mut().expect("it is piped"), "go").expect("it reads");
    let output = running.wait_with_output().expect("kubeward ends");
    let stream = read_stream(&events, &output);
    assert!(output.status.success(), "{output:?}");
    stream.assert_nothing_lost();
    let made: Vec<&str> = stream.of("mkdir").iter().filter_map(|event| event.arg(0).str.as_deref()).collect();
    assert_eq!(made, ["before", "after"]);
    assert!(stream.events.iter().all(|event| event.process.pid != outsider_pid));
    assert!(stream.events.iter().all(|event| event.process.pid != i64::from(std::process::id())));
}

#[test]
fn root_trace_shows_what_seccomp_refused() {
    let traced = trace(&["-e", "mkdir,mkdirat"], [witness("refused")]);
    assert_eq!(traced.code(), 0, "{}", traced.stderr());
    traced.stream.assert_nothing_lost();
    let lines: Vec<String> = traced.stream.events.iter().map(|event| event.to_string()).collect();
    assert_eq!(lines, [r#"mkdirat(AT_FDCWD, "refused", 0700) = -1 EPERM"#, r#"mkdir("allowed", 0700) = 0"#]);
    let [refused, allowed] = [0, 1].map(|at| &traced.stream.events[at]);
    assert_eq!(refused.syscall.denied_by.as_deref(), Some("seccomp"));
    assert_eq!((refused.phase.as_str(), refused.syscall.duration_ns), ("exit", None), "it was never entered");
    assert_eq!((allowed.phase.as_str(), &allowed.syscall.denied_by), ("call", &None));
}

/// As in a container: process ids are then others than the kernel's own.
#[test]
fn root_trace_works_in_a_pid_namespace_of_its_own() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let events = dir.path().join("events.jsonl");
    let mut line = Command::new("unshare");
    plain_environment(&mut line);
    line.args(["--pid", "--mount", "--fork", "--mount-proc"]).arg(binary());
    line.args(["trace", "--format", "json", "-e", "mkdir", "-o"]).arg(&events).args(["--", "/bin/mkdir", "made"]);
    let output = line.current_dir(dir.path()).stdin(Stdio::null()).output().expect("unshare runs");
    assert!(output.status.success(), "{output:?}");
    let stream = read_stream(&events, &output);
    stream.assert_nothing_lost();
    let lines: Vec<String> = stream.events.iter().map(|event| event.to_string()).collect();
    assert_eq!(lines, [r#"mkdir("made", 0777) = 0"#]);
}
