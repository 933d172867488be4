//! Calls of the 32-bit table, and by numbers that no table has, as the program that made them says.

use serde::Deserialize;

use crate::events::Event;
use crate::tracer::{trace, Traced};
use crate::witness::witness;

const CALLS: &str = "open,stat,fcntl,lseek,pread64,close,mmap,socket,connect,sendto,getpeername,getpid,getuid,\
     clock_gettime,rt_sigprocmask,semget,semctl,fork,wait4,execve,unlisted";

/// A line of the witness.
#[derive(Debug, Deserialize)]
struct Made {
    name: String,
    nr: u32,
    via: Option<String>,
    ret: i64,
    args: Vec<Option<String>>,
}

impl Made {
    fn is(&self, event: &Event) -> bool {
        let call = &event.syscall;
        let args: Vec<String> = call.args.iter().map(|arg| format!("{}={}", arg.name, arg.text)).collect();
        let same_args = self.args.iter().zip(&args).all(|(made, seen)| made.as_ref().is_none_or(|made| made == seen));
        (&self.name, self.nr, &self.via, Some(self.ret)) == (&call.name, call.nr, &call.via, call.ret)
            && self.args.len() == args.len()
            && same_args
    }
}

fn made(traced: &Traced) -> Vec<Made> {
    let lines = traced.output.stdout.split(|&byte| byte == b'\n').filter(|line| !line.is_empty());
    lines.map(|line| serde_json::from_slice(line).expect("the witness writes JSON lines")).collect()
}

#[test]
fn root_trace_shows_each_32_bit_call_as_the_native_one_with_its_own_arguments() {
    let traced = trace(&["-e", CALLS], [witness("compat")]);
    assert_eq!(traced.code(), 0, "{}", traced.stderr());
    traced.stream.assert_nothing_lost();
    let made = made(&traced);
    assert_eq!(made.len(), 30);
    let events = &traced.stream.events;
    for made in &made {
        let same = || events.iter().filter(|event| event.syscall.name == made.name).collect::<Vec<_>>();
        assert_eq!(events.iter().filter(|event| made.is(event)).count(), 1, "{made:?}: {:?}", same());
    }
    let by_32_bit_entry = |event: &&Event| event.syscall.via.as_deref() == Some("compat");
    assert_eq!(
        events.iter().filter(by_32_bit_entry).count(),
        made.iter().filter(|made| made.via.is_some()).count(),
        "and nothing else came by it"
    );
}

#[test]
fn root_trace_shows_numbers_outside_every_table_when_the_category_other_is_asked_for() {
    let traced = trace(&["-e", "%other"], [witness("compat")]);
    traced.stream.assert_nothing_lost();
    let mut names: Vec<&str> = traced.stream.events.iter().map(|event| event.syscall.name.as_str()).collect();
    names.retain(|name| name.starts_with("syscall_") || ["vm86old", "socketcall"].contains(name));
    assert_eq!(names, ["socketcall", "vm86old", "syscall_0x258", "syscall_0x3e8", "syscall_0x40000bb8"]);
}
