//! The agent is killed, or ends, and another comes: what nobody watched is told, and nothing else is missing.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::Mutex;
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result};
use serde_json::Value;

use crate::agent::Agent;
use crate::follow::LIMIT;
use crate::policies::nanoseconds_of_rfc3339;
use crate::policy::Policies;
use crate::stream::{container, Stream};
use crate::told::Told;
use crate::{containerd_with_image, maps};

fn policies() -> Result<Policies> {
    Policies::new(&[("all", "{syscalls: [{name: openat}, {name: mkdirat}]}")])
}

/// A call that some process made between two moments, in nanoseconds since the Unix epoch.
struct Call {
    path: String,
    begun_ns: u64,
    done_ns: u64,
}

fn now_ns() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).expect("the clock is set");
    u64::try_from(since.as_nanos()).expect("until the year 2554")
}

fn is_gap(line: &Value) -> bool {
    line["kind"] == "gap" && line["reason"] == "agent_down"
}

fn moment(gap: &Value, key: &str) -> u64 {
    gap[key].as_str().and_then(nanoseconds_of_rfc3339).unwrap_or_else(|| panic!("no {key} in {gap}"))
}

/// Returns when the file says something.
fn wait_until_kept(file: &Path) {
    let deadline = Instant::now() + LIMIT;
    while fs::read(file).is_ok_and(|text| text.is_empty()) {
        assert!(Instant::now() < deadline, "the agent keeps nothing in {}", file.display());
        thread::yield_now();
    }
}

/// Names in the file system of pinned programs and maps; none where it is not mounted.
fn pinned() -> BTreeSet<String> {
    let entries = fs::read_dir("/sys/fs/bpf").into_iter().flatten().flatten();
    entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect()
}

fn told_calls(stream: &Stream, id: &str) -> BTreeSet<String> {
    stream.paths(id, "openat").into_iter().map(str::to_owned).collect()
}

#[test]
fn containerd_killed_agents_gap_is_told_by_the_next_and_nothing_else_is_missing() -> Result<()> {
    let containerd = containerd_with_image()?;
    let (policies, folder) = (policies()?, tempfile::tempdir()?);
    let file = folder.path().join("agent.watched");
    let start = || Agent::start_after(&file, &containerd.socket(), policies.folder());
    let mut first = start()?;
    first.ready();
    let mut told = Told::start(&containerd, "told")?;
    let mut loud = Told::start(&containerd, "loud")?;
    first.sees(&mut told, "mkdirat")?;
    first.sees(&mut loud, "mkdirat")?;
    assert_eq!(first.count(is_gap), 0, "nobody watched before it");
    wait_until_kept(&file);

    let (is_over, made) = (AtomicBool::new(false), AtomicUsize::new(0));
    let calls = Mutex::new(Vec::new());
    let id = told.id.clone();
    let (before, gap, after, killed_ns) = thread::scope(|scope| -> Result<_> {
        let callers = [
            scope.spawn(|| while_not(&is_over, || loud.tell("flood 300"))),
            scope.spawn(|| {
                while_not(&is_over, || {
                    let (path, begun_ns) = (format!("/call-{}", made.load(Ordering::SeqCst)), now_ns());
                    told.tell(&format!("open {path}"))?;
                    calls.lock().expect("nobody panics with it").push(Call { path, begun_ns, done_ns: now_ns() });
                    made.fetch_add(1, Ordering::SeqCst);
                    Ok(())
                })
            }),
        ];
        let ended = (|| {
            wait_for_calls(&made, 50);
            let (held, pinned_before) = (maps::held(u32::try_from(first.pid().as_raw())?)?, pinned());
            assert!(!held.programs.is_empty());
            let killed_ns = now_ns();
            let before = first.kill();
            held.wait_until_gone(Instant::now() + LIMIT)?;
            assert_eq!(pinned(), pinned_before, "what it had is gone with it");
            wait_for_calls(&made, 50);
            let begin = Instant::now();
            let mut second = start()?;
            let gap = second.line("the gap", is_gap);
            println!("covered again {:?} after the start, by {gap}", begin.elapsed());
            wait_for_calls(&made, 50);
            anyhow::Ok((before, gap, second, killed_ns))
        })();
        is_over.store(true, Ordering::SeqCst);
        for caller in callers {
            caller.join().expect("a caller returns its errors")?;
        }
        ended
    })?;
    let after = after.stop().stream;
    let (from_ns, to_ns) = (moment(&gap, "from"), moment(&gap, "to"));
    assert!(from_ns <= killed_ns && killed_ns < to_ns, "killed at {killed_ns}: {gap}");
    assert_eq!(after.0.iter().filter(|line| is_gap(line)).count(), 1);
    assert_eq!((container(&gap), &gap["lost"]), ("", &Value::Null), "it is nobody's in particular: {gap}");
    let (in_first, in_second) = (told_calls(&before, &id), told_calls(&after, &id));
    let calls = calls.into_inner().expect("nobody panicked with it");
    for Call { path, begun_ns, done_ns } in &calls {
        let is_told = in_first.contains(path) || in_second.contains(path);
        assert!(is_told || (*done_ns > from_ns && *begun_ns < to_ns), "{path} is missing outside of {gap}");
        assert!(!in_first.contains(path) || !in_second.contains(path), "{path} is told twice");
    }
    let missing = calls.iter().filter(|call| !in_first.contains(&call.path) && !in_second.contains(&call.path)).count();
    println!("{} calls, {missing} of them in the gap", calls.len());
    assert!(missing >= 50, "those that were made while no agent ran: {missing}");
    after.assert_whole(&id);
    Ok(())
}

