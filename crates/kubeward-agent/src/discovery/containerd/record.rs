//! containerd's record of a container, and what it says about image and pod. Pure.

use std::collections::{BTreeMap, HashMap};

use containerd_client::services::v1 as api;
use kubeward_core::container::{Container, Labels, PodRef, PodSource};
use serde::Deserialize;

use super::reconcile::Key;

const CONTAINER_NAME: &str = "io.kubernetes.container.name";
const POD_NAME: &str = "io.kubernetes.pod.name";
const POD_NAMESPACE: &str = "io.kubernetes.pod.namespace";
const POD_UID: &str = "io.kubernetes.pod.uid";
const CRI_PREFIX: &str = "io.cri-containerd.";
const CRI_KIND: &str = "io.cri-containerd.kind";
const SANDBOX_ID: &str = "io.kubernetes.cri.sandbox-id";

/// Which kind of record containerd's CRI plugin made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum CriKind {
    /// Holds the pod's namespaces; its record carries the pod's labels.
    Sandbox,
    Container,
}

/// What this module keeps of a record: kilobytes of OCI specification are not part of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Record {
    pub(super) labels: Labels,
    /// Of a sandbox, those that are its pod's own; else none.
    pub(super) pod_labels: Labels,
    pub(super) image: Option<String>,
    /// Absent for a record that the CRI plugin did not make.
    pub(super) cri: Option<CriKind>,
    /// Id of the sandbox container, in the same namespace of containerd.
    pub(super) sandbox: Option<String>,
}

impl From<api::Container> for Record {
    fn from(container: api::Container) -> Self {
        let labels: BTreeMap<_, _> = container.labels.into_iter().collect();
        let cri = cri_kind(&labels, &container.extensions);
        let sandbox = container
            .spec
            .filter(|_| cri == Some(CriKind::Container))
            .and_then(|spec| sandbox_of(&spec.value))
            .filter(|id| !id.is_empty());
        let pod_labels = if cri == Some(CriKind::Sandbox) { pod_labels(&labels) } else { BTreeMap::new() };
        let (labels, pod_labels) = (labels.into(), pod_labels.into());
        Self { labels, pod_labels, image: Some(container.image).filter(|image| !image.is_empty()), cri, sandbox }
    }
}

/// The label alone proves nothing: `ctr run` and others copy an image's labels to the container, and anybody
/// may build an image. The plugin's own extension of the record cannot come from an image.
fn cri_kind(labels: &BTreeMap<String, String>, extensions: &HashMap<String, prost_types::Any>) -> Option<CriKind> {
    let (kind, extension) = match labels.get(CRI_KIND)?.as_str() {
        "sandbox" => (CriKind::Sandbox, "io.cri-containerd.sandbox.metadata"),
        "container" => (CriKind::Container, "io.cri-containerd.container.metadata"),
        _ => return None,
    };
    extensions.contains_key(extension).then_some(kind)
}

/// The one annotation of an OCI specification that is needed here.
fn sandbox_of(spec_json: &[u8]) -> Option<String> {
    #[derive(Deserialize)]
    struct Spec {
        #[serde(default)]
        annotations: HashMap<String, String>,
    }
    // A specification that is not JSON is another runtime's: it has no sandbox.
    let mut spec: Spec = serde_json::from_slice(spec_json).ok()?;
    spec.annotations.remove(SANDBOX_ID)
}

/// The container as its record and its image and sandbox, as far as known, describe it.
pub(super) fn describe(
    key: &Key,
    record: Option<&Record>,
    image_digest: Option<&String>,
    sandbox: Option<&Record>,
) -> Container {
    Container {
        id: key.id.clone(),
        name: record.and_then(|record| label(record, CONTAINER_NAME)),
        image: record.and_then(|record| record.image.clone()),
        image_digest: image_digest.cloned(),
        runtime: "containerd",
        runtime_namespace: Some(key.namespace.to_string()),
        labels: record.map(|record| record.labels.clone()).unwrap_or_default(),
        pod: record.and_then(|record| pod_of(record, sandbox)),
    }
}

fn label(record: &Record, name: &str) -> Option<String> {
    record.labels.get(name).filter(|value| !value.is_empty()).cloned()
}

/// `None` unless the record names its pod in full.
fn pod_of(record: &Record, sandbox: Option<&Record>) -> Option<PodRef> {
    let with_pod_labels = match record.cri {
        Some(CriKind::Sandbox) => Some(record),
        Some(CriKind::Container) => sandbox.filter(|sandbox| sandbox.cri == Some(CriKind::Sandbox)),
        None => None,
    };
    Some(PodRef {
        namespace: label(record, POD_NAMESPACE)?,
        name: label(record, POD_NAME)?,
        uid: label(record, POD_UID).unwrap_or_default(),
        labels: with_pod_labels.map(|sandbox| sandbox.pod_labels.clone()).unwrap_or_default(),
        source: if record.cri.is_some() { PodSource::Cri } else { PodSource::Labels },
        // The runtime never learns of it.
        workload: None,
    })
}

