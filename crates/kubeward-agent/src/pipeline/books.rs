//! The accounts in the stream: ledger lines, gaps, and the end of a container.

use std::sync::Arc;

use kubeward_bpf::accounts::Losses;
use kubeward_bpf::wire::{self, Wire};
use kubeward_core::container::{Container, ContainerSlot};
use kubeward_core::ledger::{Account, FilterReason, LossReason};
use kubeward_core::render::line::{ContainerChange, Gap, GapReason, LedgerLine, LedgerScope};
use kubeward_core::table::{CallKey, CallStats};

use super::account::settle;
use super::clock::{monotonic_ns, Clocks};
use super::command::{Accounts, TableNow};
use super::flow::Pipeline;

/// Between two looks at clocks and losses while the ring is quiet, and while it is busy.
const QUIET_NS: u64 = 1_000_000_000;
const BUSY_NS: u64 = 50_000_000;

/// Records between two drains from which on the ring may have run over.
const BUSY_RECORDS: usize = 4096;

/// Tries to read an account at a moment when no call is between two of its counters.
const ACCOUNT_TRIES: u32 = 32;

/// Drains after which a program that began before the container was closed has written its record. One is enough where
/// nothing preempts it; more cost nothing.
const CLOSING_DRAINS: u32 = 4;

/// Drains after which a container is closed though its records are not all there: a second or more.
const CLOSING_DRAINS_LIMIT: u32 = 250;

/// What the kernel side went without for a container, as last told in the log. No call is lost by it.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Shortages {
    untagged: u64,
    lost_exec: u64,
    untabled: u64,
    untimed: u64,
}

impl Shortages {
    /// Warns when they grow: at most with each look for losses, and once for each doubling.
    fn look(&mut self, kernel: &Losses, container: &Container) {
        if has_doubled(&mut self.untagged, kernel.untagged) {
            tracing::warn!(container = %container.id, tasks = kernel.untagged, "no kernel memory to tag these tasks: if they leave the container's cgroup and namespaces they are not followed");
        }
        if has_doubled(&mut self.lost_exec, kernel.lost_exec) {
            tracing::warn!(container = %container.id, programs = kernel.lost_exec, "no room in the ring for the names of these programs: their events have no exe");
        }
        if has_doubled(&mut self.untabled, kernel.untabled) {
            tracing::warn!(container = %container.id, calls = kernel.untabled, "the table by call is full: these calls are in the ledger alone; name fewer calls or containers");
        }
        if has_doubled(&mut self.untimed, kernel.untimed) {
            tracing::warn!(container = %container.id, durations = kernel.untimed, "the table of durations is full: these are not in the percentiles; time fewer calls or containers");
        }
    }
}

/// Whether a slot that the kernel side looks at no more has been read, after so many drains.
fn is_over(drains: u32, is_read: bool) -> bool {
    drains >= CLOSING_DRAINS_LIMIT || (drains >= CLOSING_DRAINS && is_read)
}

fn has_doubled(told: &mut u64, count: u64) -> bool {
    let has = count > 0 && count >= told.saturating_mul(2);
    if has {
        *told = count;
    }
    has
}

impl Pipeline {
    /// Samples the clocks and looks for losses, as often as it is worth it.
    pub(super) fn look_around(&mut self) {
        let since_ns = monotonic_ns().saturating_sub(self.looked_ns);
        let is_busy = self.since_drained >= BUSY_RECORDS;
        if since_ns >= if is_busy { BUSY_NS } else { QUIET_NS } {
            self.clocks = Clocks::sample();
            let is_all_due = monotonic_ns().saturating_sub(self.looked_at_all_ns) >= QUIET_NS;
            self.look_for_gaps(is_all_due);
        }
    }

    /// A line for each container of which records were lost since the last look.
    pub(super) fn tell_gaps(&mut self) {
        self.look_for_gaps(true);
    }

    /// While the ring is busy, of those alone of which something was read since: a container that loses records has some in the ring
    /// mostly, and reading the accounts of thousands takes longer than the ring holds.
    fn look_for_gaps(&mut self, all: bool) {
        let now_ns = monotonic_ns();
        self.looked_ns = now_ns;
        if all {
            self.looked_at_all_ns = now_ns;
        }
        let due = self.members.iter().filter(|(_, member)| all || member.gap.is_due).map(|(slot, _)| slot);
        let due: Vec<ContainerSlot> = due.collect();
        let losses = self.kernel_accounts.losses_of(&due);
        let mut gaps = Vec::new();
        for slot in due {
            let Some(member) = self.members.get_mut(slot) else { continue };
            // What could not be read is looked at the next time.
            let Some(kernel) = losses.get(&slot) else { continue };
            member.shortages.look(kernel, &member.container);
            let by_output = member.counts.lost.get(LossReason::Output);
            let from_ns = member.gap.looked_ns;
            for (reason, lost) in member.gap.look(kernel, by_output, now_ns) {
                if lost > 0 {
                    gaps.push((member.container.clone(), reason, lost, self.clocks.unix_of_monotonic(from_ns)));
                }
            }
        }
        for (container, reason, lost, from_ns) in gaps {
            let moment = self.next_moment();
            let to_ns = Some(moment.time_ns);
            let gap = Gap { reason: GapReason::Lost(reason), lost, from_ns, to_ns, container: Some(&container) };
            let lines = &mut self.lines;
            self.output.line(None, &mut |out| lines.gap(out, moment, &gap));
        }
    }

