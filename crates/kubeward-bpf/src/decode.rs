//! A record's bytes to an event. Pure: no kernel, no clock, and whatever the bytes are, an answer or an error.

mod items;
#[cfg(test)]
mod tests;

use std::mem::size_of;

use kubeward_core::container::ContainerSlot;
use kubeward_core::event::{
    Arg, ArgValue, Call, Identity, Phase, Probe, Process, Stage, SyscallEvent, Text, UringRequest, Via,
};
use kubeward_core::syscall::{self, ArgKind, ArgShape, Capture, CompatCall, Syscall, UNLISTED};

use crate::wire::{self, Record, Wire};

/// What one record says.
#[derive(Debug)]
pub enum Decoded {
    /// A call, which stands where it was to be decoded to.
    Call,
    /// A process of the container began to run `exe`; later records name it by `exec_id`.
    Exec { slot: ContainerSlot, exec_id: u64, exe: Text },
}

/// A call as the kernel told it. Of the event, `seq`, `time_ns`, `process.start_time_ns`, `process.exe`, `container` and
/// `policies` are the agent's to fill: decoding leaves what stood there.
#[derive(Debug, Default)]
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
    #[error("slot {slot} is none: there are {most} at most", most = wire::MOST_SLOTS)]
    Slot { slot: u32 },
    #[error("{field} {value} is not one that this build knows")]
    Unknown { field: &'static str, value: u8 },
}

/// Reads one record as the ring holds it: a header and `items_bytes` of items, nothing behind them. A call is put in place of
/// the one that `call` holds, whose memory is used again; after an error `call` means nothing.
pub fn decode(bytes: &[u8], call: &mut CallRecord) -> Result<Decoded, DecodeError> {
    let record = Record::read_from(bytes).ok_or(DecodeError::Short { bytes: bytes.len() })?;
    let rest = &bytes[size_of::<Record>()..];
    if rest.len() != record.items_bytes as usize {
        return Err(DecodeError::Items { announced: record.items_bytes as usize, carried: rest.len() });
    }
    if record.slot >= wire::MOST_SLOTS {
        return Err(DecodeError::Slot { slot: record.slot });
    }
    match record.kind {
        wire::KIND_CALL => {
            fill(call, &record)?;
            call.event.path = items::take_all(rest, &mut call.event.args)?;
            Ok(Decoded::Call)
        }
        wire::KIND_EXEC => Ok(Decoded::Exec {
            slot: ContainerSlot(record.slot),
            exec_id: record.exec_id,
            exe: items::take_all(rest, &mut Vec::new())?.unwrap_or_default(),
        }),
        value => Err(DecodeError::Unknown { field: "record kind", value }),
    }
}

fn fill(call: &mut CallRecord, record: &Record) -> Result<(), DecodeError> {
    let event = &mut call.event;
    let phase = phase(record.phase)?;
    event.mono_ns = record.mono_ns;
    event.phase = phase;
    event.stage = if u32::from(record.stage) == wire::STAGE_RUN { Stage::Run } else { Stage::Setup };
    event.probe = probe(record.probe)?;
    event.identity = identity(record.identity)?;
    event.call = call_of(record.nr, record.flags, record.number);
    event.ret = (phase != Phase::Enter).then_some(record.ret);
    event.duration_ns = (phase == Phase::Call).then_some(record.duration_ns);
    event.refused_by_seccomp = record.flags & wire::RECORD_REFUSED != 0;
    event.io_uring = request(record);
    event.slot = ContainerSlot(record.slot);
    fill_process(&mut event.process, record);
    fill_arguments(&mut event.args, record);
    call.exec_id = record.exec_id;
    call.start_boot_ns = record.start_boot_ns;
    Ok(())
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

/// By the catalogue's shape; six raw registers for a call that has none there, or whose arguments could not be read.
fn fill_arguments(args: &mut Vec<Arg>, record: &Record) {
    const RAW: [&str; 6] = ["arg0", "arg1", "arg2", "arg3", "arg4", "arg5"];
    let is_compat = record.flags & wire::RECORD_COMPAT != 0;
    args.clear();
    let raw_of = |at: usize, kind| if is_compat { CompatCall::widen(kind, record.args[at]) } else { record.args[at] };
    let mut push = |at: usize, name, kind| {
        let kind = ArgKind::among(kind, &record.args);
        args.push(Arg { name, kind, raw: raw_of(at, kind), value: ArgValue::Register });
    };
    match shapes(record).filter(|_| record.flags & wire::RECORD_NO_ARGS == 0) {
        Some(shapes) => shapes.iter().take(6).enumerate().for_each(|(at, shape)| push(at, shape.name, shape.kind)),
        None => RAW.into_iter().enumerate().for_each(|(at, name)| push(at, name, ArgKind::Hex)),
    }
    if record.flags & wire::RECORD_NO_ITEMS != 0 {
        let captured = args.iter_mut().zip(captures(record)).filter(|(_, capture)| *capture != Capture::None);
        captured.for_each(|(arg, _)| arg.value = ArgValue::Unreadable);
    }
}

/// What the catalogue says of the call's arguments.
fn shapes(record: &Record) -> Option<&'static [ArgShape]> {
    match record.flags & wire::RECORD_COMPAT != 0 {
        true => syscall::compat(record.nr)?.args,
        false => syscall::by_nr(record.nr.into())?.args,
    }
}

fn captures(record: &Record) -> [Capture; 6] {
    let captures = match record.flags & wire::RECORD_COMPAT != 0 {
        true => syscall::compat(record.nr).map(CompatCall::captures),
        false => syscall::by_nr(record.nr.into()).map(Syscall::captures),
    };
    captures.unwrap_or_default()
}

fn fill_process(process: &mut Process, record: &Record) {
    let comm = record.comm.split(|&byte| byte == 0).next().unwrap_or_default();
    process.pid = record.pid;
    process.tid = record.tid;
    process.ppid = record.ppid;
    process.container_pid = record.container_pid;
    process.uid = record.uid;
    process.gid = record.gid;
    process.comm = Text { bytes: comm.into(), cut: false, redacted: false };
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
