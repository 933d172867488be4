//! What the kernel asks of a process that loads eBPF programs, before it is tried: the refusal itself names no reason.

use std::fs;
use std::os::unix::fs::MetadataExt;

use kubeward_bpf::object::LoadError;
use kubeward_bpf::support;

/// Number of the initial user namespace, fixed in the kernel (PROC_USER_INIT_INO, since 3.8).
const INITIAL_USER_NS: u64 = 0xefff_fffd;

/// Why eBPF programs will be refused.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Unprivileged {
    #[error(transparent)]
    Capabilities(#[from] LoadError),
    #[error("this process is root in a user namespace only: CAP_BPF and CAP_PERFMON count in the host's alone (run it outside of rootless containers, as the host's root)")]
    UserNamespace,
}

/// Whether this process may load eBPF programs.
pub(crate) fn check() -> Result<(), Unprivileged> {
    let missing = support::missing_capabilities();
    if !missing.is_empty() {
        return Err(LoadError::Privilege { missing: missing.join(" and ") }.into());
    }
    match is_in_user_namespace(fs::metadata("/proc/self/ns/user").map(|file| file.ino()).ok()) {
        true => Err(Unprivileged::UserNamespace),
        false => Ok(()),
    }
}

/// A kernel without user namespaces, or a process without /proc, has no number and is not refused for that.
fn is_in_user_namespace(number: Option<u64>) -> bool {
    number.is_some_and(|number| number != INITIAL_USER_NS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_another_user_namespace_is_refused() {
        assert!(!is_in_user_namespace(Some(4_026_531_837)) && !is_in_user_namespace(None));
        assert!(is_in_user_namespace(Some(4_026_532_700)));
    }
}
