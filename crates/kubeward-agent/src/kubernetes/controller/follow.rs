//! The task: what is heard, and what is due, one after the other.

use std::collections::{BTreeSet, HashMap};
use std::time::Duration;

use k8s_openapi::api::apps::v1::DaemonSet;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use k8s_openapi::jiff::Timestamp;
use kube::api::{Patch, PatchParams};
use kube::core::PartialObjectMeta;
use kube::runtime::watcher::Event;
use kube::{Api, Client, ResourceExt};
use serde_json::json;
use tokio::sync::watch::Sender;
use tokio::time::{sleep_until, timeout, Instant};

use super::objects::{NodeObject, PolicyObject};
use super::summary::{says_the_same, summarise, Agents, Policy};
use super::turns::Turns;
use super::words::{Touched, Words};
use crate::heartbeat::Heartbeat;
use crate::kubernetes::crd::{KubeWard, KubeWardStatus, GROUP, VERSION};
use crate::kubernetes::trouble::{is_absent_object, Telling, Trouble};
use crate::kubernetes::watch::{config, exact_config, Watch};
use crate::serve::health::Verdict;

/// What messages call the resources.
const KUBEWARDS: &str = "kubewards";
const STATUSES: &str = "kubewards/status";
const NODES: &str = "kubewardnodes";
const DAEMON_SETS: &str = "daemonsets";

/// Who owns the status.
const MANAGER: &str = "kubeward-controller";

/// For one answer; less than the loop may take to come round.
const ANSWER_WITHIN: Duration = Duration::from_secs(20);

/// Nodes of a list that are in memory at once in the size they have on the wire, tens of kilobytes each.
const NODES_A_PAGE: u32 = 50;

/// Between two looks at what is due, while something is; else the loop only shows that it lives.
const LOOK_EVERY: Duration = Duration::from_millis(200);
const BEAT_EVERY: Duration = Duration::from_secs(5);

/// Pauses after a write that failed double between these, each shortened by up to half, by chance.
const PAUSE_MIN: Duration = Duration::from_secs(1);
const PAUSE_MAX: Duration = Duration::from_secs(30);

/// A policy, kept.
struct Kept {
    name: String,
    generation: i64,
    status: KubeWardStatus,
}

pub(super) struct Following {
    policy_watch: Watch<PolicyObject>,
    node_watch: Watch<NodeObject>,
    /// Where they cannot be read, agents that never reported are not told.
    daemon_watch: Watch<DaemonSet>,
    statuses: Api<PartialObjectMeta<KubeWard>>,
    heartbeat: Heartbeat,
    ready: Sender<Verdict>,
    /// By uid: an object made anew under its name is another.
    policies: HashMap<String, Kept>,
    words: Words,
    /// Pods that each DaemonSet wants.
    wanted: HashMap<String, usize>,
    turns: Turns,
    are_policies_listed: bool,
    are_nodes_listed: bool,
    /// Of lists that are being read: uids, and names.
    listed_policies: BTreeSet<String>,
    listed_nodes: BTreeSet<String>,
    listed_daemons: BTreeSet<String>,
    next_look: Instant,
    not_before: Instant,
    pause: Duration,
    policy_telling: Telling,
    node_telling: Telling,
    daemon_telling: Telling,
    write_telling: Telling,
}

impl Following {
    pub(super) fn new(client: Client, namespace: &str, heartbeat: Heartbeat, ready: Sender<Verdict>) -> Self {
        let now = Instant::now();
        // From the server's store, page by page: from its cache the list would come as one, tens of megabytes.
        let pages = exact_config().page_size(NODES_A_PAGE);
        Self {
            policy_watch: Watch::new(KUBEWARDS, Api::all(client.clone()), config()),
            node_watch: Watch::new(NODES, Api::namespaced(client.clone(), namespace), pages),
            daemon_watch: Watch::new(DAEMON_SETS, Api::namespaced(client.clone(), namespace), config()),
            statuses: Api::all(client),
            heartbeat,
            ready,
            policies: HashMap::new(),
            words: Words::default(),
            wanted: HashMap::new(),
            turns: Turns::new(now),
            are_policies_listed: false,
            are_nodes_listed: false,
            listed_policies: BTreeSet::new(),
            listed_nodes: BTreeSet::new(),
            listed_daemons: BTreeSet::new(),
            next_look: now,
            not_before: now,
            pause: PAUSE_MIN,
            policy_telling: Telling::default(),
            node_telling: Telling::default(),
            daemon_telling: Telling::default(),
            write_telling: Telling::default(),
        }
    }

