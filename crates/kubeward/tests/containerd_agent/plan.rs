//! `kubeward policy plan` beside real containers: counts that are the programs' own, and nothing else that anybody could see.

use std::collections::BTreeSet;
use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::process::{Child, ChildStderr, Command, Stdio};
use std::thread;
use std::time::Instant;

use anyhow::{ensure, Context, Result};
use kubeward_agent::serve::client;
use kubeward_agent::serve::proto;
use nix::unistd::Pid;
use serde_json::{json, Value};

use crate::agent::{binary, Agent};
use crate::containerd_with_image;
use crate::follow::LIMIT;
use crate::policy::Policies;
use crate::stream::{is_event, is_notice};
use crate::told::{Told, POD};

/// Calls of the kind that only the plan counts.
const FLOOD: u64 = 1_234;

/// A plan under way. Dropping it kills it.
struct Plan {
    process: Child,
    said: BufReader<ChildStderr>,
}

impl Plan {
    fn start(agent: &Agent, policy: &Policies, time: &str) -> Result<Self> {
        let mut process = Command::new(binary())
            .args(["policy", "plan", "--format", "json", "--for", time, "--socket"])
            .arg(agent.socket())
            .arg("-f")
            .arg(policy.file("tried"))
            .env_clear()
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()?;
        let said = BufReader::new(process.stderr.take().context("it is piped")?);
        Ok(Self { process, said })
    }

    /// Returns once it counts.
    fn counting(&mut self) -> Result<String> {
        let mut line = String::new();
        self.said.read_line(&mut line)?;
        ensure!(line.contains("counting the calls of"), "it says: {line}");
        Ok(line)
    }

    /// Its exit code, its answer, and what it says beside.
    fn ended(mut self) -> Result<(Option<i32>, String, String)> {
        let (mut answer, mut said) = (String::new(), String::new());
        self.process.stdout.take().context("it is piped")?.read_to_string(&mut answer)?;
        self.said.read_to_string(&mut said)?;
        Ok((self.process.wait()?.code(), answer, said))
    }

    fn result(self) -> Result<Value> {
        let (code, answer, said) = self.ended()?;
        ensure!(code == Some(0), "code {code:?}: {said}");
        Ok(serde_json::from_str(&answer)?)
    }
}

impl Drop for Plan {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// The programs that the kernel has attached for the agent.
fn links(agent: Pid) -> Result<BTreeSet<u32>> {
    let mut links = BTreeSet::new();
    for entry in fs::read_dir(format!("/proc/{agent}/fdinfo"))? {
        // Descriptors come and go while they are listed.
        let Ok(facts) = fs::read_to_string(entry?.path()) else { continue };
        links.extend(facts.lines().find_map(|line| line.strip_prefix("link_id:")?.trim().parse::<u32>().ok()));
    }
    Ok(links)
}

/// Returns when the agent's links are these again: hooks go in the background, and nobody is told when.
fn wait_for_links(agent: &Agent, expected: &BTreeSet<u32>) -> Result<()> {
    let deadline = Instant::now() + LIMIT;
    while links(agent.pid())? != *expected {
        ensure!(Instant::now() < deadline, "links {:?}, expected {expected:?}", links(agent.pid())?);
        thread::yield_now();
    }
    Ok(())
}

fn listed(agent: &Agent) -> Result<Vec<proto::Policy>> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let mut api = client::kubeward(client::connect(agent.socket()).await?);
        Ok(api.list_policies(proto::ListPoliciesRequest {}).await?.into_inner().policies)
    })
}

fn row<'a>(plan: &'a Value, call: &str) -> &'a Value {
    let calls = plan["calls"].as_array().expect("a list");
    calls.iter().find(|row| row["call"] == call).unwrap_or_else(|| panic!("no {call} in {plan}"))
}

/// How many calls a rate stands for.
fn in_window(plan: &Value, by_second: &Value) -> f64 {
    by_second.as_f64().expect("a number") * plan["window_ns"].as_f64().expect("a number") / 1e9
}

fn assert_counts(plan: &Value, by_second: &Value, expected: u64) {
    let counted = in_window(plan, by_second);
    assert!((counted - expected as f64).abs() < 0.01, "{counted}, expected {expected}: {plan}");
}

const FAILING_OPENS: &str =
    "{syscalls: [{name: openat}, {name: mkdirat}, {name: rmdir}], timing: true, filter: {errors: [ENOENT]}}";

