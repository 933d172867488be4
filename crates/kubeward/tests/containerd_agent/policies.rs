//! Policies that change under a running agent.

use std::thread;
use std::time::{Duration, SystemTime};

use anyhow::{Context, Result};
use serde_json::{json, Value};

use crate::agent::Agent;
use crate::containerd_with_image;
use crate::policy::Policies;
use crate::stream::{container, is_notice, path};
use crate::told::Told;

/// From the write of a policy to the first call that is seen because of it.
const FOLLOWED_WITHIN: Duration = Duration::from_secs(1);

/// The wall clock of a line.
pub(crate) fn moment(line: &Value) -> Result<SystemTime> {
    let text = line["time"].as_str().context("a line has a time")?;
    let parsed = Duration::from_nanos(nanoseconds_of_rfc3339(text).with_context(|| format!("not RFC 3339: {text}"))?);
    Ok(SystemTime::UNIX_EPOCH + parsed)
}

/// Since 1970, of `2026-01-02T03:04:05.123456789Z`.
pub(crate) fn nanoseconds_of_rfc3339(text: &str) -> Option<u64> {
    let mut numbers = text.strip_suffix('Z')?.split(['-', 'T', ':', '.']).map(|part| part.parse::<u64>().ok());
    let mut next = || numbers.next().flatten();
    let (year, month, day) = (next()?, next()?, next()?);
    let (hour, minute, second, nanos) = (next()?, next()?, next()?, next()?);
    // Years begin in March, so that a leap day is a year's last.
    let (year, month) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let days = year * 365 + year / 4 - year / 100 + year / 400 + (month * 153 + 2) / 5 + day - 1 - 719_468;
    Some((((days * 24 + hour) * 60 + minute) * 60 + second) * 1_000_000_000 + nanos)
}

#[test]
fn moments_are_read_as_date_does() {
    assert_eq!(nanoseconds_of_rfc3339("1970-01-01T00:00:00.000000001Z"), Some(1));
    assert_eq!(nanoseconds_of_rfc3339("2024-02-29T23:59:59.500000000Z"), Some(1_709_251_199_500_000_000));
    assert_eq!(nanoseconds_of_rfc3339("2026-11-26T00:22:22.000000000Z"), Some(1_795_652_542_000_000_000));
}

#[test]
fn containerd_policy_edit_is_followed_within_a_second() -> Result<()> {
    let containerd = containerd_with_image()?;
    let policies = Policies::new(&[("web", "{syscalls: [{name: mkdirat}]}")])?;
    let mut agent = Agent::start(&containerd.socket(), &policies.file("web"))?;
    agent.ready();
    let mut told = Told::start(&containerd, "web")?;
    agent.sees(&mut told, "mkdirat")?;

    told.tell("beat")?;
    let written = policies.write("web", "{syscalls: [{name: unlinkat}]}")?;
    let followed = agent.event(&told.id, "unlinkat", "/proc/beat");
    let took = moment(&followed)?.duration_since(written).context("no call of the new policy is seen before it")?;
    assert!(took < FOLLOWED_WITHIN, "it took {took:?}");
    told.tell("rest")?;
    told.tell("mkdir /too-late")?;
    told.tell("unlink /marker")?;
    agent.event(&told.id, "unlinkat", "/marker");

    let ended = agent.stop();
    assert!(!ended.stream.paths(&told.id, "mkdirat").contains(&"/too-late"), "the edit no longer names mkdirat");
    ended.stream.assert_whole(&told.id);
    Ok(())
}

#[test]
fn containerd_broken_or_deleted_policy_keeps_its_last_good_version_and_is_told() -> Result<()> {
    let containerd = containerd_with_image()?;
    let policies = Policies::new(&[("web", "{syscalls: [{name: mkdirat}]}")])?;
    let file = policies.file("web").display().to_string();
    let mut agent = Agent::start(&containerd.socket(), &policies.file("web"))?;
    agent.ready();
    let mut told = Told::start(&containerd, "web")?;
    agent.sees(&mut told, "mkdirat")?;

    let start = agent.now();
    policies.write_text("web", "kind: [")?;
    let refused = agent.line_after(start, "the refusal of the broken file", |line| is_notice(line, "policy_refused"));
    let message = refused["message"].as_str().unwrap_or_default();
    assert!(message.contains(&file) && message.contains("last good version stays in force"), "{message}");
    assert!(agent.logged("last good version stays in force", 0).contains(&file));
    told.tell("mkdir /while-broken")?;
    agent.event(&told.id, "mkdirat", "/while-broken");

    let start = agent.now();
    policies.remove("web")?;
    let refused = agent.line_after(start, "word of the file's end", |line| is_notice(line, "policy_refused"));
    let message = refused["message"].as_str().unwrap_or_default();
    assert!(message.contains(&file) && message.contains("No such file"), "{message}");
    assert!(agent.logged("No such file", 0).contains("last good version stays in force"));
    told.tell("mkdir /while-gone")?;
    agent.event(&told.id, "mkdirat", "/while-gone");

    told.tell("beat")?;
    policies.write("web", "{syscalls: [{name: unlinkat}]}")?;
    agent.event(&told.id, "unlinkat", "/proc/beat");
    agent.stop().stream.assert_whole(&told.id);
    Ok(())
}

