//! One observed system call, as every sink, view and client speaks of it.

use std::sync::Arc;

use crate::bytes::Bytes;
use crate::container::{Container, ContainerSlot};
use crate::syscall::{ArgKind, Syscall};

/// Which moments of the call one record holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Phase {
    /// At entry: arguments, no result.
    Enter,
    /// At return: arguments as the registers then held them, and the result.
    Exit,
    /// Both, with the time between them.
    Call,
}

/// Whether the container's own program was running yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Stage {
    /// The runtime's work before the workload's first exec.
    Setup,
    Run,
}

/// The hook that served a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Probe {
    /// Raw syscall tracepoint through BTF (`tp_btf/sys_exit`).
    TpBtf,
    /// Classic tracepoint (`raw_syscalls/sys_exit`).
    Tracepoint,
    Kprobe,
    KprobeMulti,
    Fentry,
}

impl Probe {
    /// As events and status write it.
    pub fn name(self) -> &'static str {
        match self {
            Probe::TpBtf => "tp_btf",
            Probe::Tracepoint => "tracepoint",
            Probe::Kprobe => "kprobe",
            Probe::KprobeMulti => "kprobe_multi",
            Probe::Fentry => "fentry",
        }
    }
}

/// Why the call was taken for its container's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Identity {
    /// The task carried the container's tag, its own or inherited.
    Task,
    /// The task's v2 cgroup is the container's or below it.
    Cgroup,
    /// The task is inside the container's namespaces, for now.
    Namespace,
}

/// The way by which the kernel was asked: a policy that names a call means it by each of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Via {
    /// The call itself, by its number in the architecture's native table.
    Syscall,
    /// The call of the architecture's 32-bit table (`int 0x80` on x86-64), by its number there.
    Compat,
    /// An operation submitted to an io_uring, by the number of the native call that it stands in for.
    IoUring,
}

impl Via {
    /// As events write it; `None` for the call itself, of which nothing is said.
    pub fn name(self) -> Option<&'static str> {
        match self {
            Via::Syscall => None,
            Via::Compat => Some("compat"),
            Via::IoUring => Some("io_uring"),
        }
    }
}

/// What a call that came by an io_uring has beside the call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UringRequest {
    /// The operation, see [`crate::syscall::uring_op`].
    pub opcode: u8,
    /// Its descriptor is an index of the files that the ring has registered.
    pub fixed_file: bool,
    /// It made or closed a registered file, and no descriptor: a result other than an error is no descriptor's number.
    pub direct: bool,
}

/// The call itself: its number, and the catalogue's entry of what it does: of a native call its own, of a 32-bit one or of an
/// operation of an io_uring that of the native call which does the same.
#[derive(Debug, Clone, Copy)]
pub struct Call {
    pub via: Via,
    pub nr: u32,
    pub entry: Option<&'static Syscall>,
}

/// Bytes read from the watched process or the kernel: any bytes but NUL, not necessarily UTF-8.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Text {
    pub bytes: Bytes,
    /// The original was longer than what was kept.
    pub cut: bool,
    /// Part of it was replaced before it left the agent.
    pub redacted: bool,
}

/// A socket address as the call gave or got it. Ports are in host order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SockAddr {
    Inet {
        addr: std::net::Ipv4Addr,
        port: u16,
    },
    Inet6 {
        addr: std::net::Ipv6Addr,
        port: u16,
        flowinfo: u32,
        scope_id: u32,
    },
    /// Path, or the name after the leading NUL when `is_abstract`; both empty: unnamed.
    Unix {
        path: Text,
        is_abstract: bool,
    },
    /// Another family, its bytes after the family member.
    Other {
        family: u16,
        data: Box<[u8]>,
    },
}

/// What is known of one argument beyond the 64 bits in its register.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ArgValue {
    /// The register says all.
    Register,
    /// The string it points to.
    Str(Text),
    /// The strings its array points to, `cut` when there were more.
    Argv {
        strings: Vec<Text>,
        cut: bool,
    },
    Sockaddr(SockAddr),
    /// It points to user memory that could not be read.
    Unreadable,
}

