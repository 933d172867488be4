//! Identical calls in a row, as one event.

use super::super::coalesce::{LONGEST_NS, MAX_CAPTURED_BYTES, MAX_RUNS};
use super::*;

const FOLDS: &str = "{syscalls: [{name: mkdir}, {name: rmdir}, {name: openat}, {name: read}], coalesce: true}";

fn rig(spec: &str) -> Rig {
    let rig = Rig::new(spec);
    rig.open(A, "a");
    rig
}

/// Name and count of each event, in order.
fn told(rig: &Rig) -> Vec<(String, u64)> {
    let of = |event: &Value| {
        let name = event["syscall"]["name"].as_str().expect("an event has a name");
        (name.to_owned(), event.get("count").map_or(1, |count| count.as_u64().expect("a number")))
    };
    rig.output.of("syscall").iter().map(of).collect()
}

fn of(name: &str, count: u64) -> (String, u64) {
    (name.to_owned(), count)
}

/// Asserts that the account adds up, with so many of it emitted and coalesced.
fn assert_account(rig: Rig, emitted: u64, coalesced: u64) {
    let account = rig.pipeline.finish(Doubts::default()).total;
    assert!(account.balanced() && account.in_flight == 0, "{account:?}");
    assert_eq!((account.emitted, account.filtered.get(FilterReason::Coalesced)), (emitted, coalesced), "{account:?}");
    assert_eq!(account.seen, emitted + coalesced);
}

#[test]
fn identical_calls_in_a_row_are_one_event_that_ends_with_another_call() {
    let mut rig = rig(FOLDS);
    let timed = |second: u64, duration_ns| Record {
        phase: wire::PHASE_CALL,
        mono_ns: 1_000_000_000 * second,
        duration_ns,
        ..record(A, "mkdir", -17)
    };
    [timed(1, 10), timed(2, 20), timed(4, 70)].iter().for_each(|call| rig.record(call));
    assert_eq!(told(&rig), [], "they may be followed by more");
    rig.record(&record(A, "rmdir", 0));
    rig.commands.send(Command::Ledger(Doubts::default()));
    rig.pipeline.drained();
    let events = rig.output.of("syscall");
    assert_eq!(told(&rig), [of("mkdir", 3)]);
    assert_eq!(events[0]["mono_ns"], 1_000_000_000);
    let moments = ["time", "last_time"].map(|member| events[0][member].as_str().expect("a time").to_owned());
    let seconds = |time: &str| time[17..19].parse::<u64>().expect("seconds");
    assert_eq!((seconds(&moments[1]) + 60 - seconds(&moments[0])) % 60, 3, "{moments:?}");
    assert_eq!(moments[0][19..], moments[1][19..], "{moments:?}");
    let call = &events[0]["syscall"];
    assert_eq!((&call["duration_ns"], &call["total_duration_ns"]), (&10.into(), &100.into()));
    let ledger = &rig.output.of("ledger")[0];
    assert_eq!((&ledger["balanced"], &ledger["in_flight"]), (&true.into(), &1.into()), "rmdir waits");
    assert_eq!((&ledger["emitted"], &ledger["filtered"]["coalesced"]), (&1.into(), &2.into()));
    assert_account(rig, 2, 2);
}

#[test]
fn event_of_one_call_says_nothing_of_others() {
    let mut rig = rig(FOLDS);
    rig.record(&record(A, "mkdir", 0));
    rig.record(&record(A, "mkdir", 0));
    rig.record(&record(A, "rmdir", 0));
    // Decoded to the memory that the first event had.
    rig.record(&record(A, "openat", 3));
    rig.record(&record(A, "read", 3));
    let events = rig.output.of("syscall");
    assert_eq!(told(&rig), [of("mkdir", 2), of("rmdir", 1), of("openat", 1)]);
    for event in &events[1..] {
        assert_eq!((event.get("count"), event.get("last_time")), (None, None), "{event}");
        assert_eq!(event["syscall"].get("total_duration_ns"), None, "{event}");
    }
    assert_eq!(events[0]["syscall"].get("total_duration_ns"), None, "they were not timed");
}

#[test]
fn calls_that_differ_in_anything_are_events_of_their_own() {
    let same = record(A, "mkdir", 0);
    type Change = fn(&mut Record);
    let changes: [(&str, Change); 13] = [
        ("result", |call| call.ret = -1),
        ("argument", |call| call.args[1] = 5),
        ("call", |call| call.nr = by_name("rmdir").expect("the catalogue has it").nr),
        ("phase", |call| call.phase = wire::PHASE_CALL),
        ("stage", |call| call.stage = wire::STAGE_SETUP as u8),
        ("refusal", |call| call.flags = wire::RECORD_REFUSED),
        ("identity", |call| call.identity = wire::IDENTITY_NAMESPACE),
        ("hook", |call| call.probe = wire::PROBE_TRACEPOINT),
        ("exec", |call| call.exec_id = 9),
        ("start", |call| call.start_boot_ns = 9),
        ("parent", |call| call.ppid = 9),
        ("user", |call| call.uid = 9),
        ("name", |call| call.comm[0] = b'x'),
    ];
    for (what, change) in changes {
        let mut rig = rig(FOLDS);
        let mut other = same;
        change(&mut other);
        [same, same, other, other, same].iter().for_each(|call| rig.record(call));
        rig.pipeline.end_runs();
        let counts: Vec<u64> = told(&rig).into_iter().map(|(_, count)| count).collect();
        assert_eq!(counts, [2, 2, 1], "{what}");
        assert_account(rig, 3, 2);
    }
}

