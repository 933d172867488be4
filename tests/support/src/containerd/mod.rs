//! A private containerd: own root, state, sockets, runc state and cgroup parent, gone when dropped.

mod cleanup;
mod config;
pub mod cri;
mod programs;

use std::fs::{self, File};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output};
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{bail, ensure, Context, Result};
use tempfile::TempDir;

use crate::image::Image;
use programs::Programs;

/// From the start of the daemon to its first answer; 0.3 s on an idle machine.
const START_LIMIT: Duration = Duration::from_secs(60);

/// A containerd of one test. Dropping it ends its containers, shims, mounts and cgroups, also on panic.
pub struct Containerd {
    programs: Programs,
    dir: TempDir,
    daemon: Option<Child>,
    containers: AtomicU32,
}

/// A container to run.
pub struct Run<'a> {
    pub namespace: &'a str,
    pub id: &'a str,
    pub image: &'a str,
    pub labels: &'a [(&'a str, &'a str)],
    /// More of `ctr run`'s options: `--net-host`, `--seccomp`, ...
    pub options: &'a [&'a str],
    pub command: &'a [&'a str],
}

impl Containerd {
    /// Starts the containerd of `$KUBEWARD_CONTAINERD_DIR`, or else the one on `PATH`.
    pub fn start() -> Result<Self> {
        let mut containerd = Self::prepared()?;
        containerd.resume()?;
        Ok(containerd)
    }

    /// The same with the CRI plugin, as a node of Kubernetes runs it, and [`cri::PAUSE_IMAGE`] imported.
    pub fn start_with_cri() -> Result<Self> {
        let mut containerd = Self::prepared()?;
        fs::write(containerd.config_path(), containerd.cri_config()).context("writing containerd's configuration")?;
        containerd.write_cni()?;
        containerd.resume()?;
        containerd.import(cri::NAMESPACE, &Image::busybox(cri::PAUSE_IMAGE))?;
        // The plugin learns of imported images some time later, but reads all of them when it starts.
        containerd.kill()?;
        containerd.resume()?;
        Ok(containerd)
    }

    /// Everything but the daemon: its socket is not there yet.
    pub fn prepared() -> Result<Self> {
        let programs = Programs::find()?;
        let dir = tempfile::Builder::new().prefix("kubeward-containerd-").tempdir()?;
        let containerd = Self { programs, dir, daemon: None, containers: AtomicU32::new(0) };
        fs::create_dir_all(containerd.run_dir().join("containerd"))?;
        fs::write(containerd.config_path(), containerd.config()).context("writing containerd's configuration")?;
        Ok(containerd)
    }

    pub fn socket(&self) -> PathBuf {
        self.run_dir().join("containerd/containerd.sock")
    }

    /// What `/run` is to an installed containerd.
    pub fn run_dir(&self) -> PathBuf {
        self.dir.path().join("run")
    }

    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// The daemon's process, while it runs.
    pub fn pid(&self) -> Option<u32> {
        self.daemon.as_ref().map(Child::id)
    }

    /// An id that no other test uses, readable as `name`: shims' and fifos' paths are shared by the machine.
    pub fn unique_id(&self, name: &str) -> String {
        let number = self.containers.fetch_add(1, Ordering::Relaxed);
        format!("{name}-{number}-{}", self.suffix())
    }

    fn suffix(&self) -> String {
        let name = self.dir.path().file_name().unwrap_or_default().to_string_lossy();
        name.rsplit('-').next().unwrap_or_default().to_owned()
    }

    fn config_path(&self) -> PathBuf {
        self.dir.path().join("config.toml")
    }

    /// Starts the daemon (again) and returns when it answers.
    pub fn resume(&mut self) -> Result<()> {
        ensure!(self.daemon.is_none(), "containerd runs already");
        let log = File::options().create(true).append(true).open(self.log_path())?;
        let daemon = Command::new(self.programs.containerd())
            .arg("--config")
            .arg(self.config_path())
            .env("PATH", self.programs.search_path())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()
            .with_context(|| format!("starting {}", self.programs.containerd().display()))?;
        self.daemon = Some(daemon);
        self.wait_for_answer()
    }

    fn wait_for_answer(&mut self) -> Result<()> {
        let deadline = Instant::now() + START_LIMIT;
        loop {
            if UnixStream::connect(self.socket()).is_ok() && self.ctr("default", &["version"]).is_ok() {
                return Ok(());
            }
            let ended = self.daemon.as_mut().map(Child::try_wait).transpose()?.flatten();
            if let Some(status) = ended {
                self.daemon = None;
                bail!("containerd ended at its start ({status}):\n{}", self.log_tail());
            }
            ensure!(
                Instant::now() < deadline,
                "containerd does not answer after {START_LIMIT:?}:\n{}",
                self.log_tail()
            );
            sleep(Duration::from_millis(20));
        }
    }

