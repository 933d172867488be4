//! A container in a container: runc, run by a privileged one, under the id of another container of the machine.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{ensure, Context, Result};
use kubeward_testkit::containerd::Containerd;
use serde_json::{json, Value};

use crate::agent::Agent;
use crate::escapes::{assert_only, policies, ways_of};
use crate::image;
use crate::stream::is_call;
use crate::told::Told;
use crate::witness::witness;

/// runc, and what a dynamic program needs.
fn with_runc(image: kubeward_testkit::image::Image) -> Result<kubeward_testkit::image::Image> {
    let runc = ["/usr/sbin/runc", "/usr/bin/runc", "/usr/local/sbin/runc"].map(Path::new);
    let runc = runc.into_iter().find(|path| path.exists()).context("runc is missing: apt-get install runc")?;
    let output = Command::new("ldd").arg(runc).output().context("running ldd")?;
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let libraries = said.split_whitespace().filter(|word| word.starts_with('/'));
    Ok(libraries.fold(image.program_at("/bin/runc", runc), |image, path| image.program_at(path, Path::new(path))))
}

/// A folder that runc runs: `escape WAY`, in namespaces of its own.
fn write_bundle(folder: &Path, way: &str) -> Result<()> {
    let rootfs = folder.join("rootfs");
    for inner in ["bin", "proc", "dev", "sys"] {
        fs::create_dir_all(rootfs.join(inner))?;
    }
    fs::copy(witness("escape"), rootfs.join("bin/escape"))?;
    let made = Command::new("runc").arg("spec").current_dir(folder).output().context("running runc")?;
    ensure!(made.status.success(), "runc spec: {}", String::from_utf8_lossy(&made.stderr));
    let path = folder.join("config.json");
    let mut config: Value = serde_json::from_slice(&fs::read(&path)?)?;
    config["process"]["terminal"] = json!(false);
    config["process"]["args"] = json!(["/bin/escape", way]);
    fs::write(path, config.to_string())?;
    Ok(())
}

#[test]
fn containerd_container_in_a_container_has_the_outer_ones_name() -> Result<()> {
    let containerd = Containerd::start()?;
    containerd.import("default", &with_runc(image())?)?;
    let policies = policies()?;
    let mut agent = Agent::start(&containerd.socket(), policies.folder())?;
    agent.ready();
    let bundle = containerd.dir().join("bundle");
    write_bundle(&bundle, "nested")?;
    let mount = format!("type=bind,src={},dst=/bundle,options=rbind:rw", bundle.display());
    let cgroups = "type=bind,src=/sys/fs/cgroup,dst=/sys/fs/cgroup,options=rbind:rw";
    let mut other = Told::start(&containerd, "other")?;
    let options = ["--privileged", "--mount", &mount, "--mount", cgroups];
    let mut outer = Told::start_with(&containerd, "outer", &[], &options)?;
    agent.sees(&mut other, "mkdirat")?;
    agent.sees(&mut outer, "mkdirat")?;
    outer.tell(&format!("run /bin/runc --root /tmp/runc run --bundle /bundle {}", other.id))?;
    outer.tell("mkdir /at-the-end")?;
    agent.event(&outer.id, "mkdirat", "/at-the-end");

    let stream = agent.stop().stream;
    assert_eq!(ways_of(&stream, &outer.id), ["nested"]);
    let nested = stream.0.iter().find(|line| is_call(line, &outer.id, "access", "/escaped/nested"));
    assert_eq!(nested.map(|event| &event["process"]["container_pid"]), Some(&1.into()), "it is one of its own");
    assert_only(&stream, &[&outer.id]);
    stream.assert_whole(&other.id);
    Ok(())
}
