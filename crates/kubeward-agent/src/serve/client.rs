//! The other end: an agent's API from another process of this machine.

pub mod plan;

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::net::UnixStream;
use tokio::time::timeout;
use tonic::transport::{Channel, Endpoint};
use tonic::Status;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;
use tonic_health::pb::HealthCheckRequest;

use super::api::ANSWER_BYTES;
use super::health::{Verdict, REASON};
use super::proto::kube_ward_client::KubeWardClient;

/// Where an agent listens unless it is told otherwise.
pub const DEFAULT_SOCKET: &str = "/run/kubeward/kubeward.sock";

/// For connecting and a short answer.
pub const ANSWER_WITHIN: Duration = Duration::from_secs(4);

/// No answer, and what to do about it.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    #[error("no agent answers on {}: there is no such socket; start kubeward agent, or name its socket with --socket", .0.display())]
    Missing(PathBuf),
    #[error("no agent answers on {}: nothing listens there any more; start kubeward agent", .0.display())]
    Refused(PathBuf),
    #[error("{}: permission denied; the agent's socket is its user's alone: run as root", .0.display())]
    Denied(PathBuf),
    #[error("no answer on {} within {} s: the agent hangs, or the machine is too busy for it", path.display(), limit.as_secs())]
    Silent { path: PathBuf, limit: Duration },
    #[error("{}: cannot connect: {source}", path.display())]
    Connect { path: PathBuf, source: io::Error },
    #[error("{}: what listens there is no KubeWard: {source}", path.display())]
    NotKubeWard { path: PathBuf, source: tonic::transport::Error },
    #[error("{}: {} ({:?})", path.display(), status.message(), status.code())]
    Status { path: PathBuf, status: Box<Status> },
}

/// A connection to the agent that listens at `path`.
pub async fn connect(path: &Path) -> Result<Channel, ClientError> {
    let opening = async {
        // The channel's own errors hide the kernel's: ask the kernel first.
        UnixStream::connect(path).await.map_err(|source| refusal(path, source))?;
        let not_kubeward = |source| ClientError::NotKubeWard { path: path.to_owned(), source };
        let endpoint = Endpoint::from_shared(format!("unix://{}", path.display())).map_err(not_kubeward)?;
        endpoint.connect().await.map_err(not_kubeward)
    };
    timeout(ANSWER_WITHIN, opening).await.unwrap_or_else(|_| Err(silent(path)))
}

/// The KubeWard service of such a connection.
pub fn kubeward(channel: Channel) -> KubeWardClient<Channel> {
    KubeWardClient::new(channel).max_decoding_message_size(ANSWER_BYTES)
}

/// What the process behind the socket says about its health: [`super::health::LIVENESS`] or [`super::health::READINESS`].
pub async fn health(path: &Path, service: &str) -> Result<Verdict, ClientError> {
    let asking = async {
        let mut client = HealthClient::new(connect(path).await?);
        let answer = client.check(HealthCheckRequest { service: service.to_owned() }).await;
        answer.map_err(|status| ClientError::Status { path: path.to_owned(), status: Box::new(status) })
    };
    let answer = timeout(ANSWER_WITHIN, asking).await.unwrap_or_else(|_| Err(silent(path)))?;
    let why = answer.metadata().get_bin(REASON).and_then(|value| value.to_bytes().ok());
    let why =
        why.map_or_else(|| "it does not say why".to_owned(), |bytes| String::from_utf8_lossy(&bytes).into_owned());
    Ok(Verdict { holds: answer.get_ref().status() == ServingStatus::Serving, why })
}

fn silent(path: &Path) -> ClientError {
    ClientError::Silent { path: path.to_owned(), limit: ANSWER_WITHIN }
}

fn refusal(path: &Path, source: io::Error) -> ClientError {
    let path = path.to_owned();
    match source.kind() {
        // NotADirectory: a part of the path is a file.
        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => ClientError::Missing(path),
        io::ErrorKind::ConnectionRefused => ClientError::Refused(path),
        io::ErrorKind::PermissionDenied => ClientError::Denied(path),
        _ => ClientError::Connect { path, source },
    }
}
