use std::sync::Arc;

use proptest::prelude::*;

use super::*;
use crate::event::Via;
use crate::event::{Arg, ArgValue, Call, Repeated, Text};
use crate::render::fixture::{arg, hostile_event, openat_event, text, valued, web_container, SIGHT, TIME_NS};
use crate::render::line::GapReason;
use crate::syscall::{by_name, ArgKind};

const OPTIONS: TextOptions = TextOptions { time: TimeFormat::Clock, container: true };
const BARE: TextOptions = TextOptions { time: TimeFormat::Omit, container: false };
const MOMENT: Moment = Moment { seq: 7, time_ns: TIME_NS, mono_ns: 9 };

fn line_of(options: TextOptions, write: impl FnOnce(&mut TextLines, &mut Vec<u8>)) -> String {
    let mut out = Vec::new();
    write(&mut TextLines::new(options), &mut out);
    String::from_utf8(out).expect("lines are ASCII")
}

fn bare_line(event: &SyscallEvent) -> String {
    line_of(BARE, |lines, out| lines.syscall(out, event))
}

/// The line from the call's name on.
fn call_part(event: &SyscallEvent) -> String {
    bare_line(event).replace("cat[4242] ", "")
}

fn event_with(name: &'static str, args: Vec<Arg>) -> SyscallEvent {
    let mut event = openat_event();
    event.call.entry = Some(by_name(name).expect("the catalogue has this call"));
    (event.args, event.path, event.duration_ns) = (args, None, None);
    event
}

#[test]
fn identical_calls_in_a_row_are_one_line_with_their_count() {
    let mut event = event_with("mkdir", Vec::new());
    event.duration_ns = Some(2_310);
    event.repeated = Some(Repeated { count: 1_000, last_time_ns: TIME_NS, total_duration_ns: Some(9_000_000) });
    event.refused_by_seccomp = true;
    assert_eq!(call_part(&event), "mkdir() = 3 <2.3us> [denied by seccomp] x 1000\n");
}

#[test]
fn a_call_reads_as_strace_writes_it() {
    assert_eq!(
        line_of(OPTIONS, |lines, out| lines.syscall(out, &openat_event())),
        "03:04:05.123456 web-0/app cat[4242] openat(AT_FDCWD, \"hosts\", O_RDONLY|O_CLOEXEC, 0) = 3 </etc/hosts> <2.3us>\n"
    );
    let rfc3339 = TextOptions { time: TimeFormat::Rfc3339, container: false };
    assert!(line_of(rfc3339, |lines, out| lines.syscall(out, &openat_event()))
        .starts_with("2026-01-02T03:04:05.123456789Z cat[4242] openat("));
}

#[test]
fn outcomes_read_as_strace_writes_them() {
    let mut event = event_with("close", vec![arg("fd", ArgKind::Fd, 3)]);
    for (ret, expected) in [
        (Some(0), "close(3) = 0\n"),
        (Some(-2), "close(3) = -1 ENOENT (No such file or directory)\n"),
        (Some(-4000), "close(3) = -1 (errno 4000)\n"),
        (Some(-512), "close(3) = ? ERESTARTSYS (To be restarted if SA_RESTART is set)\n"),
        (Some(i64::MIN), "close(3) = -9223372036854775808\n"),
        (None, "close(3) = ?\n"),
    ] {
        event.ret = ret;
        assert_eq!(call_part(&event), expected);
    }
    (event.phase, event.ret) = (Phase::Enter, None);
    assert_eq!(call_part(&event), "close(3) ...\n");
    let mut exit = event_with("exit_group", vec![arg("error_code", ArgKind::Int, 1)]);
    (exit.phase, exit.ret) = (Phase::Enter, None);
    assert_eq!(call_part(&exit), "exit_group(1) = ?\n");
}

#[test]
fn results_that_are_addresses_or_modes_are_not_decimal() {
    let mut event = event_with("mmap", vec![]);
    event.ret = Some(0x7f00_0000_1000);
    assert_eq!(call_part(&event), "mmap() = 0x7f0000001000\n");
    let mut event = event_with("umask", vec![]);
    event.ret = Some(0o22);
    assert_eq!(call_part(&event), "umask() = 022\n");
}

