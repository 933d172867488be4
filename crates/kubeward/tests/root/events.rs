//! Reads the JSON lines that KubeWard writes, as a program that uses them would.

use std::collections::BTreeMap;
use std::fmt;

use serde::Deserialize;
use serde_json::Value;

use crate::calls::{children, family, path_positions, Call, PathArg, Ret, Run, Thread};

/// What one run of KubeWard said.
#[derive(Debug, Default)]
pub(crate) struct Stream {
    pub(crate) events: Vec<Event>,
    pub(crate) ledgers: Vec<Value>,
    /// Lines of every other kind.
    pub(crate) others: Vec<Value>,
}

#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Event {
    pub(crate) seq: u64,
    pub(crate) time: String,
    pub(crate) mono_ns: u64,
    pub(crate) phase: String,
    pub(crate) syscall: SyscallPart,
    pub(crate) process: ProcessPart,
    #[serde(default)]
    pub(crate) policies: Vec<String>,
    /// Calls that it stands for, where they are more than one.
    pub(crate) count: Option<u64>,
    pub(crate) last_time: Option<String>,
}

#[derive(Debug, Clone, Deserialize)]
pub(crate) struct SyscallPart {
    pub(crate) name: String,
    pub(crate) nr: u32,
    pub(crate) via: Option<String>,
    pub(crate) io_uring: Option<IoUringPart>,
    pub(crate) category: String,
    #[serde(default)]
    pub(crate) args: Vec<Arg>,
    pub(crate) path: Option<String>,
    pub(crate) ret: Option<i64>,
    pub(crate) error: Option<String>,
    pub(crate) duration_ns: Option<u64>,
    pub(crate) total_duration_ns: Option<u64>,
    pub(crate) denied_by: Option<String>,
}

#[derive(Debug, Clone, Deserialize)]
pub(crate) struct IoUringPart {
    pub(crate) opcode: String,
    #[serde(default)]
    pub(crate) fixed_file: bool,
    #[serde(default)]
    pub(crate) direct: bool,
}

#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Arg {
    pub(crate) name: String,
    pub(crate) text: String,
    pub(crate) int: Option<Value>,
    pub(crate) str: Option<String>,
    /// The exact bytes in base64, when `str` could not hold them.
    pub(crate) bytes: Option<String>,
    /// The strings of an array.
    pub(crate) list: Option<Vec<String>>,
    pub(crate) list_bytes: Option<Vec<String>>,
    #[serde(default)]
    pub(crate) cut: bool,
}

#[derive(Debug, Clone, Deserialize)]
pub(crate) struct ProcessPart {
    pub(crate) pid: i64,
    pub(crate) tid: i64,
    pub(crate) container_pid: i64,
    pub(crate) uid: u32,
    pub(crate) comm: String,
    pub(crate) exe: Option<String>,
}

impl Stream {
    /// Fails on any line that is not a JSON object with a `kind`, or not of its kind's form.
    pub(crate) fn parse(text: &[u8]) -> Result<Stream, String> {
        let mut stream = Stream::default();
        if !text.is_empty() && !text.ends_with(b"\n") {
            return Err("the last line is not whole".into());
        }
        for line in text.split(|&byte| byte == b'\n').filter(|line| !line.is_empty()) {
            let shown = || String::from_utf8_lossy(line).into_owned();
            let value: Value = serde_json::from_slice(line).map_err(|e| format!("{e}: {}", shown()))?;
            match value["kind"].as_str() {
                Some("syscall") => {
                    stream.events.push(serde_json::from_value(value).map_err(|e| format!("{e}: {}", shown()))?);
                }
                Some("ledger") => stream.ledgers.push(value),
                Some(_) => stream.others.push(value),
                None => return Err(format!("a line without kind: {}", shown())),
            }
        }
        Ok(stream)
    }

    /// Events of one call, in order.
    pub(crate) fn of(&self, name: &str) -> Vec<&Event> {
        self.events.iter().filter(|event| event.syscall.name == name).collect()
    }

