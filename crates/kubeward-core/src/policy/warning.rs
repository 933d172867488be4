//! What a policy may say by mistake: accepted all the same, and told.

use std::fmt;

use super::check::Named;
use super::model::{Capture, FilterSpec, Mode, Spec};
use super::want::CallWants;
use crate::syscall::{self, ArgKind, Syscall};

/// Entry points that do the same work, so that a program picks one or the other: libc has moved from the first to
/// the later ones over the years, and language runtimes differ.
const SIBLINGS: &[&[&str]] = &[
    &["open", "openat", "openat2", "creat"],
    &["stat", "newfstatat", "statx"],
    &["lstat", "newfstatat", "statx"],
    &["fstat", "newfstatat", "statx"],
    &["access", "faccessat", "faccessat2"],
    &["unlink", "unlinkat", "rmdir"],
    &["rename", "renameat", "renameat2"],
    &["mkdir", "mkdirat"],
    &["mknod", "mknodat"],
    &["link", "linkat"],
    &["symlink", "symlinkat"],
    &["readlink", "readlinkat"],
    &["chmod", "fchmodat", "fchmodat2"],
    &["chown", "lchown", "fchownat"],
    &["execve", "execveat"],
    &["fork", "vfork", "clone", "clone3"],
    &["exit", "exit_group"],
    &["wait4", "waitid"],
    &["dup2", "dup3"],
    &["pipe", "pipe2"],
    &["accept", "accept4"],
    &["sendto", "sendmsg", "sendmmsg"],
    &["recvfrom", "recvmsg", "recvmmsg"],
    &["read", "readv", "pread64", "preadv", "preadv2"],
    &["write", "writev", "pwrite64", "pwritev", "pwritev2"],
    &["poll", "ppoll"],
    &["select", "pselect6"],
    &["epoll_wait", "epoll_pwait", "epoll_pwait2"],
    &["getrlimit", "prlimit64"],
    &["setrlimit", "prlimit64"],
    &["inotify_init", "inotify_init1"],
    &["eventfd", "eventfd2"],
    &["epoll_create", "epoll_create1"],
    &["umount2", "move_mount"],
    &["mount", "move_mount", "fsopen", "fsmount", "open_tree"],
    &["nanosleep", "clock_nanosleep"],
];

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Warning {
    /// Nothing is named, or all of it was refused or excluded.
    NoCalls,
    /// The same call twice in one list, perhaps in two spellings.
    NamedTwice { field: String, name: String },
    /// Programs reach the same through the ones missing.
    SiblingsMissing { named: &'static str, missing: Vec<&'static str> },
    /// Named calls of which no event can pass `filter.pathPrefix`.
    WithoutPath { names: Vec<&'static str> },
    /// `burst` below `eventsPerSecond` means that a second's worth never comes at once.
    SmallBurst { burst: u32, events_per_second: u32 },
    /// Fields that say which calls become events, in a policy of which none do.
    CountsAll { fields: Vec<&'static str> },
    /// An agent without Kubernetes refuses the policy.
    NeedsKubernetes,
    /// `expireAfter` of no time.
    ExpiredAtOnce,
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Warning::NoCalls => f.write_str("it names no call, so nothing attaches"),
            Warning::NamedTwice { field, name } => write!(f, "{field}: {name:?} is named twice in this list"),
            Warning::SiblingsMissing { named, missing } => {
                write!(f, "{named} is named, but not {}: programs may use those instead", missing.join(", "))
            }
            Warning::WithoutPath { names } => {
                write!(f, "spec.filter.pathPrefix never lets through {}: no path is known of them", names.join(", "))
            }
            Warning::SmallBurst { burst, events_per_second } => write!(
                f,
                "spec.limits.burst {burst} is below eventsPerSecond {events_per_second}: bursts are cut to {burst} events"
            ),
            Warning::CountsAll { fields } => {
                write!(f, "{} is not looked at: mode Count counts every call that is named", fields.join(", "))
            }
            Warning::NeedsKubernetes => f.write_str(
                "spec.nodeSelector goes by labels that Kubernetes keeps: an agent that runs without it refuses the policy",
            ),
            Warning::ExpiredAtOnce => f.write_str("spec.expireAfter is no time at all: the policy never wants anything"),
        }
    }
}

