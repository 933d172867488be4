//! Pods through containerd's CRI plugin, asked as a kubelet asks.

pub mod messages;

use std::collections::HashMap;

use anyhow::{Context, Result};
use http::uri::PathAndQuery;
use prost::Message;
use tonic::client::Grpc;
use tonic::transport::Channel;
use tonic::Request;
use tonic_prost::ProstCodec;

use super::Containerd;
use messages::*;

/// The plugin's namespace in containerd.
pub const NAMESPACE: &str = "k8s.io";
/// What sandboxes run, and a pod's containers too.
pub const PAUSE_IMAGE: &str = "docker.io/library/pause:1";

/// The host's network.
const HOST_NETWORK: NamespaceOption = NamespaceOption { network: NODE, pid: POD, ipc: POD };

/// The name, namespace and own labels of a pod to run.
pub struct Pod<'a> {
    pub namespace: &'a str,
    pub name: &'a str,
    pub uid: &'a str,
    pub labels: &'a [(&'a str, &'a str)],
}

/// A client of the CRI plugin. Needs [`Containerd::start_with_cri`].
pub struct Cri {
    channel: Channel,
    cgroup_parent: String,
}

impl Cri {
    pub async fn connect(containerd: &Containerd) -> Result<Self> {
        let channel = containerd_client::connect(containerd.socket()).await?;
        Ok(Self { channel, cgroup_parent: format!("/{}", containerd.cgroup_parent()) })
    }

    /// Runs the pod's sandbox in the host's network; returns its id.
    pub async fn run_sandbox(&self, pod: &Pod<'_>) -> Result<String> {
        self.run_configured_sandbox(&self.sandbox(pod, HOST_NETWORK)).await
    }

    /// Runs a sandbox as a kubelet describes it; returns its id.
    pub async fn run_configured_sandbox(&self, config: &PodSandboxConfig) -> Result<String> {
        let request = RunPodSandboxRequest { config: Some(config.clone()) };
        let response: RunPodSandboxResponse = self.call("RunPodSandbox", request).await?;
        Ok(response.pod_sandbox_id)
    }

    /// Creates and starts a container of the pod; returns its id.
    pub async fn run_container(&self, pod: &Pod<'_>, sandbox: &str, name: &str, command: &[&str]) -> Result<String> {
        let config = ContainerConfig {
            metadata: Some(ContainerMetadata { name: name.to_owned() }),
            image: Some(ImageSpec { image: PAUSE_IMAGE.to_owned() }),
            command: command.iter().map(|word| (*word).to_owned()).collect(),
            labels: container_labels(pod, name),
            linux: Some(LinuxContainerConfig {
                resources: None,
                security_context: Some(ContainerSecurityContext {
                    namespace_options: Some(HOST_NETWORK),
                    ..ContainerSecurityContext::default()
                }),
            }),
            ..ContainerConfig::default()
        };
        self.run_configured_container(sandbox, &self.sandbox(pod, HOST_NETWORK), config).await
    }

    /// Creates and starts a container as a kubelet describes it; returns its id.
    pub async fn run_configured_container(
        &self,
        sandbox_id: &str,
        sandbox: &PodSandboxConfig,
        config: ContainerConfig,
    ) -> Result<String> {
        let request = CreateContainerRequest {
            pod_sandbox_id: sandbox_id.to_owned(),
            config: Some(config),
            sandbox_config: Some(sandbox.clone()),
        };
        let created: CreateContainerResponse = self.call("CreateContainer", request).await?;
        let _: Nothing = self.call("StartContainer", ById { id: created.container_id.clone() }).await?;
        Ok(created.container_id)
    }

    /// SIGTERM, and SIGKILL after the grace period; returns when the container has ended.
    pub async fn stop_container(&self, id: &str, grace_seconds: i64) -> Result<()> {
        let request = StopContainerRequest { container_id: id.to_owned(), timeout: grace_seconds };
        let _: Nothing = self.call("StopContainer", request).await?;
        Ok(())
    }

    /// With what the container's program ended; none while it runs.
    pub async fn exit_code(&self, id: &str) -> Result<Option<i32>> {
        let answer: ContainerStatusResponse = self.call("ContainerStatus", ById { id: id.to_owned() }).await?;
        let status = answer.status.context("a status")?;
        Ok((status.finished_at > 0).then_some(status.exit_code))
    }

    /// Runs a command in the container, as an exec probe does.
    pub async fn exec(&self, id: &str, command: &[&str], timeout_seconds: i64) -> Result<Executed> {
        let cmd = command.iter().map(|word| (*word).to_owned()).collect();
        self.call("ExecSync", ExecSyncRequest { container_id: id.to_owned(), cmd, timeout: timeout_seconds }).await
    }

    /// Stops and removes the pod with all its containers.
    pub async fn remove_sandbox(&self, sandbox: &str) -> Result<()> {
        let _: Nothing = self.call("StopPodSandbox", ById { id: sandbox.to_owned() }).await?;
        let _: Nothing = self.call("RemovePodSandbox", ById { id: sandbox.to_owned() }).await?;
        Ok(())
    }

    /// The pod's sandbox with these namespaces.
    pub fn sandbox(&self, pod: &Pod, namespaces: NamespaceOption) -> PodSandboxConfig {
        let mut labels = pod_labels(pod);
        labels.extend(pod.labels.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())));
        PodSandboxConfig {
            metadata: Some(PodSandboxMetadata {
                name: pod.name.to_owned(),
                uid: pod.uid.to_owned(),
                namespace: pod.namespace.to_owned(),
            }),
            log_directory: String::new(),
            labels,
            linux: Some(LinuxPodSandboxConfig {
                cgroup_parent: self.cgroup_parent.clone(),
                security_context: Some(SandboxSecurityContext { namespace_options: Some(namespaces) }),
            }),
        }
    }

    async fn call<Q, A>(&self, method: &str, request: Q) -> Result<A>
    where
        Q: Message + 'static,
        A: Message + Default + 'static,
    {
        let mut grpc = Grpc::new(self.channel.clone());
        grpc.ready().await.context("containerd's connection")?;
        let path: PathAndQuery = format!("/runtime.v1.RuntimeService/{method}").parse()?;
        let answer = grpc.unary(Request::new(request), path, ProstCodec::default()).await;
        Ok(answer.with_context(|| format!("CRI {method}"))?.into_inner())
    }
}

/// What a kubelet puts on a container.
pub fn container_labels(pod: &Pod, name: &str) -> HashMap<String, String> {
    let mut labels = pod_labels(pod);
    labels.insert("io.kubernetes.container.name".to_owned(), name.to_owned());
    labels
}

/// What a kubelet puts on sandboxes and containers.
fn pod_labels(pod: &Pod) -> HashMap<String, String> {
    let labels = [("pod.name", pod.name), ("pod.namespace", pod.namespace), ("pod.uid", pod.uid)];
    labels.into_iter().map(|(name, value)| (format!("io.kubernetes.{name}"), value.to_owned())).collect()
}
