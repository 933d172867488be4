//! Which containerd is tested.

use std::env;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

use anyhow::{bail, Result};

/// The folder of containerd's programs, all of one version.
pub(super) struct Programs {
    dir: PathBuf,
}

impl Programs {
    /// `$KUBEWARD_CONTAINERD_DIR`, or the folder on `PATH` that has containerd.
    pub(super) fn find() -> Result<Self> {
        let named = env::var_os("KUBEWARD_CONTAINERD_DIR").filter(|dir| !dir.is_empty());
        let candidates: Vec<PathBuf> = match &named {
            Some(dir) => vec![PathBuf::from(dir)],
            None => env::split_paths(&env::var_os("PATH").unwrap_or_default()).collect(),
        };
        let complete = |dir: &&PathBuf| {
            ["containerd", "ctr", "containerd-shim-runc-v2"].iter().all(|name| dir.join(name).is_file())
        };
        if let Some(dir) = candidates.iter().find(complete) {
            return Ok(Self { dir: dir.clone() });
        }
        match named {
            Some(dir) => bail!(
                "{} lacks containerd, ctr or containerd-shim-runc-v2: tests/containerd/fetch.sh prints the right folder",
                Path::new(&dir).display()
            ),
            None => bail!("no containerd on PATH: install it with `apt-get install containerd runc`"),
        }
    }

    pub(super) fn containerd(&self) -> PathBuf {
        self.dir.join("containerd")
    }

    pub(super) fn ctr(&self) -> PathBuf {
        self.dir.join("ctr")
    }

    /// containerd finds its shim, and the shim runc, through `PATH`.
    pub(super) fn search_path(&self) -> OsString {
        let mut dirs = vec![self.dir.clone()];
        dirs.extend(env::split_paths(&env::var_os("PATH").unwrap_or_default()));
        dirs.extend(["/usr/sbin", "/usr/bin", "/sbin", "/bin"].map(PathBuf::from));
        env::join_paths(dirs).unwrap_or_else(|_| OsString::from("/usr/sbin:/usr/bin:/sbin:/bin"))
    }
}
