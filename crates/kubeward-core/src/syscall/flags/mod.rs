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

use std::fmt::{self, Write};

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
    pub(super) fn write(&self, raw: u64, out: &mut String) {
        let raw = self.significant(raw);
        let field = self.values.iter().find(|(value, _)| self.significant(*value) == raw & self.field);
        let all_set = raw == self.width && self.field != u64::MAX;
        let mut list = List { start: out.len(), out };
        if all_set {
            list.item(format_args!("{raw:#x}"));
        } else {
            self.list(raw, field.map(|(_, name)| *name), &mut list);
        }
        if list.is_empty() {
            out.push_str(self.zero);
        }
    }

    fn list(&self, raw: u64, field: Option<&str>, list: &mut List<'_>) {
        let mut rest = if field.is_some() { raw & !self.field } else { raw };
        if let Some(name) = field.filter(|_| !self.field_last) {
            list.item(format_args!("{name}"));
        }
        for (bit, name) in self.bits {
            let bit = self.significant(*bit);
            if rest & bit == bit {
                list.item(format_args!("{name}"));
                rest &= !bit;
            }
        }
        if let Some(name) = field.filter(|_| self.field_last) {
            list.item(format_args!("{name}"));
        }
        if rest & self.permissions != 0 {
            list.item(format_args!("0{:02o}", rest & self.permissions));
            rest &= !self.permissions;
        }
        if rest != 0 {
            list.item(format_args!("{rest:#x}"));
        }
    }
}

/// Texts joined by `|` at the end of a string.
struct List<'a> {
    start: usize,
    out: &'a mut String,
}

impl List<'_> {
    fn is_empty(&self) -> bool {
        self.out.len() == self.start
    }

    fn item(&mut self, text: fmt::Arguments<'_>) {
        let separator = if self.is_empty() { "" } else { "|" };
        write!(self.out, "{separator}{text}").expect("writing to a String cannot fail");
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
