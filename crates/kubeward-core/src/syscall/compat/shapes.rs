//! What differs between a 32-bit call and the native one that does the same: its name, its arguments, where they are.

use super::Places;
use crate::syscall::flags::file::{AT_STAT, FADVISE, FALLOCATE, FANOTIFY, FANOTIFY_MARK, SYNC_FILE_RANGE, WHENCE};
use crate::syscall::flags::memory::{MAP, PROT};
use crate::syscall::flags::process::{CLONE, WAIT};
use crate::syscall::ArgKind::*;
use crate::syscall::ArgShape;

/// Calls whose native form has another name, beyond a `32`, `64` or `_time64` at its end.
pub(super) const RENAMED: &[(&str, &str)] = &[
    ("waitpid", "wait4"),
    ("oldstat", "stat"),
    ("oldfstat", "fstat"),
    ("oldlstat", "lstat"),
    ("umount", "umount2"),
    ("stime", "settimeofday"),
    ("nice", "setpriority"),
    ("signal", "rt_sigaction"),
    ("sigaction", "rt_sigaction"),
    ("sgetmask", "rt_sigprocmask"),
    ("ssetmask", "rt_sigprocmask"),
    ("sigprocmask", "rt_sigprocmask"),
    ("sigsuspend", "rt_sigsuspend"),
    ("sigpending", "rt_sigpending"),
    ("sigreturn", "rt_sigreturn"),
    ("olduname", "uname"),
    ("oldolduname", "uname"),
    ("readdir", "getdents"),
    ("_llseek", "lseek"),
    ("_newselect", "select"),
    ("ugetrlimit", "getrlimit"),
    ("mmap2", "mmap"),
    ("fadvise64_64", "fadvise64"),
    ("fstatat64", "newfstatat"),
];

/// A call with arguments of its own.
pub(super) struct OwnShape {
    pub(super) name: &'static str,
    pub(super) args: &'static [ArgShape],
}

macro_rules! own {
    ($($name:ident($($arg:ident: $kind:expr),*);)*) => {
        pub(super) static OWN: &[OwnShape] = &[$(OwnShape {
            name: stringify!($name),
            args: &[$(ArgShape { name: stringify!($arg), kind: $kind }),*],
        }),*];
    };
}

// A number of 64 bits comes in two halves.
own! {
    waitpid(pid: Pid, stat_addr: Ptr, options: Flags(&WAIT));
    umount(name: Path);
    stime(tptr: Ptr);
    nice(increment: Int);
    signal(sig: Signal, handler: Hex);
    sigaction(sig: Signal, act: Ptr, oact: Ptr);
    sgetmask();
    ssetmask(newmask: Hex);
    sigprocmask(how: Flags(&crate::syscall::flags::signal::SIGMASK_HOW), nset: Ptr, oset: Ptr);
    sigsuspend(unused1: Hex, unused2: Hex, mask: Hex);
    sigpending(uset: Ptr);
    sigreturn();
    clone(clone_flags: Flags(&CLONE), newsp: Ptr, parent_tidptr: Ptr, tls: Hex, child_tidptr: Ptr);
    _llseek(fd: Fd, offset_high: Hex, offset_low: Hex, result: Ptr, whence: Flags(&WHENCE));
    pread64(fd: Fd, buf: Ptr, count: Size, pos_low: Hex, pos_high: Hex);
    pwrite64(fd: Fd, buf: Ptr, count: Size, pos_low: Hex, pos_high: Hex);
    preadv(fd: Fd, vec: Ptr, vlen: ULong, pos_low: Hex, pos_high: Hex);
    pwritev(fd: Fd, vec: Ptr, vlen: ULong, pos_low: Hex, pos_high: Hex);
    preadv2(fd: Fd, vec: Ptr, vlen: ULong, pos_low: Hex, pos_high: Hex, flags: Flags(&crate::syscall::flags::file::RWF));
    pwritev2(fd: Fd, vec: Ptr, vlen: ULong, pos_low: Hex, pos_high: Hex, flags: Flags(&crate::syscall::flags::file::RWF));
    mmap2(addr: Ptr, len: Size, prot: Flags(&PROT), flags: Flags(&MAP), fd: Fd, pgoff: Hex);
    truncate64(path: Path, length_low: Hex, length_high: Hex);
    ftruncate64(fd: Fd, length_low: Hex, length_high: Hex);
    readahead(fd: Fd, offset_low: Hex, offset_high: Hex, count: Size);
    fadvise64(fd: Fd, offset_low: Hex, offset_high: Hex, len: Size, advice: Flags(&FADVISE));
    fadvise64_64(fd: Fd, offset_low: Hex, offset_high: Hex, len_low: Hex, len_high: Hex, advice: Flags(&FADVISE));
    sync_file_range(fd: Fd, offset_low: Hex, offset_high: Hex, nbytes_low: Hex, nbytes_high: Hex, flags: Flags(&SYNC_FILE_RANGE));
    fallocate(fd: Fd, mode: Flags(&FALLOCATE), offset_low: Hex, offset_high: Hex, len_low: Hex, len_high: Hex);
    statfs64(pathname: Path, sz: Size, buf: Ptr);
    fstatfs64(fd: Fd, sz: Size, buf: Ptr);
    fstatat64(dfd: DirFd, filename: Path, statbuf: Ptr, flag: Flags(&AT_STAT));
    fanotify_mark(
        fanotify_fd: Fd, flags: Flags(&FANOTIFY_MARK), mask_low: Flags(&FANOTIFY), mask_high: Hex, dfd: DirFd, pathname: Path
    );
    socketcall(call: Int, args: Ptr);
    ipc(call: Hex, first: Hex, second: Hex, third: Hex, ptr: Ptr, fifth: Hex);
}

/// The first `mmap` and `select` have one argument, which points to the others.
pub(super) fn places(name: &str) -> Places {
    match name {
        "mmap" => Places { words_in: Some(0), from: &[0, 1, 2, 3, 4, 5] },
        "select" => Places { words_in: Some(0), from: &[0, 1, 2, 3, 4] },
        _ => Places::REGISTERS,
    }
}
