//! A cluster to an agent's eyes: the real CRD server behind a front that fakes what that server lacks.

mod discovery;
mod forward;
mod front;
mod judge;
mod request;
mod stand_in;

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use serde_json::Value;

use super::api::Api;
use super::identity::Credential;
use super::server::ApiServer;
use front::Front;
use judge::{Judge, ADMINISTRATOR};

pub use judge::Fault;
pub use request::Request;

/// Pods, nodes, namespaces, DaemonSets, Events, Leases, users and their rights are faked; custom resources are not.
///
/// Whoever comes with a token is the user of that name and may do all, until [`FakeCluster::grant`] says what it may.
pub struct FakeCluster {
    // Both are closed before the server that they speak to ends.
    front: Front,
    /// The test's own, so that cut connections are not among them.
    _back: Front,
    judge: Arc<Judge>,
    api: Api,
    server: ApiServer,
}

impl FakeCluster {
    /// Starts an API server of its own behind it.
    pub fn start() -> Result<Self> {
        eprintln!("fake: pods, nodes, namespaces, DaemonSets, Events, Leases, tokens and RBAC of this test");
        let server = ApiServer::start()?;
        server.install_crds(&stand_in::definitions()).context("standing in for pods and others")?;
        let judge = Arc::new(Judge::default());
        let identity = server.identity();
        let (certificate, key) = (identity.path("server.crt"), identity.path("server.key"));
        let open = || Front::open(server.api().client().clone(), Arc::clone(&judge), &certificate, &key);
        let (front, back) = (open()?, open()?);
        let kubeconfig = server.dir().join("kubeconfig-of-the-test");
        identity.write_kubeconfig(&kubeconfig, &url(&back), Credential::Token(ADMINISTRATOR))?;
        let api = Api::of(&kubeconfig)?;
        Ok(Self { front, _back: back, judge, api, server })
    }

    /// The test's own calls: neither recorded nor refused.
    pub fn api(&self) -> &Api {
        &self.api
    }

    /// The server behind it, to install definitions, to stop and to start again.
    pub fn server(&mut self) -> &mut ApiServer {
        &mut self.server
    }

    pub fn address(&self) -> SocketAddr {
        self.front.address()
    }

    /// A kubeconfig of the user that the token names.
    pub fn kubeconfig(&self, token: &str) -> Result<PathBuf> {
        let file = self.server.dir().join(format!("kubeconfig-{token}"));
        self.server.identity().write_kubeconfig(&file, &url(&self.front), Credential::Token(token))?;
        Ok(file)
    }

    /// The calls of the user that the token names.
    pub fn user(&self, token: &str) -> Result<Api> {
        Api::of(&self.kubeconfig(token)?)
    }

    /// A kubeconfig with the token in a file that the test may write anew.
    pub fn kubeconfig_with_token_file(&self, token_file: &Path) -> Result<PathBuf> {
        let name = token_file.file_name().unwrap_or_default().to_string_lossy();
        let file = self.server.dir().join(format!("kubeconfig-with-file-{name}"));
        self.server.identity().write_kubeconfig(&file, &url(&self.front), Credential::TokenFile(token_file))?;
        Ok(file)
    }

    /// Writes what a pod finds in /var/run/secrets/kubernetes.io/serviceaccount.
    pub fn write_service_account(&self, dir: &Path, token: &str, namespace: &str) -> Result<()> {
        fs::copy(self.server.identity().path("ca.crt"), dir.join("ca.crt")).context("the authority's certificate")?;
        fs::write(dir.join("token"), token).context("the token")?;
        fs::write(dir.join("namespace"), namespace).context("the namespace")
    }

    /// Puts an object of the faked kinds there, whatever was there; what the server made of it. A uid in it is kept.
    pub fn put(&self, object: &Value) -> Result<Value> {
        self.api.apply(&path_of(object)?, object)
    }

    /// Removes it; only its kind, name and namespace matter.
    pub fn remove(&self, object: &Value) -> Result<()> {
        self.api.delete(&path_of(object)?)
    }

    /// From now on requests whose path begins with `prefix` go wrong; of several that fit, the latest counts.
    pub fn set_fault(&self, prefix: &str, fault: Fault) {
        self.judge.set_fault(prefix, fault);
    }

    pub fn clear_faults(&self) {
        self.judge.clear_faults();
    }

    /// Closes every connection but the test's own, with the watches in it.
    pub fn cut_connections(&self) {
        self.front.cut();
    }

    /// The token is no longer known: 401.
    pub fn expire_token(&self, token: &str) {
        self.judge.expire(token);
    }

    /// The user may do what these Roles and ClusterRoles say, and nothing else.
    pub fn grant(&self, user: &str, roles: &[Value]) {
        self.judge.grant(user, roles);
    }

    /// All requests so far but the test's own, the refused ones included.
    pub fn requests(&self) -> Vec<Request> {
        self.judge.requests()
    }

    /// Waits for a request that `is_it` says yes to, after the first `skip` of [`FakeCluster::requests`].
    pub fn wait_for_request(&self, skip: usize, limit: Duration, is_it: impl Fn(&Request) -> bool) -> Result<Request> {
        let found = self.judge.wait_for(skip, limit, is_it);
        found.with_context(|| format!("no such request in {limit:?} among {:#?}", self.requests()))
    }
}

fn path_of(object: &Value) -> Result<String> {
    stand_in::path_of(object).with_context(|| format!("the fake cluster has no such object: {object}"))
}

fn url(front: &Front) -> String {
    format!("https://{}", front.address())
}
