//! `socketcall` and `ipc`: one number for many calls, of which the first argument says which.

use super::{CompatCall, Places, SubCalls, FIRST_SUB_CALL};
use crate::syscall::flags::memory::IPC_CTL;
use crate::syscall::flags::memory::SHMAT;
use crate::syscall::flags::network::MSG;
use crate::syscall::flags::other::MSG_QUEUE;
use crate::syscall::ArgKind::*;
use crate::syscall::{by_name, ArgShape};

/// Sub-calls of a number, from 0; not all of them are calls.
pub const SUB_CALLS: u16 = 32;

const IPC_FIRST: u16 = FIRST_SUB_CALL + SUB_CALLS;

/// Sub-call, the native call, and where its arguments are.
type Row = (u16, &'static str, &'static [u8]);

/// By the number of arguments, which are words behind the second argument.
const SOCKETCALL: &[(u16, &str)] = &[
    (1, "socket"),
    (2, "bind"),
    (3, "connect"),
    (4, "listen"),
    (5, "accept"),
    (6, "getsockname"),
    (7, "getpeername"),
    (8, "socketpair"),
    (9, "sendto"),
    (10, "recvfrom"),
    (11, "sendto"),
    (12, "recvfrom"),
    (13, "shutdown"),
    (14, "setsockopt"),
    (15, "getsockopt"),
    (16, "sendmsg"),
    (17, "recvmsg"),
    (18, "accept4"),
    (19, "recvmmsg"),
    (20, "sendmmsg"),
];

const IPC: &[Row] = &[
    (1, "semop", &[1, 4, 2]),
    (2, "semget", &[1, 2, 3]),
    (3, "semctl", &[1, 2, 3, 4]),
    (4, "semtimedop", &[1, 4, 2, 5]),
    (11, "msgsnd", &[1, 4, 2, 3]),
    (12, "msgrcv", &[1, 2, 3, 4, 5]),
    (13, "msgget", &[1, 2]),
    (14, "msgctl", &[1, 2, 4]),
    (21, "shmat", &[1, 4, 2, 3]),
    (22, "shmdt", &[4]),
    (23, "shmget", &[1, 2, 3]),
    (24, "shmctl", &[1, 2, 4]),
];

macro_rules! args {
    ($($arg:ident: $kind:expr),*) => { &[$(ArgShape { name: stringify!($arg), kind: $kind }),*] };
}

// `send` and `recv` have no address.
static SEND: &[ArgShape] = args!(fd: Fd, buff: Ptr, len: Size, flags: Flags(&MSG));
static RECV: &[ArgShape] = args!(fd: Fd, ubuf: Ptr, size: Size, flags: Flags(&MSG));
// Points to what the native call has in a register, and to what it returns.
static SEMCTL: &[ArgShape] = args!(semid: Int, semnum: Int, cmd: Flags(&IPC_CTL), ptr: Ptr);
static SHMAT_BY_IPC: &[ArgShape] = args!(shmid: Int, shmaddr: Ptr, shmflg: Flags(&SHMAT), raddr: Ptr);
// In one version of it `ptr` points to the message and its type, in the other `fifth` is the type.
static MSGRCV: &[ArgShape] = args!(msqid: Int, msgsz: Size, msgflg: Flags(&MSG_QUEUE), ptr: Ptr, fifth: Hex);

pub(super) fn of(name: &str) -> Option<SubCalls> {
    match name {
        "socketcall" => Some(SubCalls { mask: u32::MAX, first_key: FIRST_SUB_CALL }),
        // Above them is a version.
        "ipc" => Some(SubCalls { mask: 0xffff, first_key: IPC_FIRST }),
        _ => None,
    }
}

pub(super) fn calls() -> impl Iterator<Item = CompatCall> {
    let sockets = SOCKETCALL.iter().map(|&(sub, name)| {
        let native = by_name(name);
        let args = match sub {
            9 => Some(SEND),
            10 => Some(RECV),
            _ => native.and_then(|native| native.args),
        };
        let words = &Places::REGISTERS.from[..args.map_or(0, <[_]>::len).min(6)];
        let places = Places { words_in: Some(1), from: words };
        let nr = number("socketcall");
        CompatCall { key: FIRST_SUB_CALL + sub, nr, name, native, args, places, sub_calls: None }
    });
    let ipc = IPC.iter().map(|&(sub, name, from)| {
        let native = by_name(name);
        let args = match name {
            "semctl" => Some(SEMCTL),
            "shmat" => Some(SHMAT_BY_IPC),
            "msgrcv" => Some(MSGRCV),
            _ => native.and_then(|native| native.args),
        };
        let places = Places { words_in: None, from };
        CompatCall { key: IPC_FIRST + sub, nr: number("ipc"), name, native, args, places, sub_calls: None }
    });
    sockets.chain(ipc)
}

fn number(name: &str) -> u16 {
    let call = super::numbered().find(|(_, call)| *call == name);
    call.map(|(nr, _)| nr).expect("the table has the call that the others are behind")
}
