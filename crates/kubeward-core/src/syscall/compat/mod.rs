//! Calls of the architecture's 32-bit table: each is the native call that does the same, with arguments of its own where they
//! differ.
//!
//! `i386` holds the table and the kernel's functions, `shapes` the arguments, `many` the calls behind one number: `socketcall`
//! and `ipc`.

mod i386;
mod many;
mod shapes;

use std::collections::HashMap;
use std::sync::LazyLock;

use super::{by_name, ArgKind, ArgShape, Syscall};

pub use many::SUB_CALLS;

/// Where [`CompatCall::key`]s of sub-calls begin: the table's own numbers end below.
pub const FIRST_SUB_CALL: u16 = 512;

/// One call of the 32-bit table, or one of those that share the number of `socketcall` or `ipc`.
#[derive(Debug)]
pub struct CompatCall {
    /// Its number; of a sub-call, [`FIRST_SUB_CALL`] and more.
    pub key: u16,
    /// Number in the 32-bit table.
    pub nr: u16,
    /// Name in that table (`stat64`), or of the sub-call (`connect`).
    pub name: &'static str,
    /// The call that does the same in the native table.
    pub native: Option<&'static Syscall>,
    /// At most six; `None`: their meaning is not known.
    pub args: Option<&'static [ArgShape]>,
    pub places: Places,
    /// Of a number that stands for several calls: how its first argument says which.
    pub sub_calls: Option<SubCalls>,
}

/// Where a 32-bit call's arguments are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Places {
    /// The register, from 0, that points to 32-bit words which hold the arguments; `None`: the registers themselves do.
    pub words_in: Option<u8>,
    /// Register or word of each argument.
    pub from: &'static [u8],
}

impl Places {
    /// The six registers in order.
    pub const REGISTERS: Places = Places { words_in: None, from: &[0, 1, 2, 3, 4, 5] };
}

/// How the first argument chooses a sub-call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SubCalls {
    /// Bits of the argument that say which.
    pub mask: u32,
    /// Key of sub-call 0; there are [`SUB_CALLS`].
    pub first_key: u16,
}

impl CompatCall {
    /// The kernel's functions that serve the call and no native one, as its symbol table names them: those that a kernel has, out
    /// of these, are called. Empty for a call without a function, or with one that is the native call's own.
    pub fn symbols(&self) -> Vec<String> {
        // A sub-call comes by the function of its number.
        let name = name_of(self.nr).unwrap_or(self.name);
        if has(i386::WITHOUT_FUNCTION, name) || has(i386::SHARED_FUNCTIONS, name) {
            return Vec::new();
        }
        let functions = i386::FUNCTIONS.iter().find(|(call, _)| *call == name).map(|(_, functions)| *functions);
        let by_rule = if has(i386::WITH_COMPAT_FUNCTION, name) { "compat_sys_" } else { "sys_" };
        match functions {
            Some(functions) => functions.split(' ').map(|function| format!("__ia32_{function}")).collect(),
            None => vec![format!("__ia32_{by_rule}{name}")],
        }
    }

    /// A register or word as the kernel takes it: what is a signed number of 64 bits natively has 32 here.
    pub fn widen(kind: ArgKind, raw: u64) -> u64 {
        match kind {
            ArgKind::Long | ArgKind::Offset => i64::from(raw as u32 as i32) as u64,
            _ => raw,
        }
    }
}

/// The call that a record names by this key.
pub fn compat(key: u16) -> Option<&'static CompatCall> {
    let calls = compat_calls();
    let at = calls.binary_search_by_key(&key, |call| call.key).ok()?;
    Some(&calls[at])
}

/// The call of the 32-bit table with this number.
pub fn compat_by_nr(nr: u32) -> Option<&'static CompatCall> {
    u16::try_from(nr).ok().filter(|&nr| nr < FIRST_SUB_CALL).and_then(compat)
}

/// Every call of the 32-bit table and every sub-call, in order of their keys.
pub fn compat_calls() -> &'static [CompatCall] {
    static CALLS: LazyLock<Vec<CompatCall>> = LazyLock::new(|| table().chain(many::calls()).collect());
    &CALLS
}

fn table() -> impl Iterator<Item = CompatCall> {
    let own: HashMap<&str, &'static [ArgShape]> = shapes::OWN.iter().map(|call| (call.name, call.args)).collect();
    numbered().map(move |(nr, name)| {
        let native = native_of(name);
        CompatCall {
            key: nr,
            nr,
            name,
            native,
            args: own.get(name).copied().or_else(|| native.and_then(|native| native.args)),
            places: shapes::places(name),
            sub_calls: many::of(name),
        }
    })
}

/// The call of the native table that does what this one does.
fn native_of(name: &str) -> Option<&'static Syscall> {
    let renamed = shapes::RENAMED.iter().find(|(call, _)| *call == name).map(|(_, native)| *native);
    // Their wider forms: of user ids, of file sizes, of times.
    let narrow = ["_time64", "64", "32"].into_iter().find_map(|suffix| name.strip_suffix(suffix));
    renamed.or(Some(name)).and_then(by_name).or_else(|| by_name(narrow?))
}

fn numbered() -> impl Iterator<Item = (u16, &'static str)> {
    i386::ROWS.iter().flat_map(|&(first, names)| (first..).zip(names.split(' ')))
}

fn name_of(nr: u16) -> Option<&'static str> {
    numbered().find(|(number, _)| *number == nr).map(|(_, name)| name)
}

fn has(names: &str, name: &str) -> bool {
    names.split_whitespace().any(|one| one == name)
}
