//! What the local API tells of real containers, compared with what they did and with the stream.

use std::future::Future;
use std::time::Instant;

use anyhow::Result;
use kubeward_agent::serve::client::{self, ClientError};
use kubeward_agent::serve::health::READINESS;
use kubeward_agent::serve::proto;
use serde_json::Value;

use crate::agent::Agent;
use crate::follow::LIMIT;
use crate::policy::Policies;
use crate::stream::number;
use crate::told::{Told, POD};
use crate::{containerd_with_image, IMAGE};

/// Calls of the kind that is counted.
const FLOOD: u64 = 300;

fn wait<T>(answer: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.expect("a runtime").block_on(answer)
}

/// Everything that the API tells, at one moment of a container at rest.
struct Answers {
    info: proto::GetInfoResponse,
    ledger: proto::GetLedgerResponse,
    stats: proto::GetStatsResponse,
    policies: Vec<proto::Policy>,
    containers: Vec<proto::Container>,
}

impl Answers {
    fn of(agent: &Agent, container: &str) -> Result<Self> {
        wait(async {
            let mut api = client::kubeward(client::connect(agent.socket()).await?);
            let named = proto::GetStatsRequest { containers: vec![container.to_owned()] };
            Ok(Self {
                info: api.get_info(proto::GetInfoRequest {}).await?.into_inner(),
                ledger: api.get_ledger(proto::GetLedgerRequest {}).await?.into_inner(),
                stats: api.get_stats(named).await?.into_inner(),
                policies: api.list_policies(proto::ListPoliciesRequest {}).await?.into_inner().policies,
                containers: api.list_containers(proto::ListContainersRequest {}).await?.into_inner().containers,
            })
        })
    }

    /// What the workload itself made.
    fn run(&self) -> impl Iterator<Item = &proto::CallStats> {
        self.stats.calls.iter().filter(|stats| stats.stage() == proto::Stage::Run)
    }

    /// Counts of one call's results, as text and count.
    fn results(&self, call: &str) -> Vec<(String, u64)> {
        let calls = self.run().filter(|stats| stats.call == call);
        let results = calls.flat_map(|stats| &stats.results);
        results.map(|one| (one.error.clone().unwrap_or_else(|| "success".to_owned()), one.count)).collect()
    }
}

