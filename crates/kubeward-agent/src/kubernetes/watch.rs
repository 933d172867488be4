//! A watch that is kept up for ever: backed off with jitter, begun anew where the library's own would hang or be stuck.

use std::fmt::Debug;
use std::time::Duration;

use futures_util::stream::BoxStream;
use futures_util::StreamExt;
use kube::runtime::watcher::{self, watcher, DefaultBackoff, Event};
use kube::runtime::WatchStreamExt;
use kube::{Api, Resource};
use serde::de::DeserializeOwned;
use tokio::time::{sleep, timeout_at, Instant};

use super::trouble::Trouble;

/// For a list to come; a server that takes the request and says nothing would be waited for without an end.
const LIST_WITHIN: Duration = Duration::from_secs(30);

/// Before a watch that is stuck begins anew, plus as much again at random.
const BEGIN_ANEW_AFTER: Duration = Duration::from_secs(1);

type Events<K> = BoxStream<'static, watcher::Result<Event<K>>>;

/// A watch is asked anew after this; after less by up to a quarter, so that those of many agents that began together part.
const WATCH_SECONDS: u32 = 290;

/// Lists come from the API server's cache, not from etcd.
pub fn config() -> watcher::Config {
    exact_config().any_semantic()
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
}

impl<K> Watch<K>
where
    K: Resource + Clone + DeserializeOwned + Debug + Send + 'static,
{
    /// `resource` is the plural, for messages. With `Api<PartialObjectMeta<_>>` the server sends metadata and nothing else.
    pub fn new(resource: &'static str, api: Api<K>, config: watcher::Config) -> Self {
        let begin = move || watcher(api.clone(), config.clone()).backoff(DefaultBackoff::default()).boxed();
        let events = begin();
        Self { resource, begin: Box::new(begin), events, listed_by: Some(Instant::now() + LIST_WITHIN) }
    }

    /// The next event, or why there is none for now: attempts go on. May be dropped and called again.
    pub async fn next(&mut self) -> Result<Event<K>, Trouble> {
        let next = match self.listed_by {
            Some(deadline) => match timeout_at(deadline, self.events.next()).await {
                Ok(next) => next,
                Err(_) => {
                    self.begin_anew();
                    return Err(Trouble::Silent { resource: self.resource, waited: LIST_WITHIN });
                }
            },
            None => self.events.next().await,
        };
        match next {
            Some(Ok(event)) => {
                match event {
                    Event::Init => self.listed_by = Some(Instant::now() + LIST_WITHIN),
                    Event::InitDone => self.listed_by = None,
                    _ => {}
                }
                Ok(event)
            }
            Some(Err(error)) => {
                // The library waits before it tries again; that is not the list's time.
                self.listed_by = self.listed_by.map(|_| Instant::now() + 2 * LIST_WITHIN);
                if is_gone(&error) {
                    sleep(BEGIN_ANEW_AFTER.mul_f32(1.0 + fastrand::f32())).await;
                    self.begin_anew();
                }
                Err(Trouble::of_watch(self.resource, &error))
            }
            None => {
                self.begin_anew();
                let message = "the watch ended".to_owned();
                Err(Trouble::Unreachable { resource: self.resource, message })
            }
        }
    }

    fn begin_anew(&mut self) {
        self.events = (self.begin)();
        self.listed_by = Some(Instant::now() + LIST_WITHIN);
    }
}

/// The version to go on from is no longer known. Said to a new watch, the library would ask for it again and again.
fn is_gone(error: &watcher::Error) -> bool {
    matches!(error, watcher::Error::WatchStartFailed(kube::Error::Api(status)) if status.code == 410)
}
