//! Containers that come, change and go while containerd answers.

use std::collections::BTreeMap;
use std::thread;

use anyhow::Result;
use kubeward_agent::discovery::{Change, Instance, Noticed};
use kubeward_testkit::containerd::{Containerd, Run};
use kubeward_testkit::image::Image;

use crate::watcher::Watcher;
use crate::{containerd_with_image, sleeper, IMAGE};

#[tokio::test(flavor = "multi_thread")]
async fn containerd_container_appears_with_its_task_and_goes_with_it() -> Result<()> {
    let containerd = Containerd::start()?;
    let digest = containerd.import("default", &Image::busybox(IMAGE))?;
    let mut watcher = Watcher::of(&[&containerd]);
    assert_eq!(watcher.answering().await.1, 0);

    let id = containerd.unique_id("web");
    containerd.run(&sleeper("default", &id))?;
    let (instance, container, noticed) = watcher.appeared(&id).await;
    assert_eq!(noticed, Noticed::AtCreate);
    assert_eq!(instance.init.pid, containerd.init_pid("default", &id)?);
    assert_eq!(container.id, instance.id);
    assert_eq!(container.image.as_deref(), Some(IMAGE));
    assert_eq!(container.image_digest, Some(digest));
    assert_eq!(container.runtime_namespace.as_deref(), Some("default"));
    assert_eq!(container.pod, None);

    containerd.remove("default", &id)?;
    assert_eq!(watcher.gone(&id).await, instance);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn containerd_container_that_ran_before_is_found_in_the_list() -> Result<()> {
    let containerd = containerd_with_image()?;
    let id = containerd.unique_id("web");
    containerd.run(&sleeper("default", &id))?;

    let mut watcher = Watcher::of(&[&containerd]);
    let (instance, container, noticed) = watcher.appeared(&id).await;
    assert_eq!(noticed, Noticed::InList);
    assert_eq!(instance.init.pid, containerd.init_pid("default", &id)?);
    assert_eq!(container.image.as_deref(), Some(IMAGE));
    assert_eq!(watcher.answering().await.1, 1);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn containerd_fifty_containers_at_once_each_come_and_go_once() -> Result<()> {
    let containerd = containerd_with_image()?;
    let mut watcher = Watcher::of(&[&containerd]);
    watcher.answering().await;

    let ids: Vec<String> = (0..50).map(|_| containerd.unique_id("many")).collect();
    at_once(&ids, |id| containerd.run(&sleeper("default", id)))?;
    let mut running: BTreeMap<String, Instance> = BTreeMap::new();
    while running.len() < ids.len() {
        match watcher.next("the appearance of fifty containers").await {
            Change::Appeared { instance, .. } => {
                let before = running.insert(instance.id.0.clone(), instance);
                assert_eq!(before, None, "a container appeared twice");
            }
            Change::Changed { instance, .. } => assert_eq!(running.get(&instance.id.0), Some(&instance)),
            // Told behind the answer that was awaited.
            Change::Settled { .. } => {}
            other => panic!("{other:?} while fifty containers start"),
        }
    }
    for id in &ids {
        assert_eq!(running[id].init.pid, containerd.init_pid("default", id)?, "{id}");
    }

    at_once(&ids, |id| containerd.remove("default", id))?;
    while !running.is_empty() {
        match watcher.next("the end of fifty containers").await {
            Change::Gone { instance } => assert_eq!(running.remove(&instance.id.0), Some(instance)),
            Change::Changed { instance, .. } => assert_eq!(running.get(&instance.id.0), Some(&instance)),
            other => panic!("{other:?} while fifty containers end"),
        }
    }
    let rest = watcher.stop().await;
    assert!(rest.is_empty(), "told after the end of all: {rest:?}");
    Ok(())
}

fn at_once(ids: &[String], work: impl Fn(&str) -> Result<()> + Sync) -> Result<()> {
    thread::scope(|scope| {
        let threads: Vec<_> = ids.iter().map(|id| scope.spawn(|| work(id))).collect();
        threads.into_iter().try_for_each(|thread| thread.join().expect("the work returns its errors"))
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn containerd_restart_that_keeps_the_id_is_a_new_instance() -> Result<()> {
    let containerd = containerd_with_image()?;
    let mut watcher = Watcher::of(&[&containerd]);
    watcher.answering().await;
    let id = containerd.unique_id("web");
    containerd.run(&sleeper("default", &id))?;
    let (first, described, _) = watcher.appeared(&id).await;

    containerd.end_task("default", &id)?;
    assert_eq!(watcher.gone(&id).await, first);
    containerd.start_task("default", &id)?;
    let (second, described_again, noticed) = watcher.appeared(&id).await;
    assert_eq!(second.id, first.id);
    assert_ne!(second.init, first.init);
    assert_eq!(second.init.pid, containerd.init_pid("default", &id)?);
    assert_eq!(described_again, described);
    assert_eq!(noticed, Noticed::AtCreate);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn containerd_exec_joins_its_container_and_its_exit_ends_nothing() -> Result<()> {
    let containerd = containerd_with_image()?;
    let mut watcher = Watcher::of(&[&containerd]);
    watcher.answering().await;
    let id = containerd.unique_id("web");
    containerd.run(&sleeper("default", &id))?;
    let (instance, ..) = watcher.appeared(&id).await;

    for _ in 0..2 {
        assert_eq!(containerd.exec("default", &id, &["/bin/cat", "/etc/hostname"])?, "kubeward-test\n");
        let joined = watcher
            .first("an exec", |change| match change {
                Change::ExecStarted { instance, pid } => Some((instance, pid)),
                Change::Gone { instance } => panic!("{instance:?} went with an exec"),
                _ => None,
            })
            .await;
        assert_eq!(joined.0, instance);
        assert_ne!(joined.1, instance.init.pid);
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn containerd_container_of_milliseconds_is_never_passed_over() -> Result<()> {
    let containerd = containerd_with_image()?;
    let mut watcher = Watcher::of(&[&containerd]);
    watcher.answering().await;

    for _ in 0..10 {
        let id = containerd.unique_id("brief");
        containerd.run_to_end(&Run { command: &["/bin/true"], ..sleeper("default", &id) })?;
        let mut has_appeared = false;
        watcher
            .first("the life of a brief container", |change| match change {
                Change::Appeared { instance, .. } if instance.id.0 == id => {
                    has_appeared = true;
                    None
                }
                Change::Gone { instance } if instance.id.0 == id => {
                    assert!(has_appeared, "{id} went without having appeared");
                    Some(())
                }
                Change::Missed { container, .. } if container.id.0 == id => Some(()),
                _ => None,
            })
            .await;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn containerd_label_changed_later_is_told() -> Result<()> {
    let containerd = containerd_with_image()?;
    let mut watcher = Watcher::of(&[&containerd]);
    watcher.answering().await;
    let id = containerd.unique_id("web");
    containerd.run(&sleeper("default", &id))?;
    let (appeared, ..) = watcher.appeared(&id).await;

    containerd.ctr("default", &["containers", "label", &id, "tier=front"])?;
    let (instance, container) = watcher
        .first("the new label", |change| match change {
            Change::Changed { instance, container } if container.labels.contains_key("tier") => {
                Some((instance, container))
            }
            _ => None,
        })
        .await;
    assert_eq!(instance, appeared);
    assert_eq!(container.labels["tier"], "front");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn containerd_same_id_in_two_namespaces_is_two_containers() -> Result<()> {
    let containerd = containerd_with_image()?;
    containerd.import("k8s.io", &Image::busybox(IMAGE))?;
    let mut watcher = Watcher::of(&[&containerd]);
    watcher.answering().await;

    let id = containerd.unique_id("twin");
    containerd.run(&sleeper("default", &id))?;
    let (in_default, ..) = watcher.appeared(&id).await;
    containerd.run(&sleeper("k8s.io", &id))?;
    let (in_k8s, container, _) = watcher.appeared(&id).await;
    assert_eq!((&*in_default.namespace, &*in_k8s.namespace), ("default", "k8s.io"));
    assert_eq!(container.runtime_namespace.as_deref(), Some("k8s.io"));
    assert_ne!(in_default.init, in_k8s.init);

    containerd.remove("default", &id)?;
    assert_eq!(watcher.gone(&id).await, in_default);
    containerd.remove("k8s.io", &id)?;
    assert_eq!(watcher.gone(&id).await, in_k8s);
    Ok(())
}
