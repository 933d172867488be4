//! Operations of io_uring, and the calls that each of them stands for.
//!
//! An operation that does just what some native call does is that call, with the arguments at the places that the call has
//! them. The others (timeouts, polls, cancelling, buffers, messages between rings, commands of drivers) are of no call.

use super::{by_name, Syscall};

/// One operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UringOp {
    /// `IORING_OP_*`, an ABI.
    pub opcode: u8,
    /// Without the prefix: `READ_FIXED`.
    pub name: &'static str,
    /// What it stands for; `None`: no call.
    pub stands_for: Option<StandsFor>,
}

/// The call that an operation is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StandsFor {
    call: &'static str,
    /// Another call, and when it is that one.
    other: Option<(When, &'static str)>,
    /// Where each of the call's arguments stands in the submission entry; the rest are 0.
    pub args: &'static [Field],
    /// It can make, or close, a registered file in place of a descriptor.
    pub may_be_direct: bool,
    /// It can be asked to go on after a result, to the next one.
    pub repeats: bool,
    /// Its one result may be marked as if more were to come.
    pub notifies: bool,
}

/// A place in a submission entry, by the name it has in `struct io_uring_sqe`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Field {
    /// Always 0.
    Zero,
    /// Always -1.
    MinusOne,
    Fd,
    /// Also `addr2`.
    Off,
    Addr,
    Len,
    /// `rw_flags`, `open_flags`, ...: one field of many names.
    OpFlags,
    /// Also `splice_fd_in`.
    FileIndex,
    AddrLen,
    Addr3,
    /// `addr`, or `len` where that is 0.
    AddrOrLen,
    /// `off`, or `len` where that is 0.
    OffOrLen,
}

/// When an operation is another call than it mostly is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum When {
    /// `off` is -1: the file's own position counts and moves.
    NoOffset,
    /// `IORING_FSYNC_DATASYNC`.
    DataSync,
}

impl StandsFor {
    pub fn call(&self) -> Option<&'static Syscall> {
        by_name(self.call)
    }

    pub fn other(&self) -> Option<(When, &'static Syscall)> {
        self.other.and_then(|(when, name)| Some((when, by_name(name)?)))
    }
}

/// The operation with this opcode.
pub fn uring_op(opcode: u8) -> Option<&'static UringOp> {
    OPS.get(usize::from(opcode))
}

/// Every operation, by opcode.
pub fn uring_ops() -> &'static [UringOp] {
    OPS
}

/// The operations that may be this call.
pub fn uring_ops_of(call: &Syscall) -> impl Iterator<Item = &'static UringOp> + use<> {
    let name = call.name;
    OPS.iter().filter(move |op| {
        op.stands_for.is_some_and(|call| call.call == name || call.other.is_some_and(|(_, other)| other == name))
    })
}

const fn op(opcode: u8, name: &'static str, call: &'static str, args: &'static [Field]) -> UringOp {
    let stands_for = StandsFor { call, other: None, args, may_be_direct: false, repeats: false, notifies: false };
    UringOp { opcode, name, stands_for: Some(stands_for) }
}

const fn none(opcode: u8, name: &'static str) -> UringOp {
    UringOp { opcode, name, stands_for: None }
}

impl UringOp {
    const fn or(mut self, when: When, call: &'static str) -> Self {
        if let Some(stands_for) = &mut self.stands_for {
            stands_for.other = Some((when, call));
        }
        self
    }

    const fn maybe_direct(mut self) -> Self {
        if let Some(stands_for) = &mut self.stands_for {
            stands_for.may_be_direct = true;
        }
        self
    }

    const fn repeating(mut self) -> Self {
        if let Some(stands_for) = &mut self.stands_for {
            stands_for.repeats = true;
        }
        self
    }

    const fn notifying(mut self) -> Self {
        if let Some(stands_for) = &mut self.stands_for {
            stands_for.notifies = true;
        }
        self
    }
}