#[test]
fn remarks_follow_the_result() {
    let mut event = openat_event();
    event.call = Call { via: Via::Compat, nr: 4_000, entry: None };
    (event.args, event.ret) = (vec![], Some(-1));
    (event.refused_by_seccomp, event.stage, event.identity) = (true, Stage::Setup, Identity::Namespace);
    (event.path, event.duration_ns) = (None, None);
    assert_eq!(
        call_part(&event),
        "syscall_0xfa0() = -1 EPERM (Operation not permitted) [denied by seccomp] [32-bit] [setup] [by namespace]\n"
    );
}

#[test]
fn foreign_bytes_are_escaped_wherever_they_stand() {
    let mut event = openat_event();
    event.process.comm = text(b"a\n\x1b[2Jb");
    event.args = vec![valued("f", ArgKind::Path, ArgValue::Str(Text { cut: true, ..text(b"\r\"\xc2\x9b8") }))];
    event.path = Some(text(b"/a> = 0\n"));
    let mut container = web_container();
    container.pod = None;
    container.name = Some("\u{202e}x".into());
    event.container = Some(Arc::new(container));
    assert_eq!(
        line_of(OPTIONS, |lines, out| lines.syscall(out, &event)),
        "03:04:05.123456 \\342\\200\\256x a\\n\\33[2Jb[4242] \
         openat(\"\\r\\\"\\302\\2338\"...) = 3 </a\\76 = 0\\n> <2.3us>\n"
    );
}

#[test]
fn containers_go_by_pod_and_name_or_by_their_id() {
    let name = |container: &Container| {
        let mut out = Vec::new();
        write_container(&mut out, container);
        String::from_utf8(out).expect("names are ASCII")
    };
    let mut container = web_container();
    assert_eq!(name(&container), "web-0/app");
    (container.pod, container.name) = (None, None);
    assert_eq!(name(&container), "4f5c4f5c4f5c");
    container.id.0 = "a-name-that-ctr-was-given".into();
    assert_eq!(name(&container), "a-name-that-ctr-was-given");
}

#[test]
fn lines_beside_calls() {
    let container = web_container();
    assert_eq!(
        line_of(OPTIONS, |lines, out| lines.container(out, MOMENT, ContainerChange::Came(SIGHT), &container)),
        "03:04:05.123456 +++ web-0/app came: docker.io/library/web:1 (ran for 250ms unwatched) +++\n"
    );
    let gap = Gap {
        reason: GapReason::Lost(LossReason::Ring),
        lost: 3,
        from_ns: TIME_NS,
        to_ns: Some(TIME_NS + 1_000_000),
        container: Some(&container),
    };
    assert_eq!(
        line_of(OPTIONS, |lines, out| lines.gap(out, MOMENT, &gap)),
        "03:04:05.123456 web-0/app !!! 3 events lost (ring) from 03:04:05.123456 to 03:04:05.124456 !!!\n"
    );
    let notice = Notice {
        level: super::super::line::NoticeLevel::Warning,
        code: "x",
        message: "no \x1b socket",
        container: None,
    };
    assert_eq!(line_of(BARE, |lines, out| lines.notice(out, MOMENT, &notice)), "--- warning: no \\33 socket ---\n");
}

#[test]
fn ledger_reads_as_a_sum() {
    let mut account = Account { seen: 12, emitted: 5, sampled: 1, in_flight: 2, ..Account::default() };
    account.filtered.add(FilterReason::Setup, 2);
    account.filtered.add(FilterReason::Errors, 1);
    account.lost.add(LossReason::Ring, 1);
    let line = |account: &Account, skipped| {
        let ledger = LedgerLine { scope: LedgerScope::Node, account, is_final: true, skipped, missed_returns: 0 };
        line_of(BARE, |lines, out| lines.ledger(out, MOMENT, &ledger))
    };
    assert_eq!(
        line(&account, 0),
        "=== all: 12 seen = 5 emitted + 3 filtered (setup 2, errors 1) + 1 sampled + 1 lost (ring 1) + 2 in flight ===\n"
    );
    let whole = Account { seen: 2, emitted: 1, ..Account::default() };
    assert_eq!(
        line(&whole, 4),
        "=== all: 2 seen = 1 emitted + 0 lost; DOES NOT ADD UP: 1 unaccounted for; 4 skipped on this node ===\n"
    );
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn any_event_is_one_printable_line(event in hostile_event()) {
        let line = line_of(OPTIONS, |lines, out| lines.syscall(out, &event));
        let body = line.strip_suffix('\n').expect("a line ends");
        prop_assert!(body.bytes().all(|byte| matches!(byte, b' '..=b'~')));
    }
}