    /// The account of the traced container at the end.
    pub(crate) fn account(&self) -> Account {
        let of_container = |ledger: &&Value| ledger["scope"] == "container" && ledger["final"] == true;
        let last: Vec<&Value> = self.ledgers.iter().filter(of_container).collect();
        assert_eq!(last.len(), 1, "one container has one account at the end, of {:?}", self.ledgers);
        Account::read(last[0])
    }

    /// The account at the end adds up, counts every event of this stream and says that none was lost.
    pub(crate) fn assert_nothing_lost(&self) {
        let account = self.account();
        account.assert_adds_up();
        assert_eq!(account.emitted, self.events.len() as u64, "events counted and written: {account:?}");
        assert_eq!(account.lost, 0, "{account:?}");
        for node in self.ledgers.iter().filter(|ledger| ledger["scope"] == "node") {
            assert_eq!((&node["skipped"], &node["missed_returns"]), (&0.into(), &0.into()), "{node}");
        }
    }
}

/// What became of every call, as a `ledger` line says it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Account {
    pub(crate) seen: u64,
    pub(crate) emitted: u64,
    pub(crate) filtered: u64,
    pub(crate) sampled: u64,
    pub(crate) lost: u64,
    pub(crate) in_flight: u64,
}

impl Account {
    /// Panics when a number is not there, or when the reasons do not make up their total.
    fn read(ledger: &Value) -> Account {
        let number = |value: &Value| value.as_u64().unwrap_or_else(|| panic!("not a number: {value} in {ledger}"));
        let by_reason = |counts: &Value| {
            let reasons = counts.as_object().unwrap_or_else(|| panic!("no reasons in {ledger}"));
            let sum: u64 = reasons.iter().filter(|(name, _)| *name != "total").map(|(_, count)| number(count)).sum();
            assert_eq!(sum, number(&counts["total"]), "{ledger}");
            sum
        };
        Account {
            seen: number(&ledger["seen"]),
            emitted: number(&ledger["emitted"]),
            filtered: by_reason(&ledger["filtered"]),
            sampled: number(&ledger["sampled"]),
            lost: by_reason(&ledger["lost"]),
            in_flight: number(&ledger["in_flight"]),
        }
    }

    pub(crate) fn assert_adds_up(&self) {
        let accounted = self.emitted + self.filtered + self.sampled + self.lost + self.in_flight;
        assert_eq!(self.seen, accounted, "{self:?}");
    }
}

impl Event {
    pub(crate) fn arg(&self, at: usize) -> &Arg {
        self.syscall.args.get(at).unwrap_or_else(|| panic!("{} has no argument {at}", self.syscall.name))
    }
}

impl fmt::Display for Event {
    /// As strace would write it: `openat(AT_FDCWD, "f", O_RDONLY, 0) = -2 ENOENT`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let args: Vec<&str> = self.syscall.args.iter().map(|arg| arg.text.as_str()).collect();
        write!(f, "{}({}) = ", self.syscall.name, args.join(", "))?;
        match (self.syscall.ret, &self.syscall.error) {
            (None, _) => f.write_str("?"),
            (Some(ret), None) => write!(f, "{ret}"),
            (Some(ret), Some(error)) => write!(f, "{ret} {error}"),
        }
    }
}

impl Arg {
    /// The string as the process wrote it.
    pub(crate) fn exact(&self) -> Option<Vec<u8>> {
        match (&self.bytes, &self.str) {
            (Some(encoded), _) => Some(base64(encoded)),
            (None, text) => text.as_ref().map(|text| text.clone().into_bytes()),
        }
    }
}

/// Decodes standard base64. Panics on anything else: the stream is broken then.
pub(crate) fn base64(text: &str) -> Vec<u8> {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut bytes = Vec::new();
    let (mut held, mut bits) = (0u32, 0);
    for digit in text.trim_end_matches('=').bytes() {
        let value = ALPHABET.iter().position(|&known| known == digit);
        held = held << 6 | value.unwrap_or_else(|| panic!("not base64: {text}")) as u32;
        bits += 6;
        if bits >= 8 {
            bits -= 8;
            bytes.push((held >> bits) as u8);
        }
    }
    bytes
}

