//! Policies in the kernel side's terms.

use kubeward_bpf::probe::ASK_REFUSED;
use kubeward_bpf::wire::{self, CALLS, ERRNO_WORDS, HOOK_ENTER, HOOK_EXIT};
use kubeward_core::policy::{CallWant, CallWants, Profile};

/// What the kernel side does for the containers of one profile.
///
/// `upgrades_exit`: returns may be missed without a trace, so that every return is wanted together with its entry.
pub fn kernel_profile(profile: &Profile, upgrades_exit: bool) -> wire::Profile {
    let mut want = [0; CALLS];
    for (nr, wanted) in profile.want.iter() {
        want[usize::from(nr)] = kernel_want(wanted, upgrades_exit);
    }
    for (want, _) in want.iter_mut().zip(profile.limits.calls()).filter(|(_, limited)| limited.limits != 0) {
        *want |= wire::WANT_LIMITED;
    }
    let mut errors = [0; ERRNO_WORDS];
    errors.iter_mut().zip(profile.errors.words()).for_each(|(ours, theirs)| *ours = *theirs);
    wire::Profile {
        want,
        errors,
        min_duration_ns: profile.min_duration_ns,
        arg_bytes: profile.arg_bytes.min(wire::STRING_BYTES),
        argv_bytes: profile.argv_bytes.min(wire::STRING_BYTES),
    }
}

/// The limits that the kernel side keeps for the containers of one profile.
pub fn kernel_limits(profile: &Profile) -> wire::Limits {
    let mut limits = wire::Limits::NONE;
    for (ours, theirs) in limits.of.iter_mut().zip(profile.limits.limits()) {
        *ours = wire::Limit { token_ns: theirs.token_ns(), burst_ns: theirs.burst_ns() };
    }
    for (ours, theirs) in limits.calls.iter_mut().zip(profile.limits.calls()) {
        *ours = theirs.limits | if theirs.others { wire::LIMIT_OTHERS } else { 0 };
    }
    limits
}

fn kernel_want(wanted: CallWant, upgrades_exit: bool) -> u8 {
    let moments = match wanted.moments() {
        CallWant::ENTER => wire::WANT_ENTER,
        CallWant::EXIT if upgrades_exit => wire::WANT_CALL,
        CallWant::EXIT => wire::WANT_EXIT,
        _ => wire::WANT_CALL,
    };
    let errors = if wanted.contains(CallWant::BY_ERROR) { wire::WANT_ERRORS } else { 0 };
    let slow = if wanted.contains(CallWant::BY_DURATION) { wire::WANT_SLOW } else { 0 };
    let count = if wanted.contains(CallWant::COUNT) { wire::WANT_COUNT } else { 0 };
    moments | errors | slow | count
}

