//! Lines of every kind but `syscall`.

use super::member::{self, key, Fitting};
use super::{facts, JsonLines};
use crate::container::Container;
use crate::ledger::{Account, FilterReason, LossReason};
use crate::render::line::{ContainerChange, Gap, LedgerLine, LedgerScope, Moment, Notice};
use crate::render::time::write_rfc3339;

impl JsonLines {
    /// Appends the line about a container that came, changed or went.
    pub fn container(&mut self, out: &mut Vec<u8>, moment: Moment, change: ContainerChange, container: &Container) {
        self.line(out, "container", moment, |_, out, fitting| {
            member::word(out, key!("change"), change.name());
            if let ContainerChange::Came(sight) = change {
                time(out, key!("created"), sight.created_ns);
                time(out, key!("covered"), sight.covered_ns);
                member::number(out, key!("gap_ns"), sight.gap_ns());
            }
            facts::whole_container(out, container, fitting);
        });
    }

    /// Appends the line of one account.
    pub fn ledger(&mut self, out: &mut Vec<u8>, moment: Moment, ledger: &LedgerLine<'_>) {
        self.line(out, "ledger", moment, |_, out, fitting| {
            let container = match ledger.scope {
                LedgerScope::Node => None,
                LedgerScope::Container(container) => Some(container),
            };
            member::word(out, key!("scope"), if container.is_some() { "container" } else { "node" });
            member::claim(out, key!("final"), ledger.is_final);
            account(out, ledger.account);
            // A node's line always has them; a container's when they cast doubt on it.
            for (key, count) in [(key!("skipped"), ledger.skipped), (key!("missed_returns"), ledger.missed_returns)] {
                if container.is_none() || count > 0 {
                    member::number(out, key, count);
                }
            }
            name_container(out, container, fitting);
        });
    }

    /// Appends the line about missing events.
    pub fn gap(&mut self, out: &mut Vec<u8>, moment: Moment, gap: &Gap<'_>) {
        self.line(out, "gap", moment, |_, out, fitting| {
            member::word(out, key!("reason"), gap.reason.name());
            if gap.lost > 0 {
                member::number(out, key!("lost"), gap.lost);
            }
            for (key, time_ns) in [(key!("from"), Some(gap.from_ns)), (key!("to"), gap.to_ns)] {
                if let Some(time_ns) = time_ns {
                    time(out, key, time_ns);
                }
            }
            name_container(out, gap.container, fitting);
        });
    }

    /// Appends the line of a notice.
    pub fn notice(&mut self, out: &mut Vec<u8>, moment: Moment, notice: &Notice<'_>) {
        self.line(out, "notice", moment, |_, out, fitting| {
            member::word(out, key!("level"), notice.level.name());
            member::word(out, key!("code"), notice.code);
            member::push(out, key!("message"));
            let is_cut = member::string(out, notice.message, fitting.call.text_bytes);
            member::claim(out, key!("cut"), is_cut);
            name_container(out, notice.container, fitting);
        });
    }
}

fn time(out: &mut Vec<u8>, key: &str, time_ns: u64) {
    member::push(out, key);
    out.push(b'"');
    write_rfc3339(out, time_ns);
    out.push(b'"');
}

fn name_container(out: &mut Vec<u8>, container: Option<&Container>, fitting: &Fitting) {
    if let Some(container) = container {
        facts::named_container(out, container, fitting);
    }
}

fn account(out: &mut Vec<u8>, account: &Account) {
    member::number(out, key!("seen"), account.seen);
    member::number(out, key!("emitted"), account.emitted);
    out.extend_from_slice(b",\"filtered\":{\"total\":");
    member::unsigned(out, account.filtered.total());
    for &reason in FilterReason::ALL {
        member::number_by_name(out, reason.name(), account.filtered.get(reason));
    }
    out.push(b'}');
    member::number(out, key!("sampled"), account.sampled);
    out.extend_from_slice(b",\"lost\":{\"total\":");
    member::unsigned(out, account.lost.total());
    for &reason in LossReason::ALL {
        member::number_by_name(out, reason.name(), account.lost.get(reason));
    }
    out.push(b'}');
    member::number(out, key!("in_flight"), account.in_flight);
    member::number(out, key!("unreadable"), account.unreadable);
    member::push(out, key!("balanced"));
    out.extend_from_slice(if account.balanced() { b"true" } else { b"false" });
    if !account.balanced() {
        member::push(out, key!("imbalance"));
        member::integer(out, account.imbalance());
    }
}
