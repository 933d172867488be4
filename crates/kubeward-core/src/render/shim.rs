//! Stand-ins for what the catalogue will say.

use std::fmt::Write as _;

use crate::syscall::{ArgKind, Category};

pub(super) fn kind_text(kind: ArgKind, raw: u64, out: &mut String) {
    let _ = match kind {
        ArgKind::DirFd if raw as i32 == -100 => write!(out, "AT_FDCWD"),
        ArgKind::Int | ArgKind::Fd | ArgKind::DirFd | ArgKind::Signal | ArgKind::Pid => write!(out, "{}", raw as i32),
        ArgKind::UInt | ArgKind::Uid | ArgKind::Gid => write!(out, "{}", raw as u32),
        ArgKind::Long | ArgKind::Offset => write!(out, "{}", raw as i64),
        ArgKind::Size => write!(out, "{raw}"),
        ArgKind::Mode if raw == 0 => write!(out, "0"),
        ArgKind::Mode => write!(out, "0{raw:o}"),
        _ if raw == 0 => write!(out, "NULL"),
        _ => write!(out, "{raw:#x}"),
    };
}

pub(super) fn errno_name(errno: u16) -> Option<&'static str> {
    match errno {
        1 => Some("EPERM"),
        2 => Some("ENOENT"),
        512 => Some("ERESTARTSYS"),
        _ => None,
    }
}

pub(super) fn category_name(category: Category) -> &'static str {
    match category {
        Category::File => "file",
        _ => "other",
    }
}
