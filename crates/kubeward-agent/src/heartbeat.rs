//! Signs of life: given by a loop each time it comes round, looked at by whoever must know whether it hangs.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::Arc;
use std::time::Duration;

use rustix::time::{clock_gettime, ClockId};

/// When one loop last came round. Cheap to clone and to give.
#[derive(Debug, Clone)]
pub struct Heartbeat(Arc<AtomicU64>);

impl Default for Heartbeat {
    /// The first beat is now.
    fn default() -> Self {
        Self(Arc::new(AtomicU64::new(monotonic_ns())))
    }
}

impl Heartbeat {
    pub fn beat(&self) {
        self.0.store(monotonic_ns(), Ordering::Relaxed);
    }

    /// Time since the last beat; a machine's sleep is no part of it.
    pub fn age(&self) -> Duration {
        Duration::from_nanos(monotonic_ns().saturating_sub(self.0.load(Ordering::Relaxed)))
    }
}

fn monotonic_ns() -> u64 {
    let now = clock_gettime(ClockId::Monotonic);
    u64::try_from(now.tv_sec).unwrap_or(0) * 1_000_000_000 + u64::try_from(now.tv_nsec).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn beat_makes_a_loop_young_again() {
        let beat = Heartbeat(Arc::new(AtomicU64::new(0)));
        let before = beat.age();
        beat.clone().beat();
        assert!(beat.age() < before, "{before:?} since boot");
    }
}