    /// Nobody watched from this moment of CLOCK_BOOTTIME on, until now or still.
    pub(super) fn tell_agent_down(&mut self, from_boot_ns: u64, is_over: bool) {
        let from_ns = self.clocks.unix_of_boot(from_boot_ns);
        let moment = self.next_moment();
        let to_ns = is_over.then_some(moment.time_ns);
        let gap = Gap { reason: GapReason::AgentDown, lost: 0, from_ns, to_ns, container: None };
        let lines = &mut self.lines;
        self.output.line(None, &mut |out| lines.gap(out, moment, &gap));
    }

    /// Takes back what was booked as emitted and did not get out.
    pub(super) fn book_losses(&mut self) {
        for (slot, count) in self.output.take_losses() {
            match self.members.get_mut(slot) {
                Some(member) => {
                    member.counts.lose_emitted(count);
                    member.gap.is_due = true;
                }
                None => self.ended.lose_emitted(LossReason::Output, count),
            }
        }
    }

    /// A line for each container and one for the node. Gives them back.
    pub(super) fn tell_accounts(&mut self, is_final: bool) -> Accounts {
        let accounts = self.accounts(is_final);
        for (container, account) in &accounts.containers {
            self.tell_account(LedgerScope::Container(container), account, is_final);
        }
        self.tell_account(LedgerScope::Node, &accounts.node, is_final);
        accounts
    }

    /// Those that the stream speaks of, in order of their slots. What others did before it was known that no policy selects
    /// them stands in the node's.
    pub(super) fn accounts(&self, is_final: bool) -> Accounts {
        let slots: Vec<ContainerSlot> = self.members.iter().map(|(slot, _)| slot).collect();
        let kernel = self.kernel_accounts.of(&slots);
        let of_all = self
            .members
            .iter()
            .filter_map(|(slot, member)| Some((member, self.account(slot, kernel.get(&slot).copied()?, is_final)?)));
        let (told, others): (Vec<_>, Vec<_>) = of_all.partition(|(member, _)| member.is_told);
        let containers: Vec<_> = told.into_iter().map(|(_, account)| account).collect();
        let others = others.iter().map(|(_, (_, account))| account);
        let mut node: Account = containers.iter().map(|(_, account)| account).chain(others).sum();
        node.leave_out_unread(self.unexplained);
        node.add(&self.ended);
        Accounts { containers, node, doubts: self.doubts }
    }

    /// Of the same containers.
    pub(super) fn table_now(&self) -> TableNow {
        let table = (self.kernel_table)().unwrap_or_default();
        let of_member = |(key, stats): (&CallKey, &CallStats)| {
            let member = self.members.get(key.slot).filter(|member| member.is_told)?;
            Some((member.container.clone(), key.stage, stats.clone()))
        };
        let told = self.members.iter().filter(|(_, member)| member.is_told).map(|(slot, _)| slot);
        let losses = self.kernel_accounts.losses_of(&told.collect::<Vec<_>>());
        let untabled = losses.values().map(|losses| losses.untabled);
        TableNow {
            calls: table.iter().filter_map(of_member).collect(),
            used: table.used(),
            room: table.room(),
            overflow: untabled.sum::<u64>() + self.ended_untabled,
        }
    }

    fn tell_account(&mut self, scope: LedgerScope<'_>, account: &Account, is_final: bool) {
        let moment = self.next_moment();
        let (skipped, missed_returns) = (self.doubts.skipped, self.doubts.missed_returns);
        let ledger = LedgerLine { scope, account, is_final, skipped, missed_returns };
        let lines = &mut self.lines;
        self.output.line(None, &mut |out| lines.ledger(out, moment, &ledger));
    }

