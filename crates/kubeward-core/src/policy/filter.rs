//! `spec.filter`, ready to judge events: each member narrows, and an event must pass all that are there.

use crate::event::{ArgValue, SockAddr, SyscallEvent, Text};
use crate::syscall::ArgKind;

/// 64 errors each.
pub const ERRNO_WORDS: usize = 9;

/// Errors by number. Has room for 1..576: all that user space knows and the kernel's own
/// restart codes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ErrnoSet([u64; ERRNO_WORDS]);

impl ErrnoSet {
    /// Does nothing for a number that no error has.
    pub fn insert(&mut self, errno: u16) {
        if let Some(word) = self.0.get_mut(usize::from(errno / 64)) {
            *word |= 1 << (errno % 64);
        }
    }

    pub fn contains(&self, errno: u16) -> bool {
        self.0.get(usize::from(errno / 64)).is_some_and(|word| word & (1 << (errno % 64)) != 0)
    }

    pub fn union(&mut self, other: &ErrnoSet) {
        self.0.iter_mut().zip(other.0).for_each(|(word, other)| *word |= other);
    }

    /// Bit `n % 64` of word `n / 64` is error `n`.
    pub fn words(&self) -> &[u64; ERRNO_WORDS] {
        &self.0
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Filter {
    /// The call must have failed with one of these.
    pub errors: Option<ErrnoSet>,
    /// The call must have taken this long; one whose duration is not known does not pass.
    pub min_duration_ns: Option<u64>,
    /// A path must be one of these or below it. Empty: any path and none.
    pub path_prefixes: Vec<PathPrefix>,
}

/// Why a policy that names the call does not want this event, in the order they are tried.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Unwanted {
    /// No policy for this container names this moment of the call.
    NoPolicy,
    Error,
    Duration,
    Path,
}

impl Filter {
    /// Every event passes.
    pub(super) fn passes_all(&self) -> bool {
        self.errors.is_none() && self.min_duration_ns.is_none() && self.path_prefixes.is_empty()
    }

    pub(super) fn judge(&self, event: &SyscallEvent) -> Result<(), Unwanted> {
        if let Some(errors) = &self.errors {
            if event.errno().is_none_or(|errno| !errors.contains(errno)) {
                return Err(Unwanted::Error);
            }
        }
        if let Some(least) = self.min_duration_ns {
            if event.duration_ns.is_none_or(|duration| duration < least) {
                return Err(Unwanted::Duration);
            }
        }
        if !self.path_prefixes.is_empty() && !paths(event).any(|path| self.is_below_prefix(path)) {
            return Err(Unwanted::Path);
        }
        Ok(())
    }

    fn is_below_prefix(&self, path: &Text) -> bool {
        self.path_prefixes.iter().any(|prefix| prefix.holds(&path.bytes))
    }
}

/// Every path the event speaks of: the opened file's, then the arguments in their order, Unix sockets among them.
fn paths(event: &SyscallEvent) -> impl Iterator<Item = &Text> {
    let arguments = event.args.iter().filter_map(|arg| match (&arg.kind, &arg.value) {
        (ArgKind::Path, ArgValue::Str(path)) => Some(path),
        (_, ArgValue::Sockaddr(SockAddr::Unix { path, is_abstract: false })) => Some(path),
        _ => None,
    });
    event.path.iter().chain(arguments)
}

/// An absolute path, as its components.
///
/// It is compared component by component, so `/etc` holds `/etc/hosts` and not `/etcetera`. `.`, `..` and repeated
/// slashes are resolved by the letters alone, so that `/tmp/../etc/shadow` is below `/etc`. A relative path is
/// below no prefix: where it starts is not known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PathPrefix(Vec<Box<[u8]>>);

impl PathPrefix {
    pub(super) fn new(path: &str) -> Self {
        PathPrefix(components(path.as_bytes()).into_iter().map(Box::from).collect())
    }

    fn holds(&self, path: &[u8]) -> bool {
        path.first() == Some(&b'/') && {
            let path = components(path);
            path.len() >= self.0.len() && self.0.iter().zip(path).all(|(ours, theirs)| **ours == *theirs)
        }
    }
}

fn components(path: &[u8]) -> Vec<&[u8]> {
    let mut components = Vec::new();
    for component in path.split(|byte| *byte == b'/') {
        match component {
            b"" | b"." => (),
            b".." => {
                components.pop();
            }
            _ => components.push(component),
        }
    }
    components
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prefixes_hold_whole_components() {
        let etc = PathPrefix::new("/etc/");
        for path in ["/etc", "/etc/", "/etc/hosts", "//etc/./hosts", "/tmp/../etc/shadow", "/../etc/x"] {
            assert!(etc.holds(path.as_bytes()), "{path}");
        }
        for path in ["/etcetera", "/", "", "etc/hosts", "/etc/../tmp/x", "/var/etc"] {
            assert!(!etc.holds(path.as_bytes()), "{path}");
        }
        assert!(PathPrefix::new("/").holds(b"/\xff\xfe"));
        assert!(PathPrefix::new("/a").holds(b"/a/\xff"));
    }

    #[test]
    fn errno_sets_hold_what_was_put_in() {
        let mut set = ErrnoSet::default();
        set.insert(1);
        set.insert(512);
        set.insert(4000);
        let held: Vec<u16> = (0..5000).filter(|errno| set.contains(*errno)).collect();
        assert_eq!(held, [1, 512]);
    }
}
