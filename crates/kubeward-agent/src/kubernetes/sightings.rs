//! A watch that never ends by itself: what kube's watcher tells, with its errors in our words, and with an end to a list
//! that hangs.

use std::pin::Pin;
use std::time::Duration;

use futures_util::{Stream, StreamExt};
use kube::runtime::watcher::{self, Event};
use kube::runtime::WatchStreamExt;
use tokio::time::{timeout_at, Instant};

use super::trouble::Trouble;

/// For each page of a list: the watcher itself would wait for ever.
const PAGE_WITHIN: Duration = Duration::from_secs(30);

/// What the watcher pauses at most after a trouble.
const PAUSE_AT_MOST: Duration = Duration::from_secs(30);

/// A watch is asked anew after this; less by up to a quarter, so that watches that began together part.
const WATCH_SECONDS: u32 = 290;

type Events<K> = Pin<Box<dyn Stream<Item = watcher::Result<Event<K>>> + Send>>;

/// What one list and watch tells.
pub(crate) struct Sightings<K> {
    resource: &'static str,
    make: Box<dyn Fn() -> Events<K> + Send>,
    events: Events<K>,
    /// While a list is awaited: by when its next page is to be there.
    page_by: Option<Instant>,
}

impl<K: 'static> Sightings<K> {
    /// `make` begins a list and watch with the settings that it is given. `resource` is its name in a role.
    pub(crate) fn new<S>(resource: &'static str, make: impl Fn(watcher::Config) -> S + Send + 'static) -> Self
    where
        S: Stream<Item = watcher::Result<Event<K>>> + Send + 'static,
    {
        let make = move || -> Events<K> {
            let seconds = WATCH_SECONDS - fastrand::u32(0..WATCH_SECONDS / 4);
            Box::pin(make(watcher::Config::default().timeout(seconds)).default_backoff())
        };
        Self { resource, events: make(), make: Box::new(make), page_by: Some(Instant::now() + PAGE_WITHIN) }
    }

    /// The next news. After a trouble it goes on, more and more slowly up to 30 s: what follows is a list anew or
    /// the rest of the watch. May be dropped while it waits.
    pub(crate) async fn next(&mut self) -> Result<Event<K>, Trouble> {
        let told = match self.page_by {
            Some(by) => timeout_at(by, self.events.next()).await.ok().flatten(),
            None => self.events.next().await,
        };
        match told {
            Some(Ok(event)) => {
                let listed = matches!(event, Event::InitDone | Event::Apply(_) | Event::Delete(_));
                self.page_by = (!listed).then(|| Instant::now() + PAGE_WITHIN);
                Ok(event)
            }
            Some(Err(error)) => {
                self.page_by = self.page_by.map(|_| Instant::now() + PAUSE_AT_MOST + PAGE_WITHIN);
                Err(Trouble::of_watch(&error, self.resource))
            }
            None => {
                self.events = (self.make)();
                self.page_by = Some(Instant::now() + PAGE_WITHIN);
                Err(Trouble::no_answer("list", self.resource, PAGE_WITHIN))
            }
        }
    }
}
