use std::collections::BTreeMap;
use std::sync::Arc;

use proptest::prelude::*;
use serde_json::{json, Value};

use super::*;
use crate::container::{Container, Labels};
use crate::event::{ArgValue, Call, Identity, Phase, SockAddr, Stage, SyscallEvent, Text, UringRequest, Via};
use crate::ledger::{Account, FilterReason, LossReason};
use crate::render::base64;
use crate::render::fixture::{arg, hostile_event, kind_of, openat_event, text, valued, web_container, SIGHT, TIME_NS};
use crate::render::line::{ContainerChange, Gap, GapReason, LedgerLine, LedgerScope, Notice, NoticeLevel};
use crate::syscall::{by_name, ArgKind};

fn json_lines() -> JsonLines {
    JsonLines::new(&Stream { node: "n1".into(), cluster: None, run: "b007-1".into(), event_labels: vec!["app".into()] })
}

fn line_of(write: impl FnOnce(&mut JsonLines, &mut Vec<u8>)) -> String {
    let mut out = Vec::new();
    write(&mut json_lines(), &mut out);
    String::from_utf8(out).expect("lines are UTF-8")
}

fn parsed(event: &SyscallEvent) -> Value {
    serde_json::from_str(&line_of(|lines, out| lines.syscall(out, event))).expect("valid JSON")
}

fn parsed_arg(value: ArgValue) -> Value {
    let mut event = openat_event();
    event.args = vec![valued("x", ArgKind::Ptr, value)];
    parsed(&event)["syscall"]["args"][0].clone()
}

const MOMENT: Moment = Moment { seq: 7, time_ns: TIME_NS, mono_ns: 9 };

#[test]
fn call_line_has_the_documented_members_in_order() {
    let expected = concat!(
        r#"{"kind":"syscall","v":1,"time":"2026-01-02T03:04:05.123456789Z","mono_ns":81231,"node":"n1","run":"b007-1","#,
        r#""seq":1042,"phase":"call","stage":"run","probe":"fentry","#,
        r#""syscall":{"name":"openat","nr":257,"category":"file","args":[{"name":"dfd","int":-100,"text":"AT_FDCWD"},"#,
        r#"{"name":"filename","str":"hosts","text":"\"hosts\""},{"name":"flags","int":524288,"text":"O_RDONLY|O_CLOEXEC"},"#,
        r#"{"name":"mode","int":0,"text":"0"}],"path":"/etc/hosts","ret":3,"duration_ns":2310},"#,
        r#""process":{"pid":4242,"tid":4242,"ppid":4200,"container_pid":7,"#,
        r#""start_time":"2026-01-02T03:04:04.123456789Z","uid":0,"gid":0,"comm":"cat","exe":"/bin/cat"},"#,
        r#""container":{"id":"ID","name":"app","image":"docker.io/library/web:1","image_digest":"sha256:DIGEST","#,
        r#""runtime":"containerd","runtime_namespace":"k8s.io"},"#,
        r#""k8s":{"namespace":"default","pod":"web-0","uid":"c0ffee00-0000-4000-8000-000000000001","#,
        r#""workload":{"kind":"StatefulSet","name":"web"},"labels":{"app":"web"}},"policies":["web"]}"#,
        "\n"
    );
    let line = line_of(|lines, out| lines.syscall(out, &openat_event()));
    assert_eq!(line, expected.replace("ID", &"4f5c".repeat(16)).replace("DIGEST", &"ab".repeat(32)));
}

#[test]
fn members_without_a_value_are_absent() {
    let mut event = openat_event();
    (event.phase, event.path, event.ret, event.duration_ns) = (Phase::Enter, None, None, None);
    (event.container, event.process.exe, event.policies) = (None, None, Arc::from([]));
    let line = parsed(&event);
    for (object, absent) in [
        (&line, &["identity", "container", "k8s", "policies"][..]),
        (&line["syscall"], &["path", "ret", "error", "duration_ns", "denied_by", "via"]),
        (&line["process"], &["exe", "comm_bytes", "comm_cut"]),
    ] {
        for name in absent {
            assert_eq!(object.get(name), None, "{name}");
        }
    }
    assert_eq!(line["phase"], "enter");
}