fn while_not(is_over: &AtomicBool, mut work: impl FnMut() -> Result<()>) -> Result<()> {
    while !is_over.load(Ordering::SeqCst) {
        work()?;
    }
    Ok(())
}

/// Returns when so many more were made.
fn wait_for_calls(made: &AtomicUsize, more: usize) {
    let (goal, deadline) = (made.load(Ordering::SeqCst) + more, Instant::now() + LIMIT + Duration::from_secs(10));
    while made.load(Ordering::SeqCst) < goal {
        assert!(Instant::now() < deadline, "the calls stopped");
        thread::yield_now();
    }
}

#[test]
fn containerd_gap_is_told_after_a_clean_end_and_not_where_nothing_is_known() -> Result<()> {
    let containerd = containerd_with_image()?;
    let (policies, folder) = (policies()?, tempfile::tempdir()?);
    let file = folder.path().join("agent.watched");
    let start = || Agent::start_after(&file, &containerd.socket(), policies.folder());
    let mut told = Told::start(&containerd, "told")?;
    let begun_ns = now_ns();
    let mut first = start()?;
    first.ready();
    first.logged("no agent watched here before", 0);
    first.sees(&mut told, "mkdirat")?;
    told.tell("open /last")?;
    let first = first.stop().stream;
    let ended_ns = now_ns();
    assert!(told_calls(&first, &told.id).contains("/last"));
    told.tell("open /unseen")?;

    let mut second = start()?;
    let gap = second.line("the gap", is_gap);
    let (from_ns, to_ns) = (moment(&gap, "from"), moment(&gap, "to"));
    assert!(begun_ns < from_ns && from_ns <= ended_ns && ended_ns < to_ns, "{begun_ns} to {ended_ns}: {gap}");
    second.sees(&mut told, "mkdirat")?;
    second.stop();

    fs::write(&file, "kubeward-watched 1 and no more\n").context("the file is ours")?;
    let mut third = start()?;
    third.ready();
    third.logged("it is damaged", 0);
    third.sees(&mut told, "mkdirat")?;
    let mut fourth = start()?;
    fourth.logged("another agent keeps it", 0);
    fourth.ready();
    fourth.sees(&mut told, "mkdirat")?;
    for agent in [third, fourth] {
        assert!(!agent.stop().stream.0.iter().any(is_gap));
    }
    Ok(())
}
