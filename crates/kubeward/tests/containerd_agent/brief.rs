//! Containers that end before anybody can look at them: none of their calls is missed, and each is the right container's.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use anyhow::{Context, Result};
use kubeward_testkit::containerd::{Containerd, Run};
use nix::sys::signal::Signal;
use serde_json::Value;
use tempfile::TempDir;

use crate::agent::Agent;
use crate::policy::Policies;
use crate::stream::{container, is_event, number, path, Stream};
use crate::told::Told;
use crate::witness::witness;
use crate::{containerd_with_image, maps, IMAGE};

const POLICY: &str = "{syscalls: [{name: execve}, {name: open}, {name: openat}], kprobe: [{name: exit_group}]}";

/// Opens that each container makes.
const OPENS: usize = 20;

/// Containers that run at a time.
const AT_ONCE: usize = 10;

fn containers() -> usize {
    if kubeward_testkit::is_full() {
        1000
    } else {
        100
    }
}

#[test]
fn containerd_brief_containers_are_seen_from_their_first_call_to_their_exit() -> Result<()> {
    let containerd = containerd_with_image()?;
    let policies = Policies::new(&[("all", POLICY)])?;
    let mut agent = Agent::start(&containerd.socket(), policies.folder())?;
    agent.ready();
    let ids: Vec<String> = (0..containers()).map(|_| containerd.unique_id("brief")).collect();
    run_all(&containerd, &ids)?;
    // The last word of each container, and so of its events.
    for id in &ids {
        agent.container(id, "gone");
    }
    let in_maps = |name: &str| maps::entries(agent.pid(), name);
    assert_eq!((in_maps("container_map")?, in_maps("namespace_map")?), (0, 0), "when all are gone");
    let stream = agent.stop().stream;
    let trails: Vec<Trail> = ids.iter().map(|id| Trail::of(&stream, id)).collect();
    let lived_ms: Vec<u64> = trails.iter().map(|trail| trail.lived_ns / 1_000_000).collect();
    println!(
        "{} containers, {AT_ONCE} at a time, {OPENS} opens each: {} events, gap 0 ns for all; their programs ran for {} to {} ms",
        ids.len(),
        stream.0.iter().filter(|line| is_event(line)).count(),
        lived_ms.iter().min().context("there are some")?,
        lived_ms.iter().max().context("there are some")?,
    );
    for id in &ids {
        stream.assert_whole(id);
    }
    let strangers = stream.0.iter().filter(|line| is_event(line) && path(line).starts_with("/brief/"));
    let misattributed = strangers.filter(|line| !path(line).starts_with(&format!("/brief/{}/", container(line))));
    assert_eq!(misattributed.collect::<Vec<_>>(), Vec::<&Value>::new());
    stream.node_ledger();
    Ok(())
}

#[test]
fn containerd_runtimes_own_calls_are_counted_and_emitted_when_asked_for() -> Result<()> {
    let containerd = containerd_with_image()?;
    let policies = Policies::new(&[("all", POLICY)])?;
    for (how, is_emitted) in [("count", false), ("emit", true)] {
        let mut agent = Agent::start_with_args(&containerd.socket(), policies.folder(), &["--setup", how])?;
        agent.ready();
        let id = containerd.unique_id("brief");
        run_all(&containerd, std::slice::from_ref(&id))?;
        agent.container(&id, "gone");
        let stream = agent.stop().stream;
        let (setup, run): (Vec<&Value>, Vec<&Value>) =
            stream.events_of(&id).partition(|event| event["stage"] == "setup");
        assert_eq!(!setup.is_empty(), is_emitted, "{how}: {setup:?}");
        assert!(setup.iter().all(|event| event["process"]["comm"] != "brief"), "{setup:?}");
        assert_eq!(run.len(), OPENS + 2, "execve, the opens and exit_group");
        let counted = number(&stream.final_ledgers(&id)[0]["filtered"]["setup"]);
        assert_eq!(counted > 0, !is_emitted, "{how}: {counted} counted alone");
        stream.assert_whole(&id);
    }
    Ok(())
}

/// The agent is stopped while containers come and go: what they did is held, and has their names when it goes on.
#[test]
fn containerd_brief_containers_are_seen_though_the_agent_slept() -> Result<()> {
    let containerd = containerd_with_image()?;
    let policies = Policies::new(&[("all", POLICY)])?;
    let mut agent = Agent::start(&containerd.socket(), policies.folder())?;
    agent.ready();
    let ids: Vec<String> = (0..3).map(|_| containerd.unique_id("brief")).collect();
    agent.signal(Signal::SIGSTOP);
    let ran = run_all(&containerd, &ids);
    agent.signal(Signal::SIGCONT);
    ran?;
    for id in &ids {
        agent.container(id, "gone");
    }
    let stream = agent.stop().stream;
    for id in &ids {
        Trail::of(&stream, id);
        stream.assert_whole(id);
    }
    Ok(())
}

