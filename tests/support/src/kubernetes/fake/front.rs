//! The address that clients of the fake cluster speak to, over TLS as to a real one.

use std::fs;
use std::future::pending;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Context, Result};
use hyper::body::Incoming;
use hyper::header::CONTENT_TYPE;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Response, StatusCode};
use hyper_util::rt::TokioIo;
use kube::Client;
use serde_json::Value;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{AbortHandle, JoinSet};
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::{crypto::ring, ServerConfig};
use tokio_rustls::TlsAcceptor;

use super::super::background::{runtime, wait_for};
use super::discovery;
use super::forward::{forward, is_there, whole, Body, Failure};
use super::judge::{Judge, Verdict};
use super::request::Request;

/// How the content types of server-side applies begin.
const APPLY: &[u8] = b"application/apply-patch";

/// Ended with all its connections when dropped.
pub(super) struct Front {
    address: SocketAddr,
    accepting: AbortHandle,
    connections: Arc<Mutex<JoinSet<()>>>,
}

impl Front {
    pub(super) fn open(client: Client, judge: Arc<Judge>, certificate: &Path, key: &Path) -> Result<Self> {
        let tls = TlsAcceptor::from(Arc::new(tls_config(certificate, key)?));
        let listener = wait_for(TcpListener::bind("127.0.0.1:0")).context("opening a port for the fake cluster")?;
        let address = listener.local_addr()?;
        let connections = Arc::new(Mutex::new(JoinSet::new()));
        let opened = Arc::clone(&connections);
        let accepting = runtime().spawn(async move {
            // Accepting fails only for connections that are gone already.
            loop {
                let Ok((stream, _)) = listener.accept().await else { continue };
                let one = serve(stream, tls.clone(), client.clone(), Arc::clone(&judge));
                let mut opened = opened.lock().unwrap_or_else(PoisonError::into_inner);
                while opened.try_join_next().is_some() {}
                opened.spawn_on(one, runtime().handle());
            }
        });
        Ok(Self { address, accepting: accepting.abort_handle(), connections })
    }

    pub(super) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Closes every connection that is open now, with the watches in them.
    pub(super) fn cut(&self) {
        self.connections.lock().unwrap_or_else(PoisonError::into_inner).abort_all();
    }
}

impl Drop for Front {
    fn drop(&mut self) {
        self.accepting.abort();
        self.cut();
    }
}

fn tls_config(certificate: &Path, key: &Path) -> Result<ServerConfig> {
    let certificate = CertificateDer::from_pem_slice(&fs::read(certificate)?)?;
    let key = PrivateKeyDer::from_pem_slice(&fs::read(key)?)?;
    let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()?;
    Ok(config.with_no_client_auth().with_single_cert(vec![certificate], key)?)
}

async fn serve(stream: TcpStream, tls: TlsAcceptor, client: Client, judge: Arc<Judge>) {
    // A client that breaks off is its own affair.
    let Ok(stream) = tls.accept(stream).await else { return };
    let service = service_fn(|request| answer(request, &client, &judge));
    let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
}

fn json(code: u16, body: &Value) -> Result<Response<Body>, Failure> {
    let answer = Response::builder().status(code).header("content-type", "application/json");
    Ok(answer.body(whole(body.to_string().into_bytes()))?)
}

/// An error closes the connection.
async fn answer(request: hyper::Request<Incoming>, client: &Client, judge: &Judge) -> Result<Response<Body>, Failure> {
    let (parts, body) = request.into_parts();
    let asked = Request::read(&parts);
    judge.record(asked.clone());
    match judge.judge(&asked) {
        Verdict::Answer => {}
        Verdict::Hang => pending().await,
        Verdict::Drop => return Err("the fake cluster was told to drop it".into()),
        Verdict::Refuse(status) => return refuse(&status),
    }
    let is_apply = parts.headers.get(CONTENT_TYPE).is_some_and(|kind| kind.as_bytes().starts_with(APPLY));
    if let Some(status) = judge.judge_creation(&asked).filter(|_| is_apply) {
        if !is_there(client, &asked).await? {
            return refuse(&status);
        }
    }
    if let Some(list) = discovery::answer(&asked.path) {
        return json(200, &list);
    }
    let answer = forward(client, &asked, hyper::Request::from_parts(parts, body)).await?;
    // An apply that finds nothing to change needs the right to create as well.
    if asked.verb == "patch" && answer.status() == StatusCode::CREATED {
        judge.record(Request { verb: "create".to_owned(), ..asked });
    }
    Ok(answer)
}

fn refuse(status: &Value) -> Result<Response<Body>, Failure> {
    let code = status["code"].as_u64().and_then(|code| u16::try_from(code).ok()).unwrap_or(500);
    let answer = Response::builder().status(code).header(CONTENT_TYPE, "application/json");
    Ok(answer.body(whole(status.to_string().into_bytes()))?)
}
