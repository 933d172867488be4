//! The accounts: `seen = emitted + filtered + sampled + lost + in_flight`, per container.
//!
//! Plain numbers since the start of the run. Who counts where is the kernel side's and the pipeline's business;
//! that the numbers add up is judged here.

use std::marker::PhantomData;

/// Declares an enum of reasons with the names that JSON and metrics use, in the order they are shown.
macro_rules! reasons {
    ($(#[$doc:meta])* $reason:ident { $($(#[$variant_doc:meta])* $variant:ident = $name:literal,)* }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum $reason { $($(#[$variant_doc])* $variant,)* }

        impl $reason {
            /// Every reason, in the order they are shown.
            pub const ALL: &'static [$reason] = &[$($reason::$variant,)*];

            /// The name in JSON and metrics. Never changes.
            pub const fn name(self) -> &'static str {
                match self { $($reason::$variant => $name,)* }
            }
        }

        impl Reason for $reason {
            fn index(self) -> usize { self as usize }
        }
    };
}

/// A closed set of reasons, numbered from 0.
pub trait Reason: Copy {
    fn index(self) -> usize;
}

reasons! {
    /// Why an event was left out on purpose.
    FilterReason {
        /// The runtime's work before the workload's first exec.
        Setup = "setup",
        /// No policy of this container names the call, or none wants it at this moment.
        Policy = "policy",
        /// Every policy that names it counts only (`mode: Count`).
        Count = "count",
        /// `filter.errors`: another result.
        Errors = "errors",
        /// `filter.minDuration`: faster.
        Duration = "duration",
        /// `filter.pathPrefix`: another path.
        Path = "path",
        /// Told by the `count` of another event: the same call of the same thread, before it in a row.
        Coalesced = "coalesced",
        /// Held for a container that proved to be none, or one that is ignored.
        Ignored = "ignored",
    }
}

reasons! {
    /// Why an event that was wanted did not come out.
    LossReason {
        /// The ring was full.
        Ring = "ring",
        /// The container's own share of the ring was used up.
        Share = "share",
        /// Too many were held of a container that containerd had not named yet.
        Pending = "pending",
        /// The kernel had no memory to keep the call from entry to return.
        Storage = "storage",
        /// The return was never seen, so that no record could be made.
        ReturnMissed = "return_missed",
        /// The record could not be decoded.
        Decode = "decode",
        /// The kernel side has counted that it wrote the record, and it was not read: not found in the ring, or damaged there so that
        /// it was taken for another container's.
        Unread = "unread",
        /// The queue between two stages of the agent was full.
        Queue = "queue",
        /// The output was full or gone.
        Output = "output",
    }
}

/// Counts by reason.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Counts<R, const N: usize> {
    by_reason: [u64; N],
    reason: PhantomData<R>,
}

/// Counts of events left out on purpose.
pub type Filtered = Counts<FilterReason, { FilterReason::ALL.len() }>;
/// Counts of events lost.
pub type Lost = Counts<LossReason, { LossReason::ALL.len() }>;

impl<R, const N: usize> Default for Counts<R, N> {
    fn default() -> Self {
        Counts { by_reason: [0; N], reason: PhantomData }
    }
}

impl<R: Reason, const N: usize> Counts<R, N> {
    pub fn get(&self, reason: R) -> u64 {
        self.by_reason[reason.index()]
    }

    pub fn add(&mut self, reason: R, count: u64) {
        self.by_reason[reason.index()] += count;
    }

    /// Takes `count` back, or as many as there are. How many that was.
    fn take(&mut self, reason: R, count: u64) -> u64 {
        let taken = count.min(self.get(reason));
        self.by_reason[reason.index()] -= taken;
        taken
    }

    pub fn total(&self) -> u64 {
        self.by_reason.iter().sum()
    }

    fn add_all(&mut self, other: &Self) {
        for (count, more) in self.by_reason.iter_mut().zip(other.by_reason) {
            *count += more;
        }
    }
}

/// What became of every call that reached a hook.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Account {
    /// Calls that reached a hook.
    pub seen: u64,
    /// Events handed to the output.
    pub emitted: u64,
    /// Left out on purpose.
    pub filtered: Filtered,
    /// Left out because every policy that wanted them had reached its rate limit.
    pub sampled: u64,
    /// Wanted, and missing.
    pub lost: Lost,
    /// Entered and not returned, or on their way from kernel to output.
    pub in_flight: u64,
    /// Arguments of emitted events that could not be read. Not part of the sum.
    pub unreadable: u64,
}

impl Account {
    /// Whether every call seen is accounted for exactly once.
    pub fn balanced(&self) -> bool {
        self.imbalance() == 0
    }

    /// Calls seen that no number accounts for; negative when more are accounted for than were seen.
    pub fn imbalance(&self) -> i128 {
        let parts = [self.emitted, self.filtered.total(), self.sampled, self.lost.total(), self.in_flight];
        i128::from(self.seen) - parts.into_iter().map(i128::from).sum::<i128>()
    }

    /// Whether nothing that was wanted is missing.
    pub fn is_whole(&self) -> bool {
        self.lost.total() == 0
    }

