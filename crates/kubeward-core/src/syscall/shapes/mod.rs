//! What each call is about and what its arguments mean, by name: the same on every architecture.
//!
//! One file per category, so a call has exactly one. Argument names are the kernel's own, without its prefixes.

mod fd;
mod file;
mod memory;
mod mount;
mod network;
mod other;
mod process;
mod signal;
mod system;
mod timer;
mod user;

use super::{ArgShape, Category};

/// Calls of one category.
pub(super) struct Group {
    pub(super) category: Category,
    pub(super) calls: &'static [CallShape],
}

/// One call, whatever its number.
pub(super) struct CallShape {
    pub(super) name: &'static str,
    /// `None`: the meaning of its arguments is not known.
    pub(super) args: Option<&'static [ArgShape]>,
}

/// Every call that the catalogue can tell something about.
pub(super) static GROUPS: &[Group] = &[
    file::GROUP,
    mount::GROUP,
    network::GROUP,
    process::GROUP,
    fd::GROUP,
    memory::GROUP,
    signal::GROUP,
    timer::GROUP,
    user::GROUP,
    system::GROUP,
    other::GROUP,
];

/// Builds a [`Group`] from prototypes: `open(filename: Path, flags: Flags(&OPEN), mode: Mode);`. A name with `?`
/// instead of a list is a call whose arguments are not known.
macro_rules! group {
    ($category:ident: $($name:ident $args:tt;)*) => {
        pub(super) const GROUP: $crate::syscall::shapes::Group = $crate::syscall::shapes::Group {
            category: $crate::syscall::Category::$category,
            calls: &[$($crate::syscall::shapes::CallShape {
                name: stringify!($name),
                args: $crate::syscall::shapes::args!($args),
            }),*],
        };
    };
}

macro_rules! args {
    (?) => { None };
    (($($arg:ident: $kind:expr),*)) => {
        Some(&[$($crate::syscall::ArgShape { name: stringify!($arg), kind: $kind }),*])
    };
}

use {args, group};
