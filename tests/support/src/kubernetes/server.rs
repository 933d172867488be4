//! Kubernetes' own server of custom resources, with an etcd of its own, on this machine.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{bail, ensure, Context, Result};
use http::Method;
use serde::Serialize;
use serde_json::Value;
use tempfile::TempDir;

use super::api::Api;
use super::etcd::{free_port, Etcd};
use super::identity::{write_kubeconfig_to_nowhere, Credential, Identity};
use super::programs::Programs;

/// From the start of the server to its first answer; a second on an idle machine.
const START_LIMIT: Duration = Duration::from_secs(120);
/// From an applied definition to the resource being served; 0.1 s on an idle machine.
const ESTABLISHED_LIMIT: Duration = Duration::from_secs(60);
/// A port may be taken between its choice and its use.
const START_TRIES: usize = 3;
/// What asks for resources or servers that are not there.
const ADMISSION_OFF: &str = "NamespaceLifecycle,MutatingAdmissionWebhook,ValidatingAdmissionWebhook,\
                             ValidatingAdmissionPolicy,MutatingAdmissionPolicy";
const DEFINITIONS: &str = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions";

/// The server of one test; it and its etcd end when dropped, also on panic.
///
/// It serves custom resources as a cluster does (schemas, CEL, status, watches, conflicts) and nothing else: no pods,
/// no RBAC, no list of its groups. [`super::FakeCluster`] stands in for those.
pub struct ApiServer {
    programs: Programs,
    dir: TempDir,
    identity: Identity,
    etcd: Etcd,
    port: u16,
    daemon: Option<Child>,
    api: Api,
}

impl ApiServer {
    /// Returns when it answers.
    pub fn start() -> Result<Self> {
        let mut tried = 1;
        loop {
            match Self::start_on_free_ports() {
                Err(error) if tried < START_TRIES && format!("{error:#}").contains("address already in use") => {
                    tried += 1
                }
                result => return result,
            }
        }
    }

    fn start_on_free_ports() -> Result<Self> {
        let programs = Programs::find()?;
        let dir = tempfile::Builder::new().prefix("kubeward-apiserver-").tempdir()?;
        let identity = Identity::make(dir.path())?;
        let etcd = Etcd::start(&programs, dir.path())?;
        let port = free_port()?;
        let kubeconfig = dir.path().join("kubeconfig");
        identity.write_kubeconfig(&kubeconfig, &format!("https://127.0.0.1:{port}"), Credential::Administrator)?;
        write_kubeconfig_to_nowhere(&dir.path().join("nowhere"))?;
        let api = Api::of(&kubeconfig)?;
        let mut server = Self { programs, dir, identity, etcd, port, daemon: None, api };
        server.start_again()?;
        Ok(server)
    }

    /// The administrator's kubeconfig, complete in one file.
    pub fn kubeconfig(&self) -> PathBuf {
        self.dir.path().join("kubeconfig")
    }

    /// A folder that goes with the server.
    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// The administrator's calls.
    pub fn api(&self) -> &Api {
        &self.api
    }

    pub(super) fn identity(&self) -> &Identity {
        &self.identity
    }

    /// `kill -9` of the server; what it stored stays.
    pub fn stop(&mut self) -> Result<()> {
        let mut daemon = self.daemon.take().context("the API server does not run")?;
        daemon.kill()?;
        daemon.wait()?;
        Ok(())
    }

    /// Starts it at the same address with what it stored, and returns when it answers.
    pub fn start_again(&mut self) -> Result<()> {
        ensure!(self.daemon.is_none(), "the API server runs already");
        let nowhere = self.dir.path().join("nowhere");
        let log = File::options().create(true).append(true).open(self.log_path())?;
        let daemon = Command::new(self.programs.server())
            .args(["--etcd-servers", self.etcd.url(), "--bind-address", "127.0.0.1"])
            .args(["--secure-port", &self.port.to_string()])
            .args(["--disable-admission-plugins", ADMISSION_OFF])
            .args(["--authentication-skip-lookup", "--enable-priority-and-fairness=false"])
            .arg("--client-ca-file")
            .arg(self.identity.path("ca.crt"))
            .arg("--tls-cert-file")
            .arg(self.identity.path("server.crt"))
            .arg("--tls-private-key-file")
            .arg(self.identity.path("server.key"))
            .arg("--kubeconfig")
            .arg(&nowhere)
            .arg("--authentication-kubeconfig")
            .arg(&nowhere)
            .arg("--authorization-kubeconfig")
            .arg(&nowhere)
            .current_dir(self.dir.path())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()
            .context("starting the API server")?;
        self.daemon = Some(daemon);
        self.wait_for_answer()
    }

    /// Ready but for the resources that it never has, which /readyz itself waits for.
    fn is_ready(&self) -> bool {
        let answer = self.api.call(Method::GET, "/readyz/poststarthook/crd-informer-synced", &[], None);
        answer.is_ok_and(|answer| answer.code == 200)
    }

    fn wait_for_answer(&mut self) -> Result<()> {
        let deadline = Instant::now() + START_LIMIT;
        while !self.is_ready() {
            let ended = self.daemon.as_mut().map(Child::try_wait).transpose()?.flatten();
            if let Some(status) = ended {
                self.daemon = None;
                bail!("the API server ended at its start ({status}):\n{}", self.log_tail());
            }
            ensure!(
                Instant::now() < deadline,
                "the API server is not ready after {START_LIMIT:?}:\n{}",
                self.log_tail()
            );
            sleep(Duration::from_millis(20));
        }
        Ok(())
    }

    /// The last lines of the server's and etcd's logs.
    fn log_tail(&self) -> String {
        let tail = |path: PathBuf| {
            let log = fs::read_to_string(path).unwrap_or_default();
            let lines: Vec<&str> = log.lines().collect();
            lines[lines.len().saturating_sub(15)..].join("\n")
        };
        format!("{}\n{}", tail(self.dir.path().join("etcd.log")), tail(self.log_path()))
    }

    fn log_path(&self) -> PathBuf {
        self.dir.path().join("server.log")
    }

    /// Makes the store forget all earlier versions: whoever asks to go on from one of them is answered 410 Gone, once the
    /// server has forgotten them too, which it does when it is started again.
    pub fn compact(&self) -> Result<()> {
        self.etcd.compact()
    }

    /// Applies definitions of custom resources; returns when the resources are served.
    pub fn install_crds<T: Serialize>(&self, definitions: &[T]) -> Result<()> {
        let definitions: Vec<Value> = definitions.iter().map(serde_json::to_value).collect::<Result<_, _>>()?;
        let path = |definition: &Value| match definition["metadata"]["name"].as_str() {
            Some(name) => Ok(format!("{DEFINITIONS}/{name}")),
            None => bail!("a definition without a name: {definition}"),
        };
        for definition in &definitions {
            self.api.apply(&path(definition)?, definition)?;
        }
        for definition in &definitions {
            self.api.wait_until(&path(definition)?, ESTABLISHED_LIMIT, is_established)?;
        }
        Ok(())
    }
}

fn is_established(definition: &Value) -> bool {
    let conditions = definition["status"]["conditions"].as_array();
    conditions
        .into_iter()
        .flatten()
        .any(|condition| condition["type"] == "Established" && condition["status"] == "True")
}

impl Drop for ApiServer {
    fn drop(&mut self) {
        if let Some(mut daemon) = self.daemon.take() {
            // It may have ended by itself.
            let _ = daemon.kill();
            let _ = daemon.wait();
        }
    }
}
