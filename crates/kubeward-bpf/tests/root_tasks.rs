//! What the kernel side says of tasks. Needs root, and `unshare` of util-linux or busybox.

use std::collections::BTreeSet;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use kubeward_bpf::object::{Engine, LoadOptions};
use kubeward_core::container::NsKey;

/// The namespaces of a process that was started in a mount namespace of its own and ends here.
fn of_a_new_mount_namespace(engine: &Engine, host: NsKey) -> NsKey {
    let mut child = Command::new("unshare").args(["-m", "cat"]).stdin(Stdio::piped()).spawn().expect("unshare runs");
    let deadline = Instant::now() + Duration::from_secs(20);
    let key = loop {
        let tasks = engine.tasks().expect("tasks can be listed");
        let own = tasks.iter().find(|task| task.pid == child.id()).expect("it waits for its input");
        if own.ns.mnt_ns != host.mnt_ns {
            break own.ns;
        }
        assert!(Instant::now() < deadline, "{own:?} has not left this mount namespace");
    };
    drop(child.stdin.take());
    assert!(child.wait().expect("it is our child").success());
    key
}

#[test]
fn root_mount_namespaces_are_told_apart_though_their_numbers_come_back() {
    let engine = Engine::load(&LoadOptions::default()).expect("the object loads");
    let tasks = engine.tasks().expect("tasks can be listed");
    let host = tasks.iter().find(|task| task.pid == std::process::id()).expect("this process runs").ns;
    let keys: Vec<NsKey> = (0..20).map(|_| of_a_new_mount_namespace(&engine, host)).collect();
    let count = |of: fn(&NsKey) -> u64| keys.iter().map(of).collect::<BTreeSet<_>>().len();
    let (numbers, sequences) = (count(|key| key.mnt_ns.into()), count(|key| key.mnt_seq));
    println!("20 mount namespaces, one after the other: {numbers} inode numbers, {sequences} sequence numbers");
    assert_eq!(sequences, 20, "{keys:?}");
    assert!(keys.iter().all(|key| key.mnt_seq != 0), "{keys:?}");
}

#[test]
fn root_task_is_found_by_its_number_as_in_the_whole_list() {
    let engine = Engine::load(&LoadOptions::default()).expect("the object loads");
    let all = engine.tasks().expect("tasks can be listed");
    let own = all.iter().find(|task| task.tid == std::process::id()).expect("this process runs");
    assert_eq!(engine.task(own.tid).expect("a task can be looked up").as_ref(), Some(own));
    let mut child = Command::new("true").spawn().expect("true runs");
    child.wait().expect("it is our child");
    assert_eq!([0, child.id()].map(|tid| engine.task(tid).expect("a task can be looked up")), [None, None]);
}
