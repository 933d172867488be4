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
pub(super) mod socket_option;
pub(super) mod system;
pub(super) mod timer;
pub(super) mod user;

use std::io::Write;

use super::hex;

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
    /// Bits that are permissions, shown in octal.
    permissions: u64,
    /// What nothing set is called, in a table of bits.
    zero: &'static str,
    /// The bits that the kernel looks at: 32 for an `int` or `unsigned int`, else 64.
    width: u64,
}

impl FlagTable {
    /// Each bit has its own meaning.
    const fn bits(bits: &'static [Name]) -> Self {
        let width = u32::MAX as u64;
        FlagTable { field: 0, values: &[], field_last: false, bits, permissions: 0, zero: "0", width }
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

    const fn permissions(self, permissions: u64) -> Self {
        FlagTable { permissions, ..self }
    }

    const fn zero(self, zero: &'static str) -> Self {
        FlagTable { zero, ..self }
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
    /// unless that has a name (`O_RDONLY`, `F_OK`). A number with every bit set is no set of flags: `0xffffffff`.
    pub(super) fn write(&self, raw: u64, out: &mut Vec<u8>) {
        let raw = self.significant(raw);
        let field = self.values.iter().find(|(value, _)| self.significant(*value) == raw & self.field);
        let all_set = raw == self.width && self.field != u64::MAX;
        let mut list = List { start: out.len(), out };
        if all_set {
            hex(raw, list.item());
        } else {
            self.list(raw, field.map(|(_, name)| *name), &mut list);
        }
        if list.is_empty() {
            out.extend_from_slice(self.zero.as_bytes());
        }
    }

    fn list(&self, raw: u64, field: Option<&str>, list: &mut List<'_>) {
        let mut rest = if field.is_some() { raw & !self.field } else { raw };
        if let Some(name) = field.filter(|_| !self.field_last) {
            list.item().extend_from_slice(name.as_bytes());
        }
        for (bit, name) in self.bits {
            let bit = self.significant(*bit);
            if rest & bit == bit {
                list.item().extend_from_slice(name.as_bytes());
                rest &= !bit;
            }
        }
        if let Some(name) = field.filter(|_| self.field_last) {
            list.item().extend_from_slice(name.as_bytes());
        }
        if rest & self.permissions != 0 {
            write!(list.item(), "0{:02o}", rest & self.permissions).expect("writing to a Vec cannot fail");
            rest &= !self.permissions;
        }
        if rest != 0 {
            hex(rest, list.item());
        }
    }
}

/// Texts joined by `|` at the end of what is written.
struct List<'a> {
    start: usize,
    out: &'a mut Vec<u8>,
}

impl List<'_> {
    fn is_empty(&self) -> bool {
        self.out.len() == self.start
    }

    /// Where the next text is to be written.
    fn item(&mut self) -> &mut Vec<u8> {
        if !self.is_empty() {
            self.out.push(b'|');
        }
        self.out
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
