//! One container's account: the kernel side's counts and this side's, joined.

use kubeward_bpf::wire;
use kubeward_core::ledger::{Account, FilterReason, Filtered, LossReason, Lost};
use kubeward_core::policy::Unwanted;

/// What became of the records of one container that were read from the ring.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct UserCounts {
    /// Records of calls that were taken out of the ring.
    pub read: u64,
    pub emitted: u64,
    pub filtered: Filtered,
    pub sampled: u64,
    pub lost: Lost,
}

impl UserCounts {
    pub(super) fn filter(&mut self, why: Unwanted) {
        let reason = match why {
            Unwanted::NoPolicy => FilterReason::Policy,
            Unwanted::Error => FilterReason::Errors,
            Unwanted::Duration => FilterReason::Duration,
            Unwanted::Path => FilterReason::Path,
        };
        self.filtered.add(reason, 1);
    }

    /// Events that were handed to the output and did not get out of it.
    pub(super) fn lose_emitted(&mut self, count: u64) {
        let moved = count.min(self.emitted);
        self.emitted -= moved;
        self.lost.add(LossReason::Output, moved);
    }

    /// At rest nothing is in flight: a record that nobody counted shows there.
    pub(super) fn join(&self, kernel: &wire::Account) -> Account {
        let mut account = Account {
            seen: kernel.seen(),
            emitted: self.emitted,
            filtered: self.filtered,
            sampled: self.sampled + kernel.sampled,
            lost: self.lost,
            in_flight: kernel.entered.saturating_sub(kernel.left) + kernel.submitted().saturating_sub(self.read),
            unreadable: kernel.unreadable + kernel.no_buffer,
        };
        account.filtered.add(FilterReason::Setup, kernel.filtered_setup);
        account.filtered.add(FilterReason::Policy, kernel.filtered_policy);
        account.filtered.add(FilterReason::Errors, kernel.filtered_errors);
        account.filtered.add(FilterReason::Duration, kernel.filtered_duration);
        account.filtered.add(FilterReason::Count, kernel.filtered_count);
        account.lost.add(LossReason::Ring, kernel.lost_ring);
        account.lost.add(LossReason::Share, kernel.lost_share);
        account.lost.add(LossReason::Storage, kernel.lost_storage);
        account.lost.add(LossReason::ReturnMissed, kernel.lost_return);
        account
    }
}

/// Makes an account add up that was read while its counters moved. A call is counted as seen first, so that one that is
/// counted nowhere else is under way, and one that is counted somewhere was seen.
pub(super) fn settle(account: &mut Account) {
    let remainder = account.imbalance();
    let size = u64::try_from(remainder.unsigned_abs()).unwrap_or(u64::MAX);
    if remainder >= 0 {
        account.in_flight += size;
        return;
    }
    // What was read as under way has arrived meanwhile.
    let arrived = size.min(account.in_flight);
    account.in_flight -= arrived;
    account.seen += size - arrived;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_sides_add_up_and_what_is_under_way_is_in_flight() {
        let kernel = wire::Account {
            at_once: 10,
            filtered_setup: 5,
            filtered_policy: 1,
            filtered_errors: 2,
            lost_ring: 2,
            lost_return: 1,
            entered: 20,
            left: 17,
            ..wire::Account::default()
        };
        let mut user = UserCounts { read: 12, emitted: 8, sampled: 1, ..UserCounts::default() };
        for why in [Unwanted::NoPolicy, Unwanted::Error, Unwanted::Path] {
            user.filter(why);
        }
        user.lose_emitted(3);
        let account = user.join(&kernel);
        assert!(account.balanced(), "{account:?}");
        assert_eq!((account.emitted, account.in_flight, account.lost.get(LossReason::Output)), (5, 3 + 4, 3));
        assert_eq!(account.filtered.get(FilterReason::Policy), 2);
    }

    #[test]
    fn record_that_nobody_counted_shows() {
        let kernel = wire::Account { at_once: 2, ..wire::Account::default() };
        let user = UserCounts { read: 2, emitted: 1, ..UserCounts::default() };
        assert_eq!(user.join(&kernel).imbalance(), 1);
    }

    #[test]
    fn moving_account_is_settled_by_what_is_under_way() {
        let settled = |seen, in_flight| {
            let mut account = Account { seen, emitted: 10, in_flight, ..Account::default() };
            settle(&mut account);
            assert!(account.balanced(), "{account:?}");
            (account.seen, account.in_flight)
        };
        assert_eq!(settled(13, 1), (13, 3));
        assert_eq!(settled(11, 3), (11, 1));
        assert_eq!(settled(9, 1), (10, 0));
    }
}
