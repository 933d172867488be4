//! The store behind the API server.

use std::fs::File;
use std::net::{Ipv4Addr, TcpListener};
use std::path::Path;
use std::process::{Child, Command};

use anyhow::{ensure, Context, Result};
use http_body_util::{BodyExt, Full};
use hyper::body::Bytes;
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use serde_json::{json, Value};

use super::background::wait_for;
use super::programs::Programs;

/// Ended when dropped.
pub(super) struct Etcd {
    daemon: Child,
    url: String,
}

impl Etcd {
    /// Returns before it answers: the API server waits for it.
    pub(super) fn start(programs: &Programs, dir: &Path) -> Result<Self> {
        let url = format!("http://127.0.0.1:{}", free_port()?);
        // Other members would be told this one; there are none.
        let peer = "http://127.0.0.1:0";
        let log = File::create(dir.join("etcd.log"))?;
        let daemon = Command::new(programs.etcd())
            .arg("--data-dir")
            .arg(dir.join("etcd"))
            .args(["--listen-client-urls", &url, "--advertise-client-urls", &url])
            .args(["--listen-peer-urls", peer, "--initial-advertise-peer-urls", peer])
            .args(["--initial-cluster", &format!("default={peer}")])
            // The data need not outlive a crash of the machine.
            .args(["--unsafe-no-fsync", "--log-level", "warn"])
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()
            .context("starting etcd")?;
        Ok(Self { daemon, url })
    }

    pub(super) fn url(&self) -> &str {
        &self.url
    }

    /// Forgets every earlier revision of every object.
    pub(super) fn compact(&self) -> Result<()> {
        let now = self.call("kv/range", &json!({ "key": BASE64_OF_NUL }))?;
        let revision = &now["header"]["revision"];
        ensure!(revision.is_string(), "etcd names no revision: {now}");
        self.call("kv/compaction", &json!({ "revision": revision, "physical": true }))?;
        Ok(())
    }

    fn call(&self, method: &str, request: &Value) -> Result<Value> {
        let request =
            hyper::Request::post(format!("{}/v3/{method}", self.url)).body(Full::from(request.to_string()))?;
        wait_for(async {
            let client: Client<_, Full<Bytes>> = Client::builder(TokioExecutor::new()).build_http();
            let answer = client.request(request).await.context("asking etcd")?;
            let status = answer.status();
            let body = answer.into_body().collect().await?.to_bytes();
            ensure!(status.is_success(), "etcd, {method}: {status}: {}", String::from_utf8_lossy(&body));
            Ok(serde_json::from_slice(&body)?)
        })
    }
}

/// A key that no object has: only the answer's header matters.
const BASE64_OF_NUL: &str = "AA==";

impl Drop for Etcd {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.daemon.kill();
        let _ = self.daemon.wait();
    }
}

/// A port that nobody listens at now. Another may take it first: then what was to listen there does not start.
pub(super) fn free_port() -> Result<u16> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port())
}
