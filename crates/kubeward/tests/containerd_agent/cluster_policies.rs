//! Policies that are objects of an API server.

use std::thread;

use anyhow::Result;
use serde_json::{json, Value};

use crate::cluster::{entry, hooked, Cluster};
use crate::containerd_with_image;
use crate::stream::{is_call, is_notice, path};
use crate::told::Told;

#[test]
fn kubernetes_seeds_policy_attaches_its_hooks_and_its_deletion_detaches_them() -> Result<()> {
    let (containerd, cluster) = (containerd_with_image()?, Cluster::start()?);
    let mut agent = cluster.agent(&containerd, "n1")?;
    let mut told = Told::start(&containerd, "web")?;
    told.tell("open /too-early")?;
    told.tell("beat")?;
    let name = cluster.create_seed()?;
    let event = agent.event(&told.id, "openat", "/proc/beat");
    assert_eq!((&event["policies"], &event["phase"]), (&json!([name]), &json!("call")), "{event}");
    assert!(event["syscall"]["duration_ns"].is_u64(), "{event}");
    let status = cluster.node("n1", |status| entry(status, &name)["selectsContainers"] == true)?;
    assert_eq!(hooked(&status), ["connect", "execve", "openat"]);
    let seed = entry(&status, &name);
    assert_eq!((&seed["reason"], &seed["ready"], &seed["calls"]), (&json!("Applied"), &json!(true), &json!(3)));

    cluster.delete(&name)?;
    let status = cluster.node("n1", |status| entry(status, &name).is_null())?;
    assert_eq!(hooked(&status), [""; 0]);
    told.tell("rest")?;
    told.tell("open /too-late")?;
    let stream = agent.stop().stream;
    let paths = stream.paths(&told.id, "openat");
    assert!(!paths.contains(&"/too-early") && !paths.contains(&"/too-late"), "{paths:?}");
    stream.assert_whole(&told.id);
    Ok(())
}

#[test]
fn kubernetes_deleted_policy_takes_only_its_share() -> Result<()> {
    let (containerd, cluster) = (containerd_with_image()?, Cluster::start()?);
    let mut agent = cluster.agent(&containerd, "n1")?;
    let mut told = Told::start(&containerd, "web")?;
    cluster.create("stays", json!({"syscalls": [{"name": "mkdirat"}]}))?;
    cluster.create("goes", json!({"syscalls": [{"name": "mkdirat"}, {"name": "unlinkat"}]}))?;
    cluster.node_policy("n1", "goes", "Applied")?;
    agent.sees(&mut told, "unlinkat")?;
    told.tell("mkdir /before")?;
    assert_eq!(agent.event(&told.id, "mkdirat", "/before")["policies"], json!(["goes", "stays"]));

    cluster.delete("goes")?;
    let status = cluster.node("n1", |status| entry(status, "goes").is_null())?;
    assert_eq!(hooked(&status), ["mkdirat"]);
    told.tell("unlink /after")?;
    told.tell("mkdir /after")?;
    assert_eq!(agent.event(&told.id, "mkdirat", "/after")["policies"], json!(["stays"]));
    let stream = agent.stop().stream;
    assert!(!stream.paths(&told.id, "unlinkat").contains(&"/after"));
    stream.assert_whole(&told.id);
    Ok(())
}

#[test]
fn kubernetes_unknown_call_is_told_with_the_nearest_and_the_rest_works() -> Result<()> {
    let (containerd, cluster) = (containerd_with_image()?, Cluster::start()?);
    let mut agent = cluster.agent(&containerd, "n1")?;
    cluster.create("web", json!({"kprobe": [{"name": "sys_opnat"}, {"name": "sys_mkdirat"}]}))?;
    let web = cluster.node_policy("n1", "web", "PartlyAccepted")?;
    let message = web["message"].as_str().unwrap_or_default();
    assert!(message.contains("did you mean \"sys_openat\"?") && message.contains("spec.kprobe[0].name"), "{message}");
    assert_eq!((&web["refusedTotal"], &web["ready"], &web["calls"]), (&json!(1), &json!(true), &json!(1)));
    let mut told = Told::start(&containerd, "web")?;
    agent.sees(&mut told, "mkdirat")?;

    let start = agent.now();
    cluster.edit("web", json!({"kprobe": [{"name": "sys_openat"}, {"name": "sys_mkdirat"}]}))?;
    agent.line_after(start, "the mended policy", |line| is_notice(line, "policies"));
    cluster.node_policy("n1", "web", "Applied")?;
    agent.sees(&mut told, "openat")?;
    agent.stop().stream.assert_whole(&told.id);
    Ok(())
}

