//! The calls to containerd, each with a limit of time.

use std::future::Future;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use containerd_client::services::v1 as api;
use containerd_client::types::v1::Status as TaskStatus;
use containerd_client::types::Envelope;
use futures_util::stream::BoxStream;
use futures_util::{StreamExt, TryFutureExt};
use tonic::transport::Channel;
use tonic::{Code, Request, Response, Status};

use super::reconcile::{Key, ListedTask, TaskState};
use super::record::Record;
use super::socket::{connect_error, SocketError};

/// For one look-up: answered from containerd's own database.
const LOOKUP_LIMIT: Duration = Duration::from_secs(2);
/// For a list of tasks: containerd asks every shim, each with its own limit of two seconds.
const LIST_LIMIT: Duration = Duration::from_secs(10);
/// What containerd's own client accepts; tonic's 4 MiB is less than a crowded node's list.
const MESSAGE_BYTES_MAX: usize = 16 << 20;
/// Only these topics concern containers; images and snapshots are loud and do not.
const TOPICS: [&str; 2] = [r#"topic~="^/containers/""#, r#"topic~="^/tasks/""#];

/// A call that failed.
#[derive(Debug, thiserror::Error)]
pub enum RpcError {
    #[error("{call}: no answer within {} s", limit.as_secs())]
    Timeout { call: &'static str, limit: Duration },
    #[error("{call}: {} ({:?})", status.message(), status.code())]
    Status { call: &'static str, status: Box<Status> },
}

pub(super) type Events = BoxStream<'static, Result<Envelope, Status>>;

/// An open connection. Cheap to clone.
#[derive(Clone)]
pub(super) struct Client {
    channel: Channel,
}

impl Client {
    /// Connects and asks for the version, which proves that containerd is what answers.
    pub(super) async fn open(path: &Arc<Path>) -> Result<(Self, String), SocketError> {
        let silent = || SocketError::Silent { path: path.clone(), limit: LOOKUP_LIMIT };
        // The channel's own errors hide the kernel's: ask the kernel first.
        let probe = tokio::net::UnixStream::connect(path.as_ref());
        tokio::time::timeout(LOOKUP_LIMIT, probe)
            .await
            .map_err(|_| silent())?
            .map_err(|error| connect_error(path, error))?;
        let channel = tokio::time::timeout(LOOKUP_LIMIT, containerd_client::connect(path))
            .await
            .map_err(|_| silent())?
            .map_err(|error| SocketError::Connect { path: path.clone(), source: std::io::Error::other(error) })?;

        let mut client = api::version_client::VersionClient::new(channel.clone());
        match bounded("version", LOOKUP_LIMIT, client.version(())).await {
            Ok(answer) => Ok((Self { channel }, answer.version)),
            Err(RpcError::Timeout { .. }) => Err(silent()),
            Err(source) => Err(SocketError::NotContainerd { path: path.clone(), source }),
        }
    }

    /// Events from about now on, until the connection breaks. containerd answers the call itself with the first
    /// event, so there is nothing to wait for and no limit of time; the lists notice a daemon that hangs.
    pub(super) fn events(&self) -> Events {
        let mut client = api::events_client::EventsClient::new(self.channel.clone());
        let filters = TOPICS.map(str::to_owned).to_vec();
        let call = async move { client.subscribe(api::SubscribeRequest { filters }).await };
        call.map_ok(Response::into_inner).try_flatten_stream().boxed()
    }

    pub(super) async fn namespaces(&self) -> Result<Vec<Arc<str>>, RpcError> {
        let mut client = api::namespaces_client::NamespacesClient::new(self.channel.clone());
        let request = api::ListNamespacesRequest { filter: String::new() };
        let answer = bounded("list namespaces", LOOKUP_LIMIT, client.list(request)).await?;
        Ok(answer.namespaces.into_iter().map(|namespace| namespace.name.into()).collect())
    }

    pub(super) async fn tasks(&self, namespace: &Arc<str>) -> Result<Vec<(Key, ListedTask)>, RpcError> {
        let mut client =
            api::tasks_client::TasksClient::new(self.channel.clone()).max_decoding_message_size(MESSAGE_BYTES_MAX);
        let request = scoped("list tasks", namespace, api::ListTasksRequest { filter: String::new() })?;
        let answer = bounded("list tasks", LIST_LIMIT, client.list(request)).await?;
        let listed = answer.tasks.into_iter().map(|task| {
            let state = match TaskStatus::try_from(task.status) {
                Ok(TaskStatus::Created) => TaskState::Created,
                Ok(TaskStatus::Stopped) => TaskState::Ended,
                _ => TaskState::Started,
            };
            // `container_id` is empty in a list; `id` is the container's for an init process.
            (Key::new(namespace, task.id), ListedTask { pid: task.pid, state })
        });
        Ok(listed.collect())
    }

    /// `None` when the container has been deleted, or its namespace has.
    pub(super) async fn record(&self, key: &Key) -> Result<Option<Record>, RpcError> {
        let mut client = api::containers_client::ContainersClient::new(self.channel.clone())
            .max_decoding_message_size(MESSAGE_BYTES_MAX);
        let request = scoped("get container", &key.namespace, api::GetContainerRequest { id: key.id.0.clone() })?;
        let answer = found(bounded("get container", LOOKUP_LIMIT, client.get(request)).await)?;
        Ok(answer.and_then(|answer| answer.container).map(Record::from))
    }

    /// Digest of the manifest or index that `image` names now; `None` when the image has been removed.
    pub(super) async fn image_digest(&self, namespace: &Arc<str>, image: &str) -> Result<Option<String>, RpcError> {
        let mut client = api::images_client::ImagesClient::new(self.channel.clone());
        let request = scoped("get image", namespace, api::GetImageRequest { name: image.to_owned() })?;
        let answer = found(bounded("get image", LOOKUP_LIMIT, client.get(request)).await)?;
        Ok(answer.and_then(|answer| answer.image?.target).map(|target| target.digest))
    }
}

/// A request in one of containerd's namespaces.
fn scoped<T>(call: &'static str, namespace: &str, message: T) -> Result<Request<T>, RpcError> {
    let value = namespace.parse().map_err(|_| RpcError::Status {
        call,
        status: Box::new(Status::invalid_argument(format!("namespace {namespace:?} cannot be sent"))),
    })?;
    let mut request = Request::new(message);
    request.metadata_mut().insert("containerd-namespace", value);
    Ok(request)
}

async fn bounded<T>(
    call: &'static str,
    limit: Duration,
    answer: impl Future<Output = Result<Response<T>, Status>>,
) -> Result<T, RpcError> {
    match tokio::time::timeout(limit, answer).await {
        Ok(Ok(response)) => Ok(response.into_inner()),
        Ok(Err(status)) => Err(RpcError::Status { call, status: Box::new(status) }),
        Err(_) => Err(RpcError::Timeout { call, limit }),
    }
}

fn found<T>(answer: Result<T, RpcError>) -> Result<Option<T>, RpcError> {
    match answer {
        Ok(answer) => Ok(Some(answer)),
        Err(RpcError::Status { status, .. }) if status.code() == Code::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}
