//! The catalogue as the kernel side needs it: what each call's arguments point to.

use kubeward_core::syscall::{self, Capture, EntryRule, Field, StandsFor, Syscall, When};

use crate::maps::{MapError, Maps};
use crate::wire::{self, Shape, UringOp, CALLS};

/// Writes every call's shape. Done once, before anything is attached.
pub(crate) fn fill(maps: &Maps) -> Result<(), MapError> {
    (0..CALLS as u16).try_for_each(|nr| show_since(maps, nr, 0, 0))
}

/// Tells the kernel side since when a call's entries and returns are shown, by CLOCK_MONOTONIC; 0: they are not.
pub(crate) fn show_since(maps: &Maps, nr: u16, enter_ns: u64, exit_ns: u64) -> Result<(), MapError> {
    let mut shape = syscall::by_nr(nr.into()).map_or(NOTHING, native_shape);
    shape.native_nr = native_of_compat(nr);
    shape.enter_since_ns = enter_ns;
    shape.exit_since_ns = exit_ns;
    maps.set_shape(nr, &shape)
}

const NOTHING: Shape = Shape {
    capture: [wire::CAPTURE_NONE; 6],
    len_arg: [0; 6],
    flags: 0,
    native_nr: CALLS as u16,
    enter_since_ns: 0,
    exit_since_ns: 0,
};

fn native_shape(call: &Syscall) -> Shape {
    let mut shape = NOTHING;
    for (at, capture) in call.captures().into_iter().enumerate() {
        let (code, len_arg, flag) = match capture {
            Capture::None => continue,
            Capture::Str => (wire::CAPTURE_STRING, 0, wire::SHAPE_IN),
            Capture::Argv => (wire::CAPTURE_ARGV, 0, wire::SHAPE_IN),
            Capture::SockaddrIn { len } => (wire::CAPTURE_SOCKADDR_IN, len, wire::SHAPE_IN),
            Capture::SockaddrOut { len } => (wire::CAPTURE_SOCKADDR_OUT, len, wire::SHAPE_OUT),
        };
        shape.capture[at] = code;
        shape.len_arg[at] = len_arg;
        shape.flags |= flag;
    }
    if call.opens_file() {
        shape.flags |= wire::SHAPE_OPENS;
    }
    shape.flags |= match call.entry_rule() {
        EntryRule::NeverReturns => wire::SHAPE_NO_RETURN,
        EntryRule::Always if call.name.starts_with("exec") => wire::SHAPE_EXEC,
        EntryRule::Always => wire::SHAPE_ENTRY_KNOWS,
        EntryRule::WhenAsked => 0,
    };
    if matches!(call.name, "fork" | "vfork" | "clone" | "clone3") {
        shape.flags |= wire::SHAPE_FORKS;
    }
    shape
}

/// What every opcode stands for, in their order.
pub(crate) fn uring_ops() -> impl Iterator<Item = UringOp> {
    (0..wire::URING_OPS as u8).map(|opcode| {
        let stands_for = syscall::uring_op(opcode).and_then(|op| op.stands_for);
        stands_for.and_then(|stands_for| uring_op(&stands_for)).unwrap_or(NO_CALL)
    })
}

const NO_CALL: UringOp = UringOp {
    nr: CALLS as u16,
    other_nr: CALLS as u16,
    when: wire::WHEN_NEVER,
    flags: 0,
    from: [wire::FROM_NOWHERE; 6],
};

fn uring_op(stands_for: &StandsFor) -> Option<UringOp> {
    let call = stands_for.call()?;
    let mut op = UringOp { nr: call.nr, ..NO_CALL };
    for (from, field) in op.from.iter_mut().zip(stands_for.args) {
        *from = from_of(*field);
    }
    if let Some((when, other)) = stands_for.other() {
        op.other_nr = other.nr;
        op.when = match when {
            When::NoOffset => wire::WHEN_NO_OFFSET,
            When::DataSync => wire::WHEN_DATASYNC,
        };
    }
    let flags = [
        (stands_for.may_be_direct, wire::URING_OP_FILE_INDEX),
        (stands_for.notifies, wire::URING_OP_NOTIFIES),
        (call.name == "close", wire::URING_OP_CLOSES),
        (stands_for.repeats, wire::URING_OP_REPEATS),
    ];
    op.flags = flags.into_iter().filter_map(|(is_set, flag)| is_set.then_some(flag)).sum();
    Some(op)
}

fn from_of(field: Field) -> u8 {
    match field {
        Field::Zero => wire::FROM_NOWHERE,
        Field::MinusOne => wire::FROM_MINUS_ONE,
        Field::Fd => wire::FROM_FD,
        Field::Off => wire::FROM_OFF,
        Field::Addr => wire::FROM_ADDR,
        Field::Len => wire::FROM_LEN,
        Field::OpFlags => wire::FROM_OP_FLAGS,
        Field::FileIndex => wire::FROM_FILE_INDEX,
        Field::AddrLen => wire::FROM_ADDR_LEN,
        Field::Addr3 => wire::FROM_ADDR3,
        Field::AddrOrLen => wire::FROM_ADDR_OR_LEN,
        Field::OffOrLen => wire::FROM_OFF_OR_LEN,
    }
}

/// The native call that a 32-bit number means, [`CALLS`] where there is none of that name.
fn native_of_compat(nr: u16) -> u16 {
    let name = syscall::compat_name(nr.into());
    name.and_then(syscall::by_name).map_or(CALLS as u16, |call| call.nr)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shape(name: &str) -> Shape {
        native_shape(syscall::by_name(name).expect("the catalogue has the call"))
    }

    #[test]
    fn openat_reads_its_path_and_opens() {
        let openat = shape("openat");
        assert_eq!(openat.capture[..2], [wire::CAPTURE_NONE, wire::CAPTURE_STRING]);
        assert_eq!(openat.flags, wire::SHAPE_IN | wire::SHAPE_OPENS);
    }

    #[test]
    fn exec_is_known_from_its_entry() {
        assert_eq!(shape("execve").flags, wire::SHAPE_IN | wire::SHAPE_EXEC);
        assert_eq!(shape("execveat").flags, wire::SHAPE_IN | wire::SHAPE_EXEC);
        assert_eq!(shape("rt_sigreturn").flags, wire::SHAPE_ENTRY_KNOWS);
        assert_eq!(shape("exit_group").flags, wire::SHAPE_NO_RETURN);
    }

    #[test]
    fn accept_is_read_at_return() {
        let accept = shape("accept4");
        assert_eq!((accept.capture[1], accept.len_arg[1]), (wire::CAPTURE_SOCKADDR_OUT, 2));
        assert_eq!(accept.flags, wire::SHAPE_OUT);
    }
}
