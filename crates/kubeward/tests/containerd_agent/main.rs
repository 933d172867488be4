//! `kubeward agent` beside a real containerd. Needs root, containerd, runc and cc; fails without them.
//!
//! `KUBEWARD_CONTAINERD_DIR` names the folder of another containerd than the one on `PATH`
//! (`tests/containerd/fetch.sh` gets newer ones), `KUBEWARD_BIN` another binary than the one that Cargo built.
//!
//! The watched containers run `told`, which makes a call when the test says so: no test waits for time to pass.

mod agent;
mod apply_latency;
mod as_pod;
mod brief;
mod cluster;
mod cluster_faults;
mod cluster_outages;
mod cluster_policies;
mod cluster_status;
mod containers;
mod controller;
mod ends;
#[path = "../root/escape_ways.rs"]
mod escape_ways;
mod escapes;
mod follow;
mod guests;
mod intruders;
mod kubelet;
mod local_api;
mod maps;
mod names;
mod nested;
mod noisy;
mod outages;
mod own_container;
mod plan;
mod pods;
mod policies;
mod policy;
mod restart;
mod rights;
mod roles;
mod storms;
mod stream;
mod told;
#[path = "../root/witness.rs"]
mod witness;

use anyhow::Result;
use kubeward_testkit::containerd::Containerd;
use kubeward_testkit::image::Image;

const IMAGE: &str = "docker.io/library/web:1";

/// A containerd that has [`IMAGE`], with `told` and `brief` in it, in namespace `default`.
fn containerd_with_image() -> Result<Containerd> {
    let containerd = Containerd::start()?;
    containerd.import("default", &image())?;
    Ok(containerd)
}

fn image() -> Image {
    Image::busybox(IMAGE).program(witness::witness("told")).program(witness::witness("brief"))
}
