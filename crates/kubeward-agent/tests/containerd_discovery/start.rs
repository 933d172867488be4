//! The moment that matters: between a task's making and its start.

use anyhow::{Context, Result};
use containerd_client::services::v1::snapshots::MountsRequest;
use containerd_client::services::v1::{CreateTaskRequest, GetContainerRequest, GetRequest};
use containerd_client::types::v1::Status;
use containerd_client::Client;
use kubeward_agent::discovery::Noticed;
use tonic::Request;

use crate::watcher::Watcher;
use crate::{containerd_with_image, sleeper};

fn in_default<T>(message: T) -> Request<T> {
    let mut request = Request::new(message);
    request.metadata_mut().insert("containerd-namespace", "default".parse().expect("ASCII"));
    request
}

/// Makes a task of an existing container and does not start it, which `ctr` cannot.
async fn create_task(client: &Client, id: &str) -> Result<u32> {
    let container = client.containers().get(in_default(GetContainerRequest { id: id.to_owned() })).await?;
    let container = container.into_inner().container.context("the container has a record")?;
    let mounts = MountsRequest { snapshotter: container.snapshotter, key: container.snapshot_key };
    let rootfs = client.snapshots().mounts(in_default(mounts)).await?.into_inner().mounts;
    let create = CreateTaskRequest { container_id: id.to_owned(), rootfs, ..Default::default() };
    Ok(client.tasks().create(in_default(create)).await?.into_inner().pid)
}

#[tokio::test(flavor = "multi_thread")]
async fn containerd_container_appears_while_its_program_still_waits_to_start() -> Result<()> {
    let containerd = containerd_with_image()?;
    let id = containerd.unique_id("web");
    containerd.run(&sleeper("default", &id))?;
    containerd.end_task("default", &id)?;
    let mut watcher = Watcher::of(&[&containerd]);
    watcher.answering().await;

    let client = Client::from_path(containerd.socket()).await?;
    let pid = create_task(&client, &id).await?;
    let (instance, _, noticed) = watcher.appeared(&id).await;
    assert_eq!((instance.init.pid, noticed), (pid, Noticed::AtCreate));
    let task = client.tasks().get(in_default(GetRequest { container_id: id.clone(), ..Default::default() })).await?;
    let status = task.into_inner().process.context("the task exists")?.status;
    assert_eq!(status, Status::Created as i32, "nobody has started it");
    Ok(())
}
