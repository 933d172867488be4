//! An open connection: events and lists into the roster, until it fails.
//!
//! No call is awaited in the loop: a slow answer must not delay the event of a container that is about to
//! start. Calls run beside it and come back as [`Answer`]s.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use containerd_client::types::Envelope;
use futures_util::StreamExt;
use tokio::task::JoinSet;
use tonic::Status;

use super::client::{Client, RpcError};
use super::event::{self, Event, What};
use super::reconcile::{reconcile, Key, KnownTask, Listing, Step};
use super::record::Record;
use super::roster::References;
use super::session::{ticks, Session, Trouble};
use super::socket::SocketError;
use crate::discovery::{BootTicks, Change, InitTask, Noticed};

/// Lists in which a running task cannot be seen before it is worth a warning: two seconds.
const UNSEEN_LISTS: u32 = 4;

/// Look-ups at a time, each of one or two calls. All of a crowded node's at once would take a message's memory each, and the last
/// would not be answered in time.
const LOOKUPS_AT_ONCE: usize = 64;

pub(super) struct Following<'s> {
    session: &'s mut Session,
    client: Client,
    version: String,
    path: Arc<Path>,
    /// At most one list, [`LOOKUPS_AT_ONCE`], and for each container one doubt. Aborted when the connection ends.
    calls: JoinSet<Answer>,
    /// Look-ups among them.
    lookups: usize,
    list_is_asked: bool,
    /// How many have been asked for.
    lists: u32,
    /// The last list was complete.
    is_listed: bool,
    /// Tasks that containerd calls running and that cannot be seen, and in how many lists.
    unseen: BTreeMap<Key, u32>,
}

/// What a call came back with.
enum Answer {
    Listed(Result<(Listing, Option<RpcError>), RpcError>),
    Record(Key, Result<Option<Record>, RpcError>),
    References(Key, Result<(Option<String>, Option<Record>), RpcError>),
    /// The record of a container that is no longer listed though its init task lives.
    Doubt(Key, InitTask, Result<Option<Record>, RpcError>),
}

impl<'s> Following<'s> {
    pub(super) fn new(session: &'s mut Session, client: Client, version: String, path: Arc<Path>) -> Self {
        Self {
            session,
            client,
            version,
            path,
            calls: JoinSet::new(),
            lookups: 0,
            list_is_asked: false,
            lists: 0,
            is_listed: false,
            unseen: BTreeMap::new(),
        }
    }

    pub(super) async fn until_trouble(mut self) -> Trouble {
        let mut events = self.client.events();
        let mut ticks = ticks();
        loop {
            let done = tokio::select! {
                // What an event says is older than what a list that came with it says.
                biased;
                message = events.next() => match self.envelope(message) {
                    Ok(Some(event)) => self.on_event(event).await,
                    Ok(None) => Ok(()),
                    Err(error) => Err(error.into()),
                },
                Some(answer) = self.calls.join_next() => match answer {
                    Ok(answer) => self.on_answer(answer).await,
                    Err(panic) => std::panic::resume_unwind(panic.into_panic()),
                },
                _ = ticks.tick() => self.on_tick().await,
            };
            if let Err(trouble) = done {
                return trouble;
            }
        }
    }

    fn envelope(&self, message: Option<Result<Envelope, Status>>) -> Result<Option<Event>, SocketError> {
        let envelope = message
            .ok_or_else(|| SocketError::Ended(self.path.clone()))?
            .map_err(|status| RpcError::Status { call: "events", status: Box::new(status) })
            .map_err(|source| SocketError::Lost { path: self.path.clone(), source })?;
        Ok(event::decode(envelope).unwrap_or_else(|error| {
            // The next list tells what this event would have.
            tracing::warn!(socket = %self.path.display(), "{error}");
            None
        }))
    }

