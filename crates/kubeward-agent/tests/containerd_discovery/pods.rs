//! Pod fields from labels and from the CRI plugin's records.

use std::collections::BTreeMap;
use std::sync::Arc;

use anyhow::Result;
use kubeward_agent::discovery::Noticed;
use kubeward_core::container::PodSource;
use kubeward_testkit::containerd::cri::{Cri, Pod, PAUSE_IMAGE};
use kubeward_testkit::containerd::{Containerd, Run};

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
    containerd.run(&Run {
        namespace: "default",
        id: &id,
        image: IMAGE,
        labels: &POD,
        options: &[],
        command: &SLEEP,
    })?;

    let (_, container, _) = watcher.appeared(&id).await;
    assert_eq!(container.name.as_deref(), Some("app"));
    let pod = container.pod.clone().expect("the labels name a pod");
    assert_eq!((pod.namespace.as_str(), pod.name.as_str(), pod.uid.as_str()), ("shop", "web-0", "5f2c"));
    assert_eq!(*pod.labels, BTreeMap::new());
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
    containerd.run(&Run {
        namespace: "default",
        id: &id,
        image: IMAGE,
        labels: &labels,
        options: &[],
        command: &SLEEP,
    })?;

    let (_, container, _) = watcher.appeared(&id).await;
    assert_eq!(container.labels["io.cri-containerd.kind"], "sandbox");
    let pod = container.pod.clone().expect("the labels name a pod");
    assert_eq!(pod.source, PodSource::Labels);
    assert_eq!(*pod.labels, BTreeMap::new());
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn containerd_pod_of_the_cri_plugin_is_named_with_its_labels() -> Result<()> {
    let containerd = Containerd::start_with_cri()?;
    let mut watcher = Watcher::of(&[&containerd]);
    watcher.answering().await;
    let cri = Cri::connect(&containerd).await?;
    let pod = Pod { namespace: "shop", name: "web-0", uid: "5f2c", labels: &[("app", "web"), ("tier", "front")] };
    let pod_labels = [("app", "web"), ("tier", "front")].map(|(k, v)| (k.to_owned(), v.to_owned()));
    let pod_labels = Arc::new(BTreeMap::from(pod_labels));

    let sandbox_id = cri.run_sandbox(&pod).await?;
    let (_, sandbox, _) = watcher.appeared(&sandbox_id).await;
    assert_eq!(sandbox.name, None);
    let of_sandbox = sandbox.pod.clone().expect("the record names its pod");
    assert_eq!((of_sandbox.labels, of_sandbox.source), (pod_labels.clone(), PodSource::Cri));

    let app_id = cri.run_container(&pod, &sandbox_id, "app", &SLEEP).await?;
    let (_, app, noticed) = watcher.appeared(&app_id).await;
    assert_eq!(noticed, Noticed::AtCreate);
    assert_eq!(app.name.as_deref(), Some("app"));
    assert_eq!(app.image.as_deref(), Some(PAUSE_IMAGE));
    let of_app = app.pod.clone().expect("the record names its pod");
    assert_eq!((of_app.namespace.as_str(), of_app.name.as_str(), of_app.uid.as_str()), ("shop", "web-0", "5f2c"));
    assert_eq!((of_app.labels, of_app.source), (pod_labels, PodSource::Cri), "the sandbox's labels, at once");

    cri.remove_sandbox(&sandbox_id).await?;
    watcher.gone(&app_id).await;
    watcher.gone(&sandbox_id).await;
    Ok(())
}
