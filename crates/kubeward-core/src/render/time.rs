//! Moments and spans as text. Always UTC: a node's local time is not in its events.

use super::escape::push_display;

const NS_PER_SEC: u64 = 1_000_000_000;
const SECS_PER_DAY: u64 = 86_400;

/// Appends `2026-01-02T03:04:05.123456789Z` for nanoseconds since the Unix epoch.
pub(super) fn write_rfc3339(out: &mut Vec<u8>, time_ns: u64) {
    let secs = time_ns / NS_PER_SEC;
    let (year, month, day) = civil_date(secs / SECS_PER_DAY);
    let mut text = *b"0000-00-00T00:00:00.000000000Z";
    put_digits(&mut text[0..4], year);
    put_digits(&mut text[5..7], month);
    put_digits(&mut text[8..10], day);
    put_clock(&mut text[11..19], secs % SECS_PER_DAY);
    put_digits(&mut text[20..29], time_ns % NS_PER_SEC);
    out.extend_from_slice(&text);
}

/// Appends `03:04:05.123456`, the time of day to the microsecond.
pub(super) fn write_clock(out: &mut Vec<u8>, time_ns: u64) {
    let mut text = *b"00:00:00.000000";
    put_clock(&mut text[0..8], time_ns / NS_PER_SEC % SECS_PER_DAY);
    put_digits(&mut text[9..15], time_ns % NS_PER_SEC / 1_000);
    out.extend_from_slice(&text);
}

/// Appends a span for people: `850ns`, `2.3us`, `15.0ms`, `1.2s`.
pub(super) fn write_span(out: &mut Vec<u8>, span_ns: u64) {
    let (unit_ns, unit) = match span_ns {
        0..1_000 => return push_display(out, format_args!("{span_ns}ns")),
        1_000..1_000_000 => (1_000, "us"),
        1_000_000..NS_PER_SEC => (1_000_000, "ms"),
        _ => (NS_PER_SEC, "s"),
    };
    push_display(out, format_args!("{}.{}{unit}", span_ns / unit_ns, span_ns % unit_ns * 10 / unit_ns));
}

fn put_clock(place: &mut [u8], second_of_day: u64) {
    put_digits(&mut place[0..2], second_of_day / 3_600);
    put_digits(&mut place[3..5], second_of_day / 60 % 60);
    put_digits(&mut place[6..8], second_of_day % 60);
}

fn put_digits(place: &mut [u8], mut number: u64) {
    for digit in place.iter_mut().rev() {
        *digit = b'0' + (number % 10) as u8;
        number /= 10;
    }
}

/// Year, month and day of a day since 1970-01-01, in the proleptic Gregorian calendar.
///
/// Counts in years that begin in March, so that the leap day is the last of its year.
fn civil_date(day: u64) -> (u64, u64, u64) {
    const DAYS_PER_ERA: u64 = 146_097; // 400 years
    let since_march_0 = day + 719_468; // days from 0000-03-01 to 1970-01-01
    let (era, day_of_era) = (since_march_0 / DAYS_PER_ERA, since_march_0 % DAYS_PER_ERA);
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    (era * 400 + year_of_era + u64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(write: impl FnOnce(&mut Vec<u8>)) -> String {
        let mut out = Vec::new();
        write(&mut out);
        String::from_utf8(out).expect("times are ASCII")
    }

    #[test]
    fn moments_are_rfc_3339_with_nanoseconds() {
        for (secs, expected) in [
            (0, "1970-01-01T00:00:00.000000007Z"),
            (951_782_399, "2000-02-28T23:59:59.000000007Z"),
            (951_782_400, "2000-02-29T00:00:00.000000007Z"),
            (951_868_800, "2000-03-01T00:00:00.000000007Z"),
            (1_767_323_045, "2026-01-02T03:04:05.000000007Z"),
            (4_107_542_399, "2100-02-28T23:59:59.000000007Z"),
            (4_107_542_400, "2100-03-01T00:00:00.000000007Z"),
            (18_446_744_073, "2554-07-21T23:34:33.000000007Z"),
        ] {
            assert_eq!(text(|out| write_rfc3339(out, secs * NS_PER_SEC + 7)), expected);
        }
    }

    #[test]
    fn every_day_follows_the_one_before() {
        let (mut year, mut month, mut day) = civil_date(0);
        for number in 1..213_503 {
            let next = civil_date(number);
            let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
            let month_days = [31, if leap { 29 } else { 28 }, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];
            day += 1;
            if day > month_days[month as usize - 1] {
                (month, day) = (month + 1, 1);
            }
            if month > 12 {
                (year, month) = (year + 1, 1);
            }
            assert_eq!(next, (year, month, day));
        }
    }

    #[test]
    fn spans_keep_one_decimal() {
        for (span_ns, expected) in [
            (0, "0ns"),
            (999, "999ns"),
            (1_000, "1.0us"),
            (2_310, "2.3us"),
            (999_999, "999.9us"),
            (15_000_000, "15.0ms"),
            (1_290_000_000, "1.2s"),
            (u64::MAX, "18446744073.7s"),
        ] {
            assert_eq!(text(|out| write_span(out, span_ns)), expected);
        }
    }

    #[test]
    fn clock_is_the_time_of_day() {
        assert_eq!(text(|out| write_clock(out, 1_767_323_045_123_456_789)), "03:04:05.123456");
    }
}
