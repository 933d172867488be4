//! The catalogue: every system call of the running architecture, with its number, category and argument shapes.
//!
//! `x86_64` and `compat` hold what belongs to that architecture: numbers, and the kernel functions whose name
//! differs, of its native and of its 32-bit table. Everything else goes by the call's name and serves every architecture:
//! `shapes` (categories and arguments), `flags` (numbers as text), `resolve` (names as people write them), `set` (the `-e`
//! option), `hooks` (what the kernel side must know).

mod category;
mod compat;
mod errno;
mod flags;
mod hooks;
mod io_uring;
mod kind;
mod nearest;
mod resolve;
mod set;
mod shapes;
mod signals;
mod table;
#[cfg(test)]
mod tests;
mod x86_64;

pub use category::{Category, UnknownCategory};
pub use compat::{compat, compat_by_nr, compat_calls, CompatCall, Places, SubCalls, FIRST_SUB_CALL, SUB_CALLS};
pub use errno::{errno_by_name, errno_name};
pub use flags::FlagTable;
pub use hooks::{Capture, EntryRule};
pub use io_uring::{uring_op, uring_ops, uring_ops_of, Field, StandsFor, UringOp, When};
pub(crate) use kind::hex;
pub use kind::{ArgKind, ArgShape};
pub use resolve::{resolve, UnknownCall};
pub use set::{parse_set, CallSet, SetError};
pub use signals::signal_name;

/// Number of the catalogue's entry `unlisted`, which stands for every number that it lacks, in both tables.
pub const UNLISTED: u16 = 511;

/// One system call of an architecture.
#[derive(Debug)]
pub struct Syscall {
    /// Number in the architecture's native table.
    pub nr: u16,
    /// Name as in the table and in strace: `openat`, `newfstatat`, `umount2`.
    pub name: &'static str,
    pub category: Category,
    /// Kernel function without the architecture's prefix, when it is not `name` (`newstat` for `stat`).
    pub kernel_name: Option<&'static str>,
    /// False for a number that is kept in the table but that every supported kernel answers with ENOSYS.
    pub has_function: bool,
    /// At most six. Empty for a call without arguments; `None` for a call whose shape is not known.
    pub args: Option<&'static [ArgShape]>,
}

/// Every native call, in number order.
pub fn all() -> &'static [Syscall] {
    table::calls()
}

/// The native call with this number.
pub fn by_nr(nr: u32) -> Option<&'static Syscall> {
    table::by_nr(nr)
}

/// The native call with exactly this name (`openat`, not `sys_openat`: see [`resolve`]).
pub fn by_name(name: &str) -> Option<&'static Syscall> {
    all().iter().find(|call| call.name == name)
}

/// The native calls of a category, in number order.
pub fn in_category(category: Category) -> impl Iterator<Item = &'static Syscall> {
    all().iter().filter(move |call| call.category == category)
}