#[test]
fn failure_names_its_error() {
    let mut event = openat_event();
    event.ret = Some(-2);
    assert_eq!(
        (&parsed(&event)["syscall"]["ret"], &parsed(&event)["syscall"]["error"]),
        (&json!(-2), &json!("ENOENT"))
    );
    event.ret = Some(-4095);
    assert_eq!(parsed(&event)["syscall"]["error"], "ERRNO_4095");
    event.ret = Some(-4096);
    assert_eq!(parsed(&event)["syscall"].get("error"), None);
}

#[test]
fn what_is_unusual_about_a_call_is_said() {
    let mut event = openat_event();
    (event.identity, event.stage, event.refused_by_seccomp) = (Identity::Namespace, Stage::Setup, true);
    event.call = Call { via: Via::Compat, nr: 5, entry: by_name("open") };
    let line = parsed(&event);
    assert_eq!(line["identity"], "namespace");
    assert_eq!(line["stage"], "setup");
    let call = &line["syscall"];
    assert_eq!(call["denied_by"], "seccomp");
    assert_eq!(call["via"], "compat");
    assert_eq!((&call["name"], &call["nr"], &call["category"]), (&json!("open"), &json!(5), &json!("file")));
    event.call = Call { via: Via::Compat, nr: 113, entry: None };
    assert_eq!(parsed(&event)["syscall"]["name"], "vm86old", "its own name, for want of a native call");
    event.call = Call { via: Via::IoUring, nr: 257, entry: by_name("openat") };
    event.io_uring = Some(UringRequest { opcode: 18, fixed_file: false, direct: true });
    let call = &parsed(&event)["syscall"];
    assert_eq!((&call["via"], &call["io_uring"]), (&json!("io_uring"), &json!({"opcode": "OPENAT", "direct": true})));
}

#[test]
fn call_without_a_name_goes_by_its_number() {
    let mut event = openat_event();
    event.call = Call { via: Via::Syscall, nr: 4_000, entry: None };
    let call = &parsed(&event)["syscall"];
    assert_eq!((&call["name"], &call["nr"]), (&json!("syscall_0xfa0"), &json!(4_000)));
    assert_eq!((&call["category"], call.get("via")), (&json!("other"), None));
}

#[test]
fn one_argument_can_name_another() {
    let mut event = openat_event();
    event.call.entry = by_name("socket");
    let registers = [2, 1, 6];
    event.args = (0..3).map(|at| arg("x", kind_of("socket", at), registers[at])).collect();
    let args = parsed(&event)["syscall"]["args"].clone();
    assert_eq!(args[2], json!({"name": "x", "int": 6, "text": "IPPROTO_TCP"}));
}

#[test]
fn numbers_that_a_double_cannot_hold_are_strings() {
    let mut event = openat_event();
    event.args = vec![
        arg("fits", ArgKind::Size, 1 << 53),
        arg("large", ArgKind::Size, (1 << 53) + 1),
        arg("negative", ArgKind::Offset, i64::MIN as u64),
        arg("uid", ArgKind::Uid, u64::MAX),
        arg("fd", ArgKind::Fd, 0xffff_ffff),
    ];
    event.ret = Some(i64::MAX);
    let call = &parsed(&event)["syscall"];
    let ints: Vec<&Value> = call["args"].as_array().expect("args").iter().map(|arg| &arg["int"]).collect();
    assert_eq!(json!(ints), json!([9_007_199_254_740_992u64, "9007199254740993", "-9223372036854775808", -1, -1]));
    assert_eq!(call["ret"], "9223372036854775807");
}