#[test]
fn containerd_plan_counts_what_containers_make_and_nobody_else_sees_of_it() -> Result<()> {
    let containerd = containerd_with_image()?;
    let policies = Policies::new(&[("web", "{syscalls: [{name: mkdirat}], selector: {namespaces: [shop]}}")])?;
    let tried = Policies::new(&[("tried", FAILING_OPENS)])?;
    let mut agent = Agent::start(&containerd.socket(), policies.folder())?;
    agent.ready();
    let mut watched = Told::start_labelled(&containerd, "web", &POD)?;
    agent.container(&watched.id, "came");
    let mut other = Told::start(&containerd, "other")?;
    watched.tell("mkdir /before")?;
    agent.event(&watched.id, "mkdirat", "/before");
    let attached = links(agent.pid())?;

    let mut plan = Plan::start(&agent, &tried, "5s")?;
    assert!(plan.counting()?.contains("2 containers"));
    assert!(links(agent.pid())?.len() > attached.len(), "durations need a hook at entries");
    for told in [&mut watched, &mut other] {
        told.tell(&format!("flood {FLOOD}"))?;
        told.tell("mkdir /during")?;
        told.tell("mkdir /during")?;
    }
    let list = listed(&agent)?;
    let standing: Vec<_> = list.iter().map(|policy| (&*policy.name, policy.in_force, &*policy.reason)).collect();
    assert_eq!(standing, [("tried", false, "Trial"), ("web", true, "Applied")]);
    assert_eq!(list[0].containers.len(), 2);
    let plan = plan.result()?;

    let opens = row(&plan, "openat");
    assert_counts(&plan, &opens["calls_per_second"], 2 * FLOOD);
    assert_counts(&plan, &opens["events_per_second"], 2 * FLOOD);
    assert_counts(&plan, &opens["added"]["events_per_second"], 2 * FLOOD);
    assert_eq!((&opens["containers"], &opens["at_most"]), (&json!(2), &json!(false)));
    let makes = row(&plan, "mkdirat");
    assert_counts(&plan, &makes["calls_per_second"], 4);
    assert_counts(&plan, &makes["errors_per_second"], 2);
    assert_counts(&plan, &makes["events_per_second"], 0);
    assert_eq!((&plan["containers"], &plan["calls_named"], &plan["uncounted"]), (&json!(2), &json!(3), &json!(0)));
    assert!(plan["total"]["bytes_per_second"].as_f64() > Some(0.0), "{plan}");
    assert!(plan["total"]["added"]["cpu_percent"]["kernel"].as_f64() > Some(0.0), "{plan}");

    wait_for_links(&agent, &attached)?;
    assert_eq!(listed(&agent)?.len(), 1);
    watched.tell("mkdir /after")?;
    agent.event(&watched.id, "mkdirat", "/after");
    let stream = agent.stop().stream;
    stream.assert_whole(&watched.id);
    assert_eq!(stream.paths(&watched.id, "mkdirat"), ["/before", "/during", "/during", "/after"]);
    assert!(stream.0.iter().filter(|line| is_event(line)).all(|event| event["policies"] == json!(["web"])));
    let shapes: BTreeSet<_> = stream.events_of(&watched.id).map(|event| event["phase"].to_string()).collect();
    assert_eq!(shapes.len(), 1, "timing is the trial's alone: {shapes:?}");
    assert!(!stream.mentions(&other.id), "no policy in force selects it");
    assert_eq!(stream.0.iter().filter(|line| is_notice(line, "policies")).count(), 1, "nothing came into force");
    stream.node_ledger();
    Ok(())
}

/// Its calls are counted though it ends, and its slot is given to the next only then.
#[test]
fn containerd_plan_counts_containers_that_come_and_go_meanwhile() -> Result<()> {
    let containerd = containerd_with_image()?;
    let policies = Policies::new(&[("web", "{syscalls: [{name: unlinkat}]}")])?;
    let tried = Policies::new(&[("tried", "{syscalls: [{name: openat}], filter: {errors: [ENOENT]}}")])?;
    let mut agent = Agent::start(&containerd.socket(), policies.folder())?;
    agent.ready();
    let mut plan = Plan::start(&agent, &tried, "15s")?;
    plan.counting()?;
    let mut brief = Told::start(&containerd, "brief")?;
    brief.tell(&format!("flood {FLOOD}"))?;
    let id = brief.id.clone();
    drop(brief);
    agent.container(&id, "gone");
    let plan = plan.result()?;
    let opens = row(&plan, "openat");
    let counted = in_window(&plan, &opens["events_per_second"]);
    // Its runtime and loader look for files, too, which are not there.
    assert!(counted > FLOOD as f64 - 0.01 && counted < FLOOD as f64 + 200.0, "{plan}");
    assert_eq!(plan["containers"], json!(1));
    agent.stop().stream.assert_whole(&id);
    Ok(())
}

#[test]
fn containerd_killed_plan_leaves_nothing_behind_and_two_at_once_are_refused() -> Result<()> {
    let containerd = containerd_with_image()?;
    let policies = Policies::new(&[("web", "{syscalls: [{name: mkdirat}], selector: {namespaces: [shop]}}")])?;
    let tried = Policies::new(&[("tried", "{categories: [file], timing: true, selector: {namespaces: [absent]}}")])?;
    let mut agent = Agent::start(&containerd.socket(), policies.folder())?;
    agent.ready();
    let told = Told::start_labelled(&containerd, "web", &POD)?;
    agent.container(&told.id, "came");
    let attached = links(agent.pid())?;
    let mut first = Plan::start(&agent, &tried, "60s")?;
    first.counting()?;
    assert_ne!(links(agent.pid())?, attached);
    let (code, answer, said) = Plan::start(&agent, &tried, "1s")?.ended()?;
    assert_eq!((code, &*answer), (Some(1), ""), "{said}");
    assert!(said.contains("other policies are being tried") && said.contains("try again"), "{said}");
    // SIGKILL.
    drop(first);
    wait_for_links(&agent, &attached)?;
    let mut next = Plan::start(&agent, &tried, "1s")?;
    assert!(next.counting()?.contains("0 containers"));
    let plan = next.result()?;
    assert_eq!((&plan["containers"], &plan["others_total"]), (&json!(0), &json!(1)));
    assert_eq!(plan["others"], json!([{"id": told.id, "name": "app", "namespace": "shop", "pod": "web-0"}]));
    wait_for_links(&agent, &attached)?;

    let mut last = Plan::start(&agent, &tried, "60s")?;
    last.counting()?;
    agent.stop();
    let (code, answer, said) = last.ended()?;
    assert_eq!((code, &*answer), (Some(1), ""), "{said}");
    assert!(said.contains("the agent ended"), "{said}");
    Ok(())
}
