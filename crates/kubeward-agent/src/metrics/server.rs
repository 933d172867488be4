//! `GET /metrics` over plain HTTP: one answer a connection, a few connections at a time.

use std::convert::Infallible;
use std::io;
use std::net::{SocketAddr, TcpListener as StdListener};
use std::sync::Arc;
use std::time::Duration;

use http::header::{ACCEPT, ALLOW, CONTENT_TYPE};
use http::{HeaderValue, Method, Request, Response, StatusCode};
use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{oneshot, watch, Semaphore};
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

use super::text::{Form, Snapshot};
use crate::cost::CostNow;
use crate::serve::{Question, Questions};

/// Connections at a time. One more waits in the socket's backlog until one of these has its answer.
const CONNECTIONS: usize = 8;

/// For one connection, from its beginning to its end. More than Prometheus waits by default.
const CONNECTION_WITHIN: Duration = Duration::from_secs(15);

/// For the agent's loops to give the accounts.
const OWNER_WITHIN: Duration = Duration::from_secs(4);

/// After a failure to accept, as when file descriptors are used up.
const TRY_AGAIN_AFTER: Duration = Duration::from_millis(100);

#[derive(Debug, thiserror::Error)]
#[error("--metrics-address {address}: {source} (give an address of this machine and a port that is free)")]
pub struct EndpointError {
    address: SocketAddr,
    source: io::Error,
}

/// The address, taken: from now on clients can connect, and wait for their answer.
#[derive(Debug)]
pub struct Endpoint(StdListener);

impl Endpoint {
    pub fn claim(address: SocketAddr) -> Result<Self, EndpointError> {
        let failed = |source| EndpointError { address, source };
        let listener = StdListener::bind(address).map_err(failed)?;
        listener.set_nonblocking(true).map_err(failed)?;
        Ok(Self(listener))
    }
}

/// Who knows what is told.
#[derive(Debug, Clone)]
pub struct Sources {
    pub cost: watch::Receiver<CostNow>,
    /// For the accounts.
    pub questions: Questions,
}

/// The running server.
#[derive(Debug)]
pub struct MetricsServer(JoinHandle<()>);

impl MetricsServer {
    /// Serves until `shutdown`. Needs a tokio runtime.
    pub fn start(endpoint: Endpoint, sources: Sources, shutdown: &CancellationToken) -> io::Result<Self> {
        let listener = TcpListener::from_std(endpoint.0)?;
        tracing::info!("metrics are at http://{}/metrics", listener.local_addr()?);
        let ended = shutdown.clone();
        Ok(Self(tokio::spawn(async move {
            ended.run_until_cancelled(accept(listener, sources, &ended)).await;
        })))
    }

    /// Returns soon after the shutdown token was cancelled, whatever clients do.
    pub async fn stopped(self) {
        if let Err(error) = self.0.await {
            tracing::error!("the metrics: {error}");
        }
    }
}

async fn accept(listener: TcpListener, sources: Sources, ended: &CancellationToken) {
    let room = Arc::new(Semaphore::new(CONNECTIONS));
    let mut is_told = false;
    loop {
        let permit = room.clone().acquire_owned().await.expect("the semaphore is never closed");
        match listener.accept().await {
            Ok((stream, _)) => {
                let (sources, ended) = (sources.clone(), ended.clone());
                tokio::spawn(async move {
                    let _permit = permit;
                    ended.run_until_cancelled(timeout(CONNECTION_WITHIN, converse(stream, sources))).await;
                });
            }
            Err(error) => {
                if !std::mem::replace(&mut is_told, true) {
                    tracing::warn!("--metrics-address: cannot accept a connection: {error}; trying again");
                }
                sleep(TRY_AGAIN_AFTER).await;
            }
        }
    }
}

async fn converse(stream: TcpStream, sources: Sources) {
    let service = service_fn(move |request| {
        let sources = sources.clone();
        async move { Ok::<_, Infallible>(answer(&request, &sources).await) }
    });
    let mut server = http1::Builder::new();
    // A connection that does not work out is the client's business.
    let _ = server.keep_alive(false).serve_connection(TokioIo::new(stream), service).await;
}

async fn answer(request: &Request<Incoming>, sources: &Sources) -> Response<Full<Bytes>> {
    if request.uri().path() != "/metrics" {
        return plain(StatusCode::NOT_FOUND, "nothing is here but /metrics\n");
    }
    if request.method() != Method::GET && request.method() != Method::HEAD {
        let mut refused = plain(StatusCode::METHOD_NOT_ALLOWED, "/metrics can be read alone\n");
        refused.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
        return refused;
    }
    let accept = request.headers().get_all(ACCEPT).iter().filter_map(|value| value.to_str().ok());
    let form = Form::accepted(&accept.collect::<Vec<_>>().join(","));
    let Some(snapshot) = snapshot(sources).await else {
        return plain(StatusCode::SERVICE_UNAVAILABLE, "the agent's loops do not answer; kubeward health says more\n");
    };
    match snapshot.text(form) {
        Ok(text) => respond(StatusCode::OK, form.content_type(), text),
        Err(error) => plain(StatusCode::INTERNAL_SERVER_ERROR, format!("writing the metrics: {error}\n")),
    }
}

/// `None`: nobody answers, or the agent ends.
async fn snapshot(sources: &Sources) -> Option<Snapshot> {
    let (reply, answer) = oneshot::channel();
    let asking = async {
        sources.questions.send(Question::Ledger(reply)).await.ok()?;
        answer.await.ok()
    };
    let accounts = timeout(OWNER_WITHIN, asking).await.ok().flatten()?;
    Some(Snapshot { cost: *sources.cost.borrow(), accounts })
}

fn plain(status: StatusCode, text: impl Into<String>) -> Response<Full<Bytes>> {
    respond(status, "text/plain; charset=utf-8", text.into())
}

fn respond(status: StatusCode, content_type: &'static str, text: String) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::from(text));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    response
}