#[test]
fn threads_do_not_end_each_others_runs() {
    let mut rig = rig(FOLDS);
    rig.open(B, "b");
    for _ in 0..3 {
        rig.record(&record(A, "mkdir", 0));
        rig.record(&Record { tid: 8, ..record(A, "rmdir", 0) });
        rig.record(&record(B, "read", 0));
    }
    rig.pipeline.end_runs();
    assert_eq!(told(&rig), [of("mkdir", 3), of("rmdir", 3), of("read", 3)]);
    let seqs: Vec<_> = rig.output.of("syscall").iter().map(|event| event["seq"].as_u64()).collect();
    assert_eq!(seqs, [Some(3), Some(4), Some(5)], "in the order of the lines, after two containers");
    assert_account(rig, 3, 6);
}

#[test]
fn policy_that_does_not_ask_gets_every_call() {
    let mut rig = rig(FOLDS);
    let every = "apiVersion: kubeward.kubeward/v1\nkind: KubeWard\nmetadata: {name: every}\nspec: {syscalls: [{name: mkdir}]}\n";
    let folds = format!(
        "apiVersion: kubeward.kubeward/v1\nkind: KubeWard\nmetadata: {{name: folds}}\nspec: {FOLDS}\n---\n{every}"
    );
    let (policies, faults) = load("a.yaml", folds.as_bytes());
    assert!(faults.is_empty(), "{faults:?}");
    let set = Arc::new(PolicySet::new(policies).0);
    let selected = vec![(A, set.active())];
    rig.commands.send(Command::Policies { set, selected });
    rig.commands.send(Command::Switched);
    rig.pipeline.drained();
    for call in ["rmdir", "rmdir", "mkdir", "mkdir", "rmdir", "rmdir", "rmdir"] {
        rig.record(&record(A, call, 0));
    }
    rig.pipeline.end_runs();
    assert_eq!(told(&rig), [of("rmdir", 2), of("mkdir", 1), of("mkdir", 1), of("rmdir", 3)], "in the thread's order");
    assert_account(rig, 4, 3);
}

#[test]
fn run_is_told_after_a_second_though_it_goes_on() {
    let mut rig = rig(FOLDS);
    rig.record(&record(A, "mkdir", 0));
    rig.record(&record(A, "mkdir", 0));
    let begun_ns = monotonic_ns();
    rig.pipeline.end_old_runs(begun_ns);
    assert_eq!(told(&rig), []);
    rig.pipeline.end_old_runs(begun_ns + LONGEST_NS);
    assert_eq!(told(&rig), [of("mkdir", 2)]);
    rig.record(&record(A, "mkdir", 0));
    rig.pipeline.end_old_runs(begun_ns + LONGEST_NS / 2);
    assert_eq!(told(&rig).len(), 1, "it is a run of its own");
    assert_account(rig, 2, 1);
}

#[test]
fn run_ends_with_its_container_and_with_what_is_known_of_it_and_with_the_policies() {
    type Make = fn(&Rig) -> Command;
    let commands: [(&str, Make); 3] = [
        ("close", |_| Command::Close { slot: A }),
        ("change", |rig| Command::Change { slot: A, container: container("new"), selected: rig.set.active() }),
        ("switch", |rig| Command::Policies { set: rig.set.clone(), selected: vec![(A, rig.set.active())] }),
    ];
    for (what, command) in commands {
        let mut rig = rig(FOLDS);
        (0..5).for_each(|_| rig.record(&record(A, "mkdir", 0)));
        let command = command(&rig);
        rig.commands.send(command);
        rig.pipeline.drained();
        assert_eq!(told(&rig), [of("mkdir", 5)], "{what}");
        assert_eq!(rig.output.of("syscall")[0]["container"]["id"], "a", "{what}: it was the old one's");
        rig.record(&record(A, "mkdir", 0));
        assert_eq!(told(&rig).len(), if what == "close" { 2 } else { 1 }, "{what}: a closed one's are told at once");
        assert_account(rig, 2, 4);
    }
}

