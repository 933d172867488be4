//! Operations through io_uring are the calls that they stand for. The witness prints each as it is to be seen.

use std::path::Path;

use crate::events::Event;
use crate::tracer::{trace, trace_in, Traced};
use crate::witness::witness;

/// `OPCODE CALL = RESULT`, with `PATH` and the path of the file that was opened, as the witness prints it.
fn line(event: &Event) -> Option<String> {
    let request = event.syscall.io_uring.as_ref()?;
    assert_eq!(event.syscall.via.as_deref(), Some("io_uring"));
    let mut line = request.opcode.clone();
    for (is_so, word) in [(request.fixed_file, " fixed"), (request.direct, " direct")] {
        line += if is_so { word } else { "" };
    }
    line += &format!(" {event}");
    if let Some(path) = &event.syscall.path {
        line += &format!(" PATH {path}");
    }
    Some(line)
}

fn seen(traced: &Traced) -> Vec<String> {
    let mut lines: Vec<String> = traced.stream.events.iter().filter_map(line).collect();
    lines.sort_unstable();
    lines
}

/// What the witness made, but for what is no call.
fn made(traced: &Traced) -> Vec<String> {
    let is_call = |line: &&str| !line.starts_with("NOP") && !line.starts_with("ASYNC_CANCEL");
    let mut lines: Vec<String> = traced.stdout().lines().filter(is_call).map(str::to_owned).collect();
    lines.sort_unstable();
    lines
}

/// A file with one policy.
fn policy(dir: &Path, metadata: &str, spec: &str) -> String {
    let file = dir.join("policy.yaml");
    let text = format!("apiVersion: kubeward.kubeward/v1\nkind: KubeWard\nmetadata: {metadata}\nspec: {spec}\n");
    std::fs::write(&file, text).expect("the folder is writable");
    file.display().to_string()
}

/// Every line that the witness prints is seen, and nothing else through a ring.
fn assert_all_seen(way: &str, at_least: usize) -> Traced {
    let traced = trace(&[], [witness("uring").as_os_str(), way.as_ref()]);
    assert_eq!(traced.code(), 0, "{way}: {}", traced.stderr());
    traced.stream.assert_nothing_lost();
    assert_eq!(traced.stream.account().in_flight, 0, "{way}");
    assert_eq!(seen(&traced), made(&traced), "{way}");
    assert!(made(&traced).len() >= at_least, "{way}: {:?}", made(&traced));
    traced
}

#[test]
fn root_trace_sees_operations_through_io_uring_as_calls() {
    let traced = assert_all_seen("plain", 40);
    let of_ring = traced.stream.events.iter().filter(|event| event.syscall.io_uring.is_some());
    for event in of_ring {
        assert_eq!(event.phase, "call");
        assert!(event.syscall.duration_ns.is_some_and(|ns| ns > 0), "{event}");
        assert_eq!((event.process.comm.as_str(), event.process.pid), ("uring", event.process.tid), "{event}");
    }
}

#[test]
fn root_trace_sees_operations_that_a_worker_does() {
    let traced = assert_all_seen("async", 40);
    let mut of_ring = traced.stream.events.iter().filter(|event| event.syscall.io_uring.is_some());
    assert!(of_ring.all(|event| event.process.comm == "uring"), "an event names who submitted, not who worked");
}

#[test]
fn root_trace_sees_operations_that_the_kernel_takes_without_any_call() {
    let traced = assert_all_seen("sqpoll", 40);
    for event in traced.stream.events.iter().filter(|event| event.syscall.io_uring.is_some()) {
        assert_ne!(event.process.pid, event.process.tid, "the ring's own thread submits: {event}");
        assert!(event.process.exe.as_deref().is_some_and(|exe| exe.ends_with("/uring")), "{event}");
    }
}

#[test]
fn root_trace_sees_linked_fixed_and_repeated_operations() {
    assert_all_seen("link", 5);
    assert_all_seen("fixed", 5);
    assert_all_seen("multishot", 4);
}

