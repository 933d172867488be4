//! What files of this machine say about its kernel. Reading only; an absent file is an answer too.

use std::fs;

/// Kernel release and build, as uname has them.
pub(super) fn kernel() -> String {
    let read = |name: &str| one_line(&format!("/proc/sys/kernel/{name}")).unwrap_or_else(|| "?".to_owned());
    format!("{} {} ({})", read("osrelease"), std::env::consts::ARCH, read("version"))
}

/// How the kernel preempts its own code: what decides whether tracing programs skip runs.
pub(super) fn preemption() -> String {
    let version = one_line("/proc/sys/kernel/version").unwrap_or_default();
    let live = fs::read_to_string("/sys/kernel/debug/sched/preempt").ok();
    let command_line = one_line("/proc/cmdline").unwrap_or_default();
    preemption_of(&version, live.as_deref(), &command_line)
}

fn preemption_of(version: &str, live: Option<&str>, command_line: &str) -> String {
    // "none voluntary (full) lazy": the one in parentheses is in force.
    if let Some(mode) = live.and_then(|modes| Some(modes.split_once('(')?.1.split_once(')')?.0)) {
        return format!("{mode} (preempt, from /sys/kernel/debug/sched/preempt)");
    }
    if let Some(mode) = command_line.split_whitespace().rev().find_map(|word| word.strip_prefix("preempt=")) {
        return format!("{mode} (preempt=, from the kernel's command line)");
    }
    let built = version.split_whitespace().find(|word| word.starts_with("PREEMPT"));
    match built {
        Some("PREEMPT_DYNAMIC") => {
            "dynamic, at the default it was built with (preempt mode not readable: mount debugfs)".to_owned()
        }
        Some(model) => format!("{model} (preempt model, from the kernel's build)"),
        None => "none or voluntary (the kernel's build names no preempt model)".to_owned(),
    }
}

pub(super) fn btf() -> String {
    match fs::metadata("/sys/kernel/btf/vmlinux") {
        Ok(file) => format!("/sys/kernel/btf/vmlinux, {} KiB", file.len() / 1024),
        Err(error) => format!("/sys/kernel/btf/vmlinux: {error}; KubeWard needs a kernel with CONFIG_DEBUG_INFO_BTF=y"),
    }
}

pub(super) fn lockdown() -> String {
    let modes = one_line("/sys/kernel/security/lockdown");
    let mode = modes.as_deref().and_then(|modes| Some(modes.split_once('[')?.1.split_once(']')?.0.to_owned()));
    mode.unwrap_or_else(|| "not told (securityfs is not mounted, or the kernel has no lockdown)".to_owned())
}

pub(super) fn cgroups() -> String {
    match (mounts_of("cgroup2").first(), mounts_of("cgroup").len()) {
        (Some(at), 0) => format!("v2 at {at}"),
        (Some(at), old) => format!("v2 at {at} beside {old} v1 hierarchies; containers are found by their v2 cgroup"),
        (None, 0) => "none mounted here; containers are found by their v2 cgroup all the same".to_owned(),
        (None, old) => format!("{old} v1 hierarchies and no v2: containers are found by their namespaces"),
    }
}

pub(super) fn tracefs() -> String {
    match mounts_of("tracefs").first() {
        Some(at) => format!("mounted at {at}"),
        None => "not mounted: the classic tracepoints do not attach, which are the exact ones where the kernel preempts tracing \
                 programs (`mount -t tracefs none /sys/kernel/tracing` mounts it)"
            .to_owned(),
    }
}

/// `level`: how deep below the host's pid namespace this process is.
pub(super) fn pid_namespace(level: u32) -> String {
    match level {
        0 => "the host's: the agent can see every container".to_owned(),
        _ => format!(
            "{level} below the host's: the agent cannot see containers outside of it (hostPID: true, --pid=host)"
        ),
    }
}

/// Where file systems of this type are mounted.
fn mounts_of(kind: &str) -> Vec<String> {
    let mounts = fs::read_to_string("/proc/self/mounts").unwrap_or_default();
    let lines = mounts.lines().map(|line| line.split(' ').collect::<Vec<_>>());
    let of_kind = lines.filter(|fields| fields.get(2) == Some(&kind));
    of_kind.filter_map(|fields| fields.get(1).map(|at| (*at).to_owned())).collect()
}

fn one_line(path: &str) -> Option<String> {
    fs::read_to_string(path).ok().map(|text| text.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mode_in_force_wins_over_command_line_and_build() {
        let dynamic = "#1 SMP PREEMPT_DYNAMIC Debian 6.12";
        assert!(preemption_of(dynamic, Some("none voluntary (full) lazy\n"), "preempt=none").starts_with("full "));
        assert!(preemption_of(dynamic, None, "quiet preempt=none preempt=full").starts_with("full "));
        assert!(preemption_of(dynamic, None, "quiet").starts_with("dynamic"));
        assert!(preemption_of("#1 SMP PREEMPT_RT", None, "").starts_with("PREEMPT_RT"));
        assert!(preemption_of("#1 SMP", None, "").starts_with("none or voluntary"));
    }
}
