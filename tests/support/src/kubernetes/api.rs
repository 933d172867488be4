//! Plain calls of the API, as the cluster's administrator: what a test does with `kubectl`.

use std::path::Path;
use std::time::Duration;

use anyhow::{ensure, Context, Result};
use http::{Method, Request};
use http_body_util::BodyExt;
use kube::client::Body;
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Client, Config};
use serde_json::Value;
use tokio::time::timeout;

use super::background::wait_for;

/// For one answer; the server answers in milliseconds on an idle machine.
const CALL_LIMIT: Duration = Duration::from_secs(30);

/// Calls that wait for their answer. Paths are the API's own: `/apis/kubeward.kubeward/v1/kubewards/web`.
#[derive(Clone)]
pub struct Api {
    client: Client,
}

/// What the server answered, accepted or refused.
#[derive(Debug, Clone)]
pub struct Answer {
    pub code: u16,
    /// The object, the list, or the `Status` that says why not.
    pub body: Value,
}

impl Answer {
    /// The server's words for a refusal; empty when it did not refuse.
    pub fn refusal(&self) -> &str {
        if self.code < 400 {
            return "";
        }
        self.body["message"].as_str().unwrap_or("(no message)")
    }

    fn accepted(self, call: &str) -> Result<Value> {
        ensure!(self.code < 400, "{call}: {} {}", self.code, self.body);
        Ok(self.body)
    }
}

/// The client of a kubeconfig, for the runtime that the caller is in.
pub async fn client_of(kubeconfig: &Path) -> Result<Client> {
    let kubeconfig = Kubeconfig::read_from(kubeconfig)?;
    let config = Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await?;
    Ok(Client::try_from(config)?)
}

impl Api {
    pub(super) fn of(kubeconfig: &Path) -> Result<Self> {
        Ok(Self { client: wait_for(client_of(kubeconfig))? })
    }

    pub(super) fn client(&self) -> &Client {
        &self.client
    }

    /// Any call. An error only when there is no answer at all.
    pub fn call(&self, method: Method, path: &str, headers: &[(&str, &str)], body: Option<&Value>) -> Result<Answer> {
        let mut request = Request::builder().method(method.clone()).uri(path);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let body = body.map(|body| body.to_string().into_bytes()).unwrap_or_default();
        let request = request.body(Body::from(body))?;
        let answer = async {
            let answer = self.client.send(request).await?;
            let code = answer.status().as_u16();
            let body = answer.into_body().collect_bytes().await?;
            // Health checks and some refusals are plain text.
            let body = serde_json::from_slice(&body).unwrap_or_else(|_| String::from_utf8_lossy(&body).into());
            anyhow::Ok(Answer { code, body })
        };
        wait_for(async { timeout(CALL_LIMIT, answer).await })
            .with_context(|| format!("{method} {path}: no answer in {CALL_LIMIT:?}"))?
            .with_context(|| format!("{method} {path}"))
    }

    pub fn get(&self, path: &str) -> Result<Value> {
        self.call(Method::GET, path, &[], None)?.accepted(path)
    }

    /// The objects of a list.
    pub fn list(&self, path: &str) -> Result<Vec<Value>> {
        let list = self.get(path)?;
        Ok(list["items"].as_array().with_context(|| format!("{path} is no list: {list}"))?.clone())
    }

    /// Creates an object in the collection at `path`; the answer may be a refusal.
    pub fn try_create(&self, path: &str, object: &Value) -> Result<Answer> {
        self.call(Method::POST, path, &[("content-type", "application/json")], Some(object))
    }

    pub fn create(&self, path: &str, object: &Value) -> Result<Value> {
        self.try_create(path, object)?.accepted(path)
    }

    /// Puts the object at `path` there, whatever was there: `kubectl apply --server-side --force-conflicts`.
    pub fn apply(&self, path: &str, object: &Value) -> Result<Value> {
        let path = format!("{path}?fieldManager=test&force=true");
        self.call(Method::PATCH, &path, &[("content-type", "application/apply-patch+yaml")], Some(object))?
            .accepted(&path)
    }

    /// A JSON merge patch of the object at `path`.
    pub fn patch(&self, path: &str, patch: &Value) -> Result<Value> {
        self.call(Method::PATCH, path, &[("content-type", "application/merge-patch+json")], Some(patch))?.accepted(path)
    }

    pub fn delete(&self, path: &str) -> Result<()> {
        self.call(Method::DELETE, path, &[], None)?.accepted(path)?;
        Ok(())
    }

    /// What `kubectl get` shows: the columns' names, then a row for each object.
    pub fn table(&self, path: &str) -> Result<Vec<Vec<String>>> {
        let accept = [("accept", "application/json;as=Table;v=v1;g=meta.k8s.io")];
        let table = self.call(Method::GET, path, &accept, None)?.accepted(path)?;
        let text = |cell: &Value| cell.as_str().map_or_else(|| cell.to_string(), str::to_owned);
        let row = |cells: &Value| cells.as_array().map(|cells| cells.iter().map(text).collect::<Vec<_>>());
        let names = table["columnDefinitions"].as_array().context("a table has columns")?;
        let mut rows = vec![names.iter().map(|column| text(&column["name"])).collect()];
        rows.extend(table["rows"].as_array().into_iter().flatten().filter_map(|each| row(&each["cells"])));
        Ok(rows)
    }

    /// Waits until `holds` of the object at `path`, and returns it then. Told by a watch, not by asking again.
    pub fn wait_until(&self, path: &str, limit: Duration, holds: impl Fn(&Value) -> bool + Sync) -> Result<Value> {
        let (collection, name) = path.rsplit_once('/').context("the path of an object ends in its name")?;
        let watch = format!("{collection}?watch=true&fieldSelector=metadata.name%3D{name}");
        let mut last = Value::Null;
        let wait = async {
            let request = Request::get(&watch).body(Body::empty())?;
            let answer = self.client.send(request).await?;
            ensure!(answer.status().is_success(), "the watch is refused: {}", answer.status());
            let mut events = answer.into_body();
            let mut read = Vec::new();
            while let Some(frame) = events.frame().await {
                read.extend(frame?.into_data().unwrap_or_default());
                while let Some(end) = read.iter().position(|byte| *byte == b'\n') {
                    let line: Vec<u8> = read.drain(..=end).collect();
                    last = serde_json::from_slice::<Value>(&line)?["object"].take();
                    if holds(&last) {
                        return Ok(());
                    }
                }
            }
            anyhow::bail!("the watch ended")
        };
        let ended = wait_for(async { timeout(limit, wait).await });
        match ended {
            Ok(result) => result.with_context(|| format!("waiting for {path}, which was last {last}"))?,
            Err(_) => anyhow::bail!("{path} is not so in {limit:?}; it was last {last}"),
        }
        Ok(last)
    }
}
