//! The kernel's buckets beside the judge's: what is dropped early is what would have been dropped late.

use std::sync::Arc;

use proptest::prelude::*;

use super::judging::event;
use super::*;
use crate::event::{Phase, SyscallEvent};
use crate::policy::bucket::Bucket;
use crate::syscall;

const CALLS: [&str; 4] = ["openat", "read", "execve", "exit"];

fn nr(name: &str) -> usize {
    syscall::by_name(name).expect("a call").nr.into()
}

fn limited(name: &str, calls: &str, rest: &str) -> CheckedPolicy {
    policy(name, &format!("  {calls}\n  limits: {{eventsPerSecond: 10, burst: 2}}{rest}"))
}

fn limits_of(policies: Vec<CheckedPolicy>) -> KernelLimits {
    let set = set_of(policies);
    set.profile(&set.active()).limits
}

#[test]
fn a_call_is_dropped_early_only_if_each_policy_that_wants_it_has_a_limit() {
    let limits = limits_of(vec![
        limited("a", "syscalls: [{name: openat}, {name: read}]", ""),
        limited("b", "syscalls: [{name: read}]", ""),
        policy("c", "  syscalls: [{name: openat}, {name: close}]"),
        policy("d", "  mode: Count\n  syscalls: [{name: read}]"),
    ]);
    let of = |name: &str| limits.calls()[nr(name)];
    assert_eq!(of("openat"), LimitedCall { limits: 1, others: true });
    assert_eq!(of("read"), LimitedCall { limits: 3, others: false });
    assert_eq!(of("close"), LimitedCall::default());
    assert_eq!(limits.limits(), [Limits { events_per_second: 10, burst: 2 }; 2]);
}

#[test]
fn what_user_space_alone_can_judge_is_its_own_to_limit() {
    let kept = |policies| limits_of(policies).limits().len();
    let openat = "syscalls: [{name: openat}]";
    let by_error = || limited("a", openat, "\n  filter: {errors: [EPERM]}");
    assert_eq!(kept(vec![by_error()]), 1, "the kernel's filter is exact");
    assert_eq!(kept(vec![by_error(), limited("b", openat, "")]), 1, "errors of a profile are those of all");
    assert_eq!(kept(vec![limited("a", openat, "\n  filter: {pathPrefix: [/etc]}")]), 0);
    let at_entry = || limited("a", "kprobe: [{name: openat}]", "");
    assert_eq!(kept(vec![at_entry()]), 1);
    assert_eq!(kept(vec![at_entry(), policy("b", "  syscalls: [{name: openat}]")]), 0, "a return without its entry");
}

#[test]
fn eighth_limit_is_kept_in_user_space() {
    let limits = limits_of((0..8).map(|n| limited(&format!("p{n}"), "syscalls: [{name: read}]", "")).collect());
    assert_eq!((limits.limits().len(), limits.calls()[nr("read")]), (7, LimitedCall { limits: 127, others: true }));
}

/// What the kernel does between its filters and the ring.
struct Kernel {
    profile: Profile,
    buckets: Vec<Bucket>,
}

impl Kernel {
    fn of(profile: Profile) -> Self {
        Self { buckets: vec![Bucket::default(); profile.limits.limits().len()], profile }
    }

    fn drops(&mut self, event: &SyscallEvent, now_ns: u64) -> bool {
        let nr = event.call.nr;
        let want = self.profile.want.get(nr);
        let is_timed_out_of = want.contains(CallWant::BY_DURATION) && event.phase != Phase::Call;
        let has_no_error = want.contains(CallWant::BY_ERROR) && event.phase == Phase::Enter;
        let call = self.profile.limits.calls()[nr as usize];
        if call.limits == 0 || is_timed_out_of || has_no_error {
            return false;
        }
        let mut has_token = call.others;
        for (at, limits) in self.profile.limits.limits().iter().enumerate() {
            if call.limits >> at & 1 == 1 {
                has_token |= self.buckets[at].take(*limits, now_ns);
            }
        }
        !has_token
    }

