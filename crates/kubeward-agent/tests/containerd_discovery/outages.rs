//! containerd goes away, hangs and comes back under running containers.

use std::process::Command;

use anyhow::{ensure, Context, Result};
use kubeward_agent::discovery::{Change, Instance};

use crate::watcher::Watcher;
use crate::{containerd_with_image, sleeper};

fn signal(name: &str, pid: u32) -> Result<()> {
    let status = Command::new("kill").args(["-s", name, &pid.to_string()]).status()?;
    ensure!(status.success(), "kill -s {name} {pid}: {status}");
    Ok(())
}

/// Passes over what concerns others; fails if `stays` is told to have ended or begun again.
fn unless_retold(stays: &Instance, change: &Change) {
    match change {
        Change::Gone { instance } | Change::Appeared { instance, .. } => {
            assert_ne!(instance.id, stays.id, "{change:?} of a container that ran all the time");
        }
        _ => {}
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn containerd_killed_under_its_containers_loses_none_and_ends_are_told_meanwhile() -> Result<()> {
    let mut containerd = containerd_with_image()?;
    let mut watcher = Watcher::of(&[&containerd]);
    watcher.answering().await;
    let (stays, ends) = (containerd.unique_id("stays"), containerd.unique_id("ends"));
    containerd.run(&sleeper("default", &stays))?;
    let (staying, ..) = watcher.appeared(&stays).await;
    containerd.run(&sleeper("default", &ends))?;
    let (ending, ..) = watcher.appeared(&ends).await;

    containerd.kill()?;
    watcher.failing().await;
    signal("KILL", ending.init.pid)?;
    let gone = watcher
        .first("the end of a container while containerd is away", |change| {
            unless_retold(&staying, &change);
            match change {
                Change::Gone { instance } => Some(instance),
                _ => None,
            }
        })
        .await;
    assert_eq!(gone, ending);

    containerd.resume()?;
    let running = watcher
        .first("containerd's return", |change| {
            unless_retold(&staying, &change);
            match change {
                Change::Answering { running, .. } => Some(running),
                _ => None,
            }
        })
        .await;
    assert_eq!(running, 1);

    let new = containerd.unique_id("new");
    containerd.run(&sleeper("default", &new))?;
    watcher
        .first("a container started after the return", |change| {
            unless_retold(&staying, &change);
            matches!(change, Change::Appeared { instance, .. } if instance.id.0 == new).then_some(())
        })
        .await;
    containerd.remove("default", &stays)?;
    assert_eq!(watcher.gone(&stays).await, staying);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn containerd_that_hangs_is_told_and_loses_nothing() -> Result<()> {
    let containerd = containerd_with_image()?;
    let mut watcher = Watcher::of(&[&containerd]);
    watcher.answering().await;
    let id = containerd.unique_id("web");
    containerd.run(&sleeper("default", &id))?;
    let (instance, ..) = watcher.appeared(&id).await;

    let daemon = containerd.pid().context("the daemon runs")?;
    signal("STOP", daemon)?;
    watcher.failing().await;
    signal("CONT", daemon)?;
    watcher
        .first("containerd's return", |change| {
            unless_retold(&instance, &change);
            matches!(change, Change::Answering { running: 1, .. }).then_some(())
        })
        .await;
    Ok(())
}
