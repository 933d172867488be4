//! Durations as policies write them: `250us`, `5s`, `1h30m`.

use std::time::Duration;

/// Units by their name, in nanoseconds. Both signs for micro are in use.
const UNITS: &[(&str, u64)] = &[
    ("ns", 1),
    ("us", 1_000),
    ("\u{b5}s", 1_000),
    ("\u{3bc}s", 1_000),
    ("ms", 1_000_000),
    ("s", 1_000_000_000),
    ("m", 60_000_000_000),
    ("h", 3_600_000_000_000),
];

/// The duration that `text` says: whole numbers with a unit each, added up. `None` if it says none, or more than
/// 584 years.
pub fn parse(text: &str) -> Option<Duration> {
    let mut total_ns: u64 = 0;
    let mut rest = text;
    if rest.is_empty() {
        return None;
    }
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit())?;
        let number: u64 = rest[..digits].parse().ok()?;
        rest = &rest[digits..];
        let letters = rest.find(|c: char| c.is_ascii_digit()).unwrap_or(rest.len());
        let (_, unit_ns) = UNITS.iter().find(|(name, _)| *name == &rest[..letters])?;
        rest = &rest[letters..];
        total_ns = total_ns.checked_add(number.checked_mul(*unit_ns)?)?;
    }
    Some(Duration::from_nanos(total_ns))
}

/// As policies write it, from the greatest unit down; what is below a nanosecond or beyond 584 years is cut.
pub fn text(duration: Duration) -> String {
    let mut rest_ns = u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
    let mut text = String::new();
    for (name, unit_ns) in UNITS.iter().rev().filter(|(name, _)| name.is_ascii()) {
        if rest_ns >= *unit_ns {
            text.push_str(&format!("{}{name}", rest_ns / unit_ns));
            rest_ns %= unit_ns;
        }
    }
    if text.is_empty() {
        text.push_str("0s");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_add_up() {
        assert_eq!(parse("250us"), Some(Duration::from_micros(250)));
        assert_eq!(parse("250\u{b5}s"), Some(Duration::from_micros(250)));
        assert_eq!(parse("1h30m"), Some(Duration::from_secs(5400)));
        assert_eq!(parse("0s"), Some(Duration::ZERO));
    }

    #[test]
    fn text_says_the_same_duration() {
        for written in ["0s", "250us", "1h30m", "26h", "1m1s1ms1us1ns"] {
            assert_eq!(text(parse(written).expect("a duration")), written);
        }
    }

    #[test]
    fn what_is_no_duration_is_refused() {
        for text in ["", "5", "s", "-5s", "1.5s", "5 s", "5sec", "99999999999h", "18446744073709551615s"] {
            assert_eq!(parse(text), None, "{text:?}");
        }
    }
}