#[test]
fn pointers_are_hexadecimal_strings() {
    assert_eq!(
        parsed_arg(ArgValue::Unreadable),
        json!({"name": "x", "ptr": "0x7ffc00001000", "unreadable": true, "text": "0x7ffc00001000"})
    );
    let mut event = openat_event();
    event.args = vec![arg("name", ArgKind::Path, 0)];
    assert_eq!(parsed(&event)["syscall"]["args"][0], json!({"name": "name", "ptr": "0x0", "text": "NULL"}));
}

#[test]
fn bytes_that_are_not_utf8_come_in_base64_too() {
    assert_eq!(
        parsed_arg(ArgValue::Str(text(b"a\xff\n"))),
        json!({"name": "x", "str": "a\u{fffd}\n", "bytes": "Yf8K", "text": "\"a\\377\\n\""})
    );
    let mut event = openat_event();
    (event.path, event.process.comm) = (Some(text(b"/\xfe")), text(b"\xfd"));
    assert_eq!(parsed(&event)["syscall"]["path_bytes"], "L/4=");
    assert_eq!(parsed(&event)["process"]["comm_bytes"], "/Q==");
}

#[test]
fn cut_and_redacted_strings_say_so() {
    let cut = Text { cut: true, redacted: true, ..text("secret") };
    assert_eq!(
        parsed_arg(ArgValue::Str(cut)),
        json!({"name": "x", "str": "secret", "cut": true, "redacted": true, "text": "\"secret\"..."})
    );
}