/// One argument of the call.
#[derive(Debug, Clone)]
pub struct Arg {
    pub name: &'static str,
    pub kind: ArgKind,
    /// The register as the kernel got it.
    pub raw: u64,
    pub value: ArgValue,
}

/// The thread that made the call.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Process {
    /// In the agent's pid namespace (the host's, with `hostPID`).
    pub pid: u32,
    pub tid: u32,
    pub ppid: u32,
    /// The process's id in its own innermost pid namespace.
    pub container_pid: u32,
    /// When the thread started, nanoseconds since the Unix epoch.
    pub start_time_ns: u64,
    /// Real ids as the host sees them (initial user namespace).
    pub uid: u32,
    pub gid: u32,
    /// At most 15 bytes, chosen by the process itself.
    pub comm: Text,
    /// Path of the program the process runs, as seen at its exec; absent when that exec was not seen.
    pub exe: Option<Arc<Text>>,
}

/// Identical calls in a row that one event stands for, the event's own among them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Repeated {
    /// At least 2.
    pub count: u64,
    /// The last one's `time_ns`.
    pub last_time_ns: u64,
    /// Sum of all durations; only for [`Phase::Call`].
    pub total_duration_ns: Option<u64>,
}

/// One observed system call, or identical ones of a thread in a row.
#[derive(Debug, Clone)]
pub struct SyscallEvent {
    /// Position in this run's stream, from 1.
    pub seq: u64,
    /// Nanoseconds since the Unix epoch: the entry's for [`Phase::Enter`] and [`Phase::Call`], the return's for
    /// [`Phase::Exit`].
    pub time_ns: u64,
    /// The same moment on CLOCK_MONOTONIC.
    pub mono_ns: u64,
    pub phase: Phase,
    pub stage: Stage,
    pub probe: Probe,
    pub identity: Identity,
    pub call: Call,
    pub args: Vec<Arg>,
    /// Path of the file that was really opened, from the process's root.
    pub path: Option<Text>,
    /// Absent for [`Phase::Enter`]. Negative errno on failure.
    pub ret: Option<i64>,
    /// Only for [`Phase::Call`].
    pub duration_ns: Option<u64>,
    /// It stands for identical calls of its thread too, that came after it in a row.
    pub repeated: Option<Repeated>,
    /// The return was seen without an entry, as a seccomp filter leaves it.
    pub refused_by_seccomp: bool,
    /// Only with [`Via::IoUring`].
    pub io_uring: Option<UringRequest>,
    pub process: Process,
    pub slot: ContainerSlot,
    /// Filled by attribution.
    pub container: Option<Arc<Container>>,
    /// Names of the policies that want this event, in name order.
    pub policies: Arc<[Arc<str>]>,
}

impl Default for SyscallEvent {
    /// Of nothing yet, to be filled.
    fn default() -> Self {
        SyscallEvent {
            seq: 0,
            time_ns: 0,
            mono_ns: 0,
            phase: Phase::Exit,
            stage: Stage::Run,
            probe: Probe::TpBtf,
            identity: Identity::Task,
            call: Call { via: Via::Syscall, nr: u32::MAX, entry: None },
            args: Vec::new(),
            path: None,
            ret: None,
            duration_ns: None,
            repeated: None,
            refused_by_seccomp: false,
            io_uring: None,
            process: Process::default(),
            slot: ContainerSlot(0),
            container: None,
            policies: Arc::default(),
        }
    }
}

impl SyscallEvent {
    /// The errno of a failed call (2 for ENOENT), `None` on success or without a result.
    ///
    /// Values from -4095 to -1 are errors by the kernel's convention, the internal restart codes among them.
    pub fn errno(&self) -> Option<u16> {
        match self.ret? {
            ret @ -4095..=-1 => Some(ret.unsigned_abs() as u16),
            _ => None,
        }
    }
}
