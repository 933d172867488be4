//! One socket: connect, follow, and begin again when it fails.

use std::future::Future;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::{interval, sleep, Interval, MissedTickBehavior};
use tokio_util::sync::CancellationToken;

use super::client::Client;
use super::follow::Following;
use super::reconcile::{reconcile, Step};
use super::roster::Roster;
use super::socket::{Candidate, SocketError};
use super::LIST_EVERY;
use crate::discovery::{Change, ProcFs};

/// Waits between attempts double from here. Each is shortened by up to half, at random, so that the agents of
/// a rack do not call in step.
const BACKOFF_MIN: Duration = Duration::from_millis(50);
/// A refused connection on a local socket costs microseconds; a second more here is a second of containers
/// whose first calls are missed.
const BACKOFF_MAX: Duration = Duration::from_secs(1);

/// Runs until `shutdown`, or until nobody reads the changes.
pub(super) async fn run(
    candidate: Candidate,
    procfs: ProcFs,
    changes: mpsc::Sender<Change>,
    shutdown: CancellationToken,
) {
    let roster = Roster::new(candidate.path.clone());
    let session = Session {
        candidate,
        procfs,
        roster,
        changes,
        told_error: None,
        has_answered: false,
        is_settled: false,
        backoff: BACKOFF_MIN,
    };
    tokio::select! {
        () = shutdown.cancelled() => {}
        ReaderGone = session.until_reader_gone() => {}
    }
}

/// What outlives a connection.
pub(super) struct Session {
    candidate: Candidate,
    pub(super) procfs: ProcFs,
    pub(super) roster: Roster,
    changes: mpsc::Sender<Change>,
    /// The text of the failure that was told and has not been followed by an answer.
    told_error: Option<String>,
    has_answered: bool,
    /// [`Change::Settled`] has been told.
    is_settled: bool,
    backoff: Duration,
}

/// Nobody reads the changes any more.
#[derive(Debug)]
pub(super) struct ReaderGone;

/// Why a connection is given up.
pub(super) enum Trouble {
    Socket(SocketError),
    ReaderGone,
}

impl From<SocketError> for Trouble {
    fn from(error: SocketError) -> Self {
        Self::Socket(error)
    }
}

impl From<ReaderGone> for Trouble {
    fn from(_: ReaderGone) -> Self {
        Self::ReaderGone
    }
}

impl Session {
    async fn until_reader_gone(mut self) -> ReaderGone {
        loop {
            let told = match self.attempt().await {
                Ok(()) => Ok(()),
                Err(Trouble::Socket(error)) => self.tell_failure(error).await,
                Err(Trouble::ReaderGone) => Err(ReaderGone),
            };
            let told = match told {
                Ok(()) => self.settle().await,
                Err(ReaderGone) => Err(ReaderGone),
            };
            let pause = self.backoff.mul_f64(0.5 + fastrand::f64() / 2.0);
            self.backoff = (self.backoff * 2).min(BACKOFF_MAX);
            if told.is_err() || self.sweeping(sleep(pause)).await.is_err() {
                return ReaderGone;
            }
        }
    }

    /// One connection, from its opening to its failure. `Ok` when another candidate watches the same socket.
    async fn attempt(&mut self) -> Result<(), Trouble> {
        if !self.candidate.inspect()? {
            return Ok(());
        }
        let path = self.candidate.path.clone();
        let (client, version) = self.sweeping(Client::open(&path)).await??;
        self.roster.reconnected();
        Err(Following::new(self, client, version, path).until_trouble().await)
    }

    /// Awaits `future` while the known init tasks are looked after: containers end also while containerd is away.
    async fn sweeping<F: Future>(&mut self, future: F) -> Result<F::Output, ReaderGone> {
        tokio::pin!(future);
        let mut ticks = ticks();
        loop {
            tokio::select! {
                output = &mut future => return Ok(output),
                _ = ticks.tick() => self.sweep().await?,
            }
        }
    }

    /// Tells the end of every instance whose init task has ended.
    pub(super) async fn sweep(&mut self) -> Result<(), ReaderGone> {
        let steps = reconcile(&self.roster.known(), None, |pid| self.procfs.init_task(pid));
        for step in steps {
            if let Step::Ended(key) = step {
                let changes = self.roster.ended(&key);
                self.tell(changes).await?;
            }
        }
        Ok(())
    }

    pub(super) async fn tell(&self, changes: impl IntoIterator<Item = Change>) -> Result<(), ReaderGone> {
        for change in changes {
            self.changes.send(change).await.map_err(|_| ReaderGone)?;
        }
        Ok(())
    }

    /// Once for each error: the same again is no news until an answer came between.
    pub(super) async fn tell_failure(&mut self, error: SocketError) -> Result<(), ReaderGone> {
        let expected = !self.candidate.named && !self.has_answered && matches!(error, SocketError::Missing(_));
        let text = error.to_string();
        if expected || self.told_error.as_ref() == Some(&text) {
            return Ok(());
        }
        self.told_error = Some(text);
        self.tell([Change::Failing { error }]).await
    }

    /// Everything that containerd lists has been told. News at first, and after a failure.
    pub(super) async fn tell_answering(&mut self, version: &str) -> Result<(), ReaderGone> {
        self.backoff = BACKOFF_MIN;
        let was_failing = self.told_error.take().is_some();
        if self.has_answered && !was_failing {
            return Ok(());
        }
        self.has_answered = true;
        let socket = self.candidate.path.clone();
        self.tell([Change::Answering { socket, version: version.to_owned(), running: self.roster.running() }]).await?;
        self.settle().await
    }

    /// The first attempt is over, however it went.
    async fn settle(&mut self) -> Result<(), ReaderGone> {
        if std::mem::replace(&mut self.is_settled, true) {
            return Ok(());
        }
        self.tell([Change::Settled { socket: self.candidate.path.clone() }]).await
    }
}

pub(super) fn ticks() -> Interval {
    let mut ticks = interval(LIST_EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    ticks
}
