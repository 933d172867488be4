//! A record's bytes to an event. Pure: no kernel, no clock, and whatever the bytes are, an answer or an error.

mod items;
#[cfg(test)]
mod tests;

use std::mem::size_of;
use std::sync::Arc;

use kubeward_core::container::ContainerSlot;
use kubeward_core::event::{
    Arg, ArgValue, Call, Identity, Phase, Probe, Process, Stage, SyscallEvent, Text, UringRequest, Via,
};
use kubeward_core::syscall::{self, ArgKind, ArgShape, Capture, CompatCall, UNLISTED};

use crate::wire::{self, Record, Wire};
use items::Items;

/// What one record says.
#[derive(Debug)]
pub enum Decoded {
    Call(Box<CallRecord>),
    /// A process of the container began to run `exe`; later records name it by `exec_id`.
    Exec {
        slot: ContainerSlot,
        exec_id: u64,
        exe: Text,
    },
}

/// A call as the kernel told it. Of the event, `seq`, `time_ns`, `process.start_time_ns`, `process.exe`, `container` and
/// `policies` are the agent's to fill.
#[derive(Debug)]
pub struct CallRecord {
    pub event: SyscallEvent,
    /// Names the exec that started the process's program, 0 when it was not seen.
    pub exec_id: u64,
    /// CLOCK_BOOTTIME at which the thread started.
    pub start_boot_ns: u64,
}

/// Why bytes are not a record. The record is counted and left out; the next one is not affected.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    #[error("a record of {bytes} bytes is shorter than its header of {header}", header = size_of::<Record>())]
    Short { bytes: usize },
    #[error("a record announces {announced} bytes of items and carries {carried}")]
    Items { announced: usize, carried: usize },
    #[error("item {at} ends after its record")]
    ItemEnd { at: usize },
    #[error("{field} {value} is not one that this build knows")]
    Unknown { field: &'static str, value: u8 },
}

/// Reads one record as the ring holds it: a header and `items_bytes` of items, nothing behind them.
pub fn decode(bytes: &[u8]) -> Result<Decoded, DecodeError> {
    let record = Record::read_from(bytes).ok_or(DecodeError::Short { bytes: bytes.len() })?;
    let rest = &bytes[size_of::<Record>()..];
    if rest.len() != record.items_bytes as usize {
        return Err(DecodeError::Items { announced: record.items_bytes as usize, carried: rest.len() });
    }
    let items = Items::parse(rest)?;
    match record.kind {
        wire::KIND_CALL => Ok(Decoded::Call(Box::new(call(&record, items)?))),
        wire::KIND_EXEC => Ok(Decoded::Exec {
            slot: ContainerSlot(record.slot),
            exec_id: record.exec_id,
            exe: items.path.unwrap_or_default(),
        }),
        value => Err(DecodeError::Unknown { field: "record kind", value }),
    }
}

fn call(record: &Record, items: Items) -> Result<CallRecord, DecodeError> {
    let phase = phase(record.phase)?;
    let has_return = phase != Phase::Enter;
    let call = call_of(record.nr, record.flags, record.number);
    let Items { args, path } = items;
    let event = SyscallEvent {
        seq: 0,
        time_ns: 0,
        mono_ns: record.mono_ns,
        phase,
        stage: if u32::from(record.stage) == wire::STAGE_RUN { Stage::Run } else { Stage::Setup },
        probe: probe(record.probe)?,
        identity: identity(record.identity)?,
        args: arguments(record, args),
        call,
        path,
        ret: has_return.then_some(record.ret),
        duration_ns: (phase == Phase::Call).then_some(record.duration_ns),
        refused_by_seccomp: record.flags & wire::RECORD_REFUSED != 0,
        io_uring: request(record),
        process: process(record),
        slot: ContainerSlot(record.slot),
        container: None,
        policies: Arc::new([]),
    };
    Ok(CallRecord { event, exec_id: record.exec_id, start_boot_ns: record.start_boot_ns })
}

/// The call that a record or a table names by `nr`, and that its caller named by `number`.
pub(crate) fn call_of(nr: u16, flags: u8, number: u32) -> Call {
    if flags & wire::RECORD_COMPAT != 0 {
        let compat = syscall::compat(nr);
        let nr = compat.map_or(number, |call| call.nr.into());
        return Call { via: Via::Compat, nr, entry: compat.and_then(|call| call.native) };
    }
    let via = if flags & wire::RECORD_IO_URING != 0 { Via::IoUring } else { Via::Syscall };
    let entry = syscall::by_nr(nr.into()).filter(|entry| entry.nr != UNLISTED);
    Call { via, nr: entry.map_or(number, |entry| entry.nr.into()), entry }
}