    pub(super) async fn until_cancelled(mut self) {
        loop {
            self.heartbeat.beat();
            tokio::select! {
                news = self.policy_watch.next() => self.policy_news(news),
                news = self.node_watch.next() => self.node_news(news),
                news = self.daemon_watch.next() => self.daemon_news(news),
                () = sleep_until(self.next_look) => {
                    self.write_due().await;
                    let wait = if self.turns.is_any_touched() { LOOK_EVERY } else { BEAT_EVERY };
                    self.next_look = Instant::now() + wait;
                }
            }
        }
    }

    fn policy_news(&mut self, news: Result<Event<PolicyObject>, Trouble>) {
        match news {
            Ok(Event::Init) => self.listed_policies.clear(),
            Ok(Event::InitApply(object)) => {
                self.listed_policies.extend(object.uid());
                self.policy(object);
            }
            Ok(Event::InitDone) => {
                let listed = std::mem::take(&mut self.listed_policies);
                let gone: Vec<String> = self.policies.keys().filter(|uid| !listed.contains(*uid)).cloned().collect();
                gone.iter().for_each(|uid| self.forget_policy(uid));
                self.are_policies_listed = true;
                self.policy_telling.went_well("policies are followed");
                self.tell_readiness();
            }
            Ok(Event::Apply(object)) => self.policy(object),
            Ok(Event::Delete(object)) => self.forget_policy(&object.uid().unwrap_or_default()),
            Err(trouble) => self.policy_telling.failed(&trouble),
        }
    }

    fn policy(&mut self, object: PolicyObject) {
        let (uid, name) = (object.uid().unwrap_or_default(), object.name_any());
        let generation = object.metadata.generation.unwrap_or_default();
        // A list from a cache that is behind.
        if self.policies.get(&uid).is_some_and(|known| known.generation > generation) {
            return;
        }
        self.touch(&uid);
        self.policies.insert(uid, Kept { name, generation, status: object.status });
    }

    fn forget_policy(&mut self, uid: &str) {
        self.policies.remove(uid);
        self.turns.forget(uid);
    }

    fn node_news(&mut self, news: Result<Event<NodeObject>, Trouble>) {
        match news {
            Ok(Event::Init) => self.listed_nodes.clear(),
            Ok(Event::InitApply(object)) => {
                self.listed_nodes.insert(object.name_any());
                self.node(object);
            }
            Ok(Event::InitDone) => {
                let listed = std::mem::take(&mut self.listed_nodes);
                if self.words.retain(&listed) {
                    self.touch_all();
                }
                self.are_nodes_listed = true;
                self.node_telling.went_well("nodes are followed");
                self.tell_readiness();
            }
            Ok(Event::Apply(object)) => self.node(object),
            Ok(Event::Delete(object)) => {
                if self.words.forget(&object.name_any()) {
                    self.touch_all();
                }
            }
            Err(trouble) => self.node_telling.failed(&trouble),
        }
    }

    fn node(&mut self, object: NodeObject) {
        let name = object.name_any();
        match self.words.hear(&name, object.status.policies) {
            Touched::All => self.touch_all(),
            Touched::Policies(uids) => {
                // Words about policies that are gone, or not listed yet, touch nothing.
                uids.iter().filter(|uid| self.policies.contains_key(*uid)).for_each(|uid| {
                    self.turns.touch(uid, Instant::now());
                });
                self.look_soon();
            }
        }
    }

    fn daemon_news(&mut self, news: Result<Event<DaemonSet>, Trouble>) {
        let before: usize = self.wanted.values().sum();
        match news {
            Ok(Event::Init) => self.listed_daemons.clear(),
            Ok(Event::InitApply(object)) => {
                self.listed_daemons.insert(object.name_any());
                self.daemon(&object);
            }
            Ok(Event::InitDone) => {
                let listed = std::mem::take(&mut self.listed_daemons);
                self.wanted.retain(|name, _| listed.contains(name));
                self.daemon_telling.went_well("agents that never reported are told");
            }
            Ok(Event::Apply(object)) => self.daemon(&object),
            Ok(Event::Delete(object)) => drop(self.wanted.remove(&object.name_any())),
            Err(trouble) => self.daemon_telling.failed(&trouble),
        }
        if self.wanted.values().sum::<usize>() != before {
            self.touch_all();
        }
    }

