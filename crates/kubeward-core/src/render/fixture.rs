//! Events for the renderers' tests.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

use proptest::collection::vec;
use proptest::prelude::*;

use crate::container::{Container, ContainerId, ContainerSlot, Labels, PodRef, PodSource, Workload};
use crate::event::{
    Arg, ArgValue, Call, Identity, Phase, Probe, Process, Repeated, SockAddr, Stage, SyscallEvent, Text, Via,
};
use crate::render::line::Sight;
use crate::syscall::{by_name, ArgKind};

pub(super) fn openat_call() -> Call {
    Call { via: Via::Syscall, nr: 257, entry: by_name("openat") }
}

/// 2026-01-02T03:04:05.123456789Z
pub(super) const TIME_NS: u64 = 1_767_323_045_123_456_789;

/// Created a quarter of a second before anybody looked.
pub(super) const SIGHT: Sight = Sight { created_ns: TIME_NS, covered_ns: TIME_NS + 250_000_000 };

pub(super) fn text(bytes: impl AsRef<[u8]>) -> Text {
    Text { bytes: bytes.as_ref().into(), cut: false, redacted: false }
}

pub(super) fn arg(name: &'static str, kind: ArgKind, raw: u64) -> Arg {
    Arg { name, kind, raw, value: ArgValue::Register }
}

pub(super) fn valued(name: &'static str, kind: ArgKind, value: ArgValue) -> Arg {
    Arg { name, kind, raw: 0x7ffc_0000_1000, value }
}

pub(super) fn web_container() -> Container {
    Container {
        id: ContainerId("4f5c".repeat(16)),
        name: Some("app".into()),
        image: Some("docker.io/library/web:1".into()),
        image_digest: Some(format!("sha256:{}", "ab".repeat(32))),
        runtime: "containerd",
        runtime_namespace: Some("k8s.io".into()),
        labels: BTreeMap::from([("tier".into(), "front".into())]).into(),
        pod: Some(PodRef {
            namespace: "default".into(),
            name: "web-0".into(),
            uid: "c0ffee00-0000-4000-8000-000000000001".into(),
            labels: BTreeMap::from([("app".into(), "web".into()), ("zone".into(), "a".into())]).into(),
            source: PodSource::Cri,
            workload: Some(Workload { kind: "StatefulSet".into(), name: "web".into() }),
        }),
    }
}

/// The kind of a call's argument in the catalogue.
pub(super) fn kind_of(call: &str, position: usize) -> ArgKind {
    let call = by_name(call).expect("the catalogue has this call");
    call.args.expect("its shape is known")[position].kind
}

/// `cat hosts` in a pod.
pub(super) fn openat_event() -> SyscallEvent {
    SyscallEvent {
        seq: 1042,
        time_ns: TIME_NS,
        mono_ns: 81_231,
        phase: Phase::Call,
        stage: Stage::Run,
        probe: Probe::Fentry,
        identity: Identity::Task,
        call: openat_call(),
        args: vec![
            arg("dfd", ArgKind::DirFd, -100i64 as u64),
            valued("filename", ArgKind::Path, ArgValue::Str(text("hosts"))),
            arg("flags", kind_of("openat", 2), 0o2_000_000),
            arg("mode", ArgKind::Mode, 0),
        ],
        path: Some(text("/etc/hosts")),
        ret: Some(3),
        duration_ns: Some(2_310),
        repeated: None,
        refused_by_seccomp: false,
        io_uring: None,
        process: Process {
            pid: 4242,
            tid: 4242,
            ppid: 4200,
            container_pid: 7,
            start_time_ns: TIME_NS - 1_000_000_000,
            uid: 0,
            gid: 0,
            comm: text("cat"),
            exe: Some(Arc::new(text("/bin/cat"))),
        },
        slot: ContainerSlot(1),
        container: Some(Arc::new(web_container())),
        policies: Arc::from([Arc::from("web")]),
    }
}

/// Bytes as a hostile program would choose them, up to the longest path.
fn hostile_text() -> impl Strategy<Value = Text> {
    let bytes = prop_oneof![
        4 => vec(any::<u8>(), 0..64),
        2 => "[\\x00-\\x1f\\x7f-\\u{9f}\\u{2028}-\\u{202e}\"\\\\é]{0,64}".prop_map(String::into_bytes),
        1 => (vec(any::<u8>(), 1..8), 0..512usize).prop_map(|(pattern, times)| pattern.repeat(times)),
    ];
    (bytes, any::<bool>(), any::<bool>()).prop_map(|(bytes, cut, redacted)| Text { bytes: bytes.into(), cut, redacted })
}

