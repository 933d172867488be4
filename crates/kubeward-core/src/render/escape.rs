//! The one door through which foreign bytes reach an output.
//!
//! JSON strings escape what JSON demands and also every character that could act on a terminal or forge a line for
//! a reader that splits on more than `\n`: DEL, the C1 controls, U+2028 and U+2029, and the bidirectional
//! controls. Quoted text is printable ASCII, escaped as strace does it.

use std::fmt;
use std::io::Write as _;

/// Appends formatted text.
pub(super) fn push_display(out: &mut Vec<u8>, text: fmt::Arguments<'_>) {
    out.write_fmt(text).expect("writing to a Vec cannot fail");
}

/// Appends a decimal number.
pub(super) fn push_number(out: &mut Vec<u8>, number: impl itoa::Integer) {
    out.extend_from_slice(itoa::Buffer::new().format(number).as_bytes());
}

/// Appends the inside of a JSON string (without its quotes). Bytes that are not UTF-8 become U+FFFD; returns
/// whether there were none of those.
pub(super) fn json_bytes(out: &mut Vec<u8>, bytes: &[u8]) -> bool {
    if is_plain(bytes) {
        out.extend_from_slice(bytes);
        return true;
    }
    let mut is_utf8 = true;
    for chunk in bytes.utf8_chunks() {
        json_str(out, chunk.valid());
        if !chunk.invalid().is_empty() {
            is_utf8 = false;
            out.extend_from_slice("\u{fffd}".as_bytes());
        }
    }
    is_utf8
}

/// Appends the inside of a JSON string (without its quotes).
pub(super) fn json_str(out: &mut Vec<u8>, text: &str) {
    let bytes = text.as_bytes();
    if is_plain(bytes) {
        return out.extend_from_slice(bytes);
    }
    let (mut copied, mut at) = (0, 0);
    while at < bytes.len() {
        let length = match CLASS[bytes[at] as usize] {
            ESCAPED => 1,
            LEADS_CONTROL => control_length(&bytes[at..]),
            _ => 0,
        };
        if length == 0 {
            at += 1;
            continue;
        }
        out.extend_from_slice(&bytes[copied..at]);
        json_escape(out, &text[at..at + length]);
        at += length;
        copied = at;
    }
    out.extend_from_slice(&bytes[copied..]);
}

/// Whether all is printable ASCII without `"` and `\`, as nearly every string is. No early end, no table: so the
/// compiler looks at many bytes at once.
fn is_plain(bytes: &[u8]) -> bool {
    !bytes
        .iter()
        .fold(false, |found, &byte| found | (byte.wrapping_sub(b' ') > b'~' - b' ') | (byte == b'"') | (byte == b'\\'))
}

/// Goes through JSON strings as it is: printable ASCII but `"` and `\`.
const PLAIN: u8 = 0;
/// One byte that JSON strings must not, or here do not, hold.
const ESCAPED: u8 = 1;
/// First byte of a UTF-8 sequence that may be a control character.
const LEADS_CONTROL: u8 = 2;
/// Any other part of a UTF-8 sequence.
const MULTIBYTE: u8 = 3;

const CLASS: [u8; 256] = {
    let mut class = [PLAIN; 256];
    let mut byte = 0;
    while byte < 256 {
        class[byte] = match byte as u8 {
            0..0x20 | b'"' | b'\\' | 0x7f => ESCAPED,
            0xc2 | 0xd8 | 0xe2 => LEADS_CONTROL,
            0x80.. => MULTIBYTE,
            _ => PLAIN,
        };
        byte += 1;
    }
    class
};

/// Length of the control character that valid UTF-8 begins with, 0 when it begins with another character.
fn control_length(bytes: &[u8]) -> usize {
    match bytes {
        // U+0080..U+009F (C1) and U+061C (Arabic letter mark)
        [0xc2, 0x80..=0x9f, ..] | [0xd8, 0x9c, ..] => 2,
        // U+200E, U+200F, U+2028..U+202E, U+2066..U+2069
        [0xe2, 0x80, 0x8e | 0x8f | 0xa8..=0xae, ..] | [0xe2, 0x81, 0xa6..=0xa9, ..] => 3,
        _ => 0,
    }
}

fn json_escape(out: &mut Vec<u8>, character: &str) {
    match character {
        "\"" => out.extend_from_slice(b"\\\""),
        "\\" => out.extend_from_slice(b"\\\\"),
        "\n" => out.extend_from_slice(b"\\n"),
        "\r" => out.extend_from_slice(b"\\r"),
        "\t" => out.extend_from_slice(b"\\t"),
        _ => character.chars().for_each(|character| push_code_point(out, u32::from(character))),
    }
}

/// Appends `\u009b` for a character of the basic plane, as all that are escaped are.
fn push_code_point(out: &mut Vec<u8>, code_point: u32) {
    let digit = |shift: u32| b"0123456789abcdef"[(code_point >> shift & 0xf) as usize];
    out.extend_from_slice(&[b'\\', b'u', digit(12), digit(8), digit(4), digit(0)]);
}

/// Where quoted text goes: into a line for people, or into a JSON string that holds such text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    Line,
    JsonString,
}

impl Place {
    /// Appends a backslash and what it escapes, as the reader of this place must see it.
    fn push_escape(self, out: &mut Vec<u8>, escaped: &[u8]) {
        out.push(b'\\');
        if self == Place::JsonString {
            out.push(b'\\');
        }
        out.extend_from_slice(escaped);
    }