#[test]
fn containerd_deleted_policy_removes_only_its_share() -> Result<()> {
    let containerd = containerd_with_image()?;
    let policies = Policies::new(&[
        ("stays", "{syscalls: [{name: mkdirat}]}"),
        ("goes", "{syscalls: [{name: mkdirat}, {name: unlinkat}]}"),
    ])?;
    let mut agent = Agent::start(&containerd.socket(), policies.folder())?;
    agent.ready();
    let mut told = Told::start(&containerd, "web")?;
    agent.sees(&mut told, "unlinkat")?;
    told.tell("mkdir /before")?;
    told.tell("unlink /before")?;
    assert_eq!(agent.event(&told.id, "mkdirat", "/before")["policies"], json!(["goes", "stays"]));
    assert_eq!(agent.event(&told.id, "unlinkat", "/before")["policies"], json!(["goes"]));

    let start = agent.now();
    policies.remove("goes")?;
    agent.line_after(start, "the policies without the deleted one", |line| is_notice(line, "policies"));
    told.tell("unlink /after")?;
    told.tell("mkdir /after")?;
    assert_eq!(agent.event(&told.id, "mkdirat", "/after")["policies"], json!(["stays"]));

    let ended = agent.stop();
    assert!(!ended.stream.paths(&told.id, "unlinkat").contains(&"/after"));
    let gone = |line: &&Value| line["kind"] == "container" && line["change"] == "gone" && container(line) == told.id;
    assert_eq!(ended.stream.0.iter().find(gone), None, "the container stays when a policy goes");
    ended.stream.assert_whole(&told.id);
    Ok(())
}

#[test]
fn containerd_first_policy_of_an_empty_folder_is_followed_within_a_second() -> Result<()> {
    let containerd = containerd_with_image()?;
    let policies = Policies::new(&[])?;
    let mut agent = Agent::start(&containerd.socket(), policies.folder())?;
    agent.ready();
    agent.logged("no policy: nothing is attached", 0);
    let mut told = Told::start(&containerd, "web")?;
    told.tell("mkdir /too-early")?;
    told.tell("beat")?;
    let written = policies.write("first", "{syscalls: [{name: mkdirat}]}")?;
    let followed = agent.event(&told.id, "mkdirat", "/proc/beat");
    let took = moment(&followed)?.duration_since(written).context("no call of a policy is seen before it")?;
    assert!(took < FOLLOWED_WITHIN, "it took {took:?}");

    let ended = agent.stop();
    assert!(!ended.stream.paths(&told.id, "mkdirat").contains(&"/too-early"));
    ended.stream.assert_whole(&told.id);
    Ok(())
}

#[test]
fn containerd_policy_edits_open_no_gap_in_a_call_that_stays_named() -> Result<()> {
    const CALLS: usize = 2000;
    const AT_RETURN: &str = "{syscalls: [{name: openat}]}";
    const BOTH_MOMENTS: &str = "{kprobe: [{name: openat}], kretprobe: [{name: openat}, {name: mkdirat}]}";
    let containerd = containerd_with_image()?;
    let policies = Policies::new(&[("web", AT_RETURN)])?;
    let mut agent = Agent::start(&containerd.socket(), &policies.file("web"))?;
    agent.ready();
    let mut told = Told::start(&containerd, "web")?;
    agent.sees(&mut told, "openat")?;

    let id = told.id.clone();
    let edits = thread::scope(|scope| {
        let calls = scope.spawn(|| told.tell(&format!("pace {CALLS}")));
        let mut edits = 0;
        while !calls.is_finished() {
            let spec = if edits % 2 == 0 { BOTH_MOMENTS } else { AT_RETURN };
            let start = agent.now();
            policies.write("web", spec)?;
            agent.line_after(start, "the edit in force", |line| is_notice(line, "policies"));
            edits += 1;
        }
        calls.join().expect("telling returns its errors")?;
        anyhow::Ok(edits)
    })?;
    assert!(edits >= 2, "2 s of calls saw {edits} edits: too few to tell anything");

    let stream = agent.stop().stream;
    let paced: Vec<&Value> = stream.events_of(&id).filter(|event| path(event) == "/pace").collect();
    assert_eq!(paced.len(), CALLS, "over {edits} edits, each call once");
    for phase in ["exit", "call"] {
        assert!(paced.iter().any(|event| event["phase"] == phase), "no edit brought phase {phase}");
    }
    stream.assert_whole(&id);
    Ok(())
}

#[test]
fn containerd_policy_file_ends_by_itself() -> Result<()> {
    let containerd = containerd_with_image()?;
    let policies = Policies::new(&[])?;
    let mut agent = Agent::start(&containerd.socket(), policies.folder())?;
    agent.ready();
    policies.write("brief", "{syscalls: [{name: mkdirat}], expireAfter: 3s}")?;
    let idle = agent.line("that the policy expired", |line| is_notice(line, "policy_idle"));
    assert_eq!(idle["message"], "policy brief wants nothing here: expired");
    let start = agent.stop().stream;
    let last = start.0.iter().rfind(|line| is_notice(line, "policies")).expect("policies were put in force");
    assert!(last["message"].as_str().is_some_and(|message| message.contains("nothing is attached")), "{last}");
    Ok(())
}
