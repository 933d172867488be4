//! Where the server's programs are: tests/kubernetes/fetch.sh makes them once and keeps them.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{ensure, Context, Result};

pub(super) struct Programs {
    dir: PathBuf,
}

impl Programs {
    /// Makes them when they are not there yet, which takes minutes.
    pub(super) fn find() -> Result<Self> {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../kubernetes/fetch.sh");
        let output = Command::new(&script).output().with_context(|| format!("running {}", script.display()))?;
        ensure!(
            output.status.success(),
            "Kubernetes' CRD server is not to be had: {}",
            String::from_utf8_lossy(&output.stderr).trim()
        );
        Ok(Self { dir: PathBuf::from(String::from_utf8_lossy(&output.stdout).trim()) })
    }

    pub(super) fn server(&self) -> PathBuf {
        self.dir.join("apiextensions-apiserver")
    }

    pub(super) fn etcd(&self) -> PathBuf {
        self.dir.join("etcd")
    }
}
