//! Processes of the host that visit a container, and those that only look like it.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::process::Command;

use anyhow::{ensure, Context, Result};
use nix::sys::signal::Signal;
use serde_json::Value;

use crate::escapes::{assert_only, v2_cgroup, watched, ways_of};
use crate::stream::is_call;
use crate::told::Told;
use crate::witness::witness;

pub(crate) fn unified() -> Result<PathBuf> {
    let roots = ["/sys/fs/cgroup/unified", "/sys/fs/cgroup"].map(PathBuf::from);
    roots.into_iter().find(|root| root.join("cgroup.procs").exists()).context("there is no v2 hierarchy")
}

/// Runs a program of the host, which must end well.
pub(crate) fn run(program: &mut Command) -> Result<()> {
    let output = program.output().with_context(|| format!("running {program:?}"))?;
    ensure!(output.status.success(), "{program:?} ({}): {}", output.status, String::from_utf8_lossy(&output.stderr));
    Ok(())
}

pub(crate) fn guest() -> Command {
    Command::new(witness("guest"))
}

#[test]
fn containerd_process_that_joins_by_exec_or_nsenter_is_the_containers() -> Result<()> {
    let (containerd, _policies, mut agent) = watched()?;
    let mut told = Told::start(&containerd, "web")?;
    agent.sees(&mut told, "mkdirat")?;
    containerd.exec("default", &told.id, &["/bin/escape", "exec"])?;
    let init = containerd.init_pid("default", &told.id)?.to_string();
    run(Command::new("nsenter").args(["-t", &init, "--all", "--", "/bin/escape", "all-namespaces"]))?;
    run(Command::new("nsenter").args(["-t", &init, "-m", "-p", "--", "/bin/escape", "mnt-and-pid"]))?;
    told.tell("mkdir /at-the-end")?;
    agent.event(&told.id, "mkdirat", "/at-the-end");

    let stream = agent.stop().stream;
    assert_eq!(ways_of(&stream, &told.id), ["all-namespaces", "exec", "mnt-and-pid"]);
    for (way, identity) in [("exec", Value::Null), ("all-namespaces", "namespace".into())] {
        let is_way = |line: &&Value| is_call(line, &told.id, "access", &format!("/escaped/{way}"));
        assert_eq!(stream.0.iter().find(is_way).map(|event| &event["identity"]), Some(&identity), "{way}");
    }
    assert_only(&stream, &[&told.id]);
    Ok(())
}

#[test]
fn containerd_host_daemon_is_the_containers_only_while_it_is_inside() -> Result<()> {
    let (containerd, _policies, mut agent) = watched()?;
    let mut told = Told::start(&containerd, "web")?;
    agent.sees(&mut told, "mkdirat")?;
    run(guest().args(["namespaces", &containerd.init_pid("default", &told.id)?.to_string()]))?;
    told.tell("mkdir /at-the-end")?;
    agent.event(&told.id, "mkdirat", "/at-the-end");

    let stream = agent.stop().stream;
    assert_eq!(ways_of(&stream, &told.id), ["guest-inside"]);
    assert_only(&stream, &[&told.id]);
    Ok(())
}

#[test]
fn containerd_process_in_a_containers_cgroup_is_the_containers_and_stays() -> Result<()> {
    let (containerd, _policies, mut agent) = watched()?;
    let mut told = Told::start(&containerd, "web")?;
    agent.sees(&mut told, "mkdirat")?;
    let root = unified()?;
    let cgroup = root.join(v2_cgroup(containerd.init_pid("default", &told.id)?)?);
    run(guest().arg("cgroup").args([cgroup, root]))?;
    told.tell("mkdir /at-the-end")?;
    agent.event(&told.id, "mkdirat", "/at-the-end");

    let stream = agent.stop().stream;
    let inside = ["guest-born", "guest-born-left", "guest-moved", "guest-moved-left"];
    assert_eq!(ways_of(&stream, &told.id), inside);
    assert_only(&stream, &[&told.id]);
    Ok(())
}

/// The name alone says nothing: anybody may make a cgroup.
#[test]
fn containerd_cgroup_with_a_containers_id_as_its_name_is_not_the_container() -> Result<()> {
    let (containerd, _policies, mut agent) = watched()?;
    let mut told = Told::start(&containerd, "web")?;
    agent.sees(&mut told, "mkdirat")?;
    let root = unified()?;
    for named in [told.id.clone(), format!("cri-containerd-{}.scope", told.id)] {
        run(guest().arg("cgroup-named").arg(root.join(named)))?;
    }
    told.tell("run /bin/escape inside")?;
    agent.event(&told.id, "access", "/escaped/inside");

    let stream = agent.stop().stream;
    assert_eq!(ways_of(&stream, &told.id), ["inside"]);
    assert_only(&stream, &[&told.id]);
    Ok(())
}

/// The kernel gives the numbers of a container's namespaces to the next ones that are made, also before the agent knows of the
/// container's end.
#[test]
fn containerd_namespaces_with_an_ended_containers_numbers_are_not_the_container() -> Result<()> {
    let (containerd, _policies, mut agent) = watched()?;
    let mut told = Told::start(&containerd, "web")?;
    agent.sees(&mut told, "mkdirat")?;
    let init = containerd.init_pid("default", &told.id)?;
    let number = |kind: &str| anyhow::Ok(fs::metadata(format!("/proc/{init}/ns/{kind}"))?.ino().to_string());
    let numbers = [number("mnt")?, number("pid")?];
    agent.signal(Signal::SIGSTOP);
    containerd.end_task("default", &told.id)?;
    run(guest().arg("reuse").args(numbers))?;
    agent.signal(Signal::SIGCONT);
    agent.container(&told.id, "gone");

    let stream = agent.stop().stream;
    assert_eq!(ways_of(&stream, &told.id), [""; 0]);
    assert_only(&stream, &[&told.id]);
    Ok(())
}
