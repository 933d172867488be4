//! Containers that run `told` and do what a test tells them.

use std::fs::{File, OpenOptions};
use std::io::{Read, Write};
use std::os::fd::AsFd;
use std::path::Path;
use std::time::Duration;

use anyhow::{ensure, Context, Result};
use kubeward_testkit::containerd::{Containerd, Run};
use nix::sys::stat::Mode;
use nix::unistd::mkfifo;

use crate::follow::{is_readable, LIMIT};
use crate::IMAGE;

/// What a kubelet writes on the container `app` of the pod `shop/web-0`.
pub(crate) const POD: [(&str, &str); 4] = [
    ("io.kubernetes.container.name", "app"),
    ("io.kubernetes.pod.name", "web-0"),
    ("io.kubernetes.pod.namespace", "shop"),
    ("io.kubernetes.pod.uid", "5f2c"),
];

/// A container of containerd's namespace `default`.
pub(crate) struct Told {
    pub(crate) id: String,
    /// Held open, so that the program inside stays. Both are open for reading and writing: opening never waits.
    commands: File,
    answers: File,
}

impl Told {
    pub(crate) fn start(containerd: &Containerd, name: &str) -> Result<Self> {
        Self::start_labelled(containerd, name, &[])
    }

    pub(crate) fn start_labelled(containerd: &Containerd, name: &str, labels: &[(&str, &str)]) -> Result<Self> {
        Self::start_with(containerd, name, labels, &[])
    }

    /// With more of `ctr run`'s options.
    pub(crate) fn start_with(
        containerd: &Containerd,
        name: &str,
        labels: &[(&str, &str)],
        options: &[&str],
    ) -> Result<Self> {
        let id = containerd.unique_id(name);
        let folder = containerd.dir().join("told").join(&id);
        std::fs::create_dir_all(&folder)?;
        let (commands, answers) = (fifo(&folder.join("commands"))?, fifo(&folder.join("answers"))?);
        let mount = format!("type=bind,src={},dst=/told,options=rbind:rw", folder.display());
        containerd.run(&Run {
            namespace: "default",
            id: &id,
            image: IMAGE,
            labels,
            options: &[&["--mount", &mount], options].concat(),
            command: &["/bin/told", "/told/commands", "/told/answers"],
        })?;
        Ok(Self { id, commands, answers })
    }

    /// Returns when what the command says is done.
    pub(crate) fn tell(&mut self, command: &str) -> Result<()> {
        self.tell_within(LIMIT, command)
    }

    /// The same of what takes longer.
    pub(crate) fn tell_within(&mut self, limit: Duration, command: &str) -> Result<()> {
        self.commands.write_all(format!("{command}\n").as_bytes())?;
        ensure!(is_readable(self.answers.as_fd(), limit), "{} has not done {command:?} within {limit:?}", self.id);
        self.answers.read_exact(&mut [0])?;
        Ok(())
    }
}

pub(crate) fn fifo(path: &Path) -> Result<File> {
    mkfifo(path, Mode::S_IRUSR | Mode::S_IWUSR).with_context(|| format!("making {}", path.display()))?;
    Ok(OpenOptions::new().read(true).write(true).open(path)?)
}
