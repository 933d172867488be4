//! How this kernel may preempt a program of ours, as far as it was built to: the self-test provokes that, and waits for no more.

use std::fs;
use std::sync::LazyLock;

use crate::process;

const VERSION: &str = "/proc/sys/kernel/version";
const BTF: &str = "/sys/kernel/btf/vmlinux";
/// Where the kernel cuts its version (`__NEW_UTS_LEN`): words at the end may be missing.
const LONGEST_VERSION: usize = 64;

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Preemption {
    /// It is built without: no thread gives up its CPU in the middle of a program.
    Never,
    /// At once, when a thread wakes up that comes first, or not at all: until 6.12 `preempt=` has no third setting. From 6.6 on some wait for a
    /// tick all the same (the scheduler's RUN_TO_PARITY); enough come at once for the self-test to see.
    AtWakeUps,
    /// Maybe at the timer's ticks alone.
    AtTicks,
}

/// Read once. What cannot be told for sure counts as the worst.
pub(super) fn of_this_kernel() -> Preemption {
    static PREEMPTION: LazyLock<Preemption> = LazyLock::new(|| {
        let version = fs::read_to_string(VERSION).unwrap_or_default();
        told_by(&version, || fs::read(BTF).unwrap_or_default())
    });
    *PREEMPTION
}

/// By the words that the kernel's version has for how it was built, and by the settings that its types name.
fn told_by(version: &str, types: impl FnOnce() -> Vec<u8>) -> Preemption {
    // Nothing but the end of the line: a blank may be the last that was not cut off.
    let version = version.trim_end_matches('\n');
    let words: Vec<&str> = version.split_ascii_whitespace().collect();
    let mut preempting = words.iter().filter(|word| word.contains("PREEMPT"));
    match (preempting.next(), preempting.next()) {
        (None, _) if words.contains(&"SMP") && version.len() < LONGEST_VERSION => Preemption::Never,
        (Some(&"PREEMPT_DYNAMIC"), None) => {
            let types = types();
            match (names(&types, "preempt_dynamic_full"), names(&types, "preempt_dynamic_lazy")) {
                (true, false) => Preemption::AtWakeUps,
                _ => Preemption::AtTicks,
            }
        }
        _ => Preemption::AtTicks,
    }
}

/// Whether a name is among the strings of BTF, some megabytes, which end in a NUL each.
fn names(types: &[u8], name: &str) -> bool {
    process::contains(types, format!("\0{name}\0").as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    const NONE_TO_FULL: &[u8] = b"\x9f\xeb\0preempt_dynamic_none\0preempt_dynamic_full\0";
    const WITH_LAZY: &[u8] = b"\x9f\xeb\0preempt_dynamic_full\0preempt_dynamic_lazy\0";

    fn told(version: &str, types: &[u8]) -> Preemption {
        told_by(version, || types.to_vec())
    }

    #[test]
    fn ticks_are_waited_for_unless_the_kernel_has_no_lazy_setting() {
        let debian = "#1 SMP PREEMPT_DYNAMIC Debian 6.1.158-1 (2025-11-09)";
        assert_eq!(told(debian, NONE_TO_FULL), Preemption::AtWakeUps);
        assert_eq!(told(debian, WITH_LAZY), Preemption::AtTicks);
        assert_eq!(told(debian, b""), Preemption::AtTicks, "nothing is known of its settings");
        assert_eq!(told("#1 SMP PREEMPT Debian 6.13-1", NONE_TO_FULL), Preemption::AtTicks, "lazy may be built in");
        assert_eq!(told("#1 SMP PREEMPT_RT Debian 6.1-1", NONE_TO_FULL), Preemption::AtTicks);
        assert_eq!(told("#1 SMP PREEMPT_DYNAMIC PREEMPT_RT", NONE_TO_FULL), Preemption::AtTicks);
    }

    #[test]
    fn kernel_that_says_nothing_of_preemption_was_built_without() {
        assert_eq!(told("#31-Ubuntu SMP Thu Mar 17 15:35:00 UTC 2022", b""), Preemption::Never);
        let long = format!("#{} SMP", "1".repeat(LONGEST_VERSION));
        assert_eq!(told(&long, b""), Preemption::AtTicks, "the word may have been cut off");
        let cut_at_a_blank = format!("#{} SMP ", "1".repeat(LONGEST_VERSION - 6));
        assert_eq!(cut_at_a_blank.len(), LONGEST_VERSION);
        assert_eq!(
            told(&format!("{cut_at_a_blank}\n"), b""),
            Preemption::AtTicks,
            "the word may have come after the blank"
        );
        assert_eq!(told("", b""), Preemption::AtTicks);
    }
}
