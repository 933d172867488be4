//! Names that a watched process chooses cannot break a line, forge one, or act on a terminal.

use crate::events::base64;
use crate::tracer::{kubeward, trace};
use crate::witness::witness;

/// As `tests/witness/hostile.c` has it.
const HOSTILE: &[u8] = b"a\n\"'\\\x1b[2J\x9b\xff\xc3(";

#[test]
fn root_trace_json_keeps_hostile_bytes_exactly() {
    let traced = trace(&["-e", "openat,execve,exit_group"], [witness("hostile")]);
    assert_eq!(traced.code(), 0, "{}", traced.stderr());
    // That the stream was parsed says that each line is one JSON object.
    traced.stream.assert_nothing_lost();
    let own: Vec<_> = traced.stream.events.iter().skip_while(|event| event.syscall.name != "openat").collect();
    assert_eq!(
        own.iter().map(|e| e.syscall.name.as_str()).collect::<Vec<_>>(),
        ["openat", "openat", "execve", "exit_group"]
    );
    assert_eq!(own[0].arg(1).exact().as_deref(), Some(HOSTILE));
    assert_eq!(own[1].arg(1).exact(), Some([HOSTILE, b"/\r\n{\"kind\":\"ledger\"}"].concat()));
    let argv = own[2].arg(1).list_bytes.as_ref().expect("bytes that are no text");
    assert_eq!(base64(&argv[0]), HOSTILE);
    assert_eq!(base64(&argv[1]), b"{\"kind\":\"syscall\"}\n");
    assert!(own[0].process.comm.starts_with("a\n\"'\\\x1b[2J\u{fffd}"), "{:?}", own[0].process.comm);
    assert!(own[0].syscall.path.as_ref().is_some_and(|path| path.contains("a\n\"'\\\x1b[2J\u{fffd}")));
    assert_eq!(traced.stream.ledgers.len(), traced.stream.ledgers.iter().filter(|l| l["seen"].is_u64()).count());
}

#[test]
fn root_trace_text_keeps_one_line_a_call_in_plain_ascii() {
    let mut line = kubeward(["trace", "-e", "openat,execve,exit_group", "-o", "-", "--"]);
    let dir = tempfile::tempdir().expect("a temporary folder");
    let output = line.arg(witness("hostile")).current_dir(dir.path()).output().expect("kubeward runs");
    assert!(output.status.success(), "{output:?}");
    let printable = output.stdout.iter().all(|byte| matches!(byte, b'\n' | b' '..=b'~'));
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(printable, "{text:?}");
    for (call, count) in [("openat(", 2), ("execve(", 2), ("exit_group(", 1)] {
        assert_eq!(text.lines().filter(|line| line.contains(call)).count(), count, "{call} in\n{text}");
    }
    assert!(text.contains(r#"openat(AT_FDCWD, "a\n\"'\\\33[2J\233\377\303(", O_RDONLY|O_CREAT, 0600) = "#), "{text}");
}