    pub(super) fn push_quote(self, out: &mut Vec<u8>) {
        if self == Place::JsonString {
            out.push(b'\\');
        }
        out.push(b'"');
    }
}

/// Appends `bytes` in double quotes, escaped as strace does: `\n`, `\"`, other bytes outside printable ASCII in
/// octal.
pub(super) fn quoted(out: &mut Vec<u8>, place: Place, bytes: &[u8]) {
    place.push_quote(out);
    match is_plain(bytes) {
        true => out.extend_from_slice(bytes),
        false => octal(out, place, bytes, b"\""),
    }
    place.push_quote(out);
}

/// Appends `bytes` without quotes, escaped as [`quoted`] does and so that no byte of `special` appears as itself.
pub(super) fn octal(out: &mut Vec<u8>, place: Place, bytes: &[u8], special: &[u8]) {
    if special.is_empty() && is_plain(bytes) {
        return out.extend_from_slice(bytes);
    }
    let mut copied = 0;
    for (at, &byte) in bytes.iter().enumerate() {
        if matches!(byte, b' '..=b'~') && byte != b'\\' && byte != b'"' && !special.contains(&byte) {
            continue;
        }
        out.extend_from_slice(&bytes[copied..at]);
        copied = at + 1;
        match byte {
            b'\n' => place.push_escape(out, b"n"),
            b'\r' => place.push_escape(out, b"r"),
            b'\t' => place.push_escape(out, b"t"),
            0x0b => place.push_escape(out, b"v"),
            0x0c => place.push_escape(out, b"f"),
            b'\\' => {
                place.push_escape(out, if place == Place::JsonString { b"\\\\" } else { b"\\" });
            }
            b'"' if !special.contains(&b'"') => place.push_quote(out),
            b'"' => place.push_escape(out, if place == Place::JsonString { b"\\\"" } else { b"\"" }),
            _ => {
                let digits = [b'0' + (byte >> 6), b'0' + (byte >> 3 & 7), b'0' + (byte & 7)];
                // A digit that follows would be read as part of a short escape.
                let is_long = matches!(bytes.get(at + 1), Some(b'0'..=b'7'));
                let leading_zeros = digits[..2].iter().take_while(|&&digit| digit == b'0').count();
                place.push_escape(out, if is_long { &digits } else { &digits[leading_zeros..] });
            }
        }
    }
    out.extend_from_slice(&bytes[copied..]);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn quoted_text(bytes: &[u8]) -> String {
        let mut out = Vec::new();
        quoted(&mut out, Place::Line, bytes);
        String::from_utf8(out).expect("quoted text is ASCII")
    }

    #[test]
    fn quotes_as_strace_does() {
        // Taken from what strace prints for these very bytes.
        assert_eq!(quoted_text(b"/x\x01"), r#""/x\1""#);
        assert_eq!(quoted_text(b"/x\x018"), r#""/x\18""#);
        assert_eq!(quoted_text(b"/x\x017"), r#""/x\0017""#);
        assert_eq!(quoted_text(b"/x\x7f\t\x0b\x0c\r\n\x1b\"\\\xc3\xa9"), r#""/x\177\t\v\f\r\n\33\"\\\303\251""#);
        assert_eq!(quoted_text(b"/x<y>"), r#""/x<y>""#);
        assert_eq!(quoted_text(b"\0"), r#""\0""#);
    }

    #[test]
    fn angle_brackets_in_a_bracketed_path_are_octal() {
        let mut out = Vec::new();
        octal(&mut out, Place::Line, b"/tmp/a<b>\x01c\"", b"<>");
        assert_eq!(out, br#"/tmp/a\74b\76\1c""#);
    }

    #[test]
    fn quoted_text_inside_json_parses_back_to_the_quoted_text() {
        let all: Vec<u8> = (0..=255).chain(*b"\x017\"\\8").collect();
        let mut json = vec![b'"'];
        quoted(&mut json, Place::JsonString, &all);
        json.push(b'"');
        assert_eq!(serde_json::from_slice::<String>(&json).expect("valid JSON"), quoted_text(&all));
    }

    #[test]
    fn characters_that_move_a_cursor_or_end_a_line_are_escaped() {
        let controls = (0..0x20).chain(0x7f..0xa0).chain([0x61c, 0x200e, 0x200f]).chain(0x2028..0x202f);
        for control in controls.chain(0x2066..0x206a) {
            let character = char::from_u32(control).expect("no surrogate among them");
            let mut out = Vec::new();
            json_str(&mut out, &format!("a{character}b"));
            assert!(out.iter().all(|byte| matches!(byte, b' '..=b'~')), "U+{control:04X} went through");
            let json = format!("\"{}\"", String::from_utf8_lossy(&out));
            assert_eq!(serde_json::from_str::<String>(&json).expect("valid JSON"), format!("a{character}b"));
        }
    }

    #[test]
    fn other_characters_are_kept() {
        let mut out = Vec::new();
        let kept = "é¡–—‘’ \u{2027}\u{2030}\u{206a}日本\u{1f980}";
        json_str(&mut out, kept);
        assert_eq!(String::from_utf8_lossy(&out), kept);
    }

    #[test]
    fn invalid_utf8_is_replaced_and_reported() {
        let mut out = Vec::new();
        assert!(!json_bytes(&mut out, b"a\xffb\xc3"));
        assert_eq!(String::from_utf8_lossy(&out), "a\u{fffd}b\u{fffd}");
        assert!(json_bytes(&mut Vec::new(), "é\n".as_bytes()));
    }
}