#[test]
fn root_trace_sees_operations_that_get_no_answer_or_too_many() {
    assert_all_seen("skip", 2);
    assert_all_seen("overflow", 6);
    assert_all_seen("doubles", 24);
    assert_all_seen("unanswered", 1);
}

/// Answers come after the whole batch, when the first file's descriptor is the second's.
#[test]
fn root_a_descriptor_that_a_batch_uses_twice_names_no_wrong_file() {
    let traced = assert_all_seen("reuse", 3);
    let opens = traced.stream.of("openat").into_iter().filter(|event| event.syscall.io_uring.is_some());
    let paths: Vec<Option<&str>> = opens.map(|event| event.syscall.path.as_deref()).collect();
    assert_eq!(paths, [None, Some("/dev/zero")], "what the first one opened is not certain any more");
}

#[test]
fn root_trace_counts_each_of_many_operations() {
    const COUNT: usize = 20_000;
    let traced = trace(&["-e", "read"], [witness("uring").as_os_str(), "many".as_ref(), COUNT.to_string().as_ref()]);
    assert_eq!(traced.code(), 0, "{}", traced.stderr());
    traced.stream.assert_nothing_lost();
    let reads = traced.stream.events.iter().filter(|event| event.syscall.io_uring.is_some());
    assert_eq!(reads.filter(|event| event.syscall.ret == Some(8)).count(), COUNT);
}

/// Each fourth is done by credentials that the ring has registered; some name such as there are not, and are refused.
#[test]
fn root_an_operation_has_the_credentials_that_it_is_done_by() {
    let traced = assert_all_seen("credentials", 32);
    let of_ring = traced.stream.events.iter().filter(|event| event.syscall.io_uring.is_some());
    let by: Vec<_> = of_ring.map(|event| (event.process.uid, event.syscall.ret)).collect();
    assert_eq!(by, [(0, Some(8)), (12, Some(8)), (12, Some(-22)), (12, Some(8))].repeat(8));
}

#[test]
fn root_operations_are_counted_by_a_policy_that_only_counts() {
    const COUNT: u64 = 20_000;
    let dir = tempfile::tempdir().expect("a temporary folder");
    let policy = policy(dir.path(), "{name: counts}", "{mode: Count, syscalls: [{name: read}]}");
    let program = [witness("uring").into_os_string(), "many".into(), COUNT.to_string().into()];
    let traced = trace(&["-f", &policy], program);
    assert_eq!(traced.code(), 0, "{}", traced.stderr());
    traced.stream.assert_nothing_lost();
    assert_eq!(traced.stream.events.len(), 0);
    let ledger = &traced.stream.ledgers[0];
    assert_eq!(ledger["filtered"]["count"], COUNT, "{ledger}");
}

/// A policy that names a call means it by every way, with its filters; one that does not name it sees nothing of it.
#[test]
fn root_policies_judge_operations_as_calls() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let spec = "{syscalls: [{name: openat}], filter: {errors: [ENOENT]}}";
    let policy = policy(dir.path(), "{name: refused-opens}", spec);
    let work = tempfile::tempdir().expect("a temporary folder");
    let traced = trace_in(work.path(), &["-f", &policy], [witness("uring").as_os_str(), "plain".as_ref()]);
    assert_eq!(traced.code(), 0, "{}", traced.stderr());
    traced.stream.account().assert_adds_up();
    assert_eq!(seen(&traced), ["OPENAT openat(AT_FDCWD, \"d/none/none\", O_WRONLY|O_CREAT|O_EXCL, 0600) = -2 ENOENT"]);
    let of_ring = traced.stream.events.iter().find(|event| event.syscall.io_uring.is_some());
    assert_eq!(of_ring.map(|event| event.policies.clone()), Some(vec!["refused-opens".to_owned()]));
}
