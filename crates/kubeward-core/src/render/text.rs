//! Text lines: one strace-like line a call, for people.
//!
//! ```text
//! 12:00:01.123456 web-0/app cat[4242] openat(AT_FDCWD, "hosts", O_RDONLY) = 3 </etc/hosts> <2.3us>
//! ```
//!
//! Lines are printable ASCII: every other byte of a foreign string is escaped.

use std::time::Duration;

use super::error_text::{error_text, is_restart};
use super::escape::{octal, push_display, push_number, Place};
use super::line::{ContainerChange, Gap, LedgerLine, LedgerScope, Moment, Notice};
use super::time::{write_clock, write_rfc3339, write_span};
use super::value::{name_of, via_remark, write_arg, write_name, write_return, Fit};
use crate::container::Container;
use crate::event::{Identity, Phase, Stage, SyscallEvent};
use crate::ledger::{Account, FilterReason, LossReason};
use crate::syscall::errno_name;

/// What stands at the beginning of a text line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TextOptions {
    pub time: TimeFormat,
    /// Show whose call it is (`web-0/app`). Needless where only one container is watched.
    pub container: bool,
}

/// How a text line says when.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TimeFormat {
    Omit,
    /// `03:04:05.123456`, UTC.
    Clock,
    /// `2026-01-02T03:04:05.123456789Z`.
    Rfc3339,
}

/// Strings of a text line are shown up to this many bytes, as many as a call carries by default.
const SHOWN: Fit = Fit { text_bytes: 4_096, strings: 256 };

/// Writes the text lines of one run.
#[derive(Debug)]
pub struct TextLines {
    options: TextOptions,
}

impl TextLines {
    pub fn new(options: TextOptions) -> TextLines {
        TextLines { options }
    }

    /// Appends the line of one call, with its `\n`.
    pub fn syscall(&mut self, out: &mut Vec<u8>, event: &SyscallEvent) {
        self.head(out, event.time_ns, event.container.as_deref());
        octal(out, Place::Line, &event.process.comm.bytes, b"");
        push_display(out, format_args!("[{}] ", event.process.tid));
        write_name(out, &event.call);
        out.push(b'(');
        for (position, arg) in event.args.iter().enumerate() {
            if position > 0 {
                out.extend_from_slice(b", ");
            }
            write_arg(out, Place::Line, arg, &event.args, &SHOWN);
        }
        out.push(b')');
        write_outcome(out, event);
        write_remarks(out, event);
        out.push(b'\n');
    }

    /// Appends the line about a container that came, changed or went.
    pub fn container(&mut self, out: &mut Vec<u8>, moment: Moment, change: ContainerChange, container: &Container) {
        self.head(out, moment.time_ns, None);
        out.extend_from_slice(b"+++ ");
        write_container(out, container);
        push_display(out, format_args!(" {}", change.name()));
        if let (ContainerChange::Came(_) | ContainerChange::Changed, Some(image)) = (change, &container.image) {
            out.extend_from_slice(b": ");
            octal(out, Place::Line, image.as_bytes(), b"");
        }
        if let ContainerChange::Came(sight) = change {
            if sight.gap_ns() > 0 {
                push_display(out, format_args!(" (ran for {:?} unwatched)", Duration::from_nanos(sight.gap_ns())));
            }
        }
        out.extend_from_slice(b" +++\n");
    }

    /// Appends the line of one account.
    pub fn ledger(&mut self, out: &mut Vec<u8>, moment: Moment, ledger: &LedgerLine<'_>) {
        self.head(out, moment.time_ns, None);
        out.extend_from_slice(b"=== ");
        match ledger.scope {
            LedgerScope::Node => out.extend_from_slice(b"all"),
            LedgerScope::Container(container) => write_container(out, container),
        }
        out.extend_from_slice(b": ");
        write_account(out, ledger.account);
        for (name, count) in [("skipped", ledger.skipped), ("missed returns", ledger.missed_returns)] {
            if count > 0 {
                push_display(out, format_args!("; {count} {name} on this node"));
            }
        }
        out.extend_from_slice(b" ===\n");
    }

    /// Appends the line about missing events.
    pub fn gap(&mut self, out: &mut Vec<u8>, moment: Moment, gap: &Gap<'_>) {
        self.head(out, moment.time_ns, gap.container);
        out.extend_from_slice(b"!!! ");
        match gap.lost {
            0 => out.extend_from_slice(b"events"),
            lost => push_display(out, format_args!("{lost} events")),
        }
        push_display(out, format_args!(" lost ({}) from ", gap.reason.name()));
        write_clock(out, gap.from_ns);
        if let Some(to_ns) = gap.to_ns {
            out.extend_from_slice(b" to ");
            write_clock(out, to_ns);
        }
        out.extend_from_slice(b" !!!\n");
    }

    /// Appends the line of a notice.
    pub fn notice(&mut self, out: &mut Vec<u8>, moment: Moment, notice: &Notice<'_>) {
        self.head(out, moment.time_ns, notice.container);
        push_display(out, format_args!("--- {}: ", notice.level.name()));
        octal(out, Place::Line, notice.message.as_bytes(), b"");
        out.extend_from_slice(b" ---\n");
    }

