//! The catalogue as the kernel side needs it: what each call's arguments point to.

use kubeward_core::syscall::{self, Capture, EntryRule, Field, StandsFor, Syscall, When, UNLISTED};

use crate::maps::{MapError, Maps};
use crate::wire::{self, Shape, UringOp, CALLS};

/// Writes every call's shape. Done once, before anything is attached.
pub(crate) fn fill(maps: &Maps) -> Result<(), MapError> {
    (0..CALLS as u16).try_for_each(|nr| show_since(maps, nr, 0, 0))?;
    let last = wire::SHAPES as u16 - CALLS as u16;
    (0..last).try_for_each(|key| maps.set_shape(CALLS as u16 + key, &compat_shape(key)))
}

/// Tells the kernel side since when a native call's entries and returns are shown, by CLOCK_MONOTONIC; 0: they are not.
pub(crate) fn show_since(maps: &Maps, nr: u16, enter_ns: u64, exit_ns: u64) -> Result<(), MapError> {
    let mut shape = syscall::by_nr(nr.into()).map_or(NOTHING, native_shape);
    shape.enter_since_ns = enter_ns;
    shape.exit_since_ns = exit_ns;
    maps.set_shape(nr, &shape)
}

/// Of a number that the catalogue does not have.
const NOTHING: Shape = Shape {
    capture: [wire::CAPTURE_NONE; 6],
    len_arg: [0; 6],
    from: [0, 1, 2, 3, 4, 5],
    words_in: wire::NO_WORDS,
    words: 0,
    flags: 0,
    nr: UNLISTED,
    native_nr: UNLISTED,
    sub_calls: 0,
    sub_call_mask: 0,
    enter_since_ns: 0,
    exit_since_ns: 0,
};

fn native_shape(call: &Syscall) -> Shape {
    let mut shape = NOTHING;
    (shape.nr, shape.native_nr) = (call.nr, call.nr);
    capture(&mut shape, call.captures());
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

/// Of a call of the 32-bit table, or one that shares a number there.
fn compat_shape(key: u16) -> Shape {
    let Some(call) = syscall::compat(key) else { return NOTHING };
    let mut shape = NOTHING;
    shape.nr = call.key;
    if call.symbols().is_empty() {
        shape.flags |= wire::SHAPE_SHARED;
    }
    shape.native_nr = call.native.map_or(UNLISTED, |native| native.nr);
    capture(&mut shape, call.captures());
    shape.from = NOWHERE;
    for (from, place) in shape.from.iter_mut().zip(call.places.from) {
        *from = *place;
    }
    if let Some(register) = call.places.words_in {
        (shape.words_in, shape.words) = (register, call.places.from.len() as u8);
    }
    if let Some(sub_calls) = call.sub_calls {
        (shape.sub_calls, shape.sub_call_mask) = (CALLS as u16 + sub_calls.first_key, sub_calls.mask);
    }
    shape
}

/// No register and no word.
const NOWHERE: [u8; 6] = [0xff; 6];

fn capture(shape: &mut Shape, captures: [Capture; 6]) {
    for (at, capture) in captures.into_iter().enumerate() {
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
    fn a_32_bit_call_has_the_native_number_and_its_own_arguments() {
        let stat64 = compat_shape(195);
        assert_eq!((stat64.nr, stat64.native_nr), (195, 4));
        assert_eq!((stat64.capture[0], stat64.words_in), (wire::CAPTURE_STRING, wire::NO_WORDS));
        assert_eq!((compat_shape(113).nr, compat_shape(113).native_nr), (113, UNLISTED), "vm86old");
        assert_eq!(
            (stat64.flags, compat_shape(20).flags),
            (wire::SHAPE_IN, wire::SHAPE_SHARED),
            "getpid has one function"
        );
        assert_eq!((compat_shape(17).nr, compat_shape(17).native_nr), (UNLISTED, UNLISTED), "never a call");
    }

    #[test]
    fn the_sub_calls_of_one_number_follow_the_tables() {
        let socketcall = compat_shape(102);
        assert_eq!((socketcall.native_nr, socketcall.sub_call_mask), (UNLISTED, u32::MAX));
        let connect = compat_shape(socketcall.sub_calls + 3 - CALLS as u16);
        assert_eq!((connect.nr, connect.native_nr), (515, 42));
        assert_eq!((connect.words_in, connect.words, connect.from), (1, 3, [0, 1, 2, 0xff, 0xff, 0xff]));
        assert_eq!((connect.capture[1], connect.len_arg[1]), (wire::CAPTURE_SOCKADDR_IN, 2));
        assert_eq!(syscall::SUB_CALLS, wire::SUB_CALLS);
        assert_eq!(usize::from(syscall::FIRST_SUB_CALL), CALLS);
    }

    #[test]
    fn accept_is_read_at_return() {
        let accept = shape("accept4");
        assert_eq!((accept.capture[1], accept.len_arg[1]), (wire::CAPTURE_SOCKADDR_OUT, 2));
        assert_eq!(accept.flags, wire::SHAPE_OUT);
    }
}