/// A sandbox's labels without those that kubelet and the plugin put beside the pod's own.
fn pod_labels(of_sandbox: &BTreeMap<String, String>) -> BTreeMap<String, String> {
    let is_pods_own = |name: &str| !name.starts_with(CRI_PREFIX) && ![POD_NAME, POD_NAMESPACE, POD_UID].contains(&name);
    of_sandbox.iter().filter(|(name, _)| is_pods_own(name)).map(|(k, v)| (k.clone(), v.clone())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use kubeward_core::container::ContainerId;

    fn key() -> Key {
        Key::new(&"k8s.io".into(), "c1".to_owned())
    }

    fn map(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        pairs.iter().map(|(k, v)| (k.to_string(), v.to_string())).collect()
    }

    /// As the CRI plugin writes them under a kubelet.
    fn cri(kind: &str, labels: &[(&str, &str)], spec: &str) -> Record {
        let mut all = map(labels);
        all.insert(CRI_KIND.into(), kind.into());
        Record::from(api::Container {
            image: "docker.io/library/web:1".into(),
            labels: all.into_iter().collect(),
            spec: Some(prost_types::Any { type_url: String::new(), value: spec.into() }),
            extensions: [(format!("io.cri-containerd.{kind}.metadata"), prost_types::Any::default())].into(),
            ..Default::default()
        })
    }

    const POD: [(&str, &str); 3] = [(POD_NAME, "web-0"), (POD_NAMESPACE, "default"), (POD_UID, "u-1")];

    #[test]
    fn app_container_gets_its_pods_labels_from_the_sandbox() {
        let app = cri(
            "container",
            &[&POD[..], &[(CONTAINER_NAME, "app")]].concat(),
            r#"{"ociVersion":"1.0","annotations":{"io.kubernetes.cri.sandbox-id":"s1"}}"#,
        );
        let sandbox = cri("sandbox", &[&POD[..], &[("app", "web")]].concat(), "{}");
        assert_eq!(app.sandbox.as_deref(), Some("s1"));

        let container = describe(&key(), Some(&app), Some(&"sha256:aa".to_owned()), Some(&sandbox));
        assert_eq!(container.id, ContainerId("c1".into()));
        assert_eq!(container.name.as_deref(), Some("app"));
        assert_eq!(container.image.as_deref(), Some("docker.io/library/web:1"));
        assert_eq!(container.image_digest.as_deref(), Some("sha256:aa"));
        let pod = container.pod.expect("the record names its pod");
        assert_eq!((pod.namespace.as_str(), pod.name.as_str(), pod.uid.as_str()), ("default", "web-0", "u-1"));
        assert_eq!(*pod.labels, map(&[("app", "web")]));
        assert_eq!(pod.source, PodSource::Cri);
    }

    #[test]
    fn sandbox_carries_its_own_pods_labels() {
        let sandbox = cri("sandbox", &[&POD[..], &[("app", "web"), ("tier", "front")]].concat(), "{}");
        let pod = describe(&key(), Some(&sandbox), None, None).pod.expect("the record names its pod");
        assert_eq!(*pod.labels, map(&[("app", "web"), ("tier", "front")]));
    }

    #[test]
    fn labels_that_anybody_may_write_are_not_the_plugins() {
        let labels = [&POD[..], &[(CRI_KIND, "sandbox"), ("app", "web")]].concat();
        let forged = Record::from(api::Container { labels: map(&labels).into_iter().collect(), ..Default::default() });
        let pod = describe(&key(), Some(&forged), None, None).pod.expect("the labels name a pod");
        assert_eq!(pod.source, PodSource::Labels);
        assert_eq!(*pod.labels, map(&[]));
    }

    #[test]
    fn pod_without_a_name_is_no_pod() {
        let record = cri("container", &[(POD_NAMESPACE, "default"), (POD_NAME, "")], "{}");
        assert_eq!(describe(&key(), Some(&record), None, None).pod, None);
    }

    #[test]
    fn absent_facts_are_absent() {
        let docker = Record::from(api::Container::default());
        let container = describe(&key(), Some(&docker), None, None);
        assert_eq!((container.name, container.image, container.image_digest, container.pod), (None, None, None, None));
        assert_eq!(container.runtime_namespace.as_deref(), Some("k8s.io"));
    }

    #[test]
    fn specification_of_another_runtime_has_no_sandbox() {
        assert_eq!(cri("container", &POD, "not JSON").sandbox, None);
        assert_eq!(cri("container", &POD, r#"{"annotations":{"io.kubernetes.cri.sandbox-id":""}}"#).sandbox, None);
    }
}
