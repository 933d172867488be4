//! The task that writes: what is seen of the object, what the agent has to say and what is due, one after the other.

use std::time::Duration;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time};
use k8s_openapi::jiff::Timestamp;
use kube::runtime::watcher::Event;
use kube::Client;
use tokio::sync::watch;
use tokio::time::{sleep_until, timeout, Instant};
use tokio_util::sync::CancellationToken;

use super::claim::{annotation, open_claim, standing, Holder, Standing, CLAIM};
use super::object::{date, says_the_same};
use super::pace::{Cause, Pace};
use super::store::Store;
use super::{Identity, Reporting};
use crate::kubernetes::crd::NodeStatus;
use crate::kubernetes::trouble::{Telling, Trouble};

/// For the answer to a claim: a watch tells it in milliseconds, a holder that is cut off may need longer.
const CLAIM_ANSWERED_WITHIN: Duration = Duration::from_secs(10);
/// Until a refused agent asks again whether the other still lives. Its end is seen at once where its object goes with it.
const CLAIM_AGAIN_AFTER: Duration = Duration::from_secs(60);
/// For the last requests.
const END_WITHIN: Duration = Duration::from_secs(5);

pub(super) async fn run(
    client: Client,
    us: Identity,
    status: watch::Receiver<NodeStatus>,
    state: watch::Sender<Reporting>,
    shutdown: CancellationToken,
) {
    let mut writer = Writer {
        store: Store::new(client, us.clone()),
        us,
        status,
        state,
        role: Role::Unknown { look_at: None },
        pace: Pace::new(),
        written: None,
        has_tried: false,
        claims: 0,
        telling: Telling::default(),
    };
    tokio::select! {
        () = shutdown.cancelled() => {}
        () = writer.report() => {}
    }
    if timeout(END_WITHIN, writer.end()).await.is_err() {
        tracing::warn!("this node's KubeWardNode could not be deleted within {} s", END_WITHIN.as_secs());
    }
}

/// What this agent may do with the object.
#[derive(Debug)]
enum Role {
    /// Whose it is has not been seen. `None`: the watch will tell.
    Unknown { look_at: Option<Instant> },
    /// Ours to take: there is none (`None`), or that of this version may be replaced.
    Free { version: Option<String> },
    /// Ours, as written last.
    Holding(Box<ObjectMeta>),
    /// Another's, to be claimed.
    Wanting { holder: Holder, at: Instant },
    /// Claimed; not answered yet.
    Claiming { holder: Holder, claim: String, by: Instant },
    /// Another's, who lives.
    Refused { holder: Holder, again: Instant },
}

struct Writer {
    store: Store,
    us: Identity,
    status: watch::Receiver<NodeStatus>,
    state: watch::Sender<Reporting>,
    role: Role,
    pace: Pace,
    /// What the object says, as far as we know.
    written: Option<NodeStatus>,
    /// A write was begun: there may be an object of ours even if no answer came.
    has_tried: bool,
    /// Claims made so far: each has a text of its own, so that an old answer does not count.
    claims: u32,
    telling: Telling,
}

impl Writer {
    async fn report(&mut self) {
        let mut watch = self.store.watch();
        let mut listed = None;
        let mut is_open = true;
        self.consider_status();
        loop {
            let moment = self.next_moment();
            tokio::select! {
                told = watch.next() => match told {
                    Ok(Event::Init) => listed = None,
                    Ok(Event::InitApply(object)) => listed = Some(object.metadata),
                    Ok(Event::InitDone) => self.seen(listed.take()).await,
                    Ok(Event::Apply(object)) => self.seen(Some(object.metadata)).await,
                    Ok(Event::Delete(_)) => self.seen(None).await,
                    Err(trouble) => self.failed(&trouble),
                },
                changed = self.status.changed(), if is_open => match changed {
                    Ok(()) => self.consider_status(),
                    // The agent ends; what it said last is still to be written until `shutdown`.
                    Err(_) => is_open = false,
                },
                () = until(moment) => self.act().await,
            }
        }
    }

    /// When there is something to do without any news.
    fn next_moment(&self) -> Option<Instant> {
        match &self.role {
            Role::Unknown { look_at } => *look_at,
            Role::Free { .. } | Role::Holding(_) => self.pace.due(),
            Role::Wanting { at, .. } => Some(*at),
            Role::Claiming { by, .. } => Some(*by),
            Role::Refused { again, .. } => Some(*again),
        }
    }

    /// The agent's status is perhaps another than the object's.
    fn consider_status(&mut self) {
        let status = self.newest_status();
        let before = self.written.as_ref();
        if status == NodeStatus::default() || before.is_some_and(|before| says_the_same(before, &status)) {
            if self.unanswered_claim().is_none() {
                self.pace.nothing_to_do();
            }
            return;
        }
        let cause = match before.is_some_and(|before| before.policies == status.policies) {
            true => Cause::Here,
            false => Cause::Everywhere,
        };
        self.pace.changed(Instant::now(), cause, fastrand::f64());
    }

