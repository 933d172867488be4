//! The way to the API server.

use std::path::Path;
use std::time::Duration;

use http::header::{HeaderValue, USER_AGENT};
use kube::client::ClientBuilder;
use kube::config::{InClusterError, KubeconfigError};
use kube::{Client, Config};
use tower::timeout::TimeoutLayer;

/// For a connection to come about.
const CONNECT_WITHIN: Duration = Duration::from_secs(10);

/// For an answer to begin. That of a watch begins at once, whenever its first event comes: a server that takes the request
/// and says nothing would else be waited for until [`ANSWER_WITHIN`].
pub(super) const ANSWER_BEGINS_WITHIN: Duration = Duration::from_secs(30);

/// Between two bytes of an answer. Longer than a watch is kept open (290 s): what must be faster has its own deadline.
const ANSWER_WITHIN: Duration = Duration::from_secs(300);

/// What every pod with a service account has.
const TOKEN: &str = "/var/run/secrets/kubernetes.io/serviceaccount/token";

#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    #[error("this pod's service account cannot be used: {0}; is automountServiceAccountToken false?")]
    InCluster(#[from] InClusterError),
    #[error("no kubeconfig can be used: {0}; set KUBECONFIG to one that can, or use --kubernetes off")]
    Kubeconfig(#[from] KubeconfigError),
    #[error("the configuration of the API server's client: {0}")]
    Client(#[source] kube::Error),
}

/// Whether this process runs in a pod that may speak with its API server.
pub fn is_in_pod() -> bool {
    std::env::var_os("KUBERNETES_SERVICE_HOST").is_some() && Path::new(TOKEN).exists()
}

/// A client, and the server's address for messages. Nothing is asked of the server yet.
///
/// In a pod the address comes from the environment, and token and authority are read anew as they are rotated; elsewhere all
/// comes from `KUBECONFIG` or `~/.kube/config`. `component` is how the server's log names us. To be called from within a
/// runtime.
pub async fn connect(component: &'static str) -> Result<(Client, String), ConnectError> {
    let mut config = match is_in_pod() {
        true => Config::incluster_env()?,
        false => Config::from_kubeconfig(&Default::default()).await?,
    };
    config.connect_timeout = Some(CONNECT_WITHIN);
    config.read_timeout = Some(ANSWER_WITHIN);
    config.reset_reader_on_write = true;
    // Whoever asks backs off by itself, with more patience: repeated at once, a request that timed out is a load for a server
    // that has too much of it.
    config.default_retry = false;
    config.headers.push((USER_AGENT, user_agent(component)));
    let server = config.cluster_url.to_string();
    let client = ClientBuilder::try_from(config).map_err(ConnectError::Client)?;
    let client = client.with_layer(&TimeoutLayer::new(ANSWER_BEGINS_WITHIN)).build();
    Ok((client, server.trim_end_matches('/').to_owned()))
}

fn user_agent(component: &'static str) -> HeaderValue {
    let text = format!("{component}/{}", env!("CARGO_PKG_VERSION"));
    HeaderValue::from_str(&text).expect("a component's name and a version are visible ASCII")
}