#[test]
fn argument_vectors_are_lists() {
    let strings = vec![text("cat"), text(""), text("a b\"c")];
    assert_eq!(
        parsed_arg(ArgValue::Argv { strings: strings.clone(), cut: false }),
        json!({"name": "x", "list": ["cat", "", "a b\"c"], "text": r#"["cat", "", "a b\"c"]"#})
    );
    assert_eq!(
        parsed_arg(ArgValue::Argv { strings, cut: true }),
        json!({"name": "x", "list": ["cat", "", "a b\"c"], "cut": true, "text": r#"["cat", "", "a b\"c", ...]"#})
    );
    assert_eq!(
        parsed_arg(ArgValue::Argv { strings: vec![text("a"), text(b"\xff")], cut: false }),
        json!({"name": "x", "list": ["a", "\u{fffd}"], "list_bytes": ["YQ==", "/w=="], "text": r#"["a", "\377"]"#})
    );
}

#[test]
fn socket_addresses_have_a_short_and_a_long_form() {
    for (address, short, long) in [
        (
            SockAddr::Inet { addr: [127, 0, 0, 1].into(), port: 80 },
            "127.0.0.1:80",
            r#"{sa_family=AF_INET, sin_port=htons(80), sin_addr=inet_addr("127.0.0.1")}"#,
        ),
        (
            SockAddr::Inet6 { addr: 1u128.into(), port: 80, flowinfo: 0, scope_id: 0 },
            "[::1]:80",
            r#"{sa_family=AF_INET6, sin6_port=htons(80), sin6_flowinfo=htonl(0), inet_pton(AF_INET6, "::1", &sin6_addr), sin6_scope_id=0}"#,
        ),
        (
            SockAddr::Unix { path: text("/run/x.sock"), is_abstract: false },
            "/run/x.sock",
            r#"{sa_family=AF_UNIX, sun_path="/run/x.sock"}"#,
        ),
        (
            SockAddr::Unix { path: text("abs\x01t"), is_abstract: true },
            "@abs\u{1}t",
            r#"{sa_family=AF_UNIX, sun_path=@"abs\1t"}"#,
        ),
        (SockAddr::Unix { path: text(""), is_abstract: false }, "", "{sa_family=AF_UNIX}"),
    ] {
        assert_eq!(parsed_arg(ArgValue::Sockaddr(address)), json!({"name": "x", "str": short, "text": long}));
    }
    assert_eq!(
        parsed_arg(ArgValue::Sockaddr(SockAddr::Other { family: 16, data: [0, 0, 5].into() })),
        json!({"name": "x", "str": "AF_NETLINK", "bytes": "AAAF", "text": r#"{sa_family=AF_NETLINK, sa_data="\0\0\5"}"#})
    );
}

#[test]
fn long_arguments_are_cut_to_fit_the_line() {
    let mut event = openat_event();
    event.args = vec![valued("filename", ArgKind::Path, ArgValue::Str(text(vec![b'\x01'; 4_096])))];
    event.args.push(valued("argv", ArgKind::Argv, ArgValue::Argv { strings: vec![text("abcdef"); 900], cut: false }));
    let line = line_of(|lines, out| lines.syscall(out, &event));
    assert!(line.len() <= MAX_LINE_BYTES, "{}", line.len());
    let args = &parsed(&event)["syscall"]["args"];
    assert_eq!((&args[0]["cut"], &args[0]["len"]), (&json!(true), &json!(4_096)));
    assert_eq!((&args[1]["cut"], &args[1]["len"]), (&json!(true), &json!(900)));
    let list = args[1]["list"].as_array().expect("a list");
    assert_eq!(list[0], "abcdef");
    assert!(args[1]["text"].as_str().expect("text").ends_with("\"abcdef\", ...]"));
}

#[test]
fn cutting_does_not_tear_a_character() {
    let mut event = openat_event();
    event.args = vec![valued("name", ArgKind::Str, ArgValue::Str(text("é".repeat(8_000))))];
    let arg = &parsed(&event)["syscall"]["args"][0];
    assert_eq!((&arg["cut"], arg.get("bytes")), (&json!(true), None));
    assert!(arg["str"].as_str().expect("a string").chars().all(|character| character == 'é'));
}

#[test]
fn the_most_hostile_event_fits() {
    let mut event = openat_event();
    let worst = Text { redacted: true, ..text(vec![0x01; 4_096]) };
    let value = ArgValue::Argv { strings: vec![text(vec![0x01; 64]); 300], cut: true };
    event.args = vec![valued("a_name_of_an_argument", ArgKind::Argv, value); 6];
    (event.path, event.process.exe) = (Some(worst.clone()), Some(Arc::new(worst)));
    let mut container = web_container();
    let name = "\u{202e}".repeat(2_000);
    let labels: Labels = BTreeMap::from([("app".to_owned(), name.clone())]).into();
    (container.name, container.image, container.image_digest) =
        (Some(name.clone()), Some(name.clone()), Some(name.clone()));
    (container.id.0, container.labels) = (name.clone(), labels.clone());
    let pod = container.pod.as_mut().expect("the container has a pod");
    (pod.namespace, pod.name, pod.uid, pod.labels) = (name.clone(), name.clone(), name.clone(), labels);
    event.container = Some(Arc::new(container));
    event.policies = vec![Arc::from("p".repeat(253)); 256].into();
    let line = line_of(|lines, out| lines.syscall(out, &event));
    assert!(line.len() <= MAX_LINE_BYTES, "{}", line.len());
    assert_eq!(parsed(&event)["policies_cut"], true);
    assert_eq!(parsed(&event)["container"]["cut"], true);
}

#[test]
fn containers_are_told_apart_however_many_there_are() {
    let mut lines = json_lines();
    let mut event = openat_event();
    let containers: Vec<_> =
        (0..200).map(|number| Arc::new(Container { name: Some(format!("app-{number}")), ..web_container() })).collect();
    for round in [0, 1, 1] {
        for (number, container) in containers.iter().enumerate().skip(round * 150) {
            event.container = Some(container.clone());
            let mut out = Vec::new();
            lines.syscall(&mut out, &event);
            let line: Value = serde_json::from_slice(&out).expect("valid JSON");
            assert_eq!(line["container"]["name"], format!("app-{number}"));
            assert_eq!(line["k8s"]["labels"], json!({"app": "web"}));
        }
    }
}

#[test]
fn line_of_many_policies_names_them_each_time_and_for_each_container() {
    let mut lines = json_lines();
    let mut event = openat_event();
    let named = |count: usize, length: usize| -> Arc<[Arc<str>]> {
        (0..count).map(|number| format!("{number:0length$}").into()).collect()
    };
    // Of some kilobytes; and longer than a line may be, so that they are cut.
    let lists = [named(200, 40), named(200, 253), named(3, 8)];
    for round in 0..3 {
        for (policies, shown) in lists.iter().zip([200, 32, 3]) {
            event.policies = policies.clone();
            event.container = Some(Arc::new(Container { name: Some(format!("app-{round}")), ..web_container() }));
            let mut out = Vec::new();
            lines.syscall(&mut out, &event);
            assert!(out.len() <= MAX_LINE_BYTES, "{}", out.len());
            let line: Value = serde_json::from_slice(&out).expect("valid JSON");
            let expected: Vec<&str> = policies.iter().take(shown).map(|name| &**name).collect();
            assert!(line["policies"] == json!(expected), "{}", String::from_utf8_lossy(&out));
            assert_eq!(line.get("policies_cut").is_some(), shown < policies.len());
            assert_eq!(line["container"]["name"], format!("app-{round}"));
            assert_eq!(line["syscall"], parsed(&event)["syscall"]);
        }
    }
}

#[test]
fn container_line_carries_all_labels() {
    let line = line_of(|lines, out| lines.container(out, MOMENT, ContainerChange::Came(SIGHT), &web_container()));
    let line: Value = serde_json::from_str(&line).expect("valid JSON");
    assert_eq!((&line["kind"], &line["change"], &line["seq"]), (&json!("container"), &json!("came"), &json!(7)));
    assert_eq!(line["created"], "2026-01-02T03:04:05.123456789Z");
    assert_eq!((&line["covered"], &line["gap_ns"]), (&json!("2026-01-02T03:04:05.373456789Z"), &json!(250_000_000)));
    assert_eq!(line["container"]["labels"], json!({"tier": "front"}));
    assert_eq!(line["k8s"]["labels"], json!({"app": "web", "zone": "a"}));
}

#[test]
fn ledger_line_shows_every_reason() {
    let mut account = Account { seen: 10, emitted: 5, in_flight: 1, unreadable: 2, ..Account::default() };
    account.filtered.add(FilterReason::Setup, 2);
    account.lost.add(LossReason::Output, 1);
    let ledger =
        LedgerLine { scope: LedgerScope::Node, account: &account, is_final: true, skipped: 0, missed_returns: 4 };
    let line = line_of(|lines, out| lines.ledger(out, MOMENT, &ledger));
    let expected = concat!(
        r#"{"kind":"ledger","v":1,"time":"2026-01-02T03:04:05.123456789Z","mono_ns":9,"node":"n1","run":"b007-1","seq":7,"#,
        r#""scope":"node","final":true,"seen":10,"emitted":5,"filtered":{"total":2,"setup":2,"policy":0,"count":0,"#,
        r#""errors":0,"duration":0,"path":0,"coalesced":0,"ignored":0},"sampled":0,"lost":{"total":1,"ring":0,"share":0,"pending":0,"storage":0,"#,
        r#""return_missed":0,"decode":0,"unread":0,"queue":0,"output":1},"in_flight":1,"unreadable":2,"balanced":false,"#,
        r#""imbalance":1,"skipped":0,"missed_returns":4}"#,
        "\n"
    );
    assert_eq!(line, expected);
}

#[test]
fn container_ledger_names_its_container_and_hides_zero_doubts() {
    let (account, container) = (Account::default(), web_container());
    let scope = LedgerScope::Container(&container);
    let ledger = LedgerLine { scope, account: &account, is_final: false, skipped: 3, missed_returns: 0 };
    let line: Value =
        serde_json::from_str(&line_of(|lines, out| lines.ledger(out, MOMENT, &ledger))).expect("valid JSON");
    assert_eq!((&line["scope"], &line["container"]["name"]), (&json!("container"), &json!("app")));
    assert_eq!((line.get("final"), &line["balanced"], line.get("imbalance")), (None, &json!(true), None));
    assert_eq!((&line["skipped"], line.get("missed_returns")), (&json!(3), None));
    assert_eq!(line["k8s"].get("labels"), None);
}

#[test]
fn gap_and_notice_lines() {
    let gap =
        Gap { reason: GapReason::Lost(LossReason::Ring), lost: 12, from_ns: TIME_NS, to_ns: None, container: None };
    let line: Value = serde_json::from_str(&line_of(|lines, out| lines.gap(out, MOMENT, &gap))).expect("valid JSON");
    assert_eq!((&line["reason"], &line["lost"], line.get("to")), (&json!("ring"), &json!(12), None));
    assert_eq!(line["from"], "2026-01-02T03:04:05.123456789Z");
    let gap = Gap { reason: GapReason::AgentDown, lost: 0, to_ns: Some(TIME_NS), ..gap };
    let line: Value = serde_json::from_str(&line_of(|lines, out| lines.gap(out, MOMENT, &gap))).expect("valid JSON");
    assert_eq!((&line["reason"], line.get("lost"), &line["to"]), (&json!("agent_down"), None, &line["from"]));

    let message = format!("cannot reach {}", "x\n".repeat(10_000));
    let notice =
        Notice { level: NoticeLevel::Warning, code: "containerd_unreachable", message: &message, container: None };
    let line = line_of(|lines, out| lines.notice(out, MOMENT, &notice));
    assert!(line.len() <= MAX_LINE_BYTES);
    let line: Value = serde_json::from_str(&line).expect("valid JSON");
    assert_eq!((&line["level"], &line["code"]), (&json!("warning"), &json!("containerd_unreachable")));
    assert_eq!(line["cut"], true);
}

fn is_dangerous(character: char) -> bool {
    character.is_control()
        || matches!(character, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn event_is_written_the_same_after_any_others(mut events in prop::collection::vec(hostile_event(), 1..4)) {
        // Parts that were written before are written again: a thread that has another name by now, another container or program.
        let again = events.clone();
        events.extend(again);
        let mut used = json_lines();
        for event in &events {
            let (mut line, mut fresh) = (Vec::new(), Vec::new());
            used.syscall(&mut line, event);
            json_lines().syscall(&mut fresh, event);
            prop_assert_eq!(line, fresh);
        }
    }

    #[test]
    fn any_event_is_one_valid_harmless_line(event in hostile_event()) {
        let line = line_of(|lines, out| lines.syscall(out, &event));
        prop_assert!(line.len() <= MAX_LINE_BYTES, "{} bytes", line.len());
        let body = line.strip_suffix('\n').expect("a line ends");
        prop_assert!(!body.contains(is_dangerous));
        let parsed: Value = serde_json::from_str(body).expect("valid JSON");
        prop_assert_eq!(parsed["syscall"]["args"].as_array().expect("args").len(), event.args.len());
        if parsed["process"].get("exe_cut").is_none() {
            let exe = event.process.exe.as_ref().expect("the event has one");
            let kept = match parsed["process"].get("exe_bytes") {
                None => exe.bytes.to_vec() == parsed["process"]["exe"].as_str().expect("a string").as_bytes(),
                Some(bytes) => {
                    let mut expected = Vec::new();
                    base64::write(&mut expected, &exe.bytes);
                    bytes.as_str().expect("a string").as_bytes() == expected
                }
            };
            prop_assert!(kept);
        }
    }
}