    fn head(&self, out: &mut Vec<u8>, time_ns: u64, container: Option<&Container>) {
        match self.options.time {
            TimeFormat::Omit => {}
            TimeFormat::Clock => write_clock(out, time_ns),
            TimeFormat::Rfc3339 => write_rfc3339(out, time_ns),
        }
        if self.options.time != TimeFormat::Omit {
            out.push(b' ');
        }
        if let (true, Some(container)) = (self.options.container, container) {
            write_container(out, container);
            out.push(b' ');
        }
    }
}

/// Appends ` = 3`, ` = -1 ENOENT (No such file or directory)`, ` = ? ERESTARTSYS (...)`, or ` ...` at entry.
fn write_outcome(out: &mut Vec<u8>, event: &SyscallEvent) {
    let name = name_of(&event.call);
    match (event.ret, event.errno()) {
        (None, _) if matches!(name, Some("exit" | "exit_group")) => out.extend_from_slice(b" = ?"),
        (None, _) if event.phase == Phase::Enter => out.extend_from_slice(b" ..."),
        (None, _) => out.extend_from_slice(b" = ?"),
        (Some(ret), None) => {
            out.extend_from_slice(b" = ");
            write_return(out, name, ret);
        }
        (Some(_), Some(errno)) => {
            out.extend_from_slice(if is_restart(errno) { b" = ? " } else { b" = -1 " });
            match errno_name(errno) {
                Some(name) => out.extend_from_slice(name.as_bytes()),
                None => push_display(out, format_args!("(errno {errno})")),
            }
            if let Some(text) = error_text(errno) {
                push_display(out, format_args!(" ({text})"));
            }
        }
    }
}

/// Appends what is known beside arguments and result, each only when it applies.
fn write_remarks(out: &mut Vec<u8>, event: &SyscallEvent) {
    if let Some(path) = &event.path {
        out.extend_from_slice(b" <");
        let (part, is_cut) = SHOWN.part(path);
        octal(out, Place::Line, part, b"<>");
        out.extend_from_slice(if is_cut { b"...>" } else { b">" });
    }
    if let Some(duration_ns) = event.duration_ns {
        out.extend_from_slice(b" <");
        write_span(out, duration_ns);
        out.push(b'>');
    }
    for (applies, remark) in [
        (event.refused_by_seccomp, " [denied by seccomp]"),
        (true, via_remark(event.call.via)),
        (event.stage == Stage::Setup, " [setup]"),
        (event.identity == Identity::Namespace, " [by namespace]"),
    ] {
        if applies {
            out.extend_from_slice(remark.as_bytes());
        }
    }
    if let Some(repeated) = &event.repeated {
        out.extend_from_slice(b" x ");
        push_number(out, repeated.count);
    }
}

/// Appends the shortest name that people know a container by: `pod/container`, its name, or its id.
fn write_container(out: &mut Vec<u8>, container: &Container) {
    let id = container.id.0.as_str();
    let is_hash = id.len() == 64 && id.bytes().all(|byte| byte.is_ascii_hexdigit());
    let name = container.name.as_deref().unwrap_or(if is_hash { &id[..12] } else { id });
    if let Some(pod) = &container.pod {
        octal(out, Place::Line, pod.name.as_bytes(), b"");
        out.push(b'/');
    }
    octal(out, Place::Line, name.as_bytes(), b"");
}

/// Appends `9 seen = 5 emitted + 2 filtered (setup 2) + 1 lost (ring 1) + 1 in flight`, without parts that are 0.
fn write_account(out: &mut Vec<u8>, account: &Account) {
    push_display(out, format_args!("{} seen = {} emitted", account.seen, account.emitted));
    if account.filtered.total() > 0 {
        push_display(out, format_args!(" + {} filtered", account.filtered.total()));
        write_reasons(out, FilterReason::ALL.iter().map(|reason| (reason.name(), account.filtered.get(*reason))));
    }
    if account.sampled > 0 {
        push_display(out, format_args!(" + {} sampled", account.sampled));
    }
    push_display(out, format_args!(" + {} lost", account.lost.total()));
    write_reasons(out, LossReason::ALL.iter().map(|reason| (reason.name(), account.lost.get(*reason))));
    if account.in_flight > 0 {
        push_display(out, format_args!(" + {} in flight", account.in_flight));
    }
    if !account.balanced() {
        push_display(out, format_args!("; DOES NOT ADD UP: {} unaccounted for", account.imbalance()));
    }
}

fn write_reasons(out: &mut Vec<u8>, counts: impl Iterator<Item = (&'static str, u64)>) {
    let mut opening = " (";
    for (name, count) in counts.filter(|(_, count)| *count > 0) {
        push_display(out, format_args!("{opening}{name} "));
        push_number(out, count);
        opening = ", ";
    }
    if opening == ", " {
        out.push(b')');
    }
}

#[cfg(test)]
#[path = "text_tests.rs"]
mod tests;