#[test]
fn closed_container_is_over_when_its_run_is_told() {
    let mut rig = rig(FOLDS);
    (0..5).for_each(|_| rig.record(&record(A, "mkdir", 0)));
    rig.commands.send(Command::Close { slot: A });
    // Fewer than the drains after which it is given up.
    (0..10).for_each(|_| rig.pipeline.drained());
    assert_eq!(rig.freed.try_recv(), Ok(A));
    let last = rig.output.of("ledger")[0].clone();
    assert_eq!((&last["final"], &last["seen"], &last["in_flight"]), (&true.into(), &5.into(), &0.into()), "{last}");
}

#[test]
fn event_that_the_output_loses_takes_no_coalesced_call_with_it() {
    let mut rig = rig(FOLDS);
    (0..5).for_each(|_| rig.record(&record(A, "mkdir", 0)));
    rig.pipeline.end_runs();
    rig.output.with(|taken| taken.losses.insert(A, 1));
    let account = rig.pipeline.finish(Doubts::default()).total;
    assert!(account.balanced(), "{account:?}");
    let coalesced = account.filtered.get(FilterReason::Coalesced);
    assert_eq!((account.emitted, account.lost.get(LossReason::Output), coalesced), (0, 1, 4));
}

#[test]
fn thread_without_room_is_told_at_once() {
    let mut rig = rig(FOLDS);
    let threads = 1..=MAX_RUNS as u32 + 1;
    for _ in 0..2 {
        threads.clone().for_each(|tid| rig.record(&Record { tid, ..record(A, "mkdir", 0) }));
    }
    let without_room = rig.output.of("syscall");
    let tids: Vec<_> = without_room.iter().map(|event| event["process"]["tid"].as_u64()).collect();
    assert_eq!(tids, [Some(MAX_RUNS as u64 + 1); 2]);
    assert_account(rig, MAX_RUNS as u64 + 2, MAX_RUNS as u64);
}

/// A record with one string or path behind it.
fn with_item(mut record: Record, arg: u8, kind: u8, content: &[u8]) -> Vec<u8> {
    let item = wire::Item { arg, kind, flags: 0, pad: 0, bytes: content.len() as u32 };
    let items = [item.as_bytes(), content].concat();
    record.items_bytes = items.len() as u32;
    [record.as_bytes(), &items].concat()
}

#[test]
fn strings_that_arguments_point_to_are_compared_and_redacted() {
    let mut rig = rig(FOLDS);
    let named = |name: &[u8]| with_item(record(A, "mkdir", 0), 0, wire::ITEM_STRING, name);
    let names = [&b"token=abcdefgh"[..], b"token=abcdefgh", b"token=ijklmnop", b"b"].map(named);
    rig.change_kernel(A, |account| account.at_once += 4);
    names.iter().for_each(|bytes| rig.pipeline.record(bytes));
    assert_eq!(told(&rig), [of("mkdir", 2), of("mkdir", 1)], "the same when they are shown, and not the same");
    for event in rig.output.of("syscall") {
        assert_eq!(event["syscall"]["args"][0]["redacted"], true, "{event}");
    }
    assert_account(rig, 3, 1);
}

#[test]
fn long_strings_wait_up_to_a_bound_and_leave_their_room() {
    const LENGTH: usize = 4096;
    let mut rig = rig(FOLDS);
    let room = MAX_CAPTURED_BYTES / LENGTH;
    for round in 1..=2 {
        for tid in 0..room as u32 + 5 {
            let named = with_item(Record { tid, ..record(A, "mkdir", 0) }, 0, wire::ITEM_STRING, &[b'a'; LENGTH]);
            rig.change_kernel(A, |account| account.at_once += 1);
            rig.pipeline.record(&named);
        }
        let events = |rig: &Rig| rig.output.of("syscall").len();
        assert_eq!(events(&rig), (round - 1) * (room + 5) + 5, "in round {round}");
        rig.pipeline.end_runs();
        assert_eq!(events(&rig), round * (room + 5), "in round {round}");
    }
    assert_account(rig, 2 * (room as u64 + 5), 0);
}

#[test]
fn every_read_of_our_own_output_counts_as_one() {
    let mut rig = rig(FOLDS);
    let own = OwnOutput { file: Some(b"/var/events".to_vec()), pod: None };
    rig.pipeline.feedback = super::super::feedback::Feedback::new(own);
    let open = with_item(record(A, "openat", 3), 6, wire::ITEM_PATH, b"events\0var\0");
    rig.change_kernel(A, |account| account.at_once += 1);
    rig.pipeline.record(&open);
    for second in 0..200 {
        let mut read = Record { mono_ns: second * 100_000_000, ..record(A, "read", 100) };
        read.args[0] = 3;
        rig.record(&read);
    }
    assert_eq!(told(&rig), [of("openat", 1)]);
    assert_eq!(rig.output.of("notice")[0]["code"], "feedback_loop");
    assert_account(rig, 2, 199);
}