#[test]
fn containerd_local_api_tells_the_truth_of_a_container() -> Result<()> {
    let containerd = containerd_with_image()?;
    let policies = Policies::new(&[
        ("web", "{syscalls: [{name: openat}, {name: mkdirat}, {name: opnat}], selector: {namespaces: [shop]}}"),
        ("other", "{syscalls: [{name: unlinkat}], selector: {namespaces: [elsewhere]}}"),
    ])?;
    let mut agent = Agent::start(&containerd.socket(), policies.folder())?;
    agent.ready();
    let mut told = Told::start_labelled(&containerd, "web", &POD)?;
    agent.container(&told.id, "came");
    told.tell("mkdir /once")?;
    told.tell("mkdir /once")?;
    told.tell("mkdir /missing/once")?;
    told.tell(&format!("flood {FLOOD}"))?;
    told.tell("mkdir /last")?;
    agent.event(&told.id, "mkdirat", "/last");

    let answers = Answers::of(&agent, &told.id)?;
    let standing = answers.info.conditions.iter().map(|condition| (&*condition.r#type, condition.holds));
    assert_eq!(standing.collect::<Vec<_>>(), [("Alive", true), ("Ready", true), ("CostAboveLimit", false)]);
    let counted = [("success".to_owned(), 2), ("ENOENT".to_owned(), 1), ("EEXIST".to_owned(), 1)];
    assert_eq!(answers.results("mkdirat"), counted);
    let of_flood = answers.results("openat").into_iter().find(|(error, _)| error == "ENOENT");
    assert!(of_flood.is_some_and(|(_, count)| count >= FLOOD), "{:?}", answers.results("openat"));
    assert_eq!(answers.stats.overflow, 0);

    assert_policies(&answers.policies, &told.id);
    assert_container(&answers.containers, &told.id);
    let counted: u64 = answers.stats.calls.iter().flat_map(|stats| &stats.results).map(|result| result.count).sum();
    let account = answers.ledger.containers[0].account.as_ref().expect("it has one");
    assert_eq!(counted, account.seen - account.in_flight, "the table has what the ledger has, setup too: {account:?}");
    assert_ledger(&answers.ledger, agent, &told.id);
    drop(told);
    Ok(())
}

/// One policy counts, another wants some of the same calls told.
#[test]
fn containerd_counting_policy_makes_no_event_and_takes_none() -> Result<()> {
    let containerd = containerd_with_image()?;
    let policies = Policies::new(&[
        ("counts", "{mode: Count, syscalls: [{name: openat}, {name: mkdirat}], filter: {errors: [EPERM]}}"),
        ("tells", "{syscalls: [{name: mkdirat}]}"),
    ])?;
    let mut agent = Agent::start(&containerd.socket(), policies.folder())?;
    agent.ready();
    let mut told = Told::start(&containerd, "web")?;
    told.tell(&format!("flood {FLOOD}"))?;
    told.tell("mkdir /told")?;
    let event = agent.event(&told.id, "mkdirat", "/told");
    assert_eq!(event["policies"], serde_json::json!(["tells"]), "{event}");

    let answers = Answers::of(&agent, &told.id)?;
    let of_flood = answers.results("openat").into_iter().find(|(error, _)| error == "ENOENT");
    assert!(of_flood.is_some_and(|(_, count)| count >= FLOOD), "{:?}", answers.results("openat"));
    let counts = answers.policies.iter().find(|policy| policy.name == "counts").expect("it is there");
    assert!(counts.in_force && counts.reason == "Applied" && counts.message.contains("Count"), "{counts:?}");
    assert!(counts.warnings.iter().any(|warning| warning.starts_with("spec.filter is not looked at")), "{counts:?}");

    let stream = agent.stop().stream;
    stream.assert_whole(&told.id);
    assert_eq!(stream.events_of(&told.id).filter(|event| event["syscall"]["name"] == "openat").count(), 0);
    let ledgers = stream.final_ledgers(&told.id);
    assert!(number(&ledgers[0]["filtered"]["count"]) >= FLOOD, "{}", ledgers[0]);
    Ok(())
}

fn assert_policies(policies: &[proto::Policy], id: &str) {
    let [other, web] = policies else { panic!("two policies: {policies:?}") };
    assert_eq!((&*web.name, web.in_force, &*web.reason), ("web", true, "PartlyAccepted"));
    assert!(web.message.contains("opnat") && web.refusals[0].contains("openat"), "{web:?}");
    assert_eq!((&web.calls[..], &web.containers[..]), (&["openat".into(), "mkdirat".into()][..], &[id.to_owned()][..]));
    assert!(web.source.contains("web.yaml"), "{web:?}");
    assert_eq!((&*other.name, &*other.reason, other.containers.len()), ("other", "Applied", 0));
}

fn assert_container(containers: &[proto::Container], id: &str) {
    let [container] = containers else { panic!("one container: {containers:?}") };
    let name = container.container.clone().expect("it has one");
    let texts = [Some(name.id), name.name, name.pod_namespace, name.pod, container.image.clone()];
    let expected = [Some(id), Some("app"), Some("shop"), Some("web-0"), Some(IMAGE)];
    assert_eq!(texts, expected.map(|text| text.map(str::to_owned)));
    assert_eq!((container.stage(), &container.policies[..]), (proto::Stage::Run, &["web".to_owned()][..]));
}

/// The container rests, so that what the API tells is what the last ledger line tells.
fn assert_ledger(told: &proto::GetLedgerResponse, agent: Agent, id: &str) {
    let [account] = &told.containers[..] else { panic!("one account: {told:?}") };
    let account = account.account.as_ref().expect("it has one");
    let stream = agent.stop().stream;
    let ledgers = stream.final_ledgers(id);
    let [line] = ledgers[..] else { panic!("one final account: {ledgers:?}") };
    let told_counts = [account.seen, account.emitted, account.sampled, account.in_flight, account.unreadable];
    let line_counts = ["seen", "emitted", "sampled", "in_flight", "unreadable"].map(|member| number(&line[member]));
    assert_eq!(told_counts, line_counts, "{line}");
    for (told, member) in [(&account.filtered, "filtered"), (&account.lost, "lost")] {
        let by_reason = |reason: &str| number(&line[member][reason]);
        assert!(told.iter().all(|(reason, count)| *count == by_reason(reason)), "{told:?} and {line}");
        assert_eq!(told.values().sum::<u64>(), by_reason("total"));
    }
    assert!(account.balanced && line["balanced"] == Value::Bool(true), "{line}");
}

#[test]
fn containerd_agent_becomes_ready_with_containerds_containers_known() -> Result<()> {
    let containerd = containerd_with_image()?;
    let policies = Policies::new(&[("all", "{syscalls: [{name: mkdirat}]}")])?;
    let told = Told::start(&containerd, "web")?;
    let mut agent = Agent::start(&containerd.socket(), policies.folder())?;
    // Once it listens it can be asked again and again.
    agent.logged("the local API listens", 0);
    let ask = || wait(client::health(agent.socket(), READINESS));
    let mut last = ask()?;
    while !last.holds {
        last = ask()?;
    }
    let answers = Answers::of(&agent, &told.id)?;
    assert_eq!(answers.containers.len(), 1, "ready means that what runs already is watched");
    agent.stop();
    Ok(())
}

#[test]
fn containerd_containers_counts_go_with_it() -> Result<()> {
    let containerd = containerd_with_image()?;
    let policies = Policies::new(&[("all", "{syscalls: [{name: mkdirat}]}")])?;
    let mut agent = Agent::start(&containerd.socket(), policies.folder())?;
    agent.ready();
    let mut told = Told::start(&containerd, "web")?;
    agent.sees(&mut told, "mkdirat")?;
    let id = told.id.clone();
    assert_eq!(Answers::of(&agent, &id)?.run().count(), 1);
    drop(told);
    agent.container(&id, "gone");
    let mut answers = Answers::of(&agent, &id)?;
    assert_eq!((answers.stats.calls.len(), answers.containers.len()), (0, 0));
    // The kernel's entries go when no task carries the container's tag any more.
    let deadline = Instant::now() + LIMIT;
    while answers.stats.results_used > 0 {
        assert!(Instant::now() < deadline, "{} results are left", answers.stats.results_used);
        answers = Answers::of(&agent, &id)?;
    }
    assert!(answers.ledger.node.is_some_and(|node| node.emitted > 0 && node.balanced), "the node's account keeps it");
    let socket = agent.socket().to_owned();
    agent.stop();
    let gone = wait(client::connect(&socket));
    assert!(matches!(gone, Err(ClientError::Missing(_))), "{gone:?}");
    Ok(())
}