/// The run of `program` (the path that was executed), from its execve on.
///
/// Events name threads by the host's ids while calls return the program's own: a process is found by its
/// `container_pid`, and of one process the threads are born in the order of either id.
pub(crate) fn read_run(events: &[Event], program: &str) -> Result<Run, String> {
    let is_start = |event: &&Event| {
        event.syscall.name == "execve" && event.syscall.ret == Some(0) && event.arg(0).str.as_deref() == Some(program)
    };
    let start = events.iter().find(is_start).ok_or_else(|| format!("no execve of {program} was seen"))?;
    let mut by_tid: BTreeMap<(i64, i64), (i64, Vec<Call>)> = BTreeMap::new();
    let mut last_ns: BTreeMap<i64, u64> = BTreeMap::new();
    for event in events {
        let process = &event.process;
        if process.tid == start.process.tid && event.seq < start.seq {
            continue;
        }
        if last_ns.insert(process.tid, event.mono_ns).is_some_and(|last| last > event.mono_ns) {
            return Err(format!("event {} of task {} is earlier than the one before it", event.seq, process.tid));
        }
        let (_, calls) = by_tid.entry((process.pid, process.tid)).or_insert((process.container_pid, Vec::new()));
        calls.push(call(event)?);
    }
    let processes: BTreeMap<i64, i64> =
        by_tid.iter().filter(|((pid, tid), _)| pid == tid).map(|((pid, _), (own, _))| (*own, *pid)).collect();
    let mut made_threads: BTreeMap<i64, Vec<i64>> = BTreeMap::new();
    for ((pid, _), (_, calls)) in &by_tid {
        let threads = children(calls).into_iter().filter(|child| !processes.contains_key(child));
        made_threads.entry(*pid).or_default().extend(threads);
    }
    made_threads.values_mut().for_each(|threads| threads.sort_unstable());
    let mut threads = Vec::new();
    let mut nth_of: BTreeMap<i64, usize> = BTreeMap::new();
    for ((pid, tid), (own, calls)) in by_tid {
        let id = if pid == tid {
            own
        } else {
            let nth = nth_of.entry(pid).or_default();
            *nth += 1;
            *made_threads[&pid].get(*nth - 1).ok_or_else(|| format!("nothing made task {tid} of process {pid}"))?
        };
        threads.push(Thread { id, calls });
    }
    family(start.process.container_pid, threads)
}

fn call(event: &Event) -> Result<Call, String> {
    let syscall = &event.syscall;
    let paths = path_positions(&syscall.name).iter().map(|&at| path(event.arg(at))).collect();
    let ret = match (syscall.ret, &syscall.error) {
        (None, _) => Ret::Never,
        (Some(-4095..=-1), Some(name)) => Ret::Error(name.clone()),
        (Some(value), None) => Ret::Value(value),
        (Some(value), Some(name)) => return Err(format!("{} returned {value} and says {name}", syscall.name)),
    };
    let argv = match syscall.name.as_str() {
        "execve" => Some(argv(event.arg(1))?),
        "execveat" => Some(argv(event.arg(2))?),
        _ => None,
    };
    Ok(Call { name: syscall.name.clone(), paths, argv, ret })
}

fn path(arg: &Arg) -> PathArg {
    match arg.exact() {
        Some(bytes) if arg.cut => PathArg::Cut(bytes),
        Some(bytes) => PathArg::Bytes(bytes),
        None => PathArg::Pointer,
    }
}

/// The strings of an argument list that is whole.
fn argv(arg: &Arg) -> Result<Vec<Vec<u8>>, String> {
    match (&arg.list_bytes, &arg.list) {
        _ if arg.cut => Err(format!("an argument list was cut: {}", arg.text)),
        (Some(encoded), _) => Ok(encoded.iter().map(|string| base64(string)).collect()),
        (None, Some(strings)) => Ok(strings.iter().map(|string| string.clone().into_bytes()).collect()),
        (None, None) => Err(format!("no argument list, but {}", arg.text)),
    }
}
