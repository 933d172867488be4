//! Each call of more than seventy kinds, from many threads, is an event: against what the program itself counted.

use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;

use kubeward_core::syscall;

use crate::tracer::trace;
use crate::witness::witness;

/// By number and errno; `None`: it never returned.
type Results = BTreeMap<(u32, Option<i64>), u64>;

const REFUSED: [&str; 5] = ["mount", "swapon", "acct", "quotactl", "ptrace"];

fn number(name: &str) -> u32 {
    syscall::by_name(name).expect("the catalogue has it").nr.into()
}

fn counted(text: &[u8]) -> Results {
    let never = ["exit", "exit_group"].map(number);
    let lines = std::str::from_utf8(text).expect("it prints ASCII").lines().map(|line| {
        let numbers: Vec<u64> = line.split(' ').map(|word| word.parse().expect("a number")).collect();
        let [nr, errno, count] = numbers[..] else { panic!("{line}") };
        ((nr as u32, (!never.contains(&(nr as u32))).then_some(errno as i64)), count)
    });
    lines.collect()
}

#[test]
fn root_trace_of_seventy_kinds_of_calls_is_what_the_program_counted() {
    // It does the same whoever watches; here it tells which kinds it makes.
    let alone = Command::new(witness("many")).args(["1", "1", "1"]).stdin(std::process::Stdio::null()).output();
    let kinds: BTreeSet<u32> = counted(&alone.expect("it runs").stdout).keys().map(|(nr, _)| *nr).collect();
    let names: Vec<&str> = kinds.iter().map(|nr| syscall::by_nr(*nr).expect("the catalogue has it").name).collect();

    let program = witness("many");
    let line = [program.as_os_str(), "60".as_ref(), "5".as_ref(), "4".as_ref()];
    let traced = trace(&["-e", &names.join(",")], line);
    assert_eq!(traced.code(), 0, "{}", traced.stderr());
    traced.stream.assert_nothing_lost();
    let mut expected = counted(&traced.output.stdout);
    // The program's own start, which it cannot know of.
    *expected.entry((number("execve"), Some(0))).or_default() += 1;
    let mut seen = Results::new();
    let mut refused = Results::new();
    for event in &traced.stream.events {
        let result = (event.syscall.nr, event.syscall.ret.map(|ret| if (-4095..0).contains(&ret) { -ret } else { 0 }));
        *seen.entry(result).or_default() += 1;
        if event.syscall.denied_by.as_deref() == Some("seccomp") {
            *refused.entry(result).or_default() += 1;
        }
    }
    assert_eq!(seen, expected);
    let by_filter = expected.into_iter().filter(|((nr, _), _)| REFUSED.map(number).contains(nr)).collect::<Results>();
    assert_eq!(refused, by_filter);
}
