//! Pod fields from labels and from the CRI plugin's records.

use std::collections::BTreeMap;

use anyhow::Result;
use kubeward_core::container::PodSource;
use kubeward_testkit::containerd::Run;

use crate::watcher::Watcher;
use crate::{containerd_with_image, IMAGE, SLEEP};

const POD: [(&str, &str); 4] = [
    ("io.kubernetes.container.name", "app"),
    ("io.kubernetes.pod.name", "web-0"),
    ("io.kubernetes.pod.namespace", "shop"),
    ("io.kubernetes.pod.uid", "5f2c"),
];

#[tokio::test(flavor = "multi_thread")]
async fn containerd_labels_name_the_pod_but_are_not_believed_as_the_plugins() -> Result<()> {
    let containerd = containerd_with_image()?;
    let mut watcher = Watcher::of(&[&containerd]);
    watcher.answering().await;
    let id = containerd.unique_id("app");
    containerd.run(&Run { namespace: "default", id: &id, image: IMAGE, labels: &POD, command: &SLEEP })?;

    let (_, container, _) = watcher.appeared(&id).await;
    assert_eq!(container.name.as_deref(), Some("app"));
    let pod = container.pod.clone().expect("the labels name a pod");
    assert_eq!((pod.namespace.as_str(), pod.name.as_str(), pod.uid.as_str()), ("shop", "web-0", "5f2c"));
    assert_eq!(pod.labels, BTreeMap::new());
    assert_eq!(pod.source, PodSource::Labels);
    assert_eq!(container.labels["io.kubernetes.pod.uid"], "5f2c");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn containerd_label_of_the_plugin_alone_proves_nothing() -> Result<()> {
    let containerd = containerd_with_image()?;
    let mut watcher = Watcher::of(&[&containerd]);
    watcher.answering().await;
    let id = containerd.unique_id("forged");
    let labels = [&POD[..], &[("io.cri-containerd.kind", "sandbox")]].concat();
    containerd.run(&Run { namespace: "default", id: &id, image: IMAGE, labels: &labels, command: &SLEEP })?;

    let (_, container, _) = watcher.appeared(&id).await;
    assert_eq!(container.labels["io.cri-containerd.kind"], "sandbox");
    let pod = container.pod.clone().expect("the labels name a pod");
    assert_eq!(pod.source, PodSource::Labels);
    assert_eq!(pod.labels, BTreeMap::new());
    Ok(())
}
