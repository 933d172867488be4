//! A running `kubeward controller`.

use std::fs::{self, File};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use anyhow::{Context, Result};
use tempfile::TempDir;

use crate::agent::binary;

/// Dropping it kills it.
pub(crate) struct Controller {
    process: Child,
    folder: TempDir,
}

impl Controller {
    /// One whose agents are in namespace `kubeward`.
    pub(crate) fn start(kubeconfig: &Path) -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let log = File::create(folder.path().join("log"))?;
        let mut command = Command::new(binary());
        command.args(["controller", "--namespace", "kubeward", "--socket"]).arg(folder.path().join("controller.sock"));
        command.env_clear().env("KUBECONFIG", kubeconfig).stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
        let process = command.spawn().context("starting the controller")?;
        Ok(Self { process, folder })
    }

    /// What it has logged so far.
    pub(crate) fn log(&self) -> Result<String> {
        Ok(fs::read_to_string(self.folder.path().join("log"))?)
    }
}

impl Drop for Controller {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