#[test]
fn kubernetes_one_policy_too_many_is_told_and_comes_in_when_another_goes() -> Result<()> {
    let (containerd, cluster) = (containerd_with_image()?, Cluster::start()?);
    let mut agent = cluster.agent(&containerd, "n1")?;
    cluster.create("first", json!({"syscalls": [{"name": "mkdirat"}]}))?;
    agent.line("the first policy in force", |line| is_notice(line, "policies") && said(line).contains("first"));
    for number in 0..255 {
        cluster.create(&format!("p{number:03}"), json!({"syscalls": [{"name": "unlinkat"}]}))?;
    }
    let full = |line: &Value| is_notice(line, "policies") && said(line).contains("p254");
    agent.line("256 policies in force", full);
    // Ages are told to the second: the last one must not be as old as those before.
    thread::sleep(std::time::Duration::from_millis(1100));
    cluster.create("zz-last", json!({"syscalls": [{"name": "openat"}]}))?;
    let last = cluster.node_policy("n1", "zz-last", "TooManyPolicies")?;
    assert!(said(&last).contains("at most 256 apply at a time"), "{last}");
    assert_eq!(last["ready"], false);
    let mut told = Told::start(&containerd, "web")?;
    agent.sees(&mut told, "mkdirat")?;

    cluster.delete("p007")?;
    cluster.node_policy("n1", "zz-last", "Applied")?;
    agent.sees(&mut told, "openat")?;
    agent.stop().stream.assert_whole(&told.id);
    Ok(())
}

#[test]
fn kubernetes_bad_policies_are_told_and_leave_the_others_alone() -> Result<()> {
    let (containerd, cluster) = (containerd_with_image()?, Cluster::start()?);
    let mut agent = cluster.agent(&containerd, "n1")?;
    cluster.create("well", json!({"syscalls": [{"name": "mkdirat"}]}))?;
    cluster.create("empty", json!({}))?;
    cluster.create("asleep", json!({"syscalls": [{"name": "unlinkat"}], "suspend": true}))?;
    cluster.create("counts", json!({"syscalls": [{"name": "unlinkat"}], "mode": "Count"}))?;
    cluster.create("reads", json!({"syscalls": [{"name": "unlinkat"}], "capture": {"dataBytes": 64}}))?;
    cluster.create("over", json!({"syscalls": [{"name": "unlinkat"}], "expireAfter": "1s"}))?;
    let reasons = [
        ("well", "Applied", true),
        ("empty", "Empty", true),
        ("asleep", "Suspended", true),
        ("counts", "Applied", true),
        ("reads", "NotSupported", false),
        ("over", "Expired", true),
    ];
    for (name, reason, ready) in reasons {
        assert_eq!(cluster.node_policy("n1", name, reason)?["ready"], ready, "{name}");
    }
    let mut told = Told::start(&containerd, "web")?;
    agent.sees(&mut told, "mkdirat")?;
    told.tell("unlink /nobody-asked")?;
    let stream = agent.stop().stream;
    assert!(!stream.0.iter().any(|line| is_call(line, &told.id, "unlinkat", "/nobody-asked")));
    stream.assert_whole(&told.id);
    Ok(())
}

/// All its floods make openat fail fast, so that no event passes the filter: each is counted in the kernel and none can be lost
/// on the way.
#[test]
fn kubernetes_hundred_edits_miss_none_of_a_call_that_stays_named() -> Result<()> {
    const EDITS: usize = 100;
    const FLOOD: u64 = 200_000;
    /// `told` opens its two FIFOs.
    const OWN_OPENS: u64 = 2;
    let stays =
        |other: &str| json!({"syscalls": [{"name": "openat"}, {"name": other}], "filter": {"minDuration": "1h"}});
    let (containerd, cluster) = (containerd_with_image()?, Cluster::start()?);
    let mut agent = cluster.agent(&containerd, "n1")?;
    cluster.create("beats", json!({"syscalls": [{"name": "mkdirat"}]}))?;
    cluster.create("web", stays("linkat"))?;
    cluster.node_policy("n1", "web", "Applied")?;
    let mut told = Told::start(&containerd, "web")?;
    agent.sees(&mut told, "mkdirat")?;

    let made = thread::scope(|scope| {
        let edits = scope.spawn(|| {
            for edit in 0..EDITS {
                let start = agent.now();
                cluster.edit("web", stays(if edit % 2 == 0 { "renameat" } else { "linkat" }))?;
                agent.line_after(start, "the edit in force", |line| is_notice(line, "policies"));
            }
            anyhow::Ok(())
        });
        let mut made = 0;
        while !edits.is_finished() {
            told.tell(&format!("flood {FLOOD}"))?;
            made += FLOOD;
        }
        edits.join().expect("editing returns its errors")?;
        anyhow::Ok(made)
    })?;
    let stream = agent.stop().stream;
    stream.assert_whole(&told.id);
    let ledgers = stream.final_ledgers(&told.id);
    let filtered: u64 = ledgers.iter().filter_map(|ledger| ledger["filtered"]["duration"].as_u64()).sum();
    let beats = stream.events_of(&told.id).filter(|event| path(event) == "/proc/beat").count() as u64;
    assert_eq!(filtered, made + beats + OWN_OPENS, "made {made}, {beats} beats; {ledgers:?}");
    Ok(())
}

fn said(line: &Value) -> &str {
    line["message"].as_str().unwrap_or_default()
}
