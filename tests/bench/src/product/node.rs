//! A private containerd, and containers in which programs of this machine run: their root is a busybox image, with the
//! machine's `/usr` and libraries bound into it.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use kubeward_testkit::containerd::{Containerd, Run};
use kubeward_testkit::image::Image;

const NAMESPACE: &str = "default";
const IMAGE: &str = "docker.io/library/bench:1";

pub(super) struct Node {
    containerd: Containerd,
}

impl Node {
    /// `programs`: static programs that the image gets, too.
    pub(super) fn start(programs: &[PathBuf]) -> Result<Self> {
        let containerd = Containerd::start()?;
        let image = programs.iter().fold(Image::busybox(IMAGE), |image, program| image.program(program));
        containerd.import(NAMESPACE, &image)?;
        Ok(Self { containerd })
    }

    pub(super) fn socket(&self) -> PathBuf {
        self.containerd.socket()
    }

    /// Runs a container until it is removed; its id. `shown`: a folder of this machine, as `/sources` there.
    pub(super) fn run(&self, name: &str, shown: &Path, command: &[&str]) -> Result<String> {
        let id = self.containerd.unique_id(name);
        let bound = |source: &str, target: &str| format!("type=bind,src={source},dst={target},options=rbind:ro");
        let mut mounts: Vec<String> = ["/usr", "/lib", "/lib64"].map(|folder| bound(folder, folder)).into();
        mounts.push(bound(&shown.to_string_lossy(), "/sources"));
        let mut options = vec!["--net-host", "--env", "PATH=/usr/bin:/bin"];
        options.extend(mounts.iter().flat_map(|mount| ["--mount", mount]));
        let run = Run { namespace: NAMESPACE, id: &id, image: IMAGE, labels: &[], options: &options, command };
        self.containerd.run(&run).with_context(|| format!("running the container {id}"))?;
        Ok(id)
    }

    /// One that does nothing by itself.
    pub(super) fn run_idle(&self, name: &str, shown: &Path) -> Result<String> {
        self.run(name, shown, &["/bin/sleep", "1000000"])
    }

    /// What a command prints that joins the container; that it fails is an error.
    pub(super) fn exec(&self, id: &str, command: &[&str]) -> Result<String> {
        self.containerd.exec(NAMESPACE, id, command)
    }

    pub(super) fn remove(&self, id: &str) -> Result<()> {
        self.containerd.remove(NAMESPACE, id)
    }
}
