//! A fake of an API server: one node and its pods, no policies. It does what Kubernetes' own CRD server, which the
//! kubernetes tier runs, has no code for.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::path::PathBuf;
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::thread;

use anyhow::{Context, Result};
use serde_json::{json, Value};
use tempfile::TempDir;

/// The one node.
pub(crate) const NODE: &str = "n1";

pub(crate) struct FakeApi {
    folder: TempDir,
    world: Arc<World>,
}

/// What there is, and all that happened to it. The threads that serve connections end with the test's process.
#[derive(Default)]
struct World {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    /// Metadata by resource and name.
    objects: BTreeMap<(&'static str, String), Value>,
    /// Resource, type and object of each change; the resourceVersion is how many there were.
    history: Vec<(&'static str, &'static str, Value)>,
    /// Resource that may not be listed.
    forbidden: Option<&'static str>,
}

impl FakeApi {
    pub(crate) fn start() -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").context("a port for the fake API server")?;
        let server = format!("http://{}", listener.local_addr()?);
        let config = json!({
            "apiVersion": "v1", "kind": "Config", "current-context": "fake",
            "clusters": [{"name": "fake", "cluster": {"server": server}}],
            "users": [{"name": "fake", "user": {}}],
            "contexts": [{"name": "fake", "context": {"cluster": "fake", "user": "fake"}}],
        });
        let fake = Self { folder: tempfile::tempdir()?, world: Arc::default() };
        std::fs::write(fake.kubeconfig(), config.to_string())?;
        let world = fake.world.clone();
        thread::spawn(move || {
            for connection in listener.incoming().flatten() {
                let world = world.clone();
                // A client that went away is no error of the fake's.
                thread::spawn(move || world.serve(connection).ok());
            }
        });
        Ok(fake)
    }

    pub(crate) fn kubeconfig(&self) -> PathBuf {
        self.folder.path().join("kubeconfig")
    }

    /// From now on, lists of this resource are answered by 403.
    pub(crate) fn forbid(&self, resource: Option<&'static str>) {
        self.world.state().forbidden = resource;
    }

    /// Makes or changes an object: its metadata.
    pub(crate) fn put(&self, resource: &'static str, metadata: Value) {
        let mut state = self.world.state();
        let name = metadata["name"].as_str().expect("an object has a name").to_owned();
        let mut metadata = metadata;
        metadata["resourceVersion"] = (state.history.len() + 1).to_string().into();
        let before = state.objects.insert((resource, name), metadata.clone());
        let kind = if before.is_some() { "MODIFIED" } else { "ADDED" };
        state.history.push((resource, kind, object(metadata)));
        self.world.changed.notify_all();
    }
}

impl World {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no thread panics while it holds the lock")
    }

    /// Serves one request and closes.
    fn serve(&self, connection: TcpStream) -> Result<()> {
        let mut lines = BufReader::new(connection.try_clone()?).lines();
        let first = lines.next().context("an empty request")??;
        lines.map_while(Result::ok).find(String::is_empty);
        let target = first.split(' ').nth(1).context("a request without a path")?.to_owned();
        let (path, query) = target.split_once('?').unwrap_or((&target, ""));
        let resource = match path {
            "/api/v1/pods" if query.contains("spec.nodeName%3Dn1") => Some("pods"),
            "/api/v1/nodes" if query.contains("metadata.name%3Dn1") => Some("nodes"),
            "/apis/kubeward.kubeward/v1/kubewards" => Some("kubewards"),
            _ => None,
        };
        let is_watch = query.contains("watch=true");
        match resource.filter(|_| first.starts_with("GET ")) {
            Some(resource) if is_watch => self.watch(&connection, resource, version(query))?,
            Some(resource) if self.state().forbidden == Some(resource) => {
                respond(&connection, 403, &status(403, "Forbidden", "the fake forbids it"))?;
            }
            Some(resource) => respond(&connection, 200, &self.list(resource))?,
            None => respond(&connection, 404, &status(404, "NotFound", "the fake has no such thing"))?,
        }
        Ok(connection.shutdown(Shutdown::Both)?)
    }

    fn list(&self, resource: &str) -> Value {
        let state = self.state();
        let items = state.objects.iter().filter(|((of, _), _)| *of == resource);
        let items: Vec<Value> = items.map(|(_, metadata)| object(metadata.clone())).collect();
        let version = state.history.len().to_string();
        json!({"kind": "PartialObjectMetadataList", "apiVersion": "meta.k8s.io/v1", "metadata": {"resourceVersion": version}, "items": items})
    }

    /// Until the client goes away.
    fn watch(&self, mut connection: &TcpStream, resource: &str, from: usize) -> Result<()> {
        write!(connection, "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nConnection: close\r\n\r\n")?;
        let mut told = from;
        loop {
            let news: Vec<_> = {
                let state = self.changed.wait_while(self.state(), |state| state.history.len() == told);
                let state = state.expect("no thread panics while it holds the lock");
                let news = state.history[told..].to_vec();
                told = state.history.len();
                news
            };
            for (_, kind, object) in news.iter().filter(|(of, ..)| *of == resource) {
                writeln!(connection, "{}", json!({"type": kind, "object": object}))?;
            }
        }
    }
}

fn version(query: &str) -> usize {
    let version = query.split('&').find_map(|pair| pair.strip_prefix("resourceVersion="));
    version.and_then(|version| version.parse().ok()).unwrap_or(0)
}

fn object(metadata: Value) -> Value {
    json!({"kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1", "metadata": metadata})
}

fn status(code: u16, reason: &str, message: &str) -> Value {
    json!({"kind": "Status", "apiVersion": "v1", "status": "Failure", "code": code, "reason": reason, "message": message})
}

fn respond(mut connection: &TcpStream, code: u16, value: &Value) -> Result<()> {
    let body = value.to_string();
    let head = format!(
        "HTTP/1.1 {code} Fake\r\nContent-Type: application/json\r\nConnection: close\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    Ok(connection.write_all(format!("{head}{body}").as_bytes())?)
}
