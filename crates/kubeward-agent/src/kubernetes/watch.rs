//! A watch that is kept up for ever: backed off with jitter, begun anew where the library's own would hang or be stuck.

use std::fmt::Debug;
use std::time::Duration;

use futures_util::stream::BoxStream;
use futures_util::StreamExt;
use kube::runtime::utils::Backoff;
use kube::runtime::watcher::{self, watcher, DefaultBackoff, Event};
use kube::{Api, Resource};
use serde::de::DeserializeOwned;
use tokio::time::{sleep_until, timeout_at, Instant};

use super::trouble::Trouble;

/// For a list to come; a server that takes the request and says nothing would be waited for without an end.
const LIST_WITHIN: Duration = Duration::from_secs(30);

type Events<K> = BoxStream<'static, watcher::Result<Event<K>>>;

/// A watch is asked anew after this; after less by up to a quarter, so that those of many agents that began together part.
const WATCH_SECONDS: u32 = 290;

/// Lists come from the API server's cache, not from etcd; which they do only as a whole, without pages.
pub fn config() -> watcher::Config {
    watcher::Config { page_size: None, ..exact_config() }.any_semantic()
}

/// Lists come from etcd, and so are never behind: for a single object, or a single client.
pub fn exact_config() -> watcher::Config {
    watcher::Config::default().timeout(WATCH_SECONDS - fastrand::u32(0..WATCH_SECONDS / 4))
}

/// One watched resource.
pub struct Watch<K> {
    resource: &'static str,
    begin: Box<dyn Fn() -> Events<K> + Send>,
    events: Events<K>,
    /// Until when the list that is being read must be complete; `None` when it is.
    listed_by: Option<Instant>,
    /// 0.8 s after the first failure, doubled to at most 30 s, each with up to as much again at random. The library's own way
    /// to wait starts over with each attempt to list, and so would ask every second for ever.
    backoff: DefaultBackoff,
    /// Nothing is asked before.
    rests_until: Option<Instant>,
}

impl<K> Watch<K>
where
    K: Resource + Clone + DeserializeOwned + Debug + Send + 'static,
{
    /// `resource` is the plural, for messages. With `Api<PartialObjectMeta<_>>` the server sends metadata and nothing else.
    pub fn new(resource: &'static str, api: Api<K>, config: watcher::Config) -> Self {
        let begin = move || watcher(api.clone(), config.clone()).boxed();
        let events = begin();
        let listed_by = Some(Instant::now() + LIST_WITHIN);
        Self {
            resource,
            begin: Box::new(begin),
            events,
            listed_by,
            backoff: DefaultBackoff::default(),
            rests_until: None,
        }
    }

    /// The next event, or why there is none for now: attempts go on, and the list that comes first says that they went well.
    /// May be dropped and called again.
    pub async fn next(&mut self) -> Result<Event<K>, Trouble> {
        loop {
            if let Some(end) = self.rests_until {
                sleep_until(end).await;
                self.rests_until = None;
            }
            let next = match self.listed_by {
                Some(deadline) => timeout_at(deadline, self.events.next()).await,
                None => Ok(self.events.next().await),
            };
            let trouble = match next {
                Ok(Some(Ok(event))) => {
                    self.note(&event);
                    return Ok(event);
                }
                Ok(Some(Err(error))) => Some(error).filter(|error| !is_gone(error)).map(|error| self.of_watch(&error)),
                Ok(None) => {
                    let message = "the watch ended".to_owned();
                    Some(Trouble::Unreachable { resource: self.resource, message })
                }
                Err(_) => Some(Trouble::Silent { resource: self.resource, waited: LIST_WITHIN }),
            };
            // Anew, and not where it broke off: the library says nothing when that goes well, until something changes.
            self.begin_anew();
            if let Some(trouble) = trouble {
                return Err(trouble);
            }
        }
    }

    fn of_watch(&self, error: &watcher::Error) -> Trouble {
        Trouble::of_watch(self.resource, error)
    }

    fn note(&mut self, event: &Event<K>) {
        match event {
            // Said before the server is asked, so that it is no answer of it.
            Event::Init => self.listed_by = Some(Instant::now() + LIST_WITHIN),
            Event::InitApply(_) => {}
            Event::InitDone => {
                self.listed_by = None;
                self.backoff.reset();
            }
            Event::Apply(_) | Event::Delete(_) => self.backoff.reset(),
        }
    }

    /// Not at once: what did not answer is not to be asked by all agents together.
    fn begin_anew(&mut self) {
        self.events = (self.begin)();
        let end = Instant::now() + self.backoff.next().unwrap_or(LIST_WITHIN);
        (self.rests_until, self.listed_by) = (Some(end), Some(end + LIST_WITHIN));
    }
}

/// The version to go on from is no longer known, as after a compaction of etcd: nothing is wrong, a list says what is new.
fn is_gone(error: &watcher::Error) -> bool {
    match error {
        watcher::Error::WatchStartFailed(kube::Error::Api(status)) => status.code == 410,
        watcher::Error::WatchError(status) => status.code == 410,
        _ => false,
    }
}
