//! A token bucket without a clock of its own.

use super::model::Limits;

/// Holds `burst` tokens when full and gains `events_per_second` a second; starts full.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Bucket {
    /// When it will be full again. One number instead of a count and a time: nothing to refill, nothing to round.
    full_at_ns: u64,
}

impl Bucket {
    /// Takes a token if one is there at `now_ns`.
    pub(super) fn take(&mut self, limits: Limits, now_ns: u64) -> bool {
        let (token_ns, burst_ns) = (limits.token_ns(), limits.burst_ns());
        let full_at_ns = self.full_at_ns.max(now_ns).saturating_add(token_ns);
        let has_token = full_at_ns - now_ns <= burst_ns;
        if has_token {
            self.full_at_ns = full_at_ns;
        }
        has_token
    }
}

impl Limits {
    /// In which a token comes.
    pub fn token_ns(self) -> u64 {
        1_000_000_000 / u64::from(self.events_per_second.max(1))
    }

    /// In which all come.
    pub fn burst_ns(self) -> u64 {
        self.token_ns().saturating_mul(u64::from(self.burst))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND_NS: u64 = 1_000_000_000;

    fn taken(bucket: &mut Bucket, limits: Limits, tries: usize, now_ns: u64) -> usize {
        (0..tries).filter(|_| bucket.take(limits, now_ns)).count()
    }

    #[test]
    fn burst_comes_at_once_and_the_rate_after_it() {
        let limits = Limits { events_per_second: 10, burst: 20 };
        let mut bucket = Bucket::default();
        let start = 5 * SECOND_NS;
        assert_eq!(taken(&mut bucket, limits, 100, start), 20);
        assert_eq!(taken(&mut bucket, limits, 100, start + SECOND_NS / 10), 1);
        assert_eq!(taken(&mut bucket, limits, 100, start + SECOND_NS + SECOND_NS / 10), 10);
        assert_eq!(taken(&mut bucket, limits, 100, start + 100 * SECOND_NS), 20);
    }

    #[test]
    fn refused_tries_cost_nothing() {
        let limits = Limits { events_per_second: 1, burst: 1 };
        let mut bucket = Bucket::default();
        assert_eq!(taken(&mut bucket, limits, 1000, SECOND_NS), 1);
        assert_eq!(taken(&mut bucket, limits, 1000, 2 * SECOND_NS), 1);
    }

    #[test]
    fn time_going_back_gives_no_tokens() {
        let limits = Limits { events_per_second: 1, burst: 1 };
        let mut bucket = Bucket::default();
        assert!(bucket.take(limits, 10 * SECOND_NS));
        assert!(!bucket.take(limits, 9 * SECOND_NS));
    }
}