fn hostile_name() -> impl Strategy<Value = String> {
    prop_oneof![3 => any::<String>(), 1 => "[\\x00-\\x1f\\u{202e}]{0,600}"]
}

fn hostile_value() -> impl Strategy<Value = ArgValue> {
    prop_oneof![
        2 => Just(ArgValue::Register),
        1 => Just(ArgValue::Unreadable),
        3 => hostile_text().prop_map(ArgValue::Str),
        1 => (vec(hostile_text(), 0..12), any::<bool>()).prop_map(|(strings, cut)| ArgValue::Argv { strings, cut }),
        2 => hostile_address().prop_map(ArgValue::Sockaddr),
    ]
}

fn hostile_address() -> impl Strategy<Value = SockAddr> {
    prop_oneof![
        any::<(u32, u16)>().prop_map(|(addr, port)| SockAddr::Inet { addr: Ipv4Addr::from(addr), port }),
        any::<(u128, u16, u32, u32)>().prop_map(|(addr, port, flowinfo, scope_id)| SockAddr::Inet6 {
            addr: Ipv6Addr::from(addr),
            port,
            flowinfo,
            scope_id
        }),
        (hostile_text(), any::<bool>()).prop_map(|(path, is_abstract)| SockAddr::Unix { path, is_abstract }),
        (any::<u16>(), vec(any::<u8>(), 0..200))
            .prop_map(|(family, data)| SockAddr::Other { family, data: data.into() }),
    ]
}

fn any_kind() -> impl Strategy<Value = ArgKind> {
    prop::sample::select(vec![
        ArgKind::Int,
        ArgKind::UInt,
        ArgKind::Long,
        ArgKind::Size,
        ArgKind::ULong,
        ArgKind::Hex,
        kind_of("socket", 2),
        kind_of("fcntl", 2),
        ArgKind::Offset,
        ArgKind::Fd,
        ArgKind::DirFd,
        ArgKind::Path,
        ArgKind::Str,
        ArgKind::Argv,
        ArgKind::SockaddrIn { len: 2 },
        ArgKind::SockaddrOut { len: 2 },
        ArgKind::Ptr,
        ArgKind::Mode,
        ArgKind::Signal,
        ArgKind::Uid,
        ArgKind::Gid,
        ArgKind::Pid,
    ])
}

prop_compose! {
    fn hostile_container()(
        names in vec(hostile_name(), 7),
        labels in prop::collection::btree_map(hostile_name(), hostile_name(), 0..8).prop_map(Labels::from),
        in_pod in any::<bool>(),
    ) -> Container {
        Container {
            id: ContainerId(names[0].clone()),
            name: Some(names[1].clone()),
            image: Some(names[2].clone()),
            image_digest: Some(names[3].clone()),
            runtime: "containerd",
            runtime_namespace: Some(names[4].clone()),
            labels: labels.clone(),
            pod: in_pod.then(|| PodRef {
                namespace: names[5].clone(),
                name: names[6].clone(),
                uid: names[0].clone(),
                labels,
                source: PodSource::Labels,
                workload: Some(Workload { kind: names[1].clone(), name: names[2].clone() }),
            }),
        }
    }
}

prop_compose! {
    /// An event in which every foreign string is hostile.
    pub(super) fn hostile_event()(
        values in vec((any_kind(), any::<u64>(), hostile_value()), 0..=6),
        (path, comm, exe) in (prop::option::of(hostile_text()), vec(any::<u8>(), 0..16), hostile_text()),
        container in hostile_container(),
        (policies, policy_bytes) in (0..256usize, 1..254usize),
        (ret, seq, mono_ns, time_ns) in any::<(Option<i64>, u64, u64, u64)>(),
        repeated in any::<Option<(u64, u64, Option<u64>)>>(),
    ) -> SyscallEvent {
        let mut event = openat_event();
        event.args = values.into_iter().map(|(kind, raw, value)| Arg { name: "arg", kind, raw, value }).collect();
        event.path = path;
        event.process.comm = text(comm);
        event.process.exe = Some(Arc::new(exe));
        event.container = Some(Arc::new(container));
        event.policies = vec![Arc::from("p".repeat(policy_bytes)); policies].into();
        (event.ret, event.seq, event.mono_ns, event.time_ns) = (ret, seq, mono_ns, time_ns);
        event.repeated = repeated.map(|(count, last_time_ns, total_duration_ns)| Repeated { count, last_time_ns, total_duration_ns });
        event
    }
}