    fn daemon(&mut self, object: &DaemonSet) {
        if object.name_any().starts_with("kubeward") {
            let wanted = object.status.as_ref().map_or(0, |status| status.desired_number_scheduled);
            self.wanted.insert(object.name_any(), usize::try_from(wanted).unwrap_or(0));
        }
    }

    fn touch(&mut self, uid: &str) {
        self.turns.touch(uid, Instant::now());
        self.look_soon();
    }

    fn touch_all(&mut self) {
        let now = Instant::now();
        self.policies.keys().for_each(|uid| self.turns.touch(uid, now));
        self.look_soon();
    }

    fn look_soon(&mut self) {
        self.next_look = self.next_look.min(Instant::now() + LOOK_EVERY);
    }

    fn tell_readiness(&self) {
        if self.are_policies_listed && self.are_nodes_listed {
            self.ready.send_replace(Verdict::yes("policies and nodes are followed"));
        }
    }

    /// Writes what is due, until a write fails or is not affordable now.
    async fn write_due(&mut self) {
        let now = Instant::now();
        if !(self.are_policies_listed && self.are_nodes_listed) || now < self.not_before {
            return;
        }
        let agents = Agents {
            wanted: (!self.wanted.is_empty()).then(|| self.wanted.values().sum()),
            reporting: self.words.nodes(),
        };
        for (uid, though_it_moves) in self.turns.due(now) {
            let Some(kept) = self.policies.get(&uid) else { continue };
            let policy = Policy { generation: kept.generation, old: &kept.status };
            let summary = summarise(policy, self.words.of(&uid), agents, &this_second());
            if says_the_same(&kept.status, &summary.status) {
                self.turns.settled(&uid);
                continue;
            }
            if summary.pending > 0 && !though_it_moves {
                continue;
            }
            if !self.turns.pay(now, agents.reporting) || !self.write(&uid, summary.status).await {
                return;
            }
        }
    }

    /// False: nothing else is to be tried for now.
    async fn write(&mut self, uid: &str, status: KubeWardStatus) -> bool {
        self.heartbeat.beat();
        let Some(kept) = self.policies.get_mut(uid) else { return true };
        let body = json!({
            "apiVersion": format!("{GROUP}/{VERSION}"),
            "kind": "KubeWard",
            "metadata": { "name": kept.name, "uid": uid },
            "status": status,
        });
        let params = PatchParams::apply(MANAGER).force();
        let patch = Patch::Apply(&body);
        let trouble = match timeout(ANSWER_WITHIN, self.statuses.patch_status(&kept.name, &params, &patch)).await {
            Ok(Ok(_)) => {
                kept.status = status;
                self.turns.written(uid, Instant::now());
                self.pause = PAUSE_MIN;
                self.write_telling.went_well("statuses are written again");
                return true;
            }
            // Deleted, or made anew: the watch will tell.
            Ok(Err(error)) if is_absent_object(&error, &kept.name) => {
                self.turns.settled(uid);
                return true;
            }
            Ok(Err(error)) => Trouble::of("patch", STATUSES, &error),
            Err(_) => Trouble::Silent { resource: STATUSES, waited: ANSWER_WITHIN },
        };
        if let Trouble::Conflict { .. } = trouble {
            self.turns.settled(uid);
            return true;
        }
        self.write_telling.failed(&trouble);
        // This one object is refused, as one from before our schema may be: the others have their turn, and it when it changes.
        if let Trouble::Refused { code: 400 | 413 | 422, .. } = trouble {
            self.turns.written(uid, Instant::now());
            return true;
        }
        self.not_before = Instant::now() + self.pause.mul_f64(0.5 + fastrand::f64() / 2.0);
        self.pause = (self.pause * 2).min(PAUSE_MAX);
        false
    }
}

/// Whole seconds, as the API server's own times are.
fn this_second() -> Time {
    let now = Timestamp::now();
    Time(Timestamp::from_second(now.as_second()).unwrap_or(now))
}
