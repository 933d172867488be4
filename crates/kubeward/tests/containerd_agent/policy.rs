//! Policy files that tests write and edit.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use anyhow::Result;
use tempfile::TempDir;

/// A folder of policy files.
pub(crate) struct Policies(TempDir);

impl Policies {
    /// One file for each name and spec.
    pub(crate) fn new(policies: &[(&str, &str)]) -> Result<Self> {
        let folder = Self(tempfile::tempdir()?);
        for (name, spec) in policies {
            folder.write(name, spec)?;
        }
        Ok(folder)
    }

    pub(crate) fn folder(&self) -> &Path {
        self.0.path()
    }

    /// The file of a policy.
    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.0.path().join(format!("{name}.yaml"))
    }

    /// Writes or replaces a policy; the moment of it.
    pub(crate) fn write(&self, name: &str, spec: &str) -> Result<SystemTime> {
        self.write_text(
            name,
            &format!("apiVersion: kubeward.kubeward/v1\nkind: KubeWard\nmetadata: {{name: {name}}}\nspec: {spec}\n"),
        )
    }

    /// As editors do: a new file takes the old one's place.
    pub(crate) fn write_text(&self, name: &str, text: &str) -> Result<SystemTime> {
        let new = self.0.path().join(".new");
        fs::write(&new, text)?;
        let moment = SystemTime::now();
        fs::rename(new, self.file(name))?;
        Ok(moment)
    }

    pub(crate) fn remove(&self, name: &str) -> Result<()> {
        Ok(fs::remove_file(self.file(name))?)
    }
}
