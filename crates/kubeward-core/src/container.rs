//! Who a call belongs to: containers, the pods they are part of, and the keys the kernel knows them by.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

/// Number of a container in the kernel's maps, from 1. Reused only after every record of the earlier
/// container has been read. 0 is nobody.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ContainerSlot(pub u32);

/// Id of a cgroup in the v2 hierarchy. The kernel never reuses one while it runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct CgroupId(pub u64);

/// The pid and mount namespace a task lives in. The kernel reuses their inode numbers at once, the mount
/// namespace's `mnt_seq` never.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct NsKey {
    pub pid_ns: u32,
    pub mnt_ns: u32,
    /// Which of all mount namespaces since the machine's start it is; 0 on a kernel that does not say.
    pub mnt_seq: u64,
}

/// A container runtime's full id of a container, as the runtime writes it (64 hex digits for CRI and Docker;
/// anything for `ctr run`).
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ContainerId(pub String);

impl fmt::Display for ContainerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Labels of a container or a pod, by name. One copy for all who tell of them: on a node with thousands of containers they are most
/// of what is known.
pub type Labels = Arc<BTreeMap<String, String>>;

/// How much the pod fields of a container can be believed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum PodSource {
    /// A record made by containerd's CRI plugin (`io.cri-containerd.kind`).
    Cri,
    /// Labels that anybody who can create a container could have written.
    Labels,
}

/// The pod a container is part of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PodRef {
    pub namespace: String,
    pub name: String,
    pub uid: String,
    /// The pod's own labels: the current ones where the API server told them, else those at creation.
    pub labels: Labels,
    pub source: PodSource,
    /// What made the pod; known to the API server alone.
    pub workload: Option<Workload>,
}

/// The object that a pod was made for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Workload {
    /// `Deployment`, `StatefulSet`, `DaemonSet`, `Job` or a custom resource's kind.
    pub kind: String,
    pub name: String,
}

/// One container as its runtime describes it. Absent facts are absent, never empty strings.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Container {
    pub id: ContainerId,
    /// The name in its pod (`io.kubernetes.container.name`), else absent.
    pub name: Option<String>,
    pub image: Option<String>,
    /// `sha256:<64 hex>` of the image's manifest or index, as the runtime resolved it.
    pub image_digest: Option<String>,
    /// `containerd`, or `kubeward` for the container that `trace` makes.
    pub runtime: &'static str,
    /// containerd's own namespace (`k8s.io`, `moby`, `default`, ...).
    pub runtime_namespace: Option<String>,
    pub labels: Labels,
    pub pod: Option<PodRef>,
}

impl Container {
    /// One of which nothing but its id is known.
    pub fn bare(id: ContainerId, runtime: &'static str) -> Self {
        let (name, image, image_digest, runtime_namespace, pod) = (None, None, None, None, None);
        Self { id, name, image, image_digest, runtime, runtime_namespace, labels: Labels::default(), pod }
    }
}
