//! How long the line of a call's event would be: one is written, with arguments as they mostly are.

use std::net::Ipv4Addr;
use std::sync::Arc;

use kubeward_core::container::{Container, ContainerSlot};
use kubeward_core::event::{
    Arg, ArgValue, Call, Identity, Phase, Probe, Process, SockAddr, Stage, SyscallEvent, Text, Via,
};
use kubeward_core::policy::CallWant;
use kubeward_core::syscall::{by_nr, ArgKind, Syscall};

use crate::pipeline::Lines;

/// As long as the paths of libraries and settings are.
const PATH: &str = "/usr/lib/x86_64-linux-gnu/libc.so.6";

/// An argument vector.
const ARGV: [&str; 3] = ["/usr/bin/program", "--option", "argument"];

/// Bytes of the line, its end included.
pub(super) fn line_bytes(
    lines: &mut Lines,
    nr: u16,
    want: CallWant,
    container: Option<&Arc<Container>>,
    policies: Arc<[Arc<str>]>,
) -> usize {
    let event = event(nr, want, container.cloned(), policies);
    let mut line = Vec::new();
    lines.syscall(&mut line, &event);
    line.len()
}

fn event(nr: u16, want: CallWant, container: Option<Arc<Container>>, policies: Arc<[Arc<str>]>) -> SyscallEvent {
    let entry = by_nr(nr.into());
    let phase = match want.moments() {
        CallWant::ENTER => Phase::Enter,
        CallWant::EXIT => Phase::Exit,
        _ => Phase::Call,
    };
    let time_ns = 1_767_323_045_123_456_789;
    SyscallEvent {
        seq: 1_234_567,
        time_ns,
        mono_ns: 81_231_000_000_000,
        phase,
        stage: Stage::Run,
        probe: Probe::TpBtf,
        identity: Identity::Task,
        call: Call { via: Via::Syscall, nr: nr.into(), entry },
        args: entry.map(args).unwrap_or_default(),
        path: entry.filter(|call| call.opens_file() && phase != Phase::Enter).map(|_| text(PATH)),
        ret: (phase != Phase::Enter).then_some(3),
        duration_ns: (phase == Phase::Call).then_some(12_310),
        repeated: None,
        refused_by_seccomp: false,
        io_uring: None,
        process: Process {
            pid: 123_456,
            tid: 123_456,
            ppid: 123_400,
            container_pid: 42,
            start_time_ns: time_ns,
            uid: 1000,
            gid: 1000,
            comm: text("program"),
            exe: Some(Arc::new(text(ARGV[0]))),
        },
        slot: ContainerSlot(1),
        container,
        policies,
    }
}

fn args(call: &Syscall) -> Vec<Arg> {
    let arg = |kind: ArgKind| {
        let kind = kind.among(&[]);
        let raw = if kind.is_pointer() { 0x7ffd_2345_6000 } else { 3 };
        (kind, raw, value(kind))
    };
    let shapes = call.args.unwrap_or_default().iter();
    shapes
        .map(|shape| {
            let (kind, raw, value) = arg(shape.kind);
            Arg { name: shape.name, kind, raw, value }
        })
        .collect()
}

fn value(kind: ArgKind) -> ArgValue {
    match kind {
        ArgKind::Path | ArgKind::Str => ArgValue::Str(text(PATH)),
        ArgKind::Argv => ArgValue::Argv { strings: ARGV.map(text).into(), cut: false },
        ArgKind::SockaddrIn { .. } | ArgKind::SockaddrOut { .. } => {
            ArgValue::Sockaddr(SockAddr::Inet { addr: Ipv4Addr::new(10, 96, 0, 10), port: 8443 })
        }
        _ => ArgValue::Register,
    }
}

fn text(content: &str) -> Text {
    Text { bytes: content.as_bytes().into(), cut: false, redacted: false }
}