/// What to ask of the hooks for calls wanted so.
pub fn hook_bits(hooks: &CallWants, upgrades_exit: bool) -> [u8; CALLS] {
    let mut bits = [0; CALLS];
    for (nr, want) in hooks.iter() {
        let entry = want.contains(CallWant::ENTER) || upgrades_exit;
        let asked = [
            (entry, HOOK_ENTER),
            (want.contains(CallWant::EXIT), HOOK_EXIT),
            (want.contains(CallWant::REFUSED), ASK_REFUSED),
        ];
        bits[usize::from(nr)] = asked.iter().filter(|(is_asked, _)| *is_asked).map(|(_, bit)| bit).sum();
    }
    bits
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use kubeward_core::policy::{load, PolicySet, MAX_KERNEL_LIMITS};
    use kubeward_core::syscall::by_name;

    use super::*;

    fn set(spec: &str) -> Arc<PolicySet> {
        let text = format!("apiVersion: kubeward.kubeward/v1\nkind: KubeWard\nmetadata: {{name: a}}\nspec: {spec}\n");
        let (policies, faults) = load("a.yaml", text.as_bytes());
        assert!(faults.is_empty(), "{faults:?}");
        Arc::new(PolicySet::new(policies).0)
    }

    fn nr(name: &str) -> usize {
        by_name(name).expect("the catalogue has it").nr.into()
    }

    #[test]
    fn moments_and_errors_reach_the_kernel() {
        let set = set(
            "{kprobe: [{name: openat}], kretprobe: [{name: openat}, {name: read}], filter: {errors: [EPERM, ENOENT]}}",
        );
        let profile = kernel_profile(&set.profile(&set.active()), false);
        assert_eq!(profile.want[nr("openat")], wire::WANT_CALL | wire::WANT_ERRORS);
        assert_eq!(profile.want[nr("read")], wire::WANT_EXIT | wire::WANT_ERRORS);
        assert_eq!(profile.want[nr("write")], 0);
        assert_eq!(profile.errors[0], 1 << 1 | 1 << 2);
        assert_eq!((profile.arg_bytes, profile.argv_bytes), (256, 4096));
    }

    #[test]
    fn the_least_duration_reaches_the_kernel() {
        let set = set("{syscalls: [{name: read}], filter: {minDuration: 250us}}");
        let profile = kernel_profile(&set.profile(&set.active()), false);
        assert_eq!(profile.want[nr("read")], wire::WANT_CALL | wire::WANT_SLOW);
        assert_eq!(profile.min_duration_ns, 250_000);
    }

    #[test]
    fn counting_alone_needs_no_record_and_no_entry() {
        let set = set("{mode: Count, kprobe: [{name: mkdir}], syscalls: [{name: read}, {name: exit}]}");
        let profile = kernel_profile(&set.profile(&set.active()), false);
        let counted = ["mkdir", "read", "exit"].map(|name| profile.want[nr(name)]);
        let exit = wire::WANT_EXIT | wire::WANT_COUNT;
        assert_eq!(counted, [exit, exit, wire::WANT_ENTER | wire::WANT_COUNT]);
        let bits = hook_bits(&set.hooks(), false);
        assert_eq!(["mkdir", "read", "exit"].map(|name| bits[nr(name)]), [HOOK_EXIT, HOOK_EXIT, HOOK_ENTER]);
    }

    #[test]
    fn hooks_that_may_miss_returns_watch_entries_too() {
        let set = set("{kprobe: [{name: mkdir}], syscalls: [{name: read}]}");
        let profile = kernel_profile(&set.profile(&set.active()), true);
        assert_eq!((profile.want[nr("mkdir")], profile.want[nr("read")]), (wire::WANT_ENTER, wire::WANT_CALL));
        let bits = hook_bits(&set.hooks(), true);
        assert_eq!((bits[nr("mkdir")], bits[nr("read")]), (HOOK_ENTER, HOOK_ENTER | HOOK_EXIT));
        let bits = hook_bits(&set.hooks(), false);
        assert_eq!((bits[nr("mkdir")], bits[nr("read")]), (HOOK_ENTER, HOOK_EXIT));
    }

    #[test]
    fn limits_reach_the_kernel() {
        const { assert!(MAX_KERNEL_LIMITS == wire::LIMITS) };
        let set = set("{syscalls: [{name: read}], limits: {eventsPerSecond: 100, burst: 300}}");
        let profile = set.profile(&set.active());
        let limits = kernel_limits(&profile);
        let want = kernel_profile(&profile, false).want;
        assert_eq!((want[nr("read")], want[nr("write")]), (wire::WANT_EXIT | wire::WANT_LIMITED, 0));
        assert_eq!((limits.of[0].token_ns, limits.of[0].burst_ns), (10_000_000, 3_000_000_000));
        assert_eq!((limits.calls[nr("read")], limits.calls[nr("write")]), (1, 0));
    }

    #[test]
    fn refused_calls_are_asked_for() {
        let set = set("{syscalls: [{name: mkdir}], refused: true}");
        assert_eq!(hook_bits(&set.hooks(), false)[nr("mkdir")], HOOK_ENTER | HOOK_EXIT | ASK_REFUSED);
    }
}
