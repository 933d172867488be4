//! Pods through containerd's CRI plugin, asked as a kubelet asks.
//!
//! The messages hold only the fields that are used, under the numbers of `runtime.v1`'s protocol file.

use std::collections::HashMap;

use anyhow::{Context, Result};
use http::uri::PathAndQuery;
use prost::Message;
use tonic::client::Grpc;
use tonic::transport::Channel;
use tonic::Request;
use tonic_prost::ProstCodec;

use super::Containerd;

/// The plugin's namespace in containerd.
pub const NAMESPACE: &str = "k8s.io";
/// What sandboxes run, and a pod's containers too.
pub const PAUSE_IMAGE: &str = "docker.io/library/pause:1";

/// `NamespaceMode.NODE`: the host's network, so that no CNI plugin is needed.
const NODE: i32 = 2;

#[derive(Clone, PartialEq, Message)]
struct RunPodSandboxRequest {
    #[prost(message, optional, tag = "1")]
    config: Option<PodSandboxConfig>,
}

#[derive(Clone, PartialEq, Message)]
struct RunPodSandboxResponse {
    #[prost(string, tag = "1")]
    pod_sandbox_id: String,
}

/// A pod's sandbox as it was asked for; its containers are asked for with it.
#[derive(Clone, PartialEq, Message)]
pub struct PodSandboxConfig {
    #[prost(message, optional, tag = "1")]
    metadata: Option<PodSandboxMetadata>,
    #[prost(map = "string, string", tag = "6")]
    labels: HashMap<String, String>,
    #[prost(message, optional, tag = "8")]
    linux: Option<LinuxPodSandboxConfig>,
}

#[derive(Clone, PartialEq, Message)]
struct PodSandboxMetadata {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(string, tag = "2")]
    uid: String,
    #[prost(string, tag = "3")]
    namespace: String,
}

#[derive(Clone, PartialEq, Message)]
struct LinuxPodSandboxConfig {
    #[prost(string, tag = "1")]
    cgroup_parent: String,
    #[prost(message, optional, tag = "2")]
    security_context: Option<SecurityContext>,
}

/// LinuxSandboxSecurityContext; a container's has its namespaces under another number.
#[derive(Clone, PartialEq, Message)]
struct SecurityContext {
    #[prost(message, optional, tag = "1")]
    namespace_options: Option<NamespaceOption>,
}

#[derive(Clone, PartialEq, Message)]
struct ContainerSecurityContext {
    #[prost(message, optional, tag = "3")]
    namespace_options: Option<NamespaceOption>,
}

#[derive(Clone, PartialEq, Message)]
struct NamespaceOption {
    #[prost(int32, tag = "1")]
    network: i32,
}

#[derive(Clone, PartialEq, Message)]
struct CreateContainerRequest {
    #[prost(string, tag = "1")]
    pod_sandbox_id: String,
    #[prost(message, optional, tag = "2")]
    config: Option<ContainerConfig>,
    #[prost(message, optional, tag = "3")]
    sandbox_config: Option<PodSandboxConfig>,
}

#[derive(Clone, PartialEq, Message)]
struct ContainerConfig {
    #[prost(message, optional, tag = "1")]
    metadata: Option<ContainerMetadata>,
    #[prost(message, optional, tag = "2")]
    image: Option<ImageSpec>,
    #[prost(string, repeated, tag = "3")]
    command: Vec<String>,
    #[prost(map = "string, string", tag = "9")]
    labels: HashMap<String, String>,
    #[prost(message, optional, tag = "15")]
    linux: Option<LinuxContainerConfig>,
}

#[derive(Clone, PartialEq, Message)]
struct LinuxContainerConfig {
    #[prost(message, optional, tag = "2")]
    security_context: Option<ContainerSecurityContext>,
}

#[derive(Clone, PartialEq, Message)]
struct ContainerMetadata {
    #[prost(string, tag = "1")]
    name: String,
}

#[derive(Clone, PartialEq, Message)]
struct ImageSpec {
    #[prost(string, tag = "1")]
    image: String,
}

#[derive(Clone, PartialEq, Message)]
struct CreateContainerResponse {
    #[prost(string, tag = "1")]
    container_id: String,
}

#[derive(Clone, PartialEq, Message)]
struct ById {
    #[prost(string, tag = "1")]
    id: String,
}

#[derive(Clone, PartialEq, Message)]
struct Nothing {}

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

    /// Runs the pod's sandbox; returns its id.
    pub async fn run_sandbox(&self, pod: &Pod<'_>) -> Result<String> {
        let request = RunPodSandboxRequest { config: Some(self.sandbox_config(pod)) };
        let response: RunPodSandboxResponse = self.call("RunPodSandbox", request).await?;
        Ok(response.pod_sandbox_id)
    }

    /// Creates and starts a container of the pod; returns its id.
    pub async fn run_container(&self, pod: &Pod<'_>, sandbox: &str, name: &str, command: &[&str]) -> Result<String> {
        let mut labels = kubelet_labels(pod);
        labels.insert("io.kubernetes.container.name".to_owned(), name.to_owned());
        let config = ContainerConfig {
            metadata: Some(ContainerMetadata { name: name.to_owned() }),
            image: Some(ImageSpec { image: PAUSE_IMAGE.to_owned() }),
            command: command.iter().map(|word| (*word).to_owned()).collect(),
            labels,
            linux: Some(LinuxContainerConfig {
                security_context: Some(ContainerSecurityContext {
                    namespace_options: Some(NamespaceOption { network: NODE }),
                }),
            }),
        };
        let request = CreateContainerRequest {
            pod_sandbox_id: sandbox.to_owned(),
            config: Some(config),
            sandbox_config: Some(self.sandbox_config(pod)),
        };
        let created: CreateContainerResponse = self.call("CreateContainer", request).await?;
        let _: Nothing = self.call("StartContainer", ById { id: created.container_id.clone() }).await?;
        Ok(created.container_id)
    }

    /// Stops and removes the pod with all its containers.
    pub async fn remove_sandbox(&self, sandbox: &str) -> Result<()> {
        let _: Nothing = self.call("StopPodSandbox", ById { id: sandbox.to_owned() }).await?;
        let _: Nothing = self.call("RemovePodSandbox", ById { id: sandbox.to_owned() }).await?;
        Ok(())
    }

    fn sandbox_config(&self, pod: &Pod) -> PodSandboxConfig {
        let mut labels = kubelet_labels(pod);
        labels.extend(pod.labels.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())));
        PodSandboxConfig {
            metadata: Some(PodSandboxMetadata {
                name: pod.name.to_owned(),
                uid: pod.uid.to_owned(),
                namespace: pod.namespace.to_owned(),
            }),
            labels,
            linux: Some(LinuxPodSandboxConfig {
                cgroup_parent: self.cgroup_parent.clone(),
                security_context: Some(SecurityContext { namespace_options: Some(NamespaceOption { network: NODE }) }),
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

/// What a kubelet puts on sandboxes and containers.
fn kubelet_labels(pod: &Pod) -> HashMap<String, String> {
    let labels = [("pod.name", pod.name), ("pod.namespace", pod.namespace), ("pod.uid", pod.uid)];
    labels.into_iter().map(|(name, value)| (format!("io.kubernetes.{name}"), value.to_owned())).collect()
}
