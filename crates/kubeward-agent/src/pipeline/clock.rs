//! The kernel's clocks as moments since the Unix epoch.

use std::time::{SystemTime, UNIX_EPOCH};

use rustix::time::{clock_gettime, ClockId};

/// What to add to a clock's nanoseconds to get nanoseconds since the Unix epoch.
///
/// Sampled anew now and then: the wall clock is set and slewed, and suspend moves the boot clock alone.
#[derive(Debug, Clone, Copy)]
pub struct Clocks {
    monotonic_offset_ns: i128,
    boot_offset_ns: i128,
}

/// Tries of one sample: the one in which least time went by between the two clocks is taken.
const TRIES: usize = 5;

impl Clocks {
    pub fn sample() -> Self {
        Self { monotonic_offset_ns: offset_ns(ClockId::Monotonic), boot_offset_ns: offset_ns(ClockId::Boottime) }
    }

    /// For a moment on CLOCK_MONOTONIC.
    pub fn unix_of_monotonic(&self, mono_ns: u64) -> u64 {
        shifted(mono_ns, self.monotonic_offset_ns)
    }

    /// For a moment on CLOCK_BOOTTIME.
    pub fn unix_of_boot(&self, boot_ns: u64) -> u64 {
        shifted(boot_ns, self.boot_offset_ns)
    }

    /// The moment of CLOCK_BOOTTIME on CLOCK_MONOTONIC.
    pub fn monotonic_of_boot(&self, boot_ns: u64) -> u64 {
        shifted(boot_ns, self.boot_offset_ns - self.monotonic_offset_ns)
    }
}

/// CLOCK_MONOTONIC now, the clock of every record.
pub fn monotonic_ns() -> u64 {
    u64::try_from(clock_ns(ClockId::Monotonic)).unwrap_or(0)
}

/// CLOCK_BOOTTIME now, which a machine's sleep is part of.
pub(super) fn boot_ns() -> u64 {
    u64::try_from(clock_ns(ClockId::Boottime)).unwrap_or(0)
}

/// The wall clock minus `clock`, off by no more than half the time that one reading takes.
fn offset_ns(clock: ClockId) -> i128 {
    let tries = std::iter::repeat_with(|| {
        let before = clock_ns(clock);
        let unix = unix_ns();
        let after = clock_ns(clock);
        (after - before, unix - (before + after) / 2)
    });
    tries.take(TRIES).min().map_or(0, |(_, offset)| offset)
}

fn clock_ns(clock: ClockId) -> i128 {
    let now = clock_gettime(clock);
    i128::from(now.tv_sec) * 1_000_000_000 + i128::from(now.tv_nsec)
}

fn unix_ns() -> i128 {
    match SystemTime::now().duration_since(UNIX_EPOCH) {
        Ok(since) => i128::try_from(since.as_nanos()).unwrap_or(i128::MAX),
        Err(before) => -i128::try_from(before.duration().as_nanos()).unwrap_or(i128::MAX),
    }
}

fn shifted(ns: u64, offset_ns: i128) -> u64 {
    u64::try_from(i128::from(ns) + offset_ns).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn now_on_every_clock_is_the_same_moment() {
        let clocks = Clocks::sample();
        let unix = unix_ns() as u64;
        let by_monotonic = clocks.unix_of_monotonic(monotonic_ns());
        let by_boot = clocks.unix_of_boot(clock_ns(ClockId::Boottime) as u64);
        assert!(by_monotonic.abs_diff(unix) < 1_000_000_000, "{by_monotonic} and {unix}");
        assert!(by_boot.abs_diff(unix) < 1_000_000_000, "{by_boot} and {unix}");
    }

    #[test]
    fn moments_before_the_epoch_are_the_epoch() {
        let clocks = Clocks { monotonic_offset_ns: -10, boot_offset_ns: 7 };
        assert_eq!((clocks.unix_of_monotonic(3), clocks.unix_of_boot(3)), (0, 10));
        assert_eq!(clocks.monotonic_of_boot(3), 20);
    }
}