    /// Events that had been handed on as emitted turned out lost. At most `count` of those emitted are moved.
    pub fn lose_emitted(&mut self, reason: LossReason, count: u64) {
        let moved = count.min(self.emitted);
        self.emitted -= moved;
        self.lost.add(reason, moved);
    }

    /// No record of these calls, which were in flight, comes any more. At most as many as were in flight are moved.
    pub fn lose_unread(&mut self, count: u64) {
        let moved = count.min(self.in_flight);
        self.in_flight -= moved;
        self.lost.add(LossReason::Unread, moved);
    }

    /// Of the calls of which no record was read, `count` or as many as there are stand in another account. How many that was.
    pub fn leave_out_unread(&mut self, count: u64) -> u64 {
        let left_out = self.lost.take(LossReason::Unread, count);
        self.seen -= left_out;
        left_out
    }

    /// Adds another account to this one, as when a node's is made of its containers'.
    pub fn add(&mut self, other: &Account) {
        self.seen += other.seen;
        self.emitted += other.emitted;
        self.filtered.add_all(&other.filtered);
        self.sampled += other.sampled;
        self.lost.add_all(&other.lost);
        self.in_flight += other.in_flight;
        self.unreadable += other.unreadable;
    }
}

impl<'a> std::iter::Sum<&'a Account> for Account {
    fn sum<I: Iterator<Item = &'a Account>>(accounts: I) -> Account {
        let mut sum = Account::default();
        accounts.for_each(|account| sum.add(account));
        sum
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn account() -> impl Strategy<Value = Account> {
        let count = 0..1u64 << 40;
        let reasons = (prop::array::uniform8(count.clone()), prop::array::uniform9(count.clone()));
        (reasons, prop::array::uniform5(count)).prop_map(
            |((filtered, lost), [seen, emitted, sampled, in_flight, unreadable])| {
                let mut account = Account { seen, emitted, sampled, in_flight, unreadable, ..Account::default() };
                FilterReason::ALL.iter().zip(filtered).for_each(|(&reason, count)| account.filtered.add(reason, count));
                LossReason::ALL.iter().zip(lost).for_each(|(&reason, count)| account.lost.add(reason, count));
                account
            },
        )
    }

    #[test]
    fn reasons_have_stable_names_and_their_own_counters() {
        let names: Vec<_> = FilterReason::ALL.iter().map(|reason| reason.name()).collect();
        assert_eq!(names, ["setup", "policy", "count", "errors", "duration", "path", "coalesced", "ignored"]);
        let names: Vec<_> = LossReason::ALL.iter().map(|reason| reason.name()).collect();
        assert_eq!(
            names,
            ["ring", "share", "pending", "storage", "return_missed", "decode", "unread", "queue", "output"]
        );
        let mut lost = Lost::default();
        for (position, &reason) in LossReason::ALL.iter().enumerate() {
            lost.add(reason, 1 << position);
        }
        for (position, &reason) in LossReason::ALL.iter().enumerate() {
            assert_eq!(lost.get(reason), 1 << position);
        }
        assert_eq!(lost.total(), (1 << LossReason::ALL.len()) - 1);
    }

    #[test]
    fn every_part_counts_once() {
        let mut account =
            Account { seen: 10, emitted: 4, sampled: 1, in_flight: 2, unreadable: 9, ..Account::default() };
        account.filtered.add(FilterReason::Policy, 2);
        assert_eq!((account.imbalance(), account.balanced()), (1, false));
        account.lost.add(LossReason::Ring, 1);
        assert_eq!((account.imbalance(), account.balanced(), account.is_whole()), (0, true, false));
        account.emitted += 1;
        assert_eq!((account.imbalance(), account.balanced()), (-1, false));
    }

    #[test]
    fn extreme_counts_do_not_overflow() {
        let mut account = Account { emitted: u64::MAX, sampled: u64::MAX, in_flight: u64::MAX, ..Account::default() };
        assert_eq!(account.imbalance(), -3 * i128::from(u64::MAX));
        account = Account { seen: u64::MAX, ..Account::default() };
        assert_eq!(account.imbalance(), i128::from(u64::MAX));
    }

    #[test]
    fn no_more_is_lost_than_was_emitted() {
        let mut account = Account { seen: 3, emitted: 3, ..Account::default() };
        account.lose_emitted(LossReason::Output, 5);
        assert_eq!((account.emitted, account.lost.get(LossReason::Output), account.balanced()), (0, 3, true));
    }

    proptest! {
        #[test]
        fn imbalances_of_containers_add_up_to_the_nodes(accounts in prop::collection::vec(account(), 0..20)) {
            let node: Account = accounts.iter().sum();
            prop_assert_eq!(node.imbalance(), accounts.iter().map(Account::imbalance).sum::<i128>());
            prop_assert_eq!(node.lost.total(), accounts.iter().map(|account| account.lost.total()).sum::<u64>());
        }

        #[test]
        fn seen_set_to_the_parts_balances(mut account in account()) {
            account.seen = u64::try_from(i128::from(account.seen) - account.imbalance()).expect("parts are not negative");
            prop_assert!(account.balanced());
            account.lose_emitted(LossReason::Output, 17);
            prop_assert!(account.balanced());
            account.seen += 1;
            prop_assert_eq!(account.imbalance(), 1);
        }
    }
}
