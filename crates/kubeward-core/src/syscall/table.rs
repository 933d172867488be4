//! Joins an architecture's numbers with the call shapes, which are the same on every architecture.

use std::collections::HashMap;
use std::sync::LazyLock;

use super::shapes::{self, CallShape};
use super::{Category, Syscall, UNLISTED};

#[cfg(target_arch = "x86_64")]
use super::x86_64 as native;

pub(super) use native::O_LARGEFILE;

#[cfg(not(target_arch = "x86_64"))]
compile_error!("the catalogue has no table for this architecture: add one beside x86_64.rs");

/// Number of the row's first call, and its names from there on, separated by blanks.
pub(super) type Row = (u16, &'static str);

/// What differs from one architecture to another.
pub(super) struct Table {
    /// As messages name it.
    pub(super) arch: &'static str,
    /// Before the name of each call's function in the kernel's symbol table.
    pub(super) symbol_prefix: &'static str,
    pub(super) rows: &'static [Row],
    /// Call name and the name of its kernel function, where they differ.
    pub(super) kernel_names: &'static [(&'static str, &'static str)],
    /// Calls whose number is kept but that every supported kernel answers with ENOSYS.
    pub(super) without_function: &'static [&'static str],
    /// Names of libc functions, or of other architectures' calls, that this one never had, and the call that does
    /// the work here.
    pub(super) never_had: &'static [(&'static str, &'static str)],
}

/// The running architecture's table.
pub(super) fn native() -> &'static Table {
    &native::NATIVE
}

/// The native calls in number order.
pub(super) fn calls() -> &'static [Syscall] {
    static CALLS: LazyLock<Vec<Syscall>> = LazyLock::new(|| join(native(), &shapes_by_name()));
    &CALLS
}

/// The native call with this number, of those below [`UNLISTED`] and itself.
pub(super) fn by_nr(nr: u32) -> Option<&'static Syscall> {
    static BY_NR: LazyLock<Box<[Option<&'static Syscall>]>> = LazyLock::new(|| {
        let mut by_nr = vec![None; usize::from(UNLISTED) + 1];
        calls().iter().for_each(|call| by_nr[usize::from(call.nr)] = Some(call));
        by_nr.into()
    });
    *BY_NR.get(nr as usize)?
}

fn join(table: &Table, shapes: &HashMap<&str, (Category, &'static CallShape)>) -> Vec<Syscall> {
    let kernel_names: HashMap<&str, &'static str> = table.kernel_names.iter().copied().collect();
    let numbered = table.rows.iter().flat_map(|&(first, names)| (first..).zip(names.split(' ')));
    numbered
        .map(|(nr, name)| {
            let shape = shapes.get(name);
            Syscall {
                nr,
                name,
                category: shape.map_or(Category::Other, |(category, _)| *category),
                kernel_name: kernel_names.get(name).copied(),
                has_function: !table.without_function.contains(&name),
                args: shape.and_then(|(_, shape)| shape.args),
            }
        })
        .collect()
}

fn shapes_by_name() -> HashMap<&'static str, (Category, &'static CallShape)> {
    let groups = shapes::GROUPS.iter();
    groups.flat_map(|group| group.calls.iter().map(|call| (call.name, (group.category, call)))).collect()
}
