//! What a line costs: `cargo run --release -p kubeward-core --example render_cost`.

use std::collections::BTreeMap;
use std::hint::black_box;
use std::sync::Arc;
use std::time::Instant;

use kubeward_core::container::{Container, ContainerId, ContainerSlot, PodRef, PodSource, Workload};
use kubeward_core::event::{Arg, ArgValue, Call, Identity, Phase, Probe, Process, Stage, SyscallEvent, Text, Via};
use kubeward_core::render::json::JsonLines;
use kubeward_core::render::line::Stream;
use kubeward_core::render::text::{TextLines, TextOptions, TimeFormat};
use kubeward_core::syscall;

const ROUNDS: u32 = 1_000_000;

fn text(content: &str) -> Text {
    Text { bytes: content.as_bytes().into(), cut: false, redacted: false }
}

fn container() -> Container {
    Container {
        id: ContainerId("4f5c".repeat(16)),
        name: Some("app".into()),
        image: Some("docker.io/library/web:1".into()),
        image_digest: Some(format!("sha256:{}", "ab".repeat(32))),
        runtime: "containerd",
        runtime_namespace: Some("k8s.io".into()),
        labels: Default::default(),
        pod: Some(PodRef {
            namespace: "default".into(),
            name: "web-0".into(),
            uid: "c0ffee00-0000-4000-8000-000000000001".into(),
            labels: BTreeMap::from([("app".into(), "web".into())]).into(),
            source: PodSource::Cri,
            workload: Some(Workload { kind: "StatefulSet".into(), name: "web".into() }),
        }),
    }
}

fn event() -> SyscallEvent {
    let call = syscall::by_name("openat").expect("the catalogue has openat");
    let shapes = call.args.expect("its shape is known");
    let mut args: Vec<Arg> = shapes
        .iter()
        .zip([-100i64 as u64, 0x7ffc_0000_1000, 0o2_000_000, 0])
        .map(|(shape, raw)| Arg { name: shape.name, kind: shape.kind, raw, value: ArgValue::Register })
        .collect();
    args[1].value = ArgValue::Str(text("/etc/hosts"));
    SyscallEvent {
        seq: 1042,
        time_ns: 1_767_323_045_123_456_789,
        mono_ns: 81_231_000_000,
        phase: Phase::Call,
        stage: Stage::Run,
        probe: Probe::TpBtf,
        identity: Identity::Task,
        call: Call { via: Via::Syscall, nr: call.nr.into(), entry: Some(call) },
        args,
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
            start_time_ns: 1_767_323_044_000_000_000,
            uid: 0,
            gid: 0,
            comm: text("cat"),
            exe: Some(Arc::new(text("/bin/cat"))),
        },
        slot: ContainerSlot(1),
        container: Some(Arc::new(container())),
        policies: Arc::from([Arc::from("web")]),
    }
}

fn measure(name: &str, mut write: impl FnMut(&mut Vec<u8>, &SyscallEvent)) {
    let (event, mut out) = (event(), Vec::new());
    write(&mut out, &event);
    let length = out.len();
    let start = Instant::now();
    for _ in 0..ROUNDS {
        out.clear();
        write(&mut out, black_box(&event));
    }
    let line_ns = start.elapsed().as_nanos() / u128::from(ROUNDS);
    println!("{name}: {line_ns} ns a line of {length} bytes");
}

fn main() {
    let stream = Stream { node: "n1".into(), cluster: None, run: "b007-1".into(), event_labels: vec!["app".into()] };
    let mut json = JsonLines::new(&stream);
    measure("json", |out, event| json.syscall(out, event));
    let mut text = TextLines::new(TextOptions { time: TimeFormat::Clock, container: true });
    measure("text", |out, event| text.syscall(out, event));
}
