use kubeward_core::container::Labels;

use super::*;
use crate::discovery::BootTicks;

fn roster() -> Roster {
    Roster::new(Path::new("/run/containerd/containerd.sock").into())
}

fn key(id: &str) -> Key {
    Key::new(&"default".into(), id.to_owned())
}

fn task(pid: u32) -> KnownTask {
    KnownTask { init: InitTask { pid, started: BootTicks(u64::from(pid)) }, learned: BootTicks(1000) }
}

fn record(image: &str) -> Record {
    Record {
        labels: Labels::default(),
        pod_labels: Labels::default(),
        image: Some(image.to_owned()),
        cri: None,
        sandbox: None,
    }
}

/// The changes in short: what, pid, and the image and digest where there are some.
fn told(changes: Vec<Change>) -> Vec<String> {
    let details = |container: &Container| {
        let parts = [container.image.clone(), container.image_digest.clone()];
        parts.into_iter().flatten().map(|part| format!(" {part}")).collect::<String>()
    };
    let line = |change: Change| match change {
        Change::Appeared { instance, container, .. } => format!("+{}{}", instance.init.pid, details(&container)),
        Change::Changed { instance, container } => format!("~{}{}", instance.init.pid, details(&container)),
        Change::Gone { instance } => format!("-{}", instance.init.pid),
        Change::ExecStarted { instance, pid } => format!("{} exec {pid}", instance.init.pid),
        Change::Missed { container, .. } => format!("missed {}", container.id),
        other => format!("{other:?}"),
    };
    changes.into_iter().map(line).collect()
}

#[test]
fn record_known_before_the_task_appears_with_it_at_once() {
    let (mut roster, a) = (roster(), key("a"));
    roster.record_changed(&a);
    assert!(roster.take_wanted_one(&a));
    assert_eq!(told(roster.found_record(&a, Some(record("web"))).0), [""; 0]);
    assert_eq!(told(roster.found_references(&a, Some("sha256:1".into()), None)), [""; 0]);
    assert_eq!(told(roster.began(&a, task(7), Noticed::AtCreate)), ["+7 web sha256:1"]);
    assert!(!roster.take_wanted_one(&a), "nothing is left to look up");
}

#[test]
fn unknown_record_is_one_look_up_and_the_digest_follows() {
    let (mut roster, a) = (roster(), key("a"));
    assert_eq!(told(roster.began(&a, task(7), Noticed::AtCreate)), [""; 0]);
    assert!(roster.owes_an_appearance());
    assert_eq!(roster.take_wanted(usize::MAX), std::slice::from_ref(&a));
    let (changes, references) = roster.found_record(&a, Some(record("web")));
    assert_eq!(told(changes), ["+7 web"]);
    assert_eq!(references, Some(References { image: Some("web".into()), sandbox: None }));
    assert_eq!(told(roster.found_references(&a, Some("sha256:1".into()), None)), ["~7 web sha256:1"]);
    assert!(!roster.owes_an_appearance());
    assert_eq!(roster.take_wanted(usize::MAX), []);
}

#[test]
fn failed_look_up_does_not_keep_a_container_back_and_is_tried_again() {
    let (mut roster, a) = (roster(), key("a"));
    roster.began(&a, task(7), Noticed::InList);
    assert!(roster.take_wanted_one(&a));
    assert_eq!(told(roster.lookup_failed(&a)), ["+7"]);
    assert_eq!(roster.take_wanted(usize::MAX), std::slice::from_ref(&a));
    assert_eq!(told(roster.found_record(&a, Some(record("web"))).0), ["~7 web"]);
}

#[test]
fn what_says_nothing_new_is_not_told() {
    let (mut roster, a) = (roster(), key("a"));
    roster.began(&a, task(7), Noticed::InList);
    roster.found_record(&a, Some(record("web")));
    assert_eq!(told(roster.found_record(&a, Some(record("web"))).0), [""; 0]);
    assert_eq!(told(roster.began(&a, task(7), Noticed::InList)), [""; 0]);
}

#[test]
fn change_during_a_look_up_is_looked_up_again() {
    let (mut roster, a) = (roster(), key("a"));
    roster.record_changed(&a);
    assert!(roster.take_wanted_one(&a));
    roster.record_changed(&a);
    assert!(!roster.take_wanted_one(&a), "one look-up at a time");
    roster.found_record(&a, Some(record("web")));
    roster.found_references(&a, None, None);
    assert_eq!(roster.take_wanted(usize::MAX), [a]);
}

#[test]
fn restart_ends_the_old_instance_first_and_keeps_the_details() {
    let (mut roster, a) = (roster(), key("a"));
    roster.began(&a, task(7), Noticed::InList);
    roster.found_record(&a, Some(record("web")));
    assert_eq!(told(roster.began(&a, task(8), Noticed::AtCreate)), ["-7", "+8 web"]);
    assert_eq!(told(roster.ended(&a)), ["-8"]);
    assert_eq!(told(roster.ended(&a)), [""; 0]);
}

#[test]
fn end_before_the_appearance_is_a_miss() {
    let (mut roster, a) = (roster(), key("a"));
    roster.began(&a, task(7), Noticed::AtCreate);
    assert_eq!(told(roster.ended(&a)), ["missed a"]);
    assert_eq!(told(roster.found_record(&a, Some(record("web"))).0), [""; 0]);
}

#[test]
fn task_that_was_never_found_is_missed_once() {
    let (mut roster, a) = (roster(), key("a"));
    roster.unfound(&a, 7);
    assert_eq!(told(roster.unfound_ended(&a, 6).into_iter().collect()), [""; 0]);
    assert_eq!(told(roster.unfound_ended(&a, 7).into_iter().collect()), ["missed a"]);
    assert_eq!(told(roster.unfound_ended(&a, 7).into_iter().collect()), [""; 0]);
}

#[test]
fn deleted_record_leaves_nothing_behind_in_either_order() {
    let (mut roster, a, b) = (roster(), key("a"), key("b"));
    for key in [&a, &b] {
        roster.began(key, task(7), Noticed::InList);
        roster.found_record(key, Some(record("web")));
    }
    roster.ended(&a);
    roster.record_deleted(&a);
    roster.record_deleted(&b);
    assert_eq!(roster.running(), 1, "b runs on without its record");
    assert_eq!(told(roster.ended(&b)), ["-7"]);
    assert!(roster.entries.is_empty());
}

#[test]
fn reconnection_forgets_what_has_no_task_and_looks_the_rest_up_again() {
    let (mut roster, a, b) = (roster(), key("a"), key("b"));
    roster.began(&a, task(7), Noticed::InList);
    roster.found_record(&a, Some(record("web")));
    roster.found_references(&a, Some("sha256:1".into()), None);
    roster.record_changed(&b);
    roster.reconnected();
    assert_eq!(roster.take_wanted(usize::MAX), std::slice::from_ref(&a));
    assert_eq!(told(roster.found_record(&a, Some(record("web"))).0), [""; 0]);
    assert_eq!(told(roster.found_references(&a, None, None)), [""; 0], "a removed image keeps its digest");
}

#[test]
fn exec_is_told_of_instances_that_were_told() {
    let (mut roster, a) = (roster(), key("a"));
    assert!(roster.exec_started(&a, 9).is_none());
    roster.began(&a, task(7), Noticed::InList);
    assert!(roster.exec_started(&a, 9).is_none());
    roster.found_record(&a, Some(record("web")));
    assert_eq!(told(roster.exec_started(&a, 9).into_iter().collect()), ["7 exec 9"]);
}
