//! Says where a run that KubeWard recorded departs from runs of the same program that strace recorded.

use std::fmt::Write;

use crate::calls::{Call, Run};

/// Every thread of `seen` must equal the thread of the same birth in one of `truths`.
///
/// More than one truth is for programs whose threads race: each truth is a strict record of a way it may go.
pub(crate) fn differences(seen: &Run, truths: &[Run]) -> Vec<String> {
    let mut found = Vec::new();
    if !truths.iter().any(|truth| truth.keys().eq(seen.keys())) {
        let births = |run: &Run| run.keys().map(|b| b.to_string()).collect::<Vec<_>>().join(" ");
        let expected = truths.iter().map(births).collect::<Vec<_>>().join("\n  or: ");
        found.push(format!("threads seen: {}\n   truth: {expected}", births(seen)));
    }
    for (birth, calls) in seen {
        let same_thread: Vec<_> = truths.iter().filter_map(|truth| truth.get(birth)).collect();
        if same_thread.contains(&calls) {
            continue;
        }
        if let Some(truth) = same_thread.iter().max_by_key(|truth| common_prefix(calls, truth)) {
            found.push(format!("thread {birth}:\n{}", first_difference(calls, truth)));
        }
    }
    found
}

fn common_prefix(a: &[Call], b: &[Call]) -> usize {
    a.iter().zip(b).take_while(|(a, b)| a == b).count()
}

/// The calls around the first place where the two part, for a person to read.
fn first_difference(seen: &[Call], truth: &[Call]) -> String {
    let at = common_prefix(seen, truth);
    let mut text = format!("  the first {at} calls are equal, {} were seen and {} are true\n", seen.len(), truth.len());
    for call in &seen[at.saturating_sub(4)..at] {
        let _ = writeln!(text, "    both: {call}");
    }
    for (who, calls) in [("seen", seen), ("true", truth)] {
        for call in calls.iter().skip(at).take(4) {
            let _ = writeln!(text, "    {who}: {call}");
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::calls::{family, PathArg, Ret, Thread};
    use crate::strace::parse_thread;

    const PARENT: &str = r#"execve("\x2f\x61", ["\x61", "\x62"], 0x7f /* 1 vars */) = 0
openat(AT_FDCWD, "\x2f\x63", O_RDONLY) = 3
read(3, "\x31", 1) = 1
clone(child_stack=NULL, flags=SIGCHLD) = 8
wait4(-1, NULL, 0, NULL) = 8
exit_group(0) = ?
"#;
    const CHILD: &str = r#"unlink("\x2f\x64") = -1 ENOENT (No such file or directory)
exit_group(1) = ?
"#;

    fn threads() -> Vec<Thread> {
        [(7, PARENT), (8, CHILD)].map(|(id, text)| Thread { id, calls: parse_thread(text).expect("calls") }).into()
    }

    fn run(threads: Vec<Thread>) -> Run {
        family(7, threads).expect("a family")
    }

    #[test]
    fn equal_records_have_no_difference() {
        assert_eq!(differences(&run(threads()), &[run(threads())]), [""; 0]);
    }

    /// The comparison can fail: any one change to a record is found.
    #[test]
    fn every_corruption_of_a_record_is_found() {
        type Corruption = fn(&mut Vec<Thread>);
        let corruptions: [(&str, Corruption); 9] = [
            ("a lost call", |t| drop(t[0].calls.remove(2))),
            ("a doubled call", |t| t[0].calls.extend_from_within(5..)),
            ("two calls swapped", |t| t[0].calls.swap(1, 2)),
            ("another name", |t| t[0].calls[2].name = "pread64".into()),
            ("another path", |t| t[0].calls[1].paths = vec![PathArg::Bytes(b"/x".to_vec())]),
            ("a path cut short", |t| t[0].calls[1].paths = vec![PathArg::Cut(b"/c".to_vec())]),
            ("another argument of execve", |t| t[0].calls[0].argv = Some(vec![b"a".to_vec()])),
            ("another result", |t| t[0].calls[2].ret = Ret::Value(2)),
            ("an error that was none", |t| t[1].calls[0].ret = Ret::Value(0)),
        ];
        for (what, corrupt) in corruptions {
            let mut changed = threads();
            corrupt(&mut changed);
            assert_ne!(differences(&run(changed), &[run(threads())]), [""; 0], "{what} went unnoticed");
        }
    }

    #[test]
    fn a_missing_thread_is_found() {
        let mut alone = threads();
        alone.truncate(1);
        alone[0].calls.retain(|call| call.name != "clone");
        assert!(differences(&run(alone), &[run(threads())])[0].contains("threads seen: root\n"));
    }

    #[test]
    fn each_thread_may_equal_another_truth() {
        let (mut fast, mut slow) = (threads(), threads());
        fast[0].calls[2].ret = Ret::Value(9);
        slow[1].calls[0].ret = Ret::Value(0);
        let mut seen = threads();
        seen[0].calls[2].ret = Ret::Value(9);
        seen[1].calls[0].ret = Ret::Value(0);
        assert_eq!(differences(&run(seen.clone()), &[run(fast.clone()), run(slow)]), [""; 0]);
        assert_ne!(differences(&run(seen), &[run(fast)]), [""; 0]);
    }
}
