//! The members that objects of every kind are made of.

use crate::event::Text;
use crate::render::base64;
use crate::render::escape::{json_bytes, json_str, push_number};
use crate::render::value::{clip, Fit};

/// Integers beyond this lose digits in readers that keep numbers as doubles (JavaScript, jq before 1.7).
const MAX_EXACT: u64 = 1 << 53;

/// How much of a line is kept.
#[derive(Debug, Clone, Copy)]
pub(super) struct Fitting {
    pub call: Fit,
    /// Bytes of one name: of a container, an image, a pod, a policy, a label.
    pub name_bytes: usize,
    /// Entries of a list of names: policies, labels.
    pub names: usize,
}

impl Fitting {
    /// Tried in order until the line fits. The last one always does: at worst a byte becomes twelve.
    pub(super) const LEVELS: [Fitting; 6] = [
        Fitting { call: Fit::ALL, name_bytes: usize::MAX, names: usize::MAX },
        Fitting::level(2_048, 128, 1_024, 128),
        Fitting::level(512, 64, 512, 64),
        Fitting::level(128, 32, 256, 32),
        Fitting::level(64, 16, 128, 16),
        Fitting::level(16, 6, 48, 6),
    ];

    /// Nothing is cut.
    pub(super) fn is_whole(&self) -> bool {
        self.name_bytes == usize::MAX
    }

    const fn level(text_bytes: usize, strings: usize, name_bytes: usize, names: usize) -> Fitting {
        Fitting { call: Fit { text_bytes, strings }, name_bytes, names }
    }
}

/// Appends a number, as a string where a double could not hold it.
pub(super) fn unsigned(out: &mut Vec<u8>, number: u64) {
    if number <= MAX_EXACT {
        push_number(out, number);
    } else {
        out.push(b'"');
        push_number(out, number);
        out.push(b'"');
    }
}

/// As [`unsigned`], for every number that a register can mean.
pub(super) fn integer(out: &mut Vec<u8>, number: i128) {
    match i64::try_from(number) {
        Ok(number) if number.unsigned_abs() <= MAX_EXACT => push_number(out, number),
        _ => {
            out.push(b'"');
            push_number(out, number);
            out.push(b'"');
        }
    }
}

/// A member's key with what is around it: `,"key":`.
macro_rules! key {
    ($name:literal) => {
        concat!(",\"", $name, "\":")
    };
}
pub(super) use key;

/// Appends text of our own that needs no escaping.
pub(super) fn push(out: &mut Vec<u8>, text: &str) {
    out.extend_from_slice(text.as_bytes());
}

fn key_with_suffix(out: &mut Vec<u8>, key: &str, suffix: &str) {
    out.extend_from_slice(b",\"");
    out.extend_from_slice(key.as_bytes());
    out.extend_from_slice(suffix.as_bytes());
    out.extend_from_slice(b"\":");
}

/// Appends a key and a word of our own that needs no escaping.
pub(super) fn word(out: &mut Vec<u8>, key: &str, word: &str) {
    push(out, key);
    out.push(b'"');
    push(out, word);
    out.push(b'"');
}

/// Appends a key and a number.
pub(super) fn number(out: &mut Vec<u8>, key: &str, number: u64) {
    push(out, key);
    unsigned(out, number);
}

/// Appends a member whose name is found at run time.
pub(super) fn number_by_name(out: &mut Vec<u8>, name: &str, number: u64) {
    key_with_suffix(out, name, "");
    unsigned(out, number);
}

/// Appends a key and `true`; false is absent.
pub(super) fn claim(out: &mut Vec<u8>, key: &str, holds: bool) {
    if holds {
        push(out, key);
        push(out, "true");
    }
}

/// Appends a JSON string, cut to `limit` bytes. Returns whether it was cut.
pub(super) fn string(out: &mut Vec<u8>, text: &str, limit: usize) -> bool {
    out.push(b'"');
    let is_cut = text.len() > limit;
    // `clip` does not tear a character of valid UTF-8: taking the text as bytes loses nothing.
    if is_cut {
        json_bytes(out, clip(text.as_bytes(), limit));
    } else {
        json_str(out, text);
    }
    out.push(b'"');
    is_cut
}

/// Names of the members that hold one foreign string.
#[derive(Debug, Clone, Copy)]
pub(super) struct TextMember {
    pub key: &'static str,
    /// Shown before the string and no part of it: the `@` of an abstract socket.
    pub lead: &'static str,
    /// Prefix of the members about it: `path_` in `path_bytes`; empty where the object is about this string alone.
    pub prefix: &'static str,
}

impl TextMember {
    /// The string that an argument's object is about.
    pub(super) const ARG: TextMember = TextMember { key: key!("str"), lead: "", prefix: "" };
    pub(super) const ABSTRACT_SOCKET: TextMember = TextMember { lead: "@", ..TextMember::ARG };
    pub(super) const PATH: TextMember = TextMember { key: key!("path"), lead: "", prefix: "path_" };
    pub(super) const COMM: TextMember = TextMember { key: key!("comm"), lead: "", prefix: "comm_" };
    pub(super) const EXE: TextMember = TextMember { key: key!("exe"), lead: "", prefix: "exe_" };
}

/// Appends a foreign string and what must be known about it: `,"path":"..."`, then `path_bytes`, `path_cut`,
/// `path_len` and `path_redacted` as they apply.
pub(super) fn text(out: &mut Vec<u8>, member: TextMember, text: &Text, fit: &Fit) {
    let (part, is_cut) = fit.part(text);
    push(out, member.key);
    out.push(b'"');
    out.extend_from_slice(member.lead.as_bytes());
    let is_utf8 = json_bytes(out, part);
    out.push(b'"');
    if !is_utf8 {
        key_with_suffix(out, member.prefix, "bytes");
        out.push(b'"');
        base64::write(out, part);
        out.push(b'"');
    }
    if is_cut {
        key_with_suffix(out, member.prefix, "cut");
        out.extend_from_slice(b"true");
        if !text.cut {
            key_with_suffix(out, member.prefix, "len");
            push_number(out, text.bytes.len());
        }
    }
    if text.redacted {
        key_with_suffix(out, member.prefix, "redacted");
        out.extend_from_slice(b"true");
    }
}
