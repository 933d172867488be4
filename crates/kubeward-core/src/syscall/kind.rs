//! What one argument of a call means, and the text it is shown as.

use std::io::Write;

use super::flags::FlagTable;
use super::signal_name;

/// Name and kind of one argument.
#[derive(Debug)]
pub struct ArgShape {
    pub name: &'static str,
    pub kind: ArgKind,
}

/// What the 64 bits of an argument mean, and what the kernel side reads for it.
#[derive(Debug, Clone, Copy)]
pub enum ArgKind {
    /// Signed number of 32 bits (the upper half of the register is not part of it).
    Int,
    /// Unsigned number of 32 bits.
    UInt,
    /// Signed number of 64 bits.
    Long,
    /// Unsigned number of 64 bits.
    ULong,
    /// 64 bits whose meaning depends on another argument, or that are an opaque token: shown in hexadecimal.
    Hex,
    /// Number of bytes.
    Size,
    /// Signed file offset.
    Offset,
    /// File descriptor.
    Fd,
    /// Directory descriptor of an `*at` call; -100 is AT_FDCWD.
    DirFd,
    /// User pointer to a NUL-terminated path.
    Path,
    /// User pointer to a NUL-terminated string that is not a path.
    Str,
    /// User pointer to a NULL-terminated array of strings.
    Argv,
    /// User pointer to a socket address given by the caller, its length in argument `len`.
    SockaddrIn {
        len: u8,
    },
    /// User pointer to a socket address filled by the kernel, `len` the argument that points to its length.
    SockaddrOut {
        len: u8,
    },
    /// User pointer to anything else.
    Ptr,
    /// Bit flags and enumerations, shown as text.
    Flags(&'static FlagTable),
    /// What another argument makes of it: `kind` of the register of argument `arg`. See [`ArgKind::among`].
    By {
        arg: u8,
        kind: fn(u64) -> ArgKind,
    },
    /// File permission bits, shown in octal.
    Mode,
    Signal,
    Uid,
    Gid,
    Pid,
}

impl ArgKind {
    /// The kind that the argument has in a call made with these registers, in argument order: never [`ArgKind::By`].
    ///
    /// A register that is not given counts as 0.
    pub fn among(self, registers: &[u64]) -> ArgKind {
        match self {
            ArgKind::By { arg, kind } => kind(registers.get(usize::from(arg)).copied().unwrap_or_default()),
            kind => kind,
        }
    }

    /// Whether the register is an address in the caller's memory.
    pub fn is_pointer(self) -> bool {
        use ArgKind::*;
        matches!(self, Path | Str | Argv | SockaddrIn { .. } | SockaddrOut { .. } | Ptr)
    }

    /// The number that the kernel takes `raw` for, from -2^63 to 2^64-1: cut to the argument's width and with its
    /// sign. `None` for a pointer.
    pub fn integer(self, raw: u64) -> Option<i128> {
        use ArgKind::*;
        Some(match self {
            Path | Str | Argv | SockaddrIn { .. } | SockaddrOut { .. } | Ptr => return None,
            Int | Fd | DirFd | Signal | Pid => signed(raw).into(),
            Uid | Gid if raw as u32 == u32::MAX => -1,
            UInt | Uid | Gid => (raw as u32).into(),
            Mode => (raw as u16).into(),
            Long | Offset => (raw as i64).into(),
            ULong | Size | Hex | By { .. } => raw.into(),
            Flags(table) => table.significant(raw).into(),
        })
    }

    /// Appends the text of an argument that is known by its register alone; a pointer's is its address or `NULL`.
    pub fn write_text(self, raw: u64, out: &mut Vec<u8>) {
        use ArgKind::*;
        match self {
            Path | Str | Argv | SockaddrIn { .. } | SockaddrOut { .. } | Ptr if raw == 0 => {
                out.extend_from_slice(b"NULL")
            }
            Path | Str | Argv | SockaddrIn { .. } | SockaddrOut { .. } | Ptr => hex(raw, out),
            DirFd if signed(raw) == libc::AT_FDCWD => out.extend_from_slice(b"AT_FDCWD"),
            Hex | By { .. } if raw == 0 => out.push(b'0'),
            Hex | By { .. } => hex(raw, out),
            Flags(table) => table.write(raw, out),
            Mode => mode(raw as u16, out),
            Signal => match signal_name(raw as u32) {
                Some(name) => out.extend_from_slice(name.as_bytes()),
                None => decimal(signed(raw), out),
            },
            Int | Fd | DirFd | Pid => decimal(signed(raw), out),
            ULong | Size => decimal(raw, out),
            _ => decimal(self.integer(raw).expect("every pointer kind is matched above"), out),
        }
    }
}

fn signed(raw: u64) -> i32 {
    raw as u32 as i32
}

fn decimal(number: impl itoa::Integer, out: &mut Vec<u8>) {
    out.extend_from_slice(itoa::Buffer::new().format(number).as_bytes());
}

/// Appends `0x7f3a`.
pub(crate) fn hex(number: u64, out: &mut Vec<u8>) {
    let mut text = *b"0x0000000000000000";
    let digits = (u64::BITS - number.leading_zeros()).div_ceil(4).max(1) as usize;
    for (at, digit) in text[2..2 + digits].iter_mut().rev().enumerate() {
        *digit = b"0123456789abcdef"[(number >> (4 * at) & 0xf) as usize];
    }
    out.extend_from_slice(&text[..2 + digits]);
}

/// `0644`; with the file type of mknod before it (`S_IFCHR|0666`).
fn mode(mode: u16, out: &mut Vec<u8>) {
    let file_type = match u32::from(mode) & libc::S_IFMT {
        libc::S_IFIFO => "S_IFIFO|",
        libc::S_IFCHR => "S_IFCHR|",
        libc::S_IFDIR => "S_IFDIR|",
        libc::S_IFBLK => "S_IFBLK|",
        libc::S_IFREG => "S_IFREG|",
        libc::S_IFSOCK => "S_IFSOCK|",
        _ => "",
    };
    out.extend_from_slice(file_type.as_bytes());
    let bits = if file_type.is_empty() { mode } else { mode & 0o7777 };
    let written = if bits == 0 { write!(out, "0") } else { write!(out, "0{bits:02o}") };
    written.expect("writing to a Vec cannot fail");
}
