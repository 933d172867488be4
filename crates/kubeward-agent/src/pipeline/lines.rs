//! The form of the lines: JSON for programs or text for people.

use kubeward_core::container::Container;
use kubeward_core::event::SyscallEvent;
use kubeward_core::render::json::JsonLines;
use kubeward_core::render::line::{ContainerChange, Gap, LedgerLine, LedgerScope, Moment, Notice};
use kubeward_core::render::text::TextLines;

/// Writes whole lines of one form.
#[derive(Debug)]
pub enum Lines {
    Json(JsonLines),
    Text(TextLines),
    /// Text where one container is all there is: nothing of containers coming and going, nor of the node.
    Alone(TextLines),
    /// No lines at all: only the table is wanted.
    None,
}

impl Lines {
    pub(crate) fn syscall(&mut self, out: &mut Vec<u8>, event: &SyscallEvent) {
        match self {
            Lines::Json(lines) => lines.syscall(out, event),
            Lines::Text(lines) | Lines::Alone(lines) => lines.syscall(out, event),
            Lines::None => {}
        }
    }

    pub(super) fn container(&mut self, out: &mut Vec<u8>, moment: Moment, change: ContainerChange, of: &Container) {
        match self {
            Lines::Json(lines) => lines.container(out, moment, change, of),
            Lines::Text(lines) => lines.container(out, moment, change, of),
            Lines::Alone(_) | Lines::None => {}
        }
    }

    pub(super) fn ledger(&mut self, out: &mut Vec<u8>, moment: Moment, ledger: &LedgerLine<'_>) {
        match self {
            Lines::Json(lines) => lines.ledger(out, moment, ledger),
            Lines::Alone(_) if matches!(ledger.scope, LedgerScope::Node) => {}
            Lines::Text(lines) | Lines::Alone(lines) => lines.ledger(out, moment, ledger),
            Lines::None => {}
        }
    }

    pub(super) fn gap(&mut self, out: &mut Vec<u8>, moment: Moment, gap: &Gap<'_>) {
        match self {
            Lines::Json(lines) => lines.gap(out, moment, gap),
            Lines::Text(lines) | Lines::Alone(lines) => lines.gap(out, moment, gap),
            Lines::None => {}
        }
    }

    pub(super) fn notice(&mut self, out: &mut Vec<u8>, moment: Moment, notice: &Notice<'_>) {
        match self {
            Lines::Json(lines) => lines.notice(out, moment, notice),
            Lines::Text(lines) | Lines::Alone(lines) => lines.notice(out, moment, notice),
            Lines::None => {}
        }
    }
}
