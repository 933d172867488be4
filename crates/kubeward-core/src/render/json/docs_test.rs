//! `docs/events.md` names exactly the members that are written.

use std::collections::BTreeSet;
use std::sync::Arc;

use serde_json::Value;

use super::{JsonLines, Moment};
use crate::container::PodSource;
use crate::event::{Arg, ArgValue, Call, Identity, Repeated, SockAddr, SyscallEvent, Text, UringRequest, Via};
use crate::ledger::{Account, LossReason};
use crate::render::fixture::{arg, openat_event, text, valued, web_container, SIGHT, TIME_NS};
use crate::render::line::{ContainerChange, Gap, GapReason, LedgerLine, LedgerScope, Notice, NoticeLevel, Stream};
use crate::syscall::ArgKind;

const PAGE: &str = include_str!("../../../../../docs/events.md");
const MOMENT: Moment = Moment { seq: 1, time_ns: TIME_NS, mono_ns: 1 };

fn documented() -> BTreeSet<String> {
    let rows = PAGE.lines().filter_map(|line| line.strip_prefix("| `"));
    rows.map(|row| row.split('`').next().expect("split yields at least one part").to_owned()).collect()
}

/// Paths of all members of a line: `syscall.args[].name`. What is in labels is not ours to name.
fn members(value: &Value, path: &str, found: &mut BTreeSet<String>) {
    if path.ends_with(".labels") {
        return;
    }
    match value {
        Value::Object(object) => {
            for (key, value) in object {
                let path = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
                found.insert(path.clone());
                members(value, &path, found);
            }
        }
        Value::Array(values) => values.iter().for_each(|value| members(value, &format!("{path}[]"), found)),
        _ => {}
    }
}

fn long_text() -> Text {
    Text { redacted: true, ..text(vec![0xff; 9_000]) }
}

fn args_of_every_form() -> Vec<Arg> {
    vec![
        arg("fd", ArgKind::Fd, 3),
        valued("path", ArgKind::Path, ArgValue::Str(long_text())),
        valued("argv", ArgKind::Argv, ArgValue::Argv { strings: vec![long_text(); 3], cut: false }),
        valued("addr", ArgKind::Ptr, ArgValue::Sockaddr(SockAddr::Other { family: 16, data: [1].into() })),
        valued("buf", ArgKind::Ptr, ArgValue::Unreadable),
    ]
}

/// An event with every member that an event can have.
fn full_event() -> SyscallEvent {
    let mut event = openat_event();
    event.identity = Identity::Namespace;
    event.call = Call { via: Via::Compat, nr: 5, entry: None };
    event.io_uring = Some(UringRequest { opcode: 18, fixed_file: true, direct: true });
    event.args = args_of_every_form();
    event.path = Some(long_text());
    (event.ret, event.refused_by_seccomp) = (Some(-2), true);
    event.repeated = Some(Repeated { count: 2, last_time_ns: TIME_NS, total_duration_ns: Some(9) });
    event.process.comm = Text { cut: true, redacted: true, ..text(b"\xff") };
    event.process.exe = Some(Arc::new(long_text()));
    let mut container = web_container();
    let pod = container.pod.as_mut().expect("the container has a pod");
    (pod.source, pod.name) = (PodSource::Labels, "p".repeat(5_000));
    container.image = Some("i".repeat(5_000));
    event.container = Some(Arc::new(container));
    event.policies = vec![Arc::from("p".repeat(253)); 256].into();
    event
}

#[test]
fn page_names_exactly_the_members_that_are_written() {
    let stream = Stream {
        node: "n1".into(),
        cluster: Some("c1".into()),
        run: "r".into(),
        event_labels: vec!["app".into(), "tier".into()],
    };
    let mut lines = JsonLines::new(&stream);
    let container = web_container();
    let account = Account { seen: 1, ..Account::default() };
    let message = "m".repeat(20_000);
    let mut out = Vec::new();
    lines.syscall(&mut out, &openat_event());
    lines.syscall(&mut out, &full_event());
    lines.container(&mut out, MOMENT, ContainerChange::Came(SIGHT), &container);
    let scope = LedgerScope::Container(&container);
    let ledger = LedgerLine { scope, account: &account, is_final: true, skipped: 1, missed_returns: 1 };
    lines.ledger(&mut out, MOMENT, &ledger);
    let gap = Gap { reason: GapReason::Lost(LossReason::Ring), lost: 1, from_ns: 1, to_ns: Some(2), container: None };
    lines.gap(&mut out, MOMENT, &gap);
    let notice = Notice { level: NoticeLevel::Info, code: "x", message: &message, container: None };
    lines.notice(&mut out, MOMENT, &notice);

    let mut written = BTreeSet::new();
    for line in serde_json::Deserializer::from_slice(&out).into_iter::<Value>() {
        members(&line.expect("valid JSON"), "", &mut written);
    }
    // Objects that the page shows by their members alone.
    ["syscall", "process", "filtered"].into_iter().for_each(|object| assert!(written.remove(object), "{object}"));
    let documented = documented();
    assert_eq!(written.difference(&documented).collect::<Vec<_>>(), Vec::<&String>::new(), "written, not on the page");
    assert_eq!(documented.difference(&written).collect::<Vec<_>>(), Vec::<&String>::new(), "on the page, not written");
}
