//! Containers that end before anybody can look at them: none of their calls is missed, and each is the right container's.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use anyhow::{Context, Result};
use kubeward_testkit::containerd::{Containerd, Run};
use serde_json::Value;

use crate::agent::Agent;
use crate::policy::Policies;
use crate::stream::{container, is_event, number, path, Stream};
use crate::{containerd_with_image, IMAGE};

/// Opens that each container makes.
const OPENS: usize = 20;

/// Containers that run at a time.
const AT_ONCE: usize = 10;

fn containers() -> usize {
    if kubeward_testkit::is_full() {
        1000
    } else {
        100
    }
}

#[test]
fn containerd_brief_containers_are_seen_from_their_first_call_to_their_exit() -> Result<()> {
    let containerd = containerd_with_image()?;
    let policies = Policies::new(&[(
        "all",
        "{syscalls: [{name: execve}, {name: open}, {name: openat}], kprobe: [{name: exit_group}]}",
    )])?;
    let mut agent = Agent::start(&containerd.socket(), policies.folder())?;
    agent.ready();
    let ids: Vec<String> = (0..containers()).map(|_| containerd.unique_id("brief")).collect();
    run_all(&containerd, &ids)?;
    // The last word of each container, and so of its events.
    for id in &ids {
        agent.container(id, "gone");
    }
    let stream = agent.stop().stream;
    let trails: Vec<Trail> = ids.iter().map(|id| Trail::of(&stream, id)).collect();
    let lived_ms: Vec<u64> = trails.iter().map(|trail| trail.lived_ns / 1_000_000).collect();
    println!(
        "{} containers, {AT_ONCE} at a time, {OPENS} opens each: {} events, gap 0 ns for all; their programs ran for {} to {} ms",
        ids.len(),
        stream.0.iter().filter(|line| is_event(line)).count(),
        lived_ms.iter().min().context("there are some")?,
        lived_ms.iter().max().context("there are some")?,
    );
    for id in &ids {
        stream.assert_whole(id);
    }
    let strangers = stream.0.iter().filter(|line| is_event(line) && path(line).starts_with("/brief/"));
    let misattributed = strangers.filter(|line| !path(line).starts_with(&format!("/brief/{}/", container(line))));
    assert_eq!(misattributed.collect::<Vec<_>>(), Vec::<&Value>::new());
    stream.node_ledger();
    Ok(())
}

fn run_all(containerd: &Containerd, ids: &[String]) -> Result<()> {
    let next = AtomicUsize::new(0);
    let run_some = || -> Result<()> {
        while let Some(id) = ids.get(next.fetch_add(1, Ordering::Relaxed)) {
            let command = &["/bin/brief", id, &OPENS.to_string()];
            containerd.run_to_end(&Run {
                namespace: "default",
                id,
                image: IMAGE,
                labels: &[],
                options: &[],
                command,
            })?;
        }
        Ok(())
    };
    thread::scope(|scope| {
        let runners: Vec<_> = (0..AT_ONCE).map(|_| scope.spawn(run_some)).collect();
        runners
            .into_iter()
            .try_for_each(|runner| runner.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
    })
}

/// What the stream says of one container, and that it is all.
struct Trail {
    lived_ns: u64,
}

impl Trail {
    fn of(stream: &Stream, id: &str) -> Self {
        let came = stream.0.iter().find(|line| line["change"] == "came" && container(line) == id);
        let came = came.unwrap_or_else(|| panic!("{id} never came"));
        assert_eq!(came["gap_ns"], 0, "{came}");
        assert_eq!(came["container"]["image"], IMAGE, "{came}");
        let events: Vec<&Value> = stream.events_of(id).collect();
        let entry = events.first().unwrap_or_else(|| panic!("{id} has no events"));
        assert_eq!((&entry["syscall"]["name"], path(entry)), (&"execve".into(), "/bin/brief"), "{entry}");
        assert_eq!(entry["process"]["container_pid"], 1, "{entry}");
        let opened: Vec<&str> =
            events.iter().map(|event| path(event)).filter(|path| path.starts_with("/brief/")).collect();
        let expected: Vec<String> = (0..OPENS).map(|number| format!("/brief/{id}/{number}")).collect();
        assert_eq!(opened, expected, "the opens of {id}");
        let exit = events.last().expect("there is a first");
        assert_eq!(exit["syscall"]["name"], "exit_group", "{exit}");
        Self { lived_ns: number(&exit["mono_ns"]) - number(&entry["mono_ns"]) }
    }
}