fn request(record: &Record) -> Option<UringRequest> {
    (record.flags & wire::RECORD_IO_URING != 0).then_some(UringRequest {
        opcode: record.uring_opcode,
        fixed_file: record.uring_flags & wire::URING_FIXED_FILE != 0,
        direct: record.uring_flags & wire::URING_DIRECT != 0,
    })
}

/// What the catalogue says of the call's arguments.
#[derive(Default)]
struct Signature {
    args: Option<&'static [ArgShape]>,
    captures: [Capture; 6],
}

fn signature(record: &Record) -> Signature {
    let native = || syscall::by_nr(record.nr.into());
    let args = match record.flags & wire::RECORD_COMPAT != 0 {
        true => syscall::compat(record.nr).map(|call| (call.args, call.captures())),
        false => native().map(|call| (call.args, call.captures())),
    };
    args.map_or_else(Signature::default, |(args, captures)| Signature { args, captures })
}

/// By the catalogue's shape; six raw registers for a call that has none there, or whose arguments could not be read.
fn arguments(record: &Record, mut values: [Option<ArgValue>; 6]) -> Vec<Arg> {
    const RAW: [&str; 6] = ["arg0", "arg1", "arg2", "arg3", "arg4", "arg5"];
    let Signature { args, captures } = signature(record);
    let is_compat = record.flags & wire::RECORD_COMPAT != 0;
    let lacks_items = record.flags & wire::RECORD_NO_ITEMS != 0;
    let mut arg = |at: usize, name, kind| {
        let unread =
            if lacks_items && captures[at] != Capture::None { ArgValue::Unreadable } else { ArgValue::Register };
        let kind = ArgKind::among(kind, &record.args);
        let raw = record.args[at];
        let raw = if is_compat { CompatCall::widen(kind, raw) } else { raw };
        Arg { name, kind, raw, value: values[at].take().unwrap_or(unread) }
    };
    match args.filter(|_| record.flags & wire::RECORD_NO_ARGS == 0) {
        Some(shapes) => shapes.iter().take(6).enumerate().map(|(at, shape)| arg(at, shape.name, shape.kind)).collect(),
        None => RAW.into_iter().enumerate().map(|(at, name)| arg(at, name, ArgKind::Hex)).collect(),
    }
}

fn process(record: &Record) -> Process {
    let comm = record.comm.split(|&byte| byte == 0).next().unwrap_or_default();
    Process {
        pid: record.pid,
        tid: record.tid,
        ppid: record.ppid,
        container_pid: record.container_pid,
        start_time_ns: 0,
        uid: record.uid,
        gid: record.gid,
        comm: Text { bytes: comm.into(), cut: false, redacted: false },
        exe: None,
    }
}

fn phase(value: u8) -> Result<Phase, DecodeError> {
    match value {
        wire::PHASE_ENTER => Ok(Phase::Enter),
        wire::PHASE_EXIT => Ok(Phase::Exit),
        wire::PHASE_CALL => Ok(Phase::Call),
        value => Err(DecodeError::Unknown { field: "phase", value }),
    }
}

fn probe(value: u8) -> Result<Probe, DecodeError> {
    match value {
        wire::PROBE_TP_BTF => Ok(Probe::TpBtf),
        wire::PROBE_TRACEPOINT => Ok(Probe::Tracepoint),
        wire::PROBE_KPROBE => Ok(Probe::Kprobe),
        wire::PROBE_KPROBE_MULTI => Ok(Probe::KprobeMulti),
        wire::PROBE_FENTRY => Ok(Probe::Fentry),
        value => Err(DecodeError::Unknown { field: "probe", value }),
    }
}

fn identity(value: u8) -> Result<Identity, DecodeError> {
    match value {
        wire::IDENTITY_TASK => Ok(Identity::Task),
        wire::IDENTITY_CGROUP => Ok(Identity::Cgroup),
        wire::IDENTITY_NAMESPACE => Ok(Identity::Namespace),
        value => Err(DecodeError::Unknown { field: "identity", value }),
    }
}
