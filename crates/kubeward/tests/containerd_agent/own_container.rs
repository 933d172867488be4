//! The agent as a container among those that it watches.

use std::path::Path;
use std::thread;

use anyhow::Result;
use kubeward_testkit::containerd::{Containerd, Run};
use kubeward_testkit::image::Image;
use nix::sys::signal::{kill, Signal};
use nix::unistd::Pid;

use crate::agent::{binary, Agent};
use crate::containerd_with_image;
use crate::follow::Follow;
use crate::policy::Policies;
use crate::stream::{container, is_event, is_notice};
use crate::told::Told;

const AGENT_IMAGE: &str = "docker.io/library/kubeward:1";

/// What `ctr run` gives unasked.
const DROPPED: [&str; 14] = [
    "CAP_AUDIT_WRITE",
    "CAP_CHOWN",
    "CAP_DAC_OVERRIDE",
    "CAP_FOWNER",
    "CAP_FSETID",
    "CAP_KILL",
    "CAP_MKNOD",
    "CAP_NET_BIND_SERVICE",
    "CAP_NET_RAW",
    "CAP_SETFCAP",
    "CAP_SETGID",
    "CAP_SETPCAP",
    "CAP_SETUID",
    "CAP_SYS_CHROOT",
];
/// CAP_PERFMON and CAP_BPF, as `/proc/PID/status` writes them.
const BPF_AND_PERFMON: &str = "CapEff:\t000000c000000000";

/// Ends the agent's container, so that whoever waits for its end goes on, also when the test fails.
struct Killed<'a>(&'a Containerd, &'a str);

impl Drop for Killed<'_> {
    fn drop(&mut self) {
        // Gone already when the test passed.
        let _ = self.0.ctr("default", &["tasks", "kill", "--signal", "SIGKILL", self.1]);
    }
}

/// `ctr run`'s, for an agent with what it needs and no more: the host's pid namespace, two capabilities, these folders.
fn options(folders: [&Path; 3]) -> Vec<String> {
    let mounts = folders.map(|path| format!("type=bind,src={0},dst={0},options=bind:rw", path.display()));
    let host_pids = format!("pid:/proc/{}/ns/pid", std::process::id());
    let fixed =
        ["--read-only", "--seccomp", "--with-ns", &host_pids, "--cap-add", "CAP_BPF", "--cap-add", "CAP_PERFMON"];
    let dropped = DROPPED.iter().flat_map(|capability| ["--cap-drop", capability]);
    let mounted = mounts.iter().flat_map(|mount| ["--mount", mount]);
    fixed.into_iter().chain(dropped).chain(mounted).map(str::to_owned).collect()
}

/// The agent's program and arguments, inside.
fn command(socket: &Path, policies: &Path, output: &Path) -> Vec<String> {
    let api = output.with_file_name("agent.sock");
    let program = format!("/bin/{}", binary().file_name().unwrap_or_default().to_string_lossy());
    let fixed = ["agent", "--kubernetes", "off", "--format", "json"].map(str::to_owned);
    let paths = [("-f", policies), ("--cri-socket", socket), ("-o", output), ("--socket", &api)];
    let named = paths.into_iter().flat_map(|(flag, path)| [flag.to_owned(), path.display().to_string()]);
    [program].into_iter().chain(fixed).chain(named).collect()
}

#[test]
fn containerd_agent_in_a_container_from_scratch_watches_others_and_not_itself() -> Result<()> {
    let containerd = containerd_with_image()?;
    containerd.import("default", &Image::scratch(AGENT_IMAGE).program(binary()))?;
    let policies = Policies::new(&[("all", "{categories: [file, network, memory]}")])?;
    let folder = tempfile::tempdir()?;
    let output = folder.path().join("events.jsonl");
    let mut agent = Agent::reading(Follow::of(&output), Follow::of(&folder.path().join("log")));

    let id = containerd.unique_id("agent");
    let options = options([containerd.dir(), policies.folder(), folder.path()]);
    let command = command(&containerd.socket(), policies.folder(), &output);
    let (options, command): (Vec<&str>, Vec<&str>) =
        (options.iter().map(String::as_str).collect(), command.iter().map(String::as_str).collect());
    let run =
        Run { namespace: "default", id: &id, image: AGENT_IMAGE, labels: &[], options: &options, command: &command };

    let mut told = thread::scope(|scope| {
        let killed = Killed(&containerd, &id);
        let waiter = scope.spawn(|| containerd.run_to_end(&run).inspect_err(|error| eprintln!("{error:#}")));
        let answers = agent.line("containerd's answer", |line| is_notice(line, "containerd_answers"));
        assert!(
            answers["message"].as_str().unwrap_or_default().ends_with("1 container runs"),
            "its own is the one: {answers}"
        );
        let pid = i32::try_from(containerd.init_pid("default", &id)?)?;
        let status = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
        assert!(status.lines().any(|line| line == BPF_AND_PERFMON), "{status}");
        let mut told = Told::start(&containerd, "web")?;
        agent.sees(&mut told, "mkdirat")?;
        // What the agent writes because of these would be seen, written and seen again.
        told.tell("flood 500")?;
        told.tell("mkdir /marker")?;
        agent.event(&told.id, "mkdirat", "/marker");
        kill(Pid::from_raw(pid), Signal::SIGTERM)?;
        waiter.join().expect("the waiter returns its errors")?;
        drop(killed);
        anyhow::Ok(told)
    })?;
    told.tell("mkdir /unwatched")?;

    let stream = agent.read_to_end();
    assert!(!stream.mentions(&id), "the agent's own container is in no line");
    assert!(stream.0.iter().filter(|line| is_event(line)).all(|line| container(line) == told.id));
    stream.assert_whole(&told.id);
    stream.node_ledger();
    Ok(())
}
