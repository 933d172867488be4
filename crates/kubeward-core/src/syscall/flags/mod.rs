//! Numbers as the text that people know them by: `O_RDONLY|O_CLOEXEC`, in strace's notation.
//!
//! One file per group of calls. Values come from the `libc` crate; those it lacks are given beside their name, from
//! the kernel's `include/uapi`.

pub(super) mod fd;
pub(super) mod file;
pub(super) mod memory;
pub(super) mod mount;
pub(super) mod network;
pub(super) mod other;
pub(super) mod process;
pub(super) mod signal;
pub(super) mod system;
pub(super) mod timer;
pub(super) mod user;

use super::kind::hex;

/// A value and its name.
pub(super) type Name = (u64, &'static str);

/// How a number is written as flag text: at most one field that holds one of several values, and single bits.
#[derive(Debug)]
pub struct FlagTable {
    /// The bits of the field; 0 when there is none.
    field: u64,
    values: &'static [Name],
    /// The field's name comes after the bits' (`CLONE_VM|SIGCHLD`).
    field_last: bool,
    /// A name of several bits comes before those of its parts.
    bits: &'static [Name],
    /// The bits that the kernel looks at: 32 for an `int` or `unsigned int`, else 64.
    width: u64,
}

impl FlagTable {
    /// Each bit has its own meaning.
    const fn bits(bits: &'static [Name]) -> Self {
        FlagTable { field: 0, values: &[], field_last: false, bits, width: u32::MAX as u64 }
    }

    /// The whole number is one of several values.
    const fn one_of(values: &'static [Name]) -> Self {
        FlagTable { field: u64::MAX, values, ..Self::bits(&[]) }
    }

    /// The bits of `field` hold one of `values`, the others are bits.
    const fn mixed(field: u64, values: &'static [Name], bits: &'static [Name]) -> Self {
        FlagTable { field, values, ..Self::bits(bits) }
    }

    const fn field_last(self) -> Self {
        FlagTable { field_last: true, ..self }
    }

    /// The argument is an `unsigned long`.
    const fn long(self) -> Self {
        FlagTable { width: u64::MAX, ..self }
    }

    /// The part of the register that the kernel looks at.
    pub fn significant(&self, raw: u64) -> u64 {
        raw & self.width
    }

    /// Appends the names of what is set, joined by `|`; what has no name follows in hexadecimal. Nothing set is `0`,
    /// unless the table has a name for it (`O_RDONLY`, `F_OK`).
    pub(super) fn write(&self, raw: u64, out: &mut String) {
        let raw = self.significant(raw);
        let field = self.values.iter().find(|(value, _)| value & self.width == raw & self.field & self.width);
        let mut rest = if field.is_some() { raw & !self.field } else { raw };
        let start = out.len();
        let field = field.map(|(_, name)| *name);
        let mut append = |name: &str| {
            if out.len() > start {
                out.push('|');
            }
            out.push_str(name);
        };
        field.filter(|_| !self.field_last).map(&mut append);
        for (bit, name) in self.bits {
            if rest & bit == *bit {
                append(name);
                rest &= !bit;
            }
        }
        field.filter(|_| self.field_last).map(&mut append);
        if rest != 0 {
            append(&format!("{rest:#x}"));
        }
        if out.len() == start {
            hex(0, out);
        }
    }
}

/// A list of [`Name`]s: `names![O_RDWR, O_PATH]` by the libc crate's values, `names![FUTEX_WAKE = 1]` by its own.
macro_rules! names {
    ($($name:ident $(= $value:expr)?),* $(,)?) => {
        &[$(($crate::syscall::flags::value!($name $(= $value)?), stringify!($name))),*]
    };
}

macro_rules! value {
    ($name:ident) => {
        libc::$name as u64
    };
    ($name:ident = $value:expr) => {
        $value
    };
}

pub(super) use {names, value};