    /// In the last account the ring has been read past all that the container wrote, and no program is between its counting and its
    /// record, since the kernel side was silenced, or the slot closed, long before: a record that is still missing was lost in the
    /// ring. A call that goes on, of a task that outlives its container, is none of these, as the kernel side has written no record
    /// of it.
    fn account(&self, slot: ContainerSlot, kernel: wire::Account, is_final: bool) -> Option<(Arc<Container>, Account)> {
        let (kernel, mut account) = self.joined(slot, kernel, is_final)?;
        let member = self.members.get(slot)?;
        let unread = kernel.submitted().saturating_sub(member.counts.read);
        if is_final && unread > 0 {
            tracing::error!(container = %member.container.id, records = unread, "these were written into the ring and not read there; their calls are counted as lost");
            account.lose_unread(unread);
        }
        Some((member.container.clone(), account))
    }

    /// The kernel's counters are of all CPUs and move while they are read: a sum that does not add up is read again. One
    /// that never does is shown as it is where the counters stand still, and at the end; calls that are being counted
    /// are in flight.
    fn joined(
        &self,
        slot: ContainerSlot,
        mut kernel: wire::Account,
        is_final: bool,
    ) -> Option<(wire::Account, Account)> {
        let member = self.members.get(slot)?;
        let mut account = member.counts.join(&kernel);
        let mut moves = false;
        for _ in 0..ACCOUNT_TRIES {
            if account.balanced() {
                return Some((kernel, account));
            }
            // A program that was preempted between two counters gets on.
            std::thread::yield_now();
            let before = std::mem::replace(&mut kernel, self.kernel_accounts.of_one(slot)?);
            moves |= kernel.as_bytes() != before.as_bytes();
            account = member.counts.join(&kernel);
        }
        if moves && !is_final {
            settle(&mut account);
        }
        Some((kernel, account))
    }

    /// Ends the containers that were closed and whose records are read.
    pub(super) fn close_ended(&mut self) {
        let mut over = Vec::new();
        for &slot in &self.closing {
            let Some(member) = self.members.get_mut(slot) else { continue };
            let drains = member.closing.get_or_insert(0);
            *drains += 1;
            let drains = *drains;
            let is_read = || {
                let kernel = self.kernel_accounts.of_one(slot);
                kernel.is_none_or(|kernel| member.counts.read >= kernel.submitted())
            };
            if drains >= CLOSING_DRAINS && is_over(drains, is_read()) {
                over.push(slot);
            }
        }
        over.into_iter().for_each(|slot| self.end(slot));
        for (slot, drains, read) in self.holding.drained() {
            let kernel = self.kernel_accounts.of_one(slot).unwrap_or_default();
            if is_over(drains, read >= kernel.submitted()) {
                self.end_ignored(slot, &kernel);
            }
        }
    }

    /// No name comes any more for what waits for one.
    pub(super) fn end_holding(&mut self) {
        for slot in self.holding.slots() {
            let kernel = self.kernel_accounts.of_one(slot).unwrap_or_default();
            self.end_ignored(slot, &kernel);
        }
    }

    /// What an ignored slot did belongs to no container, so that none of it was wanted: it stands in the node's account alone, calls
    /// that go on with it.
    fn end_ignored(&mut self, slot: ContainerSlot, kernel: &wire::Account) {
        if self.holding.end(slot).is_some() {
            let mut account = Account { seen: kernel.seen(), ..Account::default() };
            account.filtered.add(FilterReason::Ignored, kernel.seen());
            self.ended.add(&account);
        }
        self.programs.forget(slot);
        self.tell_freed(slot);
    }

    fn end(&mut self, slot: ContainerSlot) {
        let is_told = self.members.get(slot).is_some_and(|member| member.is_told);
        let kernel = self.kernel_accounts.of_one(slot);
        if let Some((container, mut account)) = kernel.and_then(|kernel| self.account(slot, kernel, true)) {
            if is_told {
                self.tell_account(LedgerScope::Container(&container), &account, true);
                self.tell_container(ContainerChange::Gone, &container);
                self.ended_untabled += kernel.map_or(0, |kernel| kernel.untabled);
            }
            self.unexplained -= account.leave_out_unread(self.unexplained);
            self.ended.add(&account);
            self.given_up += account.lost.get(LossReason::Unread);
        }
        self.members.remove(slot);
        self.closing.remove(&slot);
        self.programs.forget(slot);
        self.judge.forget(slot);
        if let Some(previous) = &mut self.previous {
            previous.forget(slot);
        }
        self.tell_freed(slot);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shortage_is_told_at_once_and_at_each_doubling() {
        let mut told = 0;
        let counts = [0, 1, 1, 2, 3, 4, 7, 100, 150];
        assert_eq!(
            counts.map(|count| has_doubled(&mut told, count)),
            [false, true, false, true, false, true, false, true, false]
        );
    }
}
