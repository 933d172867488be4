//! Accepted connections: so many at a time, and none that has nothing to say.

use std::convert::Infallible;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use futures_util::stream::{unfold, Stream};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{sleep, Instant, Sleep};
use tonic::transport::server::Connected;

/// Connections at a time. One more waits, until one of these is closed, in the socket's backlog.
const CONNECTIONS: usize = 64;

/// A client from which nothing came for so long is gone or hangs. One that is well answers the server's pings, which are sent
/// every [`PING_EVERY`].
const SILENT_FOR: Duration = Duration::from_secs(20);

pub(super) const PING_EVERY: Duration = Duration::from_secs(5);

/// After a failure to accept, as when file descriptors are used up.
const TRY_AGAIN_AFTER: Duration = Duration::from_millis(100);

/// The connections that come in, without end.
pub(super) fn connections(listener: UnixListener) -> impl Stream<Item = Result<Connection, Infallible>> {
    accepted(listener, CONNECTIONS, SILENT_FOR)
}

fn accepted(
    listener: UnixListener,
    most: usize,
    silent_for: Duration,
) -> impl Stream<Item = Result<Connection, Infallible>> {
    let room = Arc::new(Semaphore::new(most));
    unfold((listener, room), move |(listener, room)| async move {
        let permit = room.clone().acquire_owned().await.expect("the semaphore is never closed");
        let stream = accept(&listener).await;
        let silence = Box::pin(sleep(silent_for));
        Some((Ok(Connection { stream, silent_for, silence, _permit: permit }), (listener, room)))
    })
}

async fn accept(listener: &UnixListener) -> UnixStream {
    let mut is_told = false;
    loop {
        match listener.accept().await {
            Ok((stream, _)) => return stream,
            Err(error) => {
                if !std::mem::replace(&mut is_told, true) {
                    tracing::warn!("the local API cannot accept a connection: {error}; trying again");
                }
                sleep(TRY_AGAIN_AFTER).await;
            }
        }
    }
}

/// One client. Reading fails when nothing comes for too long.
pub(super) struct Connection {
    stream: UnixStream,
    silent_for: Duration,
    silence: Pin<Box<Sleep>>,
    _permit: OwnedSemaphorePermit,
}

impl AsyncRead for Connection {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let read = Pin::new(&mut self.stream).poll_read(cx, buf);
        if read.is_ready() {
            let end = Instant::now() + self.silent_for;
            self.silence.as_mut().reset(end);
            return read;
        }
        self.silence.as_mut().poll(cx).map(|()| Err(io::ErrorKind::TimedOut.into()))
    }
}

impl AsyncWrite for Connection {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

impl Connected for Connection {
    type ConnectInfo = ();

    fn connect_info(&self) {}
}

#[cfg(test)]
mod tests {
    use futures_util::StreamExt;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::time::timeout;

    use super::*;

    #[tokio::test]
    async fn one_more_waits_until_there_is_room() {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let path = dir.path().join("a.sock");
        let mut accepted = Box::pin(accepted(UnixListener::bind(&path).expect("a free name"), 1, SILENT_FOR));
        let _clients = [UnixStream::connect(&path).await, UnixStream::connect(&path).await];
        let Ok(first) = accepted.next().await.expect("without end");
        let mut next = Box::pin(accepted.next());
        assert!(timeout(Duration::ZERO, &mut next).await.is_err());
        drop(first);
        assert!(next.await.is_some());
    }

    #[tokio::test(start_paused = true)]
    async fn silent_client_is_given_up_and_one_that_speaks_is_not() {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let path = dir.path().join("a.sock");
        let mut accepted = Box::pin(accepted(UnixListener::bind(&path).expect("a free name"), 1, SILENT_FOR));
        let mut client = UnixStream::connect(&path).await.expect("it listens");
        let Ok(mut served) = accepted.next().await.expect("without end");
        for _ in 0..3 {
            // Time stands still but for this.
            tokio::time::advance(SILENT_FOR - Duration::from_secs(1)).await;
            client.write_all(b"x").await.expect("it is read");
            assert_eq!(served.read_u8().await.expect("it was written"), b'x');
        }
        let error = served.read_u8().await.expect_err("nothing comes");
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
    }
}