use Field::{Addr, Addr3, AddrLen, AddrOrLen, Fd, FileIndex, Len, MinusOne, Off, OffOrLen, OpFlags, Zero};
use When::{DataSync, NoOffset};

const AT_OFFSET: &[Field] = &[Fd, Addr, Len, Off];
const VECTOR: &[Field] = &[Fd, Addr, Len, Off, Zero, OpFlags];
const SEND: &[Field] = &[Fd, Addr, Len, OpFlags, Off, AddrLen];
const RECEIVE: &[Field] = &[Fd, Addr, Len, OpFlags];
const MESSAGE: &[Field] = &[Fd, Addr, OpFlags];

const OPS: &[UringOp] = &[
    none(0, "NOP"),
    op(1, "READV", "preadv2", VECTOR),
    op(2, "WRITEV", "pwritev2", VECTOR),
    op(3, "FSYNC", "fsync", &[Fd]).or(DataSync, "fdatasync"),
    op(4, "READ_FIXED", "pread64", AT_OFFSET).or(NoOffset, "read"),
    op(5, "WRITE_FIXED", "pwrite64", AT_OFFSET).or(NoOffset, "write"),
    none(6, "POLL_ADD"),
    none(7, "POLL_REMOVE"),
    op(8, "SYNC_FILE_RANGE", "sync_file_range", &[Fd, Off, Len, OpFlags]),
    op(9, "SENDMSG", "sendmsg", MESSAGE),
    op(10, "RECVMSG", "recvmsg", MESSAGE).repeating(),
    none(11, "TIMEOUT"),
    none(12, "TIMEOUT_REMOVE"),
    op(13, "ACCEPT", "accept4", &[Fd, Addr, Off, OpFlags]).maybe_direct().repeating(),
    none(14, "ASYNC_CANCEL"),
    none(15, "LINK_TIMEOUT"),
    op(16, "CONNECT", "connect", &[Fd, Addr, Off]),
    op(17, "FALLOCATE", "fallocate", &[Fd, Len, Off, Addr]),
    op(18, "OPENAT", "openat", &[Fd, Addr, OpFlags, Len]).maybe_direct(),
    op(19, "CLOSE", "close", &[Fd]).maybe_direct(),
    none(20, "FILES_UPDATE"),
    op(21, "STATX", "statx", &[Fd, Addr, OpFlags, Len, Off]),
    op(22, "READ", "pread64", AT_OFFSET).or(NoOffset, "read"),
    op(23, "WRITE", "pwrite64", AT_OFFSET).or(NoOffset, "write"),
    op(24, "FADVISE", "fadvise64", &[Fd, Off, AddrOrLen, OpFlags]),
    op(25, "MADVISE", "madvise", &[Addr, OffOrLen, OpFlags]),
    op(26, "SEND", "sendto", SEND).repeating(),
    op(27, "RECV", "recvfrom", RECEIVE).repeating(),
    op(28, "OPENAT2", "openat2", &[Fd, Addr, Off, Len]).maybe_direct(),
    op(29, "EPOLL_CTL", "epoll_ctl", &[Fd, Len, Off, Addr]),
    op(30, "SPLICE", "splice", &[FileIndex, Addr, Fd, Off, Len, OpFlags]),
    none(31, "PROVIDE_BUFFERS"),
    none(32, "REMOVE_BUFFERS"),
    op(33, "TEE", "tee", &[FileIndex, Fd, Len, OpFlags]),
    op(34, "SHUTDOWN", "shutdown", &[Fd, Len]),
    op(35, "RENAMEAT", "renameat2", &[Fd, Addr, Len, Off, OpFlags]),
    op(36, "UNLINKAT", "unlinkat", &[Fd, Addr, OpFlags]),
    op(37, "MKDIRAT", "mkdirat", &[Fd, Addr, Len]),
    op(38, "SYMLINKAT", "symlinkat", &[Addr, Fd, Off]),
    op(39, "LINKAT", "linkat", &[Fd, Addr, Len, Off, OpFlags]),
    none(40, "MSG_RING"),
    op(41, "FSETXATTR", "fsetxattr", &[Fd, Addr, Off, Len, OpFlags]),
    op(42, "SETXATTR", "setxattr", &[Addr3, Addr, Off, Len, OpFlags]),
    op(43, "FGETXATTR", "fgetxattr", &[Fd, Addr, Off, Len]),
    op(44, "GETXATTR", "getxattr", &[Addr3, Addr, Off, Len]),
    op(45, "SOCKET", "socket", &[Fd, Off, Len]).maybe_direct(),
    none(46, "URING_CMD"),
    op(47, "SEND_ZC", "sendto", SEND).notifying(),
    op(48, "SENDMSG_ZC", "sendmsg", MESSAGE).notifying(),
    op(49, "READ_MULTISHOT", "pread64", AT_OFFSET).or(NoOffset, "read").repeating(),
    op(50, "WAITID", "waitid", &[Len, Fd, Off, FileIndex]),
    op(51, "FUTEX_WAIT", "futex_wait", &[Addr, Off, Addr3, Fd]),
    op(52, "FUTEX_WAKE", "futex_wake", &[Addr, Addr3, Off, Fd]),
    op(53, "FUTEX_WAITV", "futex_waitv", &[Addr, Len]),
    none(54, "FIXED_FD_INSTALL"),
    op(55, "FTRUNCATE", "ftruncate", &[Fd, Off]),
    op(56, "BIND", "bind", &[Fd, Addr, Off]),
    op(57, "LISTEN", "listen", &[Fd, Len]),
    op(58, "RECV_ZC", "recvfrom", RECEIVE).repeating(),
    op(59, "EPOLL_WAIT", "epoll_wait", &[Fd, Addr, Len, MinusOne]),
    op(60, "READV_FIXED", "preadv2", VECTOR),
    op(61, "WRITEV_FIXED", "pwritev2", VECTOR),
    op(62, "PIPE", "pipe2", &[Addr, OpFlags]).maybe_direct(),
    none(63, "NOP128"),
    none(64, "URING_CMD128"),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_operation_stands_at_its_opcode() {
        for (at, op) in OPS.iter().enumerate() {
            assert_eq!(usize::from(op.opcode), at, "{}", op.name);
        }
    }

    /// Those that are missed are named where users look for them.
    #[test]
    fn limits_name_every_operation_that_is_no_calls() {
        const PAGE: &str = include_str!("../../../../docs/limits.md");
        let unnamed = |op: &&UringOp| op.stands_for.is_none() && !PAGE.contains(&format!("`{}`", op.name));
        assert_eq!(OPS.iter().filter(unnamed).map(|op| op.name).collect::<Vec<_>>(), [""; 0]);
    }

    #[test]
    fn every_call_that_is_named_exists_and_takes_the_arguments_it_is_given() {
        for op in OPS {
            let Some(stands_for) = op.stands_for else { continue };
            let call = stands_for.call().unwrap_or_else(|| panic!("{}: {}", op.name, stands_for.call));
            assert!(stands_for.args.len() <= call.args.unwrap_or_default().len(), "{} is not {}", op.name, call.name);
            assert_eq!(stands_for.other.is_some(), stands_for.other().is_some(), "{}", op.name);
        }
    }

    #[test]
    fn a_read_at_the_files_own_position_is_a_read_and_else_a_pread() {
        let names = |call| -> Vec<&str> {
            uring_ops_of(by_name(call).expect("the catalogue has it")).map(|op| op.name).collect()
        };
        assert_eq!(names("read"), ["READ_FIXED", "READ", "READ_MULTISHOT"]);
        assert_eq!(names("pread64"), names("read"));
        assert_eq!(names("getpid"), [""; 0]);
    }
}
