//! Any bytes from the ring are an event or an error, and any event is one line of JSON and one line of text.

#![no_main]

use std::mem::size_of;

use kubeward_bpf::decode::{decode, CallRecord, Decoded};
use kubeward_bpf::wire::{Item, Record, Wire};
use kubeward_core::event::SyscallEvent;
use kubeward_core::redact::Redactor;
use kubeward_core::render::json::{JsonLines, MAX_LINE_BYTES};
use kubeward_core::render::line::Stream;
use kubeward_core::render::text::{TextLines, TextOptions, TimeFormat};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    // As they come: the header hardly ever fits.
    let mut call = CallRecord::default();
    let _ = decode(data, &mut call);
    // And framed as the kernel frames them, so that what is behind the header is reached.
    let Some(framed) = frame(data) else { return };
    if let Ok(Decoded::Call) = decode(&framed, &mut call) {
        Redactor::new(&[]).expect("no pattern of a user's").redact_event(&mut call.event);
        check_lines(&call.event);
    }
});

/// A record whose lengths agree: the header's fields and each item's content are taken from `data`.
fn frame(data: &[u8]) -> Option<Vec<u8>> {
    let mut record = Record::read_from(data)?;
    let mut rest = &data[size_of::<Record>()..];
    let mut items = Vec::new();
    while let [arg, kind, flags, bytes, content @ ..] = rest {
        let content = &content[..content.len().min(usize::from(*bytes))];
        let header = Item { arg: *arg, kind: *kind, flags: *flags, pad: 0, bytes: content.len() as u32 };
        items.extend_from_slice(header.as_bytes());
        items.extend_from_slice(content);
        rest = &rest[4 + content.len()..];
    }
    record.items_bytes = items.len() as u32;
    Some([record.as_bytes(), &items].concat())
}

fn check_lines(event: &SyscallEvent) {
    let stream = Stream { node: "n1".into(), cluster: None, run: "r1".into(), event_labels: Vec::new() };
    let mut json = Vec::new();
    JsonLines::new(&stream).syscall(&mut json, event);
    assert!(json.len() <= MAX_LINE_BYTES, "a line of {} bytes", json.len());
    assert_one_line(&json);
    serde_json::from_slice::<serde_json::Value>(&json).expect("a line is JSON");

    let mut text = Vec::new();
    TextLines::new(TextOptions { time: TimeFormat::Clock, container: false }).syscall(&mut text, event);
    assert_one_line(&text);
}

/// No byte of a watched process ends a line early or reaches a terminal as a control sequence.
fn assert_one_line(line: &[u8]) {
    let (end, body) = line.split_last().expect("a line has an end");
    assert_eq!(*end, b'\n');
    let said = std::str::from_utf8(body).expect("a line is UTF-8");
    assert!(!said.chars().any(char::is_control), "a control character in {said:?}");
}