    /// `kill -9` of the daemon. Its shims and containers go on.
    pub fn kill(&mut self) -> Result<()> {
        let mut daemon = self.daemon.take().context("containerd does not run")?;
        daemon.kill()?;
        daemon.wait()?;
        Ok(())
    }

    fn log_path(&self) -> PathBuf {
        self.dir.path().join("containerd.log")
    }

    fn log_tail(&self) -> String {
        let log = fs::read_to_string(self.log_path()).unwrap_or_default();
        let lines: Vec<&str> = log.lines().collect();
        lines[lines.len().saturating_sub(20)..].join("\n")
    }

    /// `ctr` in one of containerd's namespaces; its standard output.
    pub fn ctr(&self, namespace: &str, args: &[&str]) -> Result<String> {
        let Output { status, stdout, stderr } = Command::new(self.programs.ctr())
            .arg("--address")
            .arg(self.socket())
            .args(["--namespace", namespace])
            .args(args)
            .env("PATH", self.programs.search_path())
            .output()
            .with_context(|| format!("running {}", self.programs.ctr().display()))?;
        ensure!(status.success(), "ctr {} ({status}): {}", args.join(" "), String::from_utf8_lossy(&stderr).trim());
        Ok(String::from_utf8_lossy(&stdout).into_owned())
    }

    /// Imports the image into a namespace; returns the digest that containerd gave it.
    pub fn import(&self, namespace: &str, image: &Image) -> Result<String> {
        let archive = self.dir.path().join(format!("{}.tar", self.unique_id("image")));
        image.write_archive(&archive)?;
        self.ctr(namespace, &["images", "import", &archive.display().to_string()])?;
        fs::remove_file(&archive)?;
        let listed = self.ctr(namespace, &["images", "list", &format!("name=={}", image.name)])?;
        let digest = listed.split_whitespace().find(|word| word.starts_with("sha256:"));
        Ok(digest.with_context(|| format!("image {} is not listed: {listed}", image.name))?.to_owned())
    }

    /// Runs a container in the background; returns when its program was started.
    pub fn run(&self, run: &Run) -> Result<()> {
        self.ctr_run(run, &["--detach", "--null-io"])?;
        Ok(())
    }

    /// Runs a container until its program ends, and removes it; the program's standard output. A program that
    /// fails is an error.
    pub fn run_to_end(&self, run: &Run) -> Result<String> {
        self.ctr_run(run, &["--rm"])
    }

    fn ctr_run(&self, run: &Run, how: &[&str]) -> Result<String> {
        let (runc_root, cgroup) = (self.runc_root().display().to_string(), self.cgroup(run.namespace, run.id));
        let labels: Vec<String> = run.labels.iter().map(|(name, value)| format!("{name}={value}")).collect();
        let mut args = [&["run"], how, &["--runc-root", &runc_root, "--cgroup", &cgroup]].concat();
        args.extend(labels.iter().flat_map(|label| ["--label", label]));
        args.extend(run.options);
        args.extend([run.image, run.id]);
        args.extend(run.command);
        self.ctr(run.namespace, &args)
    }

    /// Starts a new task of a container whose earlier task was removed.
    pub fn start_task(&self, namespace: &str, id: &str) -> Result<()> {
        self.ctr(namespace, &["tasks", "start", "--detach", "--null-io", id])?;
        Ok(())
    }

    /// Kills the container's init task and returns when the task is removed; the container's record stays.
    pub fn end_task(&self, namespace: &str, id: &str) -> Result<()> {
        self.ctr(namespace, &["tasks", "delete", "--force", id])?;
        Ok(())
    }

    pub fn remove(&self, namespace: &str, id: &str) -> Result<()> {
        self.end_task(namespace, id)?;
        self.ctr(namespace, &["containers", "delete", id])?;
        Ok(())
    }

    /// Runs a command in a running container and waits for it; its standard output.
    pub fn exec(&self, namespace: &str, id: &str, command: &[&str]) -> Result<String> {
        let exec_id = self.unique_id("exec");
        let args = [&["tasks", "exec", "--exec-id", &exec_id, id], command].concat();
        self.ctr(namespace, &args)
    }

    /// The init task's number, as containerd says.
    pub fn init_pid(&self, namespace: &str, id: &str) -> Result<u32> {
        let tasks = self.ctr(namespace, &["tasks", "list"])?;
        let mut rows = tasks.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
        let row = rows.find(|row| row.first() == Some(&id)).with_context(|| format!("no task of {id}: {tasks}"))?;
        row.get(1).and_then(|pid| pid.parse().ok()).with_context(|| format!("no pid in {row:?}"))
    }

    fn runc_root(&self) -> PathBuf {
        self.dir.path().join("runc")
    }

    fn cgroup_parent(&self) -> String {
        format!("kubeward-test-{}", self.suffix())
    }

    fn cgroup(&self, namespace: &str, id: &str) -> String {
        format!("/{}/{namespace}/{id}", self.cgroup_parent())
    }
}
