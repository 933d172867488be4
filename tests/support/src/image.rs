//! Container images built by hand, since a test machine may reach no registry.

use std::collections::BTreeMap;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use serde_json::json;
use sha2::{Digest, Sha256};

const BUSYBOX: &str = "/bin/busybox";
/// Names that busybox answers to in every image, beside its own.
const APPLETS: [&str; 12] = ["sh", "sleep", "cat", "echo", "ls", "true", "mkdir", "rm", "touch", "date", "nc", "httpd"];

/// One image with one layer: what is added, and before it static busybox with its names in `/bin`, if asked for.
pub struct Image {
    /// As containerd stores it: `docker.io/library/web:1`.
    pub name: String,
    pub labels: BTreeMap<String, String>,
    has_busybox: bool,
    /// Folders and files that any program expects.
    has_system: bool,
    entrypoint: Vec<String>,
    /// Path in the image without leading slash, and the static program on this machine.
    programs: Vec<(String, PathBuf)>,
}

impl Image {
    pub fn busybox(name: &str) -> Self {
        Self { has_busybox: true, ..Self::scratch(name) }
    }

    /// A few empty folders and no program.
    pub fn scratch(name: &str) -> Self {
        Self { has_system: true, ..Self::empty(name) }
    }

    /// Nothing at all, as `FROM scratch`.
    pub fn empty(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            labels: BTreeMap::new(),
            has_busybox: false,
            has_system: false,
            entrypoint: Vec::new(),
            programs: Vec::new(),
        }
    }

    /// Adds a statically linked program under that path.
    pub fn program_at(mut self, in_image: &str, path: &Path) -> Self {
        self.programs.push((in_image.trim_start_matches('/').to_owned(), path.to_owned()));
        self
    }

    /// The program that a container runs unless it names one.
    pub fn entrypoint(mut self, words: &[&str]) -> Self {
        self.entrypoint = words.iter().map(|word| (*word).to_owned()).collect();
        self
    }

    /// Adds a statically linked program as `/bin/<file name>`.
    pub fn program(mut self, path: impl AsRef<Path>) -> Self {
        let path = path.as_ref();
        let name = path.file_name().unwrap_or(path.as_os_str()).to_string_lossy();
        self.programs.push((format!("bin/{name}"), path.to_owned()));
        self
    }

    pub fn label(mut self, name: &str, value: &str) -> Self {
        self.labels.insert(name.to_owned(), value.to_owned());
        self
    }

    /// Writes a docker-archive, the form that `ctr images import` and `docker load` read.
    pub fn write_archive(&self, archive: &Path) -> Result<()> {
        let layer = self.layer()?;
        let config = self.config(&layer)?;
        let manifest = serde_json::to_vec(&json!([{
            "Config": "config.json", "RepoTags": [self.name], "Layers": ["layer.tar"],
        }]))?;
        let file = fs::File::create(archive).with_context(|| format!("creating {}", archive.display()))?;
        let mut tar = tar::Builder::new(file);
        for (name, bytes) in [("layer.tar", &layer), ("config.json", &config), ("manifest.json", &manifest)] {
            append(&mut tar, name, 0o644, bytes)?;
        }
        tar.into_inner()?.flush()?;
        Ok(())
    }

    fn layer(&self) -> Result<Vec<u8>> {
        let mut tar = tar::Builder::new(Vec::new());
        if self.has_system {
            append_system(&mut tar)?;
        }
        if self.has_busybox {
            append_busybox(&mut tar)?;
        }
        for (name, program) in &self.programs {
            let bytes = fs::read(program).with_context(|| format!("reading program {}", program.display()))?;
            append(&mut tar, name, 0o755, &bytes)?;
        }
        Ok(tar.into_inner()?)
    }

    fn default_command(&self) -> &'static [&'static str] {
        if self.entrypoint.is_empty() {
            &["/bin/sleep", "1000000"]
        } else {
            &[]
        }
    }

    fn config(&self, layer: &[u8]) -> Result<Vec<u8>> {
        let digest: String = Sha256::digest(layer).iter().map(|byte| format!("{byte:02x}")).collect();
        let architecture = match std::env::consts::ARCH {
            "x86_64" => "amd64",
            "aarch64" => "arm64",
            other => other,
        };
        Ok(serde_json::to_vec(&json!({
            "architecture": architecture,
            "os": "linux",
            "config": {
                "Env": ["PATH=/bin"], "Entrypoint": self.entrypoint, "Cmd": self.default_command(), "Labels": self.labels,
            },
            "rootfs": {"type": "layers", "diff_ids": [format!("sha256:{digest}")]},
        }))?)
    }
}

fn append_system(tar: &mut tar::Builder<Vec<u8>>) -> Result<()> {
    for directory in ["bin/", "tmp/", "etc/", "proc/", "sys/", "dev/"] {
        let mut header = header(0o755, 0);
        header.set_entry_type(tar::EntryType::Directory);
        tar.append_data(&mut header, directory, std::io::empty())?;
    }
    append(tar, "etc/hostname", 0o644, b"kubeward-test\n")?;
    append(tar, "etc/passwd", 0o644, b"root:x:0:0:root:/:/bin/sh\n")
}

fn append_busybox(tar: &mut tar::Builder<Vec<u8>>) -> Result<()> {
    let busybox = fs::read(BUSYBOX)
        .with_context(|| format!("reading {BUSYBOX}: install it with `apt-get install busybox-static`"))?;
    append(tar, "bin/busybox", 0o755, &busybox)?;
    for applet in APPLETS {
        let mut header = header(0o777, 0);
        header.set_entry_type(tar::EntryType::Symlink);
        tar.append_link(&mut header, format!("bin/{applet}"), "busybox")?;
    }
    Ok(())
}

fn header(mode: u32, size: usize) -> tar::Header {
    let mut header = tar::Header::new_gnu();
    header.set_mode(mode);
    header.set_size(size as u64);
    header
}

fn append<W: Write>(tar: &mut tar::Builder<W>, name: &str, mode: u32, bytes: &[u8]) -> Result<()> {
    tar.append_data(&mut header(mode, bytes.len()), name, bytes).with_context(|| format!("packing {name}"))
}
