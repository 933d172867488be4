//! An API server that a test plays: it sees each request and says what the answer is.

use std::pin::Pin;
use std::task::{Context, Poll};

use http::{Request, Response};
use http_body::Frame;
use kube::client::Body;
use kube::Client;
use prost::bytes::Bytes;
use serde_json::Value;
use tokio::sync::{mpsc, oneshot};

type Answer = Result<Response<Chunks>, std::io::Error>;

/// A client, and what it asks for.
pub(super) fn server() -> (Client, Requests) {
    let (sender, requests) = mpsc::unbounded_channel();
    let service = tower::service_fn(move |request: Request<Body>| {
        let (answer, answered) = oneshot::channel();
        sender.send(Asked { request, answer }).ok();
        // A question that the test drops without an answer is a connection that broke.
        async move { answered.await.unwrap_or_else(|_| Err(std::io::ErrorKind::ConnectionReset.into())) }
    });
    (Client::new(service, "default"), Requests(requests))
}

pub(super) struct Requests(mpsc::UnboundedReceiver<Asked>);

impl Requests {
    pub(super) async fn next(&mut self) -> Asked {
        self.0.recv().await.expect("the client is there")
    }

    /// The next one, which must be for a list.
    pub(super) async fn list(&mut self) -> Asked {
        let asked = self.next().await;
        assert!(!asked.is_watch(), "{}", asked.query());
        asked
    }

    /// The next one, which must be for a watch.
    pub(super) async fn watch(&mut self) -> Asked {
        let asked = self.next().await;
        assert!(asked.is_watch(), "{}", asked.query());
        asked
    }
}

/// One request. Dropped, it is a broken connection.
pub(super) struct Asked {
    request: Request<Body>,
    answer: oneshot::Sender<Answer>,
}

impl Asked {
    pub(super) fn path(&self) -> &str {
        self.request.uri().path()
    }

    /// With `%3D` and the like read as what they mean.
    pub(super) fn query(&self) -> String {
        let query = self.request.uri().query().unwrap_or_default();
        query.replace("%3D", "=").replace("%21", "!").replace("%2C", ",")
    }

    pub(super) fn accepts(&self) -> &str {
        self.request.headers().get("accept").and_then(|value| value.to_str().ok()).unwrap_or_default()
    }

    fn is_watch(&self) -> bool {
        self.query().contains("watch=true")
    }

    /// Answers with the metadata of these objects, as of this version.
    pub(super) fn objects(self, version: &str, metadata: &[Value]) {
        let items: Vec<Value> = metadata.iter().map(object).collect();
        let (kind, api_version) = ("PartialObjectMetadataList", "meta.k8s.io/v1");
        let metadata = serde_json::json!({"resourceVersion": version});
        self.json(
            200,
            &serde_json::json!({"kind": kind, "apiVersion": api_version, "metadata": metadata, "items": items}),
        );
    }

    pub(super) fn refuse(self, code: u16, message: &str) {
        self.json(code, &status(code, message));
    }

    fn json(self, code: u16, value: &Value) {
        self.begin(code).send(value);
    }

    /// Answers with a stream of events, which ends when what is returned is dropped.
    pub(super) fn events(self) -> Events {
        self.begin(200)
    }

    fn begin(self, code: u16) -> Events {
        let (sender, chunks) = mpsc::unbounded_channel();
        let response = Response::builder().status(code).body(Chunks(chunks)).expect("the status is valid");
        self.answer.send(Ok(response)).ok();
        Events(sender)
    }
}

/// The answer to a watch.
pub(super) struct Events(mpsc::UnboundedSender<Bytes>);

impl Events {
    /// `kind` is ADDED, MODIFIED or DELETED.
    pub(super) fn event(&self, kind: &str, metadata: &Value) {
        self.send(&serde_json::json!({"type": kind, "object": object(metadata)}));
    }

    /// As etcd's compaction makes it: the watch's version is too old.
    pub(super) fn gone(&self) {
        self.send(&serde_json::json!({"type": "ERROR", "object": status(410, "too old resource version")}));
    }

    fn send(&self, value: &Value) {
        self.0.send(format!("{value}\n").into()).ok();
    }
}

fn object(metadata: &Value) -> Value {
    serde_json::json!({"kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1", "metadata": metadata})
}

fn status(code: u16, message: &str) -> Value {
    serde_json::json!({"kind": "Status", "apiVersion": "v1", "status": "Failure", "message": message, "reason": "Test", "code": code})
}

/// A body of the chunks that come through a channel.
struct Chunks(mpsc::UnboundedReceiver<Bytes>);

impl http_body::Body for Chunks {
    type Data = Bytes;
    type Error = std::io::Error;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<std::io::Result<Frame<Bytes>>>> {
        self.0.poll_recv(context).map(|chunk| chunk.map(|chunk| Ok(Frame::data(chunk))))
    }
}
