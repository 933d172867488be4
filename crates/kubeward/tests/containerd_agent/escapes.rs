//! What a container's processes do to get away, and whose they are then. Another container runs beside it, whose name none of
//! them may get.

use anyhow::{Context, Result};
use kubeward_testkit::containerd::Containerd;
use serde_json::Value;

use crate::agent::{Agent, Ended};
use crate::escape_ways::{self, sorted};
use crate::policy::Policies;
use crate::stream::{container, is_call, path, Stream};
use crate::told::Told;
use crate::witness::witness;
use crate::{image, IMAGE};

/// The machine's cgroups, writable.
pub(crate) const CGROUPS: [&str; 3] =
    ["--privileged", "--mount", "type=bind,src=/sys/fs/cgroup,dst=/cgroup,options=rbind:rw"];

/// A containerd whose image has the programs that try to get away, and an agent that sees their last calls.
pub(crate) fn watched() -> Result<(Containerd, Policies, Agent)> {
    let containerd = containerd_with_escapes()?;
    let policies = policies()?;
    let mut agent = Agent::start(&containerd.socket(), policies.folder())?;
    agent.ready();
    Ok((containerd, policies, agent))
}

pub(crate) fn policies() -> Result<Policies> {
    Policies::new(&[("ways", "{syscalls: [{name: access}, {name: mkdirat}]}")])
}

pub(crate) fn containerd_with_escapes() -> Result<Containerd> {
    let containerd = Containerd::start()?;
    let programs = ["escape", "escape_namespaces", "escape_cgroups", "escape_early", "guest"];
    let image = programs.into_iter().fold(image(), |image, name| image.program(witness(name)));
    containerd.import("default", &image)?;
    Ok(containerd)
}

/// The ways that one container went, each as often as it was told.
pub(crate) fn ways_of(stream: &Stream, id: &str) -> Vec<String> {
    let ways = stream.paths(id, "access").into_iter().filter_map(escape_ways::of_path);
    sorted(ways.map(str::to_owned))
}

/// Nobody but these went any way, and all that was seen of them is there.
pub(crate) fn assert_only(stream: &Stream, ids: &[&str]) {
    let is_way = |line: &&Value| escape_ways::of_path(path(line)).is_some();
    for line in stream.0.iter().filter(is_way) {
        assert!(ids.contains(&container(line)), "whose is this? {line}");
    }
    ids.iter().for_each(|id| stream.assert_whole(id));
}

/// Runs a program in a container beside another one, which then makes one call of its own. What came of it.
fn go(program: &str) -> Result<(String, Stream)> {
    let (containerd, _policies, mut agent) = watched()?;
    let mut other = Told::start(&containerd, "other")?;
    let mut told = Told::start_with(&containerd, "escaping", &[], &CGROUPS)?;
    agent.sees(&mut other, "mkdirat")?;
    agent.sees(&mut told, "mkdirat")?;
    let of_other = v2_cgroup(containerd.init_pid("default", &other.id)?)?;
    let program = program.replace("OTHER_CGROUP", &of_other).replace("OTHER_ID", &other.id);
    told.tell(&format!("run {program}"))?;
    told.tell("mkdir /at-the-end")?;
    other.tell("mkdir /at-the-end")?;
    for id in [&told.id, &other.id] {
        agent.event(id, "mkdirat", "/at-the-end");
    }
    let Ended { stream, .. } = agent.stop();
    assert_only(&stream, &[&told.id]);
    stream.assert_whole(&other.id);
    Ok((told.id, stream))
}

/// Below the root of the v2 hierarchy.
pub(crate) fn v2_cgroup(pid: u32) -> Result<String> {
    let cgroups = std::fs::read_to_string(format!("/proc/{pid}/cgroup"))?;
    let line = cgroups.lines().find_map(|line| line.strip_prefix("0::/"));
    Ok(line.context("there is no v2 hierarchy")?.to_owned())
}

#[test]
fn containerd_processes_threads_names_and_roots_stay_with_their_container() -> Result<()> {
    let (id, stream) = go("/bin/escape")?;
    assert_eq!(ways_of(&stream, &id), escape_ways::by_processes());
    let memfd = stream.0.iter().find(|line| is_call(line, &id, "access", "/escaped/memfd"));
    assert_eq!(memfd.map(|event| &event["process"]["exe"]), Some(&"/memfd:nothing".into()));
    Ok(())
}

