//! The time in which nobody watched, from one pipeline to the next.

use std::path::Path;

use kubeward_bpf::read::BATCH;

use super::*;
use crate::watch_file::{Before, WatchFile};

/// A rig with the file that the agents of a machine share, and what is in it.
fn rig_after(file: &Path) -> Rig {
    rig_of("{syscalls: [{name: mkdir}]}", file)
}

fn rig_of(spec: &str, file: &Path) -> Rig {
    let mut rig = Rig::new(spec);
    let (file, before) = WatchFile::take(file).expect("nobody has it");
    let before_ns = match before {
        Before::WatchedUntil(until_ns) => Some(until_ns),
        _ => None,
    };
    rig.pipeline.coverage = Coverage::new(Some(file), before_ns);
    rig
}

fn kept(file: &Path) -> Before {
    WatchFile::take(file).expect("nobody has it").1
}

#[test]
fn time_between_two_watches_is_one_gap() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let file = folder.path().join("agent.watched");
    let run = |is_covered: bool| {
        let mut rig = rig_after(&file);
        rig.pipeline.drained();
        if is_covered {
            rig.commands.send(Command::Covered);
            rig.pipeline.drained();
        }
        rig.commands.send(Command::Ending);
        rig.pipeline.drained();
        rig.pipeline.finish(Doubts::default());
        rig.output.of("gap")
    };
    assert_eq!(run(true), [Value::Null; 0], "nobody watched before");
    let Before::WatchedUntil(first_ns) = kept(&file) else { panic!("the first one kept its end") };
    let never_covered = run(false);
    assert_eq!((never_covered.len(), &never_covered[0]["reason"]), (1, &"agent_down".into()));
    assert_eq!((never_covered[0].get("to"), never_covered[0].get("lost")), (None, None));
    assert_eq!(kept(&file), Before::WatchedUntil(first_ns), "the time before and after it is one gap");
    let covered = run(true);
    assert_eq!((covered.len(), covered[0].get("to")), (1, covered[0].get("time")));
    let Before::WatchedUntil(third_ns) = kept(&file) else { panic!("the third one kept its end") };
    assert!(third_ns > first_ns, "{third_ns}, {first_ns}");
}

#[test]
fn what_a_full_batch_left_in_the_ring_is_not_said_to_be_watched() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let file = folder.path().join("agent.watched");
    let mut rig = rig_after(&file);
    rig.open(A, "a");
    rig.commands.send(Command::Covered);
    rig.pipeline.drained();
    let begun_ns = rig.output.written_until();
    (0..BATCH).for_each(|_| rig.record(&record(A, "mkdir", 0)));
    rig.pipeline.coverage.keep_at_each_drain();
    rig.pipeline.drained();
    assert_eq!(rig.output.written_until(), begun_ns);
    rig.pipeline.coverage.keep_at_each_drain();
    rig.pipeline.drained();
    assert!(rig.output.written_until() > begun_ns);
}

#[test]
fn call_that_waits_for_more_of_its_kind_is_not_said_to_be_written() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let mut rig = rig_of("{syscalls: [{name: mkdir}], coalesce: true}", &folder.path().join("agent.watched"));
    rig.open(A, "a");
    rig.commands.send(Command::Covered);
    let marked_after_drains = |rig: &mut Rig| {
        for _ in 0..3 {
            rig.pipeline.coverage.keep_at_each_drain();
            rig.pipeline.drained();
        }
        rig.output.written_until()
    };
    let before_ns = marked_after_drains(&mut rig);
    rig.record(&record(A, "mkdir", 0));
    let waiting_ns = marked_after_drains(&mut rig);
    rig.record(&record(A, "mkdir", 0));
    assert_eq!(marked_after_drains(&mut rig), waiting_ns, "it was in the ring after that");
    assert!(waiting_ns >= before_ns);
    rig.pipeline.end_runs();
    assert!(marked_after_drains(&mut rig) > waiting_ns);
    assert_eq!(rig.output.of("syscall")[0]["count"], 2);
}
