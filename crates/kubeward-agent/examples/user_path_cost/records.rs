//! Records as the kernel side writes them, many of each call, beside each other as in the ring.

use std::collections::BTreeMap;
use std::sync::Arc;

use kubeward_bpf::wire::{self, Item, Record, Wire};
use kubeward_core::container::{Container, ContainerId, ContainerSlot, PodRef, PodSource, Workload};
use kubeward_core::event::Text;
use kubeward_core::syscall::by_name;

pub(crate) const SLOT: ContainerSlot = ContainerSlot(1);
pub(crate) const EXE: &str = "/usr/local/bin/redis-server";
const EXEC: u64 = 77;

/// Records of a ring: some megabytes, so that they come out of the memory and not of the nearest cache.
const RECORDS: usize = 20_000;

/// Many records, one behind the other.
pub(crate) struct Ring {
    bytes: Vec<u8>,
    ends: Vec<usize>,
}

impl Ring {
    fn of(make: impl Fn(usize) -> Vec<u8>) -> Self {
        let mut ring = Self { bytes: Vec::new(), ends: Vec::new() };
        for at in 0..RECORDS {
            ring.bytes.extend_from_slice(&make(at));
            ring.ends.push(ring.bytes.len());
        }
        ring
    }

    pub(crate) fn records(&self) -> impl Iterator<Item = &[u8]> {
        let starts = std::iter::once(0).chain(self.ends.iter().copied());
        starts.zip(&self.ends).map(|(start, &end)| &self.bytes[start..end])
    }

    /// What names the program of all of them.
    pub(crate) fn exec(&self) -> Vec<u8> {
        let mut record = header("execve", wire::PHASE_CALL, 0, &[]);
        record.kind = wire::KIND_EXEC;
        with_items(record, &[(wire::ITEM_PATH, 0, b"redis-server\0bin\0local\0usr\0")])
    }
}

pub(crate) fn rings() -> [(&'static str, Ring); 6] {
    [
        ("getppid", Ring::of(getppid)),
        ("read", Ring::of(read)),
        ("openat", Ring::of(openat)),
        ("connect", Ring::of(connect)),
        ("execve", Ring::of(execve)),
        ("mixed", Ring::of(|at| [getppid, read, read, openat, read, connect, read, openat, read, read][at % 10](at))),
    ]
}

pub(crate) fn text(content: &str) -> Text {
    Text { bytes: content.as_bytes().into(), cut: false, redacted: false }
}

pub(crate) fn container() -> Arc<Container> {
    Arc::new(Container {
        id: ContainerId("4f5c".repeat(16)),
        name: Some("app".into()),
        image: Some("docker.io/library/redis:7".into()),
        image_digest: Some(format!("sha256:{}", "ab".repeat(32))),
        runtime: "containerd",
        runtime_namespace: Some("k8s.io".into()),
        labels: Default::default(),
        pod: Some(PodRef {
            namespace: "default".into(),
            name: "redis-0".into(),
            uid: "c0ffee00-0000-4000-8000-000000000001".into(),
            labels: BTreeMap::from([("app".into(), "redis".into())]).into(),
            source: PodSource::Cri,
            workload: Some(Workload { kind: "StatefulSet".into(), name: "redis".into() }),
        }),
    })
}

fn getppid(at: usize) -> Vec<u8> {
    with_items(at_moment(header("getppid", wire::PHASE_EXIT, 1, &[]), at), &[])
}

fn read(at: usize) -> Vec<u8> {
    let length = (at * 7919 % 16_384) as u64;
    let record = header("read", wire::PHASE_EXIT, length as i64, &[8, 0x7f3a_5c00_1000 + length, 16_384]);
    with_items(at_moment(record, at), &[])
}

fn openat(at: usize) -> Vec<u8> {
    let name = format!("/var/lib/redis/appendonly.{at}.aof\0");
    let path = format!("appendonly.{at}.aof\0redis\0lib\0var\0");
    let mut record = header("openat", wire::PHASE_CALL, 9, &[-100i64 as u64, 0x7ffc_0000_1000, 0o2_000_101, 0o644]);
    record.duration_ns = 2_310 + at as u64;
    let items = [(wire::ITEM_STRING, 1, name.as_bytes()), (wire::ITEM_PATH, 0, path.as_bytes())];
    with_items(at_moment(record, at), &items)
}

fn connect(at: usize) -> Vec<u8> {
    let mut address = vec![2, 0];
    address.extend_from_slice(&(1_024 + (at % 60_000) as u16).to_be_bytes());
    address.extend_from_slice(&[10, 0, 3, (at % 251) as u8, 0, 0, 0, 0, 0, 0, 0, 0]);
    let record = header("connect", wire::PHASE_EXIT, -115, &[12, 0x7ffc_0000_2000, 16]);
    with_items(at_moment(record, at), &[(wire::ITEM_SOCKADDR, 1, &address)])
}

fn execve(at: usize) -> Vec<u8> {
    let argv = format!("grep\0-rn\0--include=*.conf\0listen {at}\0/etc/redis\0");
    let record = header("execve", wire::PHASE_CALL, 0, &[0x5581_0000_1000, 0x5581_0000_2000, 0x5581_0000_3000]);
    let items = [
        (wire::ITEM_STRING, 0, &b"/usr/bin/grep\0"[..]),
        (wire::ITEM_ARGV, 1, argv.as_bytes()),
        (wire::ITEM_PATH, 0, b"grep\0bin\0usr\0"),
    ];
    with_items(at_moment(record, at), &items)
}

fn header(call: &str, phase: u8, ret: i64, args: &[u64]) -> Record {
    let mut record = Record::read_from(&[0; size_of::<Record>()]).expect("the buffer has the struct's size");
    record.kind = wire::KIND_CALL;
    record.phase = phase;
    record.stage = wire::STAGE_RUN as u8;
    record.probe = wire::PROBE_TP_BTF;
    record.identity = wire::IDENTITY_TASK;
    record.nr = by_name(call).expect("the catalogue has it").nr;
    record.slot = SLOT.0;
    record.ret = ret;
    record.args[..args.len()].copy_from_slice(args);
    record.exec_id = EXEC;
    record.start_boot_ns = 3_600_000_000_000;
    (record.pid, record.tid, record.ppid, record.container_pid) = (40_242, 40_243, 40_200, 1);
    (record.uid, record.gid) = (999, 999);
    record.comm[..12].copy_from_slice(b"redis-server");
    record
}

/// A microsecond apart.
fn at_moment(mut record: Record, at: usize) -> Record {
    record.mono_ns = 3_601_000_000_000 + at as u64 * 1_000;
    record
}

fn with_items(mut record: Record, items: &[(u8, u8, &[u8])]) -> Vec<u8> {
    let mut content = Vec::new();
    for &(kind, arg, bytes) in items {
        // A string comes without its NUL; paths and arguments keep theirs.
        let bytes = if kind == wire::ITEM_STRING { bytes.strip_suffix(b"\0").unwrap_or(bytes) } else { bytes };
        let item = Item { arg, kind, flags: 0, pad: 0, bytes: bytes.len() as u32 };
        content.extend_from_slice(item.as_bytes());
        content.extend_from_slice(bytes);
    }
    record.items_bytes = content.len() as u32;
    [record.as_bytes(), &content].concat()
}