#[test]
fn containerd_namespaces_of_every_kind_are_their_container() -> Result<()> {
    let (id, stream) = go("/bin/escape_namespaces")?;
    assert_eq!(ways_of(&stream, &id), escape_ways::by_namespaces());
    Ok(())
}

#[test]
fn containerd_cgroups_of_others_and_in_their_names_are_no_way_out() -> Result<()> {
    let (id, stream) = go("/bin/escape_cgroups /cgroup OTHER_CGROUP OTHER_ID")?;
    let hierarchies = std::fs::read_dir("/sys/fs/cgroup")?.flatten().filter(|entry| {
        let is_folder = entry.file_type().is_ok_and(|kind| kind.is_dir());
        is_folder && entry.path().join("tasks").exists()
    });
    let old = hierarchies.map(|entry| format!("move-{}", entry.file_name().to_string_lossy()));
    let places = ["root", "new", "nested", "other", "named"];
    let new = places.iter().flat_map(|place| [format!("move-{place}"), format!("born-{place}")]);
    assert_eq!(ways_of(&stream, &id), sorted(new.chain(old)));
    Ok(())
}

#[test]
fn containerd_all_that_left_before_the_agent_came_are_their_container_by_name_and_program() -> Result<()> {
    let containerd = containerd_with_escapes()?;
    let alone = Early::start(&containerd, "alone", &[])?;
    // No pid namespace tells whose its processes are.
    let host_pids = format!("pid:/proc/{}/ns/pid", std::process::id());
    let shared = Early::start(&containerd, "shared", &["--with-ns", &host_pids])?;
    let policies = policies()?;
    let mut agent = Agent::start(&containerd.socket(), policies.folder())?;
    agent.ready();
    for early in [&alone, &shared] {
        early.go()?;
    }
    let ways = ["init", "namespaces", "nested", "orphan", "root", "thread"].map(|way| format!("early-{way}"));
    let of_shared: Vec<String> = ways.iter().filter(|way| *way != "early-orphan").cloned().collect();
    for (early, ways) in [(&alone, ways.as_slice()), (&shared, &of_shared)] {
        for way in ways {
            let event = agent.event(&early.id, "access", &format!("/escaped/{way}"));
            let known = (&event["process"]["exe"], &event["identity"], &event["stage"]);
            assert_eq!(known, (&"/bin/escape_early".into(), &Value::Null, &"run".into()), "{event}");
        }
    }
    let stream = agent.stop().stream;
    assert_eq!(ways_of(&stream, &alone.id), ways);
    assert_eq!(ways_of(&stream, &shared.id), of_shared);
    assert_only(&stream, &[&alone.id, &shared.id]);
    Ok(())
}

/// A container whose init is `escape_early`.
pub(crate) struct Early {
    pub(crate) id: String,
    go: std::path::PathBuf,
}

impl Early {
    /// Returns when all its processes are where they wanted to go.
    pub(crate) fn start(containerd: &Containerd, name: &str, options: &[&str]) -> Result<Self> {
        Self::start_with(containerd, name, options, &[])
    }

    /// With more arguments of the program.
    pub(crate) fn start_with(
        containerd: &Containerd,
        name: &str,
        options: &[&str],
        arguments: &[&str],
    ) -> Result<Self> {
        let id = containerd.unique_id(name);
        let folder = containerd.dir().join(&id);
        std::fs::create_dir_all(&folder)?;
        let mut ready = crate::told::fifo(&folder.join("ready"))?;
        let go = folder.join("go");
        drop(crate::told::fifo(&go)?);
        let mount = format!("type=bind,src={},dst=/early,options=rbind:rw", folder.display());
        containerd.run(&kubeward_testkit::containerd::Run {
            namespace: "default",
            id: &id,
            image: IMAGE,
            labels: &[],
            options: &[&CGROUPS[..], &["--mount", &mount], options].concat(),
            command: &[&["/bin/escape_early", "/cgroup", "/early/ready", "/early/go"], arguments].concat(),
        })?;
        let is_ready = crate::follow::is_readable(std::os::fd::AsFd::as_fd(&ready), crate::follow::LIMIT);
        anyhow::ensure!(is_ready, "{id} has not gone everywhere within {:?}", crate::follow::LIMIT);
        std::io::Read::read_exact(&mut ready, &mut [0])?;
        Ok(Self { id, go })
    }

    /// Lets all of them speak.
    pub(crate) fn go(&self) -> Result<()> {
        std::fs::File::options().write(true).open(&self.go).context("opening the FIFO that they wait for")?;
        Ok(())
    }
}
