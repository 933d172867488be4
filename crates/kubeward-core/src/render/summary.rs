//! The table by call, for people: what `strace -c` shows, with percentiles.

use std::collections::BTreeMap;

use super::escape::push_display;
use super::time::write_span;
use super::value::{via_remark, write_name};
use crate::container::ContainerSlot;
use crate::event::{Stage, Via};
use crate::table::{CallKey, CallStats, CallTable, Latency};

/// Appends the table by call of one container, or of all when `slot` is absent; most time first, then most calls.
///
/// Only calls of stage run are shown. `untabled`: calls that the table had no room for. Where no call was timed the columns of time show `-`: that a call took no time is never claimed.
pub fn write_summary(out: &mut Vec<u8>, table: &CallTable, slot: Option<ContainerSlot>, untabled: u64) {
    let mut rows: Vec<CallStats> = by_call(table, slot).into_values().collect();
    rows.sort_by_key(|row| {
        let total_ns = row.latency.as_ref().map_or(0, |latency| latency.total_ns);
        (std::cmp::Reverse((total_ns, row.calls())), row.call.nr)
    });
    let all = Total::of(&rows);
    push_display(out, format_args!("{HEADER}\n{RULE}\n"));
    for row in &rows {
        write_row(out, row.latency.as_deref(), row.calls(), row.errors(), all.total_ns());
        write_name(out, &row.call);
        out.extend_from_slice(via_remark(row.call.via).as_bytes());
        out.push(b'\n');
    }
    push_display(out, format_args!("{RULE}\n"));
    write_row(out, all.latency.as_ref(), all.calls, all.errors, all.total_ns());
    out.extend_from_slice(b"total\n");
    if untabled > 0 {
        push_display(
            out,
            format_args!("{untabled} more calls were not counted: the table was full ({} rows)\n", table.room()),
        );
    }
}

const HEADER: &str = "% time      total        p50        p99      calls    errors syscall";
const RULE: &str = "------ ---------- ---------- ---------- ---------- --------- ----------------";

/// What the last line shows.
#[derive(Debug, Default)]
struct Total {
    latency: Option<Latency>,
    calls: u64,
    errors: u64,
}

impl Total {
    fn of(rows: &[CallStats]) -> Total {
        let mut total = Total::default();
        for row in rows {
            total.calls += row.calls();
            total.errors += row.errors();
            if let Some(latency) = &row.latency {
                total.latency.get_or_insert_default().merge(latency);
            }
        }
        total
    }

    fn total_ns(&self) -> u64 {
        self.latency.as_ref().map_or(0, |latency| latency.total_ns)
    }
}

/// The same call of several containers is one row.
fn by_call(table: &CallTable, slot: Option<ContainerSlot>) -> BTreeMap<(Via, u32, Option<u16>), CallStats> {
    let mut rows: BTreeMap<_, CallStats> = BTreeMap::new();
    let is_wanted = |key: &CallKey| key.stage == Stage::Run && slot.is_none_or(|slot| key.slot == slot);
    for (key, stats) in table.iter().filter(|(key, _)| is_wanted(key)) {
        rows.entry((key.via, key.nr, key.native)).and_modify(|row| row.merge(stats)).or_insert_with(|| stats.clone());
    }
    rows
}

fn write_row(out: &mut Vec<u8>, latency: Option<&Latency>, calls: u64, errors: u64, all_ns: u64) {
    match latency.filter(|_| all_ns > 0) {
        Some(latency) => {
            push_display(out, format_args!("{:>6.2}", latency.total_ns as f64 * 100.0 / all_ns as f64));
        }
        None => push_display(out, format_args!("{:>6}", "-")),
    }
    for span_ns in [
        latency.map(|latency| latency.total_ns),
        latency.and_then(|latency| latency.percentile(50)),
        latency.and_then(|latency| latency.percentile(99)),
    ] {
        write_cell(out, span_ns);
    }
    push_display(out, format_args!(" {calls:>10} "));
    match errors {
        0 => push_display(out, format_args!("{:>9} ", "")),
        errors => push_display(out, format_args!("{errors:>9} ")),
    }
}

/// A span right-aligned in its column.
fn write_cell(out: &mut Vec<u8>, span_ns: Option<u64>) {
    let mut cell = Vec::new();
    match span_ns {
        Some(span_ns) => write_span(&mut cell, span_ns),
        None => cell.push(b'-'),
    }
    out.extend(std::iter::repeat_n(b' ', 11usize.saturating_sub(cell.len())));
    out.extend_from_slice(&cell);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::Call;
    use crate::render::fixture::openat_call;
    use crate::table::CallResult;

    fn summary(table: &CallTable, slot: Option<ContainerSlot>) -> String {
        let mut out = Vec::new();
        write_summary(&mut out, table, slot, 0);
        String::from_utf8(out).expect("a summary is ASCII")
    }

    #[test]
    fn summary_reads_like_strace() {
        let mut table = CallTable::new(8_192);
        let key = |slot, call: &Call| CallKey::new(ContainerSlot(slot), Stage::Run, call);
        let openat = openat_call();
        let calls =
            [(1, CallResult::Success, 3_000), (1, CallResult::Errno(2), 1_000), (2, CallResult::Success, 2_000_000)];
        for (slot, result, duration_ns) in calls {
            table.add(key(slot, &openat), openat, result, 1);
            table.add_times(key(slot, &openat), u64::ilog2(duration_ns) as usize, 1, duration_ns);
        }
        let odd = Call { via: Via::Syscall, nr: 511, entry: None };
        table.add(key(1, &odd), odd, CallResult::Errno(38), 1_000);
        let setup = CallKey { stage: Stage::Setup, ..key(1, &openat) };
        table.add(setup, openat, CallResult::Success, 830);
        assert_eq!(
            summary(&table, None),
            "\
% time      total        p50        p99      calls    errors syscall
------ ---------- ---------- ---------- ---------- --------- ----------------
100.00      2.0ms      4.0us      2.0ms          3         1 openat
     -          -          -          -       1000      1000 syscall_0x1ff
------ ---------- ---------- ---------- ---------- --------- ----------------
100.00      2.0ms      4.0us      2.0ms       1003      1001 total
"
        );
        assert!(summary(&table, Some(ContainerSlot(2))).contains("     1           openat\n"));
        let mut out = Vec::new();
        write_summary(&mut out, &table, None, 7);
        let told = b" total\n7 more calls were not counted: the table was full (8192 rows)\n";
        assert!(out.ends_with(told), "{}", String::from_utf8_lossy(&out));
    }

    #[test]
    fn time_that_was_not_measured_is_not_zero() {
        let mut table = CallTable::default();
        let openat = openat_call();
        table.add(CallKey::new(ContainerSlot(1), Stage::Run, &openat), openat, CallResult::Success, 2);
        assert_eq!(
            summary(&table, None).lines().nth(2),
            Some("     -          -          -          -          2           openat")
        );
    }

    #[test]
    fn empty_table_is_a_total_of_nothing() {
        assert_eq!(
            summary(&CallTable::default(), None).lines().last(),
            Some("     -          -          -          -          0           total")
        );
    }
}