pub(super) fn about(spec: &Spec, calls: &CallWants, named: &[Named]) -> Vec<Warning> {
    let mut warnings = Vec::new();
    if calls.is_empty() {
        warnings.push(Warning::NoCalls);
    }
    warnings.extend(siblings_missing(calls, named, &spec.exclude));
    match spec.mode {
        Mode::Events => warnings.extend(about_events(spec, calls, named)),
        Mode::Count => warnings.extend(without_effect(spec)),
    }
    if spec.node_selector.as_ref().is_some_and(|selector| !selector.is_empty()) {
        warnings.push(Warning::NeedsKubernetes);
    }
    if spec.expire_after.is_some_and(|after| after.is_zero()) {
        warnings.push(Warning::ExpiredAtOnce);
    }
    warnings
}

/// What a policy that makes no events has no use for.
fn without_effect(spec: &Spec) -> Option<Warning> {
    let useless = [
        ("spec.filter", spec.filter != FilterSpec::default()),
        ("spec.limits", spec.limits.is_some()),
        ("spec.coalesce", spec.coalesce),
        ("spec.capture", spec.capture != Capture::default()),
    ];
    let fields: Vec<_> = useless.iter().filter(|(_, is_there)| *is_there).map(|(field, _)| *field).collect();
    (!fields.is_empty()).then_some(Warning::CountsAll { fields })
}

fn about_events(spec: &Spec, calls: &CallWants, named: &[Named]) -> Vec<Warning> {
    let mut warnings = Vec::new();
    if !spec.filter.path_prefix.is_empty() {
        let without_path = |entry: &&Named| !calls[entry.call].is_none() && !may_have_path(entry.call);
        let mut names: Vec<_> = named.iter().filter(without_path).map(|entry| entry.call.name).collect();
        names.sort_unstable();
        names.dedup();
        if !names.is_empty() {
            warnings.push(Warning::WithoutPath { names });
        }
    }
    if let Some(limits) = spec.limits.filter(|limits| limits.burst < limits.events_per_second) {
        let (burst, events_per_second) = (limits.burst, limits.events_per_second);
        warnings.push(Warning::SmallBurst { burst, events_per_second });
    }
    warnings
}

pub(super) fn named_twice(named: &[Named]) -> Vec<Warning> {
    let again = |(at, entry): (usize, &Named)| {
        let earlier = named[..at].iter().any(|other| other.list == entry.list && other.call.nr == entry.call.nr);
        earlier.then(|| Warning::NamedTwice { field: entry.field(), name: entry.written.clone() })
    };
    named.iter().enumerate().filter_map(again).collect()
}

/// Only calls named one by one: a category has its siblings. Those that the author excluded are not missed.
fn siblings_missing(calls: &CallWants, named: &[Named], excluded: &[String]) -> Vec<Warning> {
    let excluded: Vec<u16> =
        excluded.iter().filter_map(|name| syscall::resolve(name).ok()).map(|call| call.nr).collect();
    let mut warnings = Vec::new();
    for group in SIBLINGS {
        let Some(first) = named.iter().map(|entry| entry.call.name).find(|name| group.contains(name)) else { continue };
        let is_missing = |name: &&&str| {
            syscall::by_name(name).is_some_and(|call| calls[call].is_none() && !excluded.contains(&call.nr))
        };
        let missing: Vec<&'static str> = group.iter().filter(is_missing).copied().collect();
        let told = |warning: &Warning| matches!(warning, Warning::SiblingsMissing { named, .. } if *named == first);
        if !missing.is_empty() && !missing.contains(&first) && !warnings.iter().any(told) {
            warnings.push(Warning::SiblingsMissing { named: first, missing });
        }
    }
    warnings
}

fn may_have_path(call: &Syscall) -> bool {
    let path_like =
        |kind: ArgKind| matches!(kind, ArgKind::Path | ArgKind::SockaddrIn { .. } | ArgKind::SockaddrOut { .. });
    call.opens_file() || call.args.is_some_and(|args| args.iter().any(|arg| path_like(arg.kind)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_sibling_is_a_call() {
        for name in SIBLINGS.iter().copied().flatten() {
            assert!(syscall::by_name(name).is_some(), "{name}");
        }
    }
}
