//! The accounts in the stream: ledger lines, gaps, and the end of a container.

use std::sync::Arc;

use kubeward_core::container::{Container, ContainerSlot};
use kubeward_core::ledger::{Account, LossReason};
use kubeward_core::render::line::{ContainerChange, Gap, LedgerLine, LedgerScope};

use super::clock::{monotonic_ns, Clocks};
use super::flow::{Member, Pipeline};

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

impl Pipeline {
    /// Samples the clocks and looks for losses, as often as it is worth it.
    pub(super) fn look_around(&mut self) {
        let since_ns = monotonic_ns().saturating_sub(self.looked_ns);
        let due_ns = if self.since_drained >= BUSY_RECORDS { BUSY_NS } else { QUIET_NS };
        if since_ns >= due_ns {
            self.clocks = Clocks::sample();
            self.tell_gaps();
        }
    }

    /// A line for each container of which records were lost since the last look.
    pub(super) fn tell_gaps(&mut self) {
        let from_ns = self.clocks.unix_of_monotonic(self.looked_ns);
        self.looked_ns = monotonic_ns();
        let mut gaps = Vec::new();
        for (&slot, member) in &mut self.members {
            let kernel = (self.kernel_account)(slot).unwrap_or_default();
            let in_ring = kernel.lost_ring.saturating_sub(member.gap.ring_told);
            member.gap.ring_told = kernel.lost_ring;
            let by_output = member.counts.lost.get(LossReason::Output);
            let is_over = by_output == std::mem::replace(&mut member.gap.output_seen, by_output);
            let in_output = if is_over { by_output - member.gap.output_told } else { 0 };
            member.gap.output_told += in_output;
            for (reason, lost) in [(LossReason::Ring, in_ring), (LossReason::Output, in_output)] {
                if lost > 0 {
                    gaps.push((member.container.clone(), reason, lost));
                }
            }
        }
        for (container, reason, lost) in gaps {
            let moment = self.next_moment();
            let gap = Gap { reason, lost, from_ns, to_ns: Some(moment.time_ns), container: Some(&container) };
            let lines = &mut self.lines;
            self.output.line(None, &mut |out| lines.gap(out, moment, &gap));
        }
    }

    /// Takes back what was booked as emitted and did not get out.
    pub(super) fn book_losses(&mut self) {
        for (slot, count) in self.output.take_losses() {
            match self.members.get_mut(&slot) {
                Some(member) => member.counts.lose_emitted(count),
                None => self.ended.lose_emitted(LossReason::Output, count),
            }
        }
    }

    /// A line for each container and one for the node. Gives back the containers' accounts.
    pub(super) fn tell_accounts(&mut self, is_final: bool) -> Vec<(Arc<Container>, Account)> {
        let mut accounts = Vec::new();
        let told = self.members.iter().filter(|(_, member)| member.is_told).map(|(&slot, _)| slot);
        for slot in told.collect::<Vec<_>>() {
            if let Some((container, account)) = self.account(slot) {
                self.tell_account(LedgerScope::Container(&container), &account, is_final);
                accounts.push((container, account));
            }
        }
        let node: Account = accounts.iter().map(|(_, account)| account).chain([&self.ended]).sum();
        self.tell_account(LedgerScope::Node, &node, is_final);
        accounts
    }

    fn tell_account(&mut self, scope: LedgerScope<'_>, account: &Account, is_final: bool) {
        let moment = self.next_moment();
        let (skipped, missed_returns) = (self.doubts.skipped, self.doubts.missed_returns);
        let ledger = LedgerLine { scope, account, is_final, skipped, missed_returns };
        let lines = &mut self.lines;
        self.output.line(None, &mut |out| lines.ledger(out, moment, &ledger));
    }

    /// The kernel's counters are of all CPUs and move while they are read: a sum that does not add up is read again.
    fn account(&self, slot: ContainerSlot) -> Option<(Arc<Container>, Account)> {
        let member = self.members.get(&slot)?;
        let mut account = Account::default();
        for _ in 0..ACCOUNT_TRIES {
            account = member.counts.join(&(self.kernel_account)(slot)?);
            if account.balanced() {
                break;
            }
        }
        Some((member.container.clone(), account))
    }

    /// Ends the containers that were closed and whose records are read.
    pub(super) fn close_ended(&mut self) {
        let kernel_account = &self.kernel_account;
        let is_read = |slot: ContainerSlot, member: &Member| {
            kernel_account(slot).is_none_or(|kernel| member.counts.read >= kernel.submitted)
        };
        let mut over = Vec::new();
        for (&slot, member) in &mut self.members {
            let Some(drains) = &mut member.closing else { continue };
            *drains += 1;
            let drains = *drains;
            if drains >= CLOSING_DRAINS_LIMIT || (drains >= CLOSING_DRAINS && is_read(slot, member)) {
                over.push(slot);
            }
        }
        over.into_iter().for_each(|slot| self.end(slot));
    }

    fn end(&mut self, slot: ContainerSlot) {
        let is_told = self.members.get(&slot).is_some_and(|member| member.is_told);
        if let Some((container, account)) = self.account(slot).filter(|_| is_told) {
            self.tell_account(LedgerScope::Container(&container), &account, true);
            self.tell_container(ContainerChange::Gone, &container);
            self.ended.add(&account);
        }
        self.members.remove(&slot);
        self.programs.forget(slot);
        self.judge.forget(slot);
        if let Some(previous) = &mut self.previous {
            previous.forget(slot);
        }
        self.tell_freed(slot);
    }
}