    async fn on_event(&mut self, Event { key, at, what }: Event) -> Result<(), Trouble> {
        let changes = match what {
            What::RecordCreated { image } => {
                self.session.roster.record_created(&key, image);
                self.look_up(&key);
                vec![]
            }
            What::RecordUpdated => {
                self.session.roster.record_changed(&key);
                self.look_up(&key);
                vec![]
            }
            What::RecordDeleted => {
                self.session.roster.record_deleted(&key);
                vec![]
            }
            What::TaskCreated { pid } => {
                let published = at.map_or_else(BootTicks::now, BootTicks::of);
                match self.session.procfs.init_task(pid).filter(|init| init.started <= published) {
                    Some(init) => self.began(&key, init, Noticed::AtCreate),
                    None => {
                        self.session.roster.unfound(&key, pid);
                        vec![]
                    }
                }
            }
            What::ExecStarted { pid } => self.session.roster.exec_started(&key, pid).into_iter().collect(),
            What::TaskExited { pid } => self.exited(&key, pid),
        };
        Ok(self.session.tell(changes).await?)
    }

    fn began(&mut self, key: &Key, init: InitTask, noticed: Noticed) -> Vec<Change> {
        let task = KnownTask { init, learned: BootTicks::now() };
        let changes = self.session.roster.began(key, task, noticed);
        self.look_up(key);
        changes
    }

    fn exited(&mut self, key: &Key, pid: u32) -> Vec<Change> {
        match self.session.roster.init_of(key) {
            // The kernel has the last word: an event can be older than the task it seems to speak of.
            Some(init) if init.pid == pid && self.session.procfs.init_task(pid) != Some(init) => {
                self.session.roster.ended(key)
            }
            _ => self.session.roster.unfound_ended(key, pid).into_iter().collect(),
        }
    }

    async fn on_tick(&mut self) -> Result<(), Trouble> {
        if self.list_is_asked {
            // containerd takes its time: what ends meanwhile is not to wait for it.
            self.session.sweep().await?;
        } else {
            self.list_is_asked = true;
            self.lists = self.lists.wrapping_add(1);
            let (client, round) = (self.client.clone(), self.lists);
            self.calls.spawn(async move { Answer::Listed(list(&client, round).await) });
        }
        self.look_up_wanted();
        Ok(())
    }

    /// As many as may be at a time; the others when some of these are answered.
    fn look_up_wanted(&mut self) {
        let room = LOOKUPS_AT_ONCE.saturating_sub(self.lookups);
        for key in self.session.roster.take_wanted(room) {
            self.lookups += 1;
            self.spawn_record(key);
        }
    }

    fn look_up(&mut self, key: &Key) {
        if self.lookups < LOOKUPS_AT_ONCE && self.session.roster.take_wanted_one(key) {
            self.lookups += 1;
            self.spawn_record(key.clone());
        }
    }

    fn spawn_record(&mut self, key: Key) {
        let client = self.client.clone();
        self.calls.spawn(async move {
            let record = client.record(&key).await;
            Answer::Record(key, record)
        });
    }

    fn spawn_references(&mut self, key: Key, references: References) {
        let client = self.client.clone();
        self.calls.spawn(async move {
            let found = look_up_references(&client, &key, &references).await;
            Answer::References(key, found)
        });
    }

    fn spawn_doubt(&mut self, key: Key) {
        let Some(init) = self.session.roster.init_of(&key) else { return };
        let client = self.client.clone();
        self.calls.spawn(async move {
            let record = client.record(&key).await;
            Answer::Doubt(key, init, record)
        });
    }

