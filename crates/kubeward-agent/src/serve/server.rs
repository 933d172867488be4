//! The server: services on a socket, within limits, until the shutdown token says so.

use std::time::Duration;

use tokio::net::UnixListener;
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tonic::service::Routes;

use super::connection::{connections, PING_EVERY};
use super::socket::Socket;

/// For one request, whatever it asks.
const REQUEST_WITHIN: Duration = Duration::from_secs(5);

/// Requests of one connection at a time. More wait in the client.
const REQUESTS_AT_ONCE: u32 = 16;

/// After the server's ping, for the client to answer.
const PONG_WITHIN: Duration = Duration::from_secs(10);

/// For what is being answered when the end comes.
const ENDS_WITHIN: Duration = Duration::from_secs(1);

/// A running server. Dropping it removes the socket.
#[derive(Debug)]
pub struct Server {
    task: JoinHandle<()>,
    _socket: Socket,
}

impl Server {
    /// Serves until `shutdown`. Needs a tokio runtime.
    pub fn start(socket: Socket, services: Routes, shutdown: &CancellationToken) -> std::io::Result<Self> {
        let listener = UnixListener::from_std(socket.listener()?)?;
        let server = tonic::transport::Server::builder()
            .timeout(REQUEST_WITHIN)
            .max_concurrent_streams(REQUESTS_AT_ONCE)
            .http2_keepalive_interval(Some(PING_EVERY))
            .http2_keepalive_timeout(Some(PONG_WITHIN))
            .add_routes(services);
        let ended = shutdown.clone().cancelled_owned();
        let task = tokio::spawn(async move {
            // Connections that do not work out are the clients' business; accepting never fails.
            if let Err(error) = server.serve_with_incoming_shutdown(connections(listener), ended).await {
                tracing::error!("the local API ended: {error}");
            }
        });
        Ok(Self { task, _socket: socket })
    }

    /// Returns soon after the shutdown token was cancelled, whatever clients do, and the socket is gone.
    pub async fn stopped(mut self) {
        if timeout(ENDS_WITHIN, &mut self.task).await.is_err() {
            self.task.abort();
        }
    }
}