/// Anybody may make a cgroup and run a program of another root in it: that is no container, and its calls are counted as such.
#[test]
fn containerd_cgroup_that_is_no_containers_is_counted_as_ignored() -> Result<()> {
    let containerd = containerd_with_image()?;
    let policies = Policies::new(&[("all", POLICY)])?;
    let mut agent = Agent::start(&containerd.socket(), policies.folder())?;
    agent.ready();
    let mut told = Told::start(&containerd, "web")?;
    agent.container(&told.id, "came");
    let stranger = Stranger::start(&told.id)?;
    // The kernel side has let go of it once its slot is free.
    agent.logged("no container", 0);
    told.tell("open /etc/hostname")?;
    agent.event(&told.id, "openat", "/etc/hostname");
    drop(stranger);

    let stream = agent.stop().stream;
    let strange = stream.0.iter().filter(|line| is_event(line) && path(line).contains("/stranger/"));
    assert_eq!(strange.collect::<Vec<_>>(), Vec::<&Value>::new());
    stream.assert_whole(&told.id);
    let node = stream.node_ledger();
    assert!(number(&node["filtered"]["ignored"]) > 0, "{node}");
    Ok(())
}

/// A program in a mount namespace, a root and a cgroup of its own, which has the name of somebody's container.
struct Stranger {
    program: Child,
    cgroup: PathBuf,
    _root: TempDir,
}

impl Stranger {
    fn start(name: &str) -> Result<Self> {
        let root = tempfile::tempdir()?;
        std::fs::copy(witness("brief"), root.path().join("brief"))?;
        let hierarchy = ["/sys/fs/cgroup/unified", "/sys/fs/cgroup"].map(Path::new);
        let hierarchy = hierarchy.into_iter().find(|at| at.join("cgroup.procs").exists());
        let parent = hierarchy.context("there is no v2 hierarchy")?.join(format!("stranger-{}", std::process::id()));
        let cgroup = parent.join(name);
        std::fs::create_dir_all(&cgroup)?;
        let script = "echo $$ > $1/cgroup.procs; exec unshare --mount chroot $2 /brief ../stranger 5 wait";
        let program = Command::new("/bin/sh")
            .args(["-c", script, "sh"])
            .args([&cgroup, root.path()])
            .stdin(Stdio::piped())
            .spawn()?;
        Ok(Self { program, cgroup, _root: root })
    }
}

impl Drop for Stranger {
    fn drop(&mut self) {
        drop(self.program.stdin.take());
        let _ = self.program.wait();
        for cgroup in self.cgroup.ancestors().take(2) {
            if let Err(error) = std::fs::remove_dir(cgroup) {
                eprintln!("cleaning up: {}: {error}", cgroup.display());
            }
        }
    }
}

fn run_all(containerd: &Containerd, ids: &[String]) -> Result<()> {
    let next = AtomicUsize::new(0);
    let run_some = || -> Result<()> {
        while let Some(id) = ids.get(next.fetch_add(1, Ordering::Relaxed)) {
            let command = &["/bin/brief", id, &OPENS.to_string()];
            containerd.run_to_end(&Run {
                namespace: "default",
                id,
                image: IMAGE,
                labels: &[],
                options: &[],
                command,
            })?;
        }
        Ok(())
    };
    thread::scope(|scope| {
        let runners: Vec<_> = (0..AT_ONCE).map(|_| scope.spawn(run_some)).collect();
        runners
            .into_iter()
            .try_for_each(|runner| runner.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
    })
}

/// What the stream says of one container, and that it is all.
struct Trail {
    lived_ns: u64,
}

impl Trail {
    fn of(stream: &Stream, id: &str) -> Self {
        let came = stream.0.iter().find(|line| line["change"] == "came" && container(line) == id);
        let came = came.unwrap_or_else(|| panic!("{id} never came"));
        assert_eq!(came["gap_ns"], 0, "{came}");
        assert_eq!(came["container"]["image"], IMAGE, "{came}");
        let events: Vec<&Value> = stream.events_of(id).collect();
        let entry = events.first().unwrap_or_else(|| panic!("{id} has no events"));
        assert_eq!((&entry["syscall"]["name"], path(entry)), (&"execve".into(), "/bin/brief"), "{entry}");
        assert_eq!(entry["process"]["container_pid"], 1, "{entry}");
        let opened: Vec<&str> =
            events.iter().map(|event| path(event)).filter(|path| path.starts_with("/brief/")).collect();
        let expected: Vec<String> = (0..OPENS).map(|number| format!("/brief/{id}/{number}")).collect();
        assert_eq!(opened, expected, "the opens of {id}");
        let exit = events.last().expect("there is a first");
        assert_eq!(exit["syscall"]["name"], "exit_group", "{exit}");
        Self { lived_ns: number(&exit["mono_ns"]) - number(&entry["mono_ns"]) }
    }
}
