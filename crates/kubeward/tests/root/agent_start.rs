//! `kubeward agent` where containerd is not, and where it cannot start.

use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::process::{Child, ChildStderr, Command, Output, Stdio};

use crate::events::Stream;
use crate::tracer::kubeward;

/// An agent whose containerd is not there, and the log line that says so.
fn without_containerd() -> (Child, BufReader<ChildStderr>) {
    let mut running = kubeward(["agent", "--kubernetes", "off", "-e", "openat", "--cri-socket", "/missing/socket"])
        .args(["--socket", "none"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("kubeward starts");
    let mut log = BufReader::new(running.stderr.take().expect("it is piped"));
    let about_socket = log.by_ref().lines().map_while(Result::ok).find(|line| line.contains("/missing/socket"));
    let about_socket = about_socket.expect("a line that names the socket");
    assert!(about_socket.contains("trying again"), "{about_socket}");
    assert_eq!(running.try_wait().expect("a child of ours"), None, "it does not end for that");
    (running, log)
}

fn terminate(running: Child) -> Output {
    let sent = Command::new("kill").args(["-TERM", &running.id().to_string()]).status().expect("kill runs");
    assert!(sent.success());
    running.wait_with_output().expect("kubeward ends")
}

#[test]
fn root_agent_without_containerd_says_so_and_keeps_trying() {
    let (running, mut log) = without_containerd();
    let output = terminate(running);
    let mut rest = String::new();
    log.read_to_string(&mut rest).expect("the log");
    assert_eq!(output.status.code(), Some(0), "SIGTERM ends it in order: {rest}");
    let stream = Stream::parse(&output.stdout).unwrap_or_else(|e| panic!("{e}"));
    assert!(stream.events.is_empty(), "nobody is watched");
    assert!(stream.ledgers.iter().any(|ledger| ledger["scope"] == "node" && ledger["final"] == true));
    assert!(stream.others.iter().any(|line| line["code"] == "containerd_unreachable"), "{:?}", stream.others);
}

#[test]
fn root_agent_outlives_the_reader_of_its_log() {
    let (running, log) = without_containerd();
    drop(log);
    let output = terminate(running);
    assert_eq!(output.status.code(), Some(0), "{}", output.status);
}

/// As timeout(1) does: the child first, then its process group with the child in it.
#[test]
fn root_agent_takes_two_signals_at_once_for_one() {
    let (running, mut log) = without_containerd();
    let pid = running.id().to_string();
    let sent = Command::new("sh").args(["-c", "kill -INT $0; kill -INT $0; kill -TERM $0", &pid]).status();
    assert!(sent.expect("sh runs").success());
    let output = running.wait_with_output().expect("kubeward ends");
    let mut rest = String::new();
    log.read_to_string(&mut rest).expect("the log");
    assert_eq!(output.status.code(), Some(0), "{rest}");
    let stream = Stream::parse(&output.stdout).unwrap_or_else(|e| panic!("{e}"));
    assert!(stream.ledgers.iter().any(|ledger| ledger["scope"] == "node" && ledger["final"] == true));
}

/// What the agent says when it ends at once, and its exit code.
fn refused(args: &[&str]) -> (Option<i32>, String) {
    let output =
        kubeward(["agent", "--kubernetes", "off", "--socket", "none"]).args(args).output().expect("kubeward runs");
    (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
}

#[test]
fn root_agent_refuses_an_output_that_cannot_be_opened() {
    let (code, said) = refused(&["-e", "openat", "-o", "/missing/folder/events"]);
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("/missing/folder/events") && said.contains("No such file"), "{said}");
}

#[test]
fn root_agent_refuses_a_bad_policy_at_its_start() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let policy = dir.path().join("bad.yaml");
    fs::write(&policy, "kind: KubeWard\napiVersion: kubeward.kubeward/v1\nmetadata: {name: a}\nspec: {syscals: []}\n")
        .expect("a policy");
    let path = policy.to_string_lossy();
    let (code, said) = refused(&["-f", &path]);
    assert_eq!(code, Some(2), "{said}");
    assert!(said.contains(&*path) && said.contains("syscals") && said.contains("syscalls"), "{said}");
}

#[test]
fn root_trace_refuses_a_backend_that_this_kernel_lacks() {
    let output = kubeward(["trace", "--probe-backend", "kprobe", "-o", "/dev/null", "--", "echo", "ran"]).output();
    let output = output.expect("kubeward runs");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    let has_kprobes = Path::new("/sys/bus/event_source/devices/kprobe").exists();
    let expected = if has_kprobes { (Some(0), &b"ran\n"[..]) } else { (Some(125), &b""[..]) };
    assert_eq!((output.status.code(), &output.stdout[..]), expected, "{said}");
    assert!(has_kprobes || said.contains("kprobe") && said.contains("auto"), "{said}");
}