    /// The object as the watch tells it, which may be older than what we wrote last.
    async fn seen(&mut self, object: Option<ObjectMeta>) {
        self.answers_again();
        let Role::Holding(held) = &self.role else { return self.judge(object) };
        match object {
            Some(object) if object.uid == held.uid && object.generation <= held.generation => {
                // The generation moves with every write but those of claims.
                if object.generation == held.generation {
                    self.role = Role::Holding(Box::new(object));
                    self.answer_claim();
                }
            }
            // Deleted or written by somebody else, or the watch is behind: ask.
            _ => self.look().await,
        }
    }

    async fn look(&mut self) {
        match self.store.look().await {
            Ok(object) => self.judge(object),
            Err(trouble) => {
                let look_at = Some(self.pause());
                self.role = Role::Unknown { look_at };
                self.failed(&trouble);
            }
        }
    }

    /// `object` is the newest there is.
    fn judge(&mut self, object: Option<ObjectMeta>) {
        match (standing(object.as_ref(), &self.us), object) {
            (Standing::Others(holder), _) => self.is_others(holder),
            // Once we have held it, or asked for it, the other run is the later one.
            (Standing::OurPods(holder), _) if !matches!(self.role, Role::Unknown { .. } | Role::Free { .. }) => {
                self.is_others(holder);
            }
            (Standing::Ours, Some(object)) => {
                let is_as_written = match &self.role {
                    Role::Holding(held) => held.uid == object.uid && held.generation == object.generation,
                    _ => false,
                };
                self.role = Role::Holding(Box::new(object));
                if !is_as_written {
                    // A write whose answer was lost, or somebody edited it.
                    self.written = None;
                }
                self.consider_status();
                self.answer_claim();
            }
            (_, object) => {
                if matches!(self.role, Role::Holding(_)) {
                    tracing::warn!("somebody deleted the KubeWardNode of node {:?}: writing it again", self.us.node);
                    self.pace.deleted(Instant::now());
                }
                self.role = Role::Free { version: object.and_then(|object| object.resource_version) };
                self.written = None;
                self.consider_status();
            }
        }
    }

    fn is_others(&mut self, found: Holder) {
        let now = Instant::now();
        match &self.role {
            Role::Claiming { claim, .. } if found.answered.as_ref() == Some(claim) => self.refused(found),
            Role::Claiming { holder, .. } | Role::Refused { holder, .. } if holder.name == found.name => {}
            Role::Holding(_) => {
                tracing::error!(
                    "another agent took over the KubeWardNode of node {:?}: {}; this one stops writing it",
                    self.us.node,
                    found.name
                );
                self.refused(found);
            }
            _ => self.role = Role::Wanting { holder: found, at: now },
        }
    }

    fn refused(&mut self, holder: Holder) {
        if !matches!(*self.state.borrow(), Reporting::Refused { .. }) {
            tracing::error!(
                "node name {:?} is another agent's, who lives: {}; give each agent a --node-name of its own",
                self.us.node,
                holder.name
            );
        }
        self.tell(Reporting::Refused { by: holder.name.clone() });
        self.written = None;
        self.role = Role::Refused { holder, again: Instant::now() + CLAIM_AGAIN_AFTER };
    }

    fn unanswered_claim(&self) -> Option<&str> {
        match &self.role {
            Role::Holding(held) => open_claim(held),
            _ => None,
        }
    }

    /// Somebody waits for the answer.
    fn answer_claim(&mut self) {
        if self.unanswered_claim().is_some() {
            self.pace.changed(Instant::now(), Cause::Here, 0.0);
        }
    }

    /// What is due.
    async fn act(&mut self) {
        match &self.role {
            Role::Unknown { .. } => self.look().await,
            Role::Free { version } => {
                let version = version.clone();
                self.write(None, version).await;
            }
            Role::Holding(held) => {
                // The last claim's answer stays in the object as long as the claim does.
                let claim = annotation(held, CLAIM).map(str::to_owned);
                let version = held.resource_version.clone();
                self.write(claim, version).await;
            }
            Role::Wanting { holder, .. } | Role::Refused { holder, .. } => {
                let holder = holder.clone();
                self.claim(holder).await;
            }
            Role::Claiming { .. } => self.look_whether_answered().await,
        }
    }