    async fn on_answer(&mut self, answer: Answer) -> Result<(), Trouble> {
        match answer {
            Answer::Listed(listed) => self.on_list(listed).await?,
            Answer::Record(key, Ok(record)) => {
                let (changes, references) = self.session.roster.found_record(&key, record);
                match references {
                    Some(references) => self.spawn_references(key, references),
                    None => self.looked_up(),
                }
                self.session.tell(changes).await?;
            }
            Answer::References(key, Ok((image_digest, sandbox))) => {
                self.looked_up();
                let changes = self.session.roster.found_references(&key, image_digest, sandbox);
                self.session.tell(changes).await?;
            }
            Answer::Record(key, Err(error)) | Answer::References(key, Err(error)) => {
                tracing::debug!(container = %key.id, "{error}");
                // Tried again at the next tick, and not at once.
                self.lookups -= 1;
                let changes = self.session.roster.lookup_failed(&key);
                self.session.tell(changes).await?;
            }
            Answer::Doubt(key, init, Ok(None)) if self.session.roster.init_of(&key) == Some(init) => {
                let changes = self.session.roster.ended(&key);
                self.session.tell(changes).await?;
            }
            // It still has a record, or containerd cannot say: what lives stays.
            Answer::Doubt(..) => {}
        }
        if self.is_listed && !self.session.roster.owes_an_appearance() {
            self.session.tell_answering(&self.version).await?;
        }
        Ok(())
    }

    /// One look-up is over: others may begin, several together, since finding those that are wanted goes through all.
    fn looked_up(&mut self) {
        self.lookups -= 1;
        if self.lookups <= LOOKUPS_AT_ONCE / 2 {
            self.look_up_wanted();
        }
    }

    async fn on_list(&mut self, listed: Result<(Listing, Option<RpcError>), RpcError>) -> Result<(), Trouble> {
        self.list_is_asked = false;
        let rpc = |source| SocketError::Rpc { path: self.path.clone(), source };
        let (listing, error) = listed.map_err(rpc)?;
        self.is_listed = error.is_none();
        if let Some(source) = error {
            let error = SocketError::Rpc { path: self.path.clone(), source };
            self.session.tell_failure(error).await?;
        }
        let steps = reconcile(&self.session.roster.known(), Some(&listing), |pid| self.session.procfs.init_task(pid));
        let mut unseen = BTreeMap::new();
        for step in steps {
            match step {
                Step::Ended(key) => {
                    let changes = self.session.roster.ended(&key);
                    self.session.tell(changes).await?;
                }
                Step::Began(key, init, noticed) => {
                    let changes = self.began(&key, init, noticed);
                    self.session.tell(changes).await?;
                }
                Step::Doubtful(key) => self.spawn_doubt(key),
                Step::Unseen(key, pid) => {
                    let lists = self.unseen.get(&key).map_or(1, |lists| lists.saturating_add(1));
                    if lists == UNSEEN_LISTS {
                        warn_unseen(&key, pid);
                    }
                    unseen.insert(key, lists);
                }
            }
        }
        self.unseen = unseen;
        Ok(())
    }
}

fn warn_unseen(key: &Key, pid: u32) {
    tracing::warn!(
        container = %key.id,
        namespace = %key.namespace,
        pid,
        "containerd says that this container runs, but its init task cannot be seen: the agent must share \
         containerd's pid namespace (hostPID: true) and --procfs-mount must be that namespace's procfs"
    );
}

/// All tasks of all namespaces, and the last error among those lists that failed.
async fn list(client: &Client, round: u32) -> Result<(Listing, Option<RpcError>), RpcError> {
    let mut listing = Listing { asked: BootTicks::now(), round: Some(round), ..Listing::default() };
    let mut failed = None;
    for namespace in client.namespaces().await? {
        match client.tasks(&namespace).await {
            Ok(tasks) => listing.tasks.extend(tasks),
            Err(error) => {
                failed = Some(error);
                listing.unanswered.insert(namespace);
            }
        }
    }
    Ok((listing, failed))
}

async fn look_up_references(
    client: &Client,
    key: &Key,
    references: &References,
) -> Result<(Option<String>, Option<Record>), RpcError> {
    let image_digest = match &references.image {
        Some(image) => client.image_digest(&key.namespace, image).await?,
        None => None,
    };
    let sandbox = match &references.sandbox {
        Some(sandbox) => client.record(sandbox).await?,
        None => None,
    };
    Ok((image_digest, sandbox))
}
