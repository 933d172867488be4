//! Numbers, flags and names of constants in arguments read as strace writes them.
//!
//! Compared where both say it in a word: not strings, addresses, structures and lists. strace leaves arguments
//! out that a call does not use (the mode of an open that creates nothing): there is nothing to compare then.

use crate::events::Event;
use crate::strace::{arguments, read_threads};
use crate::truth::{Program, Stage};
use crate::witness::witness;

/// What strace and KubeWard write differently on purpose: call, argument and why.
const ON_PURPOSE: [(&str, usize, &str); 0] = [];

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
    let stream = stage.kubeward().0;
    let start = stream.of("execve").into_iter().find(|event| event.syscall.ret == Some(0)).expect("the execve");
    let own = stream.events.iter().filter(|event| event.process.tid == start.process.tid && event.seq >= start.seq);
    let own: Vec<&Event> = own.collect();
    assert_eq!(own.len(), truth.lines().count(), "calls of {}", program.name);
    let mut compared = 0;
    for (event, line) in own.into_iter().zip(truth.lines()) {
        let (name, args) = arguments(line).unwrap_or_else(|| panic!("not understood: {line}"));
        assert_eq!(event.syscall.name, name);
        for (at, (seen, expected)) in event.syscall.args.iter().zip(args).enumerate() {
            let excused = ON_PURPOSE.iter().any(|(call, arg, _)| (*call, *arg) == (name, at));
            if is_word(&seen.text) && is_word(expected) && !names_a_process(event, at) && !excused {
                assert_eq!(seen.text, expected, "argument {at} ({}) of {event}\nstrace: {line}", seen.name);
                compared += 1;
            }
        }
    }
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

#[test]
fn root_truth_texts_of_programs() {
    let sed = Program::new("sed", ["/usr/bin/sed", "-n", "s/a/b/p", "in"]).file("in", "a\nb\n");
    let script =
        "open F, '>', 'x'; chmod 0640, 'x'; utime 1, 2, 'x'; truncate 'x', 9; symlink 'x', 'y'; rename 'y', 'z'";
    let perl = Program::new("perl", ["/usr/bin/perl", "-e", script]);
    let openssl = Program::new("openssl", ["/usr/bin/openssl", "dgst", "-sha256", "in"]).file("in", "a\n");
    for program in [sed, perl, openssl] {
        let compared = assert_texts(&program);
        assert!(compared > 50, "{}: {compared} arguments", program.name);
    }
}
