//! Every call is accounted for, also when more of them are made than can be told.

use std::io::{BufRead, BufReader};
use std::process::Stdio;

use crate::events::Stream;
use crate::tracer::{kubeward, trace};
use crate::witness::witness;

/// Calls of read and write that dd makes to copy `blocks` blocks of one byte, told at leisure.
fn dd(blocks: u64) -> [String; 5] {
    let count = format!("count={blocks}");
    ["/bin/dd".into(), "if=/dev/zero".into(), "of=/dev/null".into(), "bs=1".into(), count]
}

#[test]
fn root_trace_counts_every_call_exactly() {
    let seen = |blocks: u64| {
        let traced = trace(&["-e", "read,write"], dd(blocks));
        assert_eq!(traced.code(), 0, "{}", traced.stderr());
        traced.stream.assert_nothing_lost();
        traced.stream.account().seen
    };
    assert_eq!(seen(5000) - seen(0), 2 * 5000);
}

/// The reader of the output takes nothing until the command has done its work, so the ring must run over.
#[test]
fn root_trace_accounts_for_what_the_ring_could_not_hold() {
    const BLOCKS: u64 = 400_000;
    let script = |blocks: u64| format!("{} status=none; echo done >&2", dd(blocks).join(" "));
    let calm = trace(&["-e", "read,write"], ["/bin/sh", "-c", &script(0)]).stream.account().seen;
    let mut running = kubeward(["trace", "--format", "json", "-o", "-", "-e", "read,write", "--"])
        .args(["/bin/sh", "-c", &script(BLOCKS)])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("kubeward starts");
    let mut said = String::new();
    let mut stderr = BufReader::new(running.stderr.take().expect("it is piped"));
    stderr.read_line(&mut said).expect("a line");
    assert_eq!(said, "done\n");
    let output = running.wait_with_output().expect("kubeward ends");
    assert!(output.status.success(), "{output:?}");
    let stream = Stream::parse(&output.stdout).unwrap_or_else(|e| panic!("{e}"));
    let account = stream.account();
    account.assert_adds_up();
    assert_eq!(account.emitted, stream.events.len() as u64, "{account:?}");
    assert_eq!(account.seen, calm + 2 * BLOCKS, "{account:?}");
    assert!(account.lost > 0, "a ring holds no {BLOCKS} records: {account:?}");
    let gaps = stream.others.iter().filter(|line| line["kind"] == "gap").count();
    assert!(gaps > 0, "what is missing is told where it is missing");
}

#[test]
fn root_trace_loses_no_call_of_many_threads() {
    // tests/witness/threads.c: eight threads, fifty rounds of five calls; two more threads of one of them.
    let traced = trace(&["-e", "mknod,rename,access,truncate,unlink,mkdir,rmdir"], [witness("threads")]);
    assert_eq!(traced.code(), 0, "{}", traced.stderr());
    traced.stream.assert_nothing_lost();
    for (name, expected) in [
        ("mknod", 400),
        ("rename", 400),
        ("access", 400),
        ("truncate", 400),
        ("unlink", 400),
        ("mkdir", 10),
        ("rmdir", 10),
    ] {
        assert_eq!(traced.stream.of(name).len(), expected, "{name}");
    }
}
