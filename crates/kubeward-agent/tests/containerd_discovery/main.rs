//! Discovery against a real containerd. Needs root, containerd and runc; fails without them.
//!
//! `KUBEWARD_CONTAINERD_DIR` names the folder of another containerd than the one on `PATH`
//! (`tests/containerd/fetch.sh` gets newer ones).

mod containers;
mod outages;
mod pods;
mod sockets;
mod start;
mod watcher;

use anyhow::Result;
use kubeward_testkit::containerd::{Containerd, Run};
use kubeward_testkit::image::Image;

const IMAGE: &str = "docker.io/library/web:1";
const SLEEP: [&str; 2] = ["/bin/sleep", "1000"];

/// A containerd that has [`IMAGE`] in namespace `default`.
fn containerd_with_image() -> Result<Containerd> {
    let containerd = Containerd::start()?;
    containerd.import("default", &Image::busybox(IMAGE))?;
    Ok(containerd)
}

fn sleeper<'a>(namespace: &'a str, id: &'a str) -> Run<'a> {
    Run { namespace, id, image: IMAGE, labels: &[], options: &[], command: &SLEEP }
}
