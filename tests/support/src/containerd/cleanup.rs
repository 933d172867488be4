//! Ends everything a test's containerd has left, whatever state the test died in.
//!
//! Needs no containerd that answers: runc's state names the containers, the command line the shims, the
//! kernel the mounts and cgroups. Runs in a destructor, so what fails is said on stderr and passed over.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::Containerd;

impl Drop for Containerd {
    fn drop(&mut self) {
        if let Some(mut daemon) = self.daemon.take() {
            let _ = daemon.kill();
            let _ = daemon.wait();
        }
        kill_shims(&self.socket());
        remove_shim_sockets(self.dir.path());
        delete_containers(&self.runc_root(), &self.programs.search_path());
        unmount_below(self.dir.path());
        remove_cgroups(&self.cgroup_parent());
    }
}

/// The shims of this daemon, known by its socket in their command line.
fn kill_shims(socket: &Path) {
    let socket = socket.as_os_str().as_encoded_bytes();
    for process in subdirectories(Path::new("/proc")) {
        let command = fs::read(process.join("cmdline")).unwrap_or_default();
        let mut words = command.split(|&byte| byte == 0);
        let is_shim = words.next().is_some_and(|program| program.ends_with(b"containerd-shim-runc-v2"));
        if is_shim && words.any(|word| word == socket) {
            run(Command::new("kill").arg("-KILL").arg(process.file_name().unwrap_or_default()));
        }
    }
}

/// A shim listens in a folder that all containerds share; its bundle says where (`address` in 1.x,
/// `bootstrap.json` in 2.x).
fn remove_shim_sockets(dir: &Path) {
    let namespaces = subdirectories(&dir.join("run/containerd/io.containerd.runtime.v2.task"));
    for bundle in namespaces.iter().flat_map(|namespace| subdirectories(namespace)) {
        for file in ["address", "bootstrap.json"] {
            let text = fs::read_to_string(bundle.join(file)).unwrap_or_default();
            let Some((_, address)) = text.split_once("unix://") else { continue };
            let socket = address.split('"').next().unwrap_or_default().trim();
            // Both files of a bundle name the same socket, and a shim that ended in order removed it.
            let _ = fs::remove_file(socket);
        }
    }
}

/// runc's state is `<root>/<containerd namespace>/<container id>`.
fn delete_containers(runc_root: &Path, search_path: &std::ffi::OsStr) {
    for namespace in subdirectories(runc_root) {
        for container in subdirectories(&namespace) {
            let id = container.file_name().unwrap_or_default();
            let mut runc = Command::new("runc");
            runc.arg("--root").arg(&namespace).args(["delete", "--force"]).arg(id).env("PATH", search_path);
            run(&mut runc);
        }
    }
}

fn unmount_below(dir: &Path) {
    let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    let below = mounts.lines().filter_map(|line| line.split(' ').nth(4)).filter(|at| Path::new(at).starts_with(dir));
    // The last mounted is the first to go.
    for mount_point in below.collect::<Vec<_>>().into_iter().rev() {
        run(Command::new("umount").args(["--lazy", mount_point]));
    }
}

/// One parent in each hierarchy (v1), or in the only one (v2); runc has removed what was below it.
fn remove_cgroups(parent: &str) {
    let root = PathBuf::from("/sys/fs/cgroup");
    for hierarchy in subdirectories(&root).into_iter().chain([root.clone()]) {
        let cgroup = hierarchy.join(parent);
        if cgroup.exists() {
            remove_tree(&cgroup);
        }
    }
}

fn remove_tree(cgroup: &Path) {
    subdirectories(cgroup).iter().for_each(|child| remove_tree(child));
    if let Err(error) = fs::remove_dir(cgroup) {
        eprintln!("cleaning up: {}: {error}", cgroup.display());
    }
}

fn subdirectories(dir: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(dir).into_iter().flatten().flatten();
    entries.map(|entry| entry.path()).filter(|path| path.is_dir()).collect()
}

fn run(command: &mut Command) {
    match command.output() {
        Ok(output) if output.status.success() => {}
        Ok(output) => eprintln!("cleaning up: {command:?}: {}", String::from_utf8_lossy(&output.stderr).trim()),
        Err(error) => eprintln!("cleaning up: {command:?}: {error}"),
    }
}
