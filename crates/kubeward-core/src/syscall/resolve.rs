//! From a name as people write it to the call: `sys_openat` (the first implementation's form), `openat`,
//! `__x64_sys_openat`.

use super::nearest::nearest;
use super::table::native;
use super::{all, by_name, Syscall};

/// The name is no call's.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum UnknownCall {
    /// Nothing is near enough to suggest.
    #[error("unknown call {given:?} (`kubeward syscalls` lists them)")]
    Unknown { given: String },
    /// Probably a slip; the suggestion has the form that was used.
    #[error("unknown call {given:?} (did you mean {suggestion:?}?)")]
    Misspelt { given: String, suggestion: String },
    /// A call of other architectures, or a function of libc; `instead` does its work here.
    #[error("{arch} has no call {given:?} ({instead:?} does its work there)")]
    NotHere { given: String, arch: &'static str, instead: String },
}

impl UnknownCall {
    /// The name as it was given.
    pub fn given(&self) -> &str {
        match self {
            UnknownCall::Unknown { given }
            | UnknownCall::Misspelt { given, .. }
            | UnknownCall::NotHere { given, .. } => given,
        }
    }

    /// A valid name to use instead, in the form that was used.
    pub fn suggestion(&self) -> Option<&str> {
        match self {
            UnknownCall::Unknown { .. } => None,
            UnknownCall::Misspelt { suggestion, .. } => Some(suggestion),
            UnknownCall::NotHere { instead, .. } => Some(instead),
        }
    }
}

/// The call that `given` names.
///
/// The table's name wins over the kernel's: `sys_stat` is stat, and so is `sys_newstat`; `sys_umount` is umount2,
/// as its kernel function is named.
pub fn resolve(given: &str) -> Result<&'static Syscall, UnknownCall> {
    let (_, bare) = split_prefix(given);
    by_name(bare).or_else(|| by_kernel_name(bare)).ok_or_else(|| unknown(given))
}

fn split_prefix(given: &str) -> (&str, &str) {
    let symbol_prefix = native().symbol_prefix;
    let len = [symbol_prefix, "sys_"].into_iter().find(|prefix| given.starts_with(prefix)).map_or(0, str::len);
    given.split_at(len)
}

fn by_kernel_name(bare: &str) -> Option<&'static Syscall> {
    let (name, _) = native().kernel_names.iter().find(|(_, kernel_name)| *kernel_name == bare)?;
    by_name(name)
}

/// Looks for the name that was meant, whatever its case.
fn unknown(given: &str) -> UnknownCall {
    let lower = given.to_ascii_lowercase();
    let (prefix, bare) = split_prefix(&lower);
    let given = given.to_owned();
    if let Some((_, instead)) = native().never_had.iter().find(|(name, _)| *name == bare) {
        return UnknownCall::NotHere { given, arch: native().arch, instead: format!("{prefix}{instead}") };
    }
    let kernel_names = native().kernel_names.iter().map(|(_, kernel_name)| *kernel_name);
    match nearest(bare, all().iter().map(|call| call.name).chain(kernel_names)) {
        Some(name) => UnknownCall::Misspelt { given, suggestion: format!("{prefix}{name}") },
        None => UnknownCall::Unknown { given },
    }
}