    /// Whether a record gets that far.
    fn makes(&self, event: &SyscallEvent) -> bool {
        let want = self.profile.want.get(event.call.nr);
        if want.is_none() || want.contains(CallWant::COUNT) {
            return false;
        }
        let is_slow_enough =
            event.phase != Phase::Call || event.duration_ns.is_some_and(|ns| ns >= self.profile.min_duration_ns);
        event.phase == Phase::Enter
            || ((!want.contains(CallWant::BY_ERROR)
                || event.errno().is_some_and(|errno| self.profile.errors.contains(errno)))
                && (!want.contains(CallWant::BY_DURATION) || is_slow_enough))
    }
}

/// Specs over few calls, most of them limited, so that their limits meet.
fn spec() -> impl Strategy<Value = String> {
    let list = || proptest::collection::vec(prop::sample::select(CALLS.to_vec()), 0..3);
    let filter = prop::sample::select(vec!["", "errors: [EPERM]", "minDuration: 2us", "pathPrefix: [/etc]"]);
    let limits = proptest::option::weighted(0.8, (1..5_u32, 1..4_u32));
    let flags = (any::<bool>(), any::<bool>(), proptest::bool::weighted(0.2));
    (list(), list(), list(), filter, limits, flags).prop_map(
        |(kprobe, kretprobe, syscalls, filter, limits, (timing, refused, counts))| {
            let names =
                |list: Vec<&str>| list.iter().map(|name| format!("{{name: {name}}}")).collect::<Vec<_>>().join(", ");
            let limits = limits.map(|(rate, burst)| format!("\n  limits: {{eventsPerSecond: {rate}, burst: {burst}}}"));
            format!(
                "  mode: {}\n  kprobe: [{}]\n  kretprobe: [{}]\n  syscalls: [{}]\n  timing: {timing}\n  refused: {refused}\n  \
                 filter: {{{filter}}}{}",
                if counts { "Count" } else { "Events" },
                names(kprobe),
                names(kretprobe),
                names(syscalls),
                limits.unwrap_or_default(),
            )
        },
    )
}

/// A call, what came of it, and the milliseconds since the one before.
type Made = (&'static str, i64, u64, bool, u64);

fn made() -> impl Strategy<Value = Made> {
    let ret = prop::sample::select(vec![0_i64, -1, -2]);
    (prop::sample::select(CALLS.to_vec()), ret, 1..4_u64, proptest::bool::weighted(0.1), 0..400_u64)
}

/// The record that is made of it, a refusal's without its entry.
fn record(profile: &Profile, (name, ret, duration_us, is_refused, _): Made) -> SyscallEvent {
    let phase = match profile.want[nr(name) as u16].moments() {
        CallWant::ENTER => Phase::Enter,
        CallWant::CALL if !is_refused => Phase::Call,
        _ => Phase::Exit,
    };
    let mut event = event(name, phase);
    event.refused_by_seccomp = is_refused && phase == Phase::Exit;
    event.ret = event.ret.map(|_| ret);
    event.duration_ns = event.duration_ns.map(|_| duration_us * 1000);
    event
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn kernel_drops_what_the_judge_would_and_nothing_else(
        specs in proptest::collection::vec(spec(), 1..5),
        calls in proptest::collection::vec(made(), 1..60),
    ) {
        let policies: Vec<_> = specs.iter().enumerate().map(|(n, spec)| policy(&format!("p{n}"), spec)).collect();
        let set = Arc::new(set_of(policies));
        let selected = set.active();
        let mut kernel = Kernel::of(set.profile(&selected));
        let (mut of_all, mut of_the_rest) = (Judge::new(set.clone()), Judge::new(set.clone()));
        let mut now_ns = 1_000_000_000;
        for call in calls {
            now_ns += call.4 * 1_000_000;
            let record = record(&kernel.profile, call);
            if !kernel.makes(&record) {
                continue;
            }
            let verdict = of_all.judge(&record, &selected, now_ns);
            let is_dropped = kernel.drops(&record, now_ns);
            prop_assert!(!is_dropped || verdict == Verdict::Sampled, "{verdict:?} of {record:?}: {specs:#?}");
            let limited = kernel.profile.limits.calls()[record.call.nr as usize];
            let is_kernels = limited.limits != 0 && !limited.others;
            prop_assert!(is_dropped || verdict != Verdict::Sampled || !is_kernels, "{record:?}: {specs:#?}");
            if !is_dropped {
                let again = of_the_rest.judge(&record, &selected, now_ns);
                prop_assert_eq!(again, verdict, "what is dropped takes nothing: {:?}", record);
            }
        }
    }
}