    async fn write(&mut self, answered: Option<String>, version: Option<String>) {
        let status = self.dated_status();
        self.has_tried = true;
        match self.store.write(&status, answered.as_deref(), version.as_deref()).await {
            Ok(object) => {
                let our_claim = annotation(&object, CLAIM).is_some_and(|claim| claim.starts_with(&self.us.run));
                self.pace.written(Instant::now());
                self.written = Some(status);
                self.role = Role::Holding(Box::new(object));
                self.answers_again();
                self.tell(Reporting::Held);
                match our_claim {
                    true => self.withdraw_claim().await,
                    false => self.answer_claim(),
                }
            }
            Err(Trouble::Conflict { .. }) => {
                self.pause();
                self.look().await;
            }
            Err(trouble) => {
                self.pause();
                self.failed(&trouble);
            }
        }
    }

    async fn claim(&mut self, holder: Holder) {
        self.claims += 1;
        let claim = format!("{} {}", self.us.run, self.claims);
        match self.store.claim(Some(&claim)).await {
            Ok(Some(_)) => {
                let by = Instant::now() + CLAIM_ANSWERED_WITHIN;
                self.role = Role::Claiming { holder, claim, by };
            }
            Ok(None) => self.judge(None),
            Err(trouble) => {
                let at = self.pause();
                self.role = Role::Wanting { holder, at };
                self.failed(&trouble);
            }
        }
    }

    /// The time for an answer is over.
    async fn look_whether_answered(&mut self) {
        let found = match self.store.look().await {
            Ok(found) => found,
            Err(trouble) => {
                let at = self.pause();
                if let Role::Claiming { by, .. } = &mut self.role {
                    *by = at;
                }
                return self.failed(&trouble);
            }
        };
        let version = found.as_ref().and_then(|object| object.resource_version.clone());
        self.judge(found);
        if let Role::Claiming { holder, .. } = &self.role {
            tracing::warn!(
                "{} holds the KubeWardNode of node {:?} and has not answered within {} s: taking it over",
                holder.name,
                self.us.node,
                CLAIM_ANSWERED_WITHIN.as_secs()
            );
            self.role = Role::Free { version };
            self.written = None;
            self.consider_status();
        }
    }

    /// Our claim beside our own status: of use to nobody.
    async fn withdraw_claim(&mut self) {
        match self.store.claim(None).await {
            Ok(Some(object)) => self.role = Role::Holding(Box::new(object)),
            Ok(None) => self.judge(None),
            Err(trouble) => tracing::debug!("withdrawing a claim: {trouble}"),
        }
    }

    /// Within the schema's bounds: for one text that is too long the server would refuse all of it.
    fn newest_status(&mut self) -> NodeStatus {
        self.status.borrow_and_update().clone().fitted()
    }

    /// The status to write, each condition with the moment since when it holds.
    fn dated_status(&mut self) -> NodeStatus {
        let mut status = self.newest_status();
        let before = self.written.as_ref().map_or(&[][..], |before| &before.conditions);
        date(&mut status.conditions, before, &this_second());
        status
    }

    /// The moment of the next attempt.
    fn pause(&mut self) -> Instant {
        let now = Instant::now();
        self.pace.failed(now, fastrand::f64());
        self.pace.due().unwrap_or(now)
    }

    fn failed(&mut self, trouble: &Trouble) {
        self.telling.failed(trouble);
        if !matches!(self.role, Role::Refused { .. }) {
            self.tell(Reporting::Unreachable { why: trouble.to_string() });
        }
    }

    fn answers_again(&mut self) {
        self.telling.went_well("the API server takes this node's status again");
        self.pace.answers_again(Instant::now(), fastrand::f64());
        if matches!(*self.state.borrow(), Reporting::Unreachable { .. }) {
            self.tell(match &self.role {
                Role::Holding(_) => Reporting::Held,
                Role::Refused { holder, .. } => Reporting::Refused { by: holder.name.clone() },
                _ => Reporting::Starting,
            });
        }
    }

    fn tell(&self, state: Reporting) {
        self.state.send_if_modified(|told| {
            let is_news = *told != state;
            *told = state;
            is_news
        });
    }

    /// The object goes with the agent; a claim in another's too.
    async fn end(&mut self) {
        let left = match &self.role {
            Role::Claiming { .. } | Role::Refused { .. } => self.store.claim(None).await.map(|_| ()),
            _ if self.has_tried => self.delete().await,
            _ => Ok(()),
        };
        if let Err(trouble) = left {
            tracing::warn!("this node's KubeWardNode is left as it is: {trouble}");
        }
    }

    async fn delete(&self) -> Result<(), Trouble> {
        match self.store.look().await? {
            Some(object) if standing(Some(&object), &self.us) == Standing::Ours => self.store.delete(&object).await,
            _ => Ok(()),
        }
    }
}

/// Whole seconds, as the API server's own times are.
fn this_second() -> Time {
    let now = Timestamp::now();
    Time(Timestamp::from_second(now.as_second()).unwrap_or(now))
}

async fn until(moment: Option<Instant>) {
    match moment {
        Some(moment) => sleep_until(moment).await,
        None => std::future::pending().await,
    }
}
