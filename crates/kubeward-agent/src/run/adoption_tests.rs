//! Containers that ran before the agent: processes in cgroups of their names, told as discovery would. Needs root, and `unshare`
//! and `nsenter`.

use std::fs;
use std::io::Write;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{channel, Receiver};

use kubeward_bpf::object::LoadOptions;
use kubeward_bpf::probe::{Backend, Probes};
use kubeward_core::container::{Container, ContainerId};

use super::*;
use crate::discovery::{containerd::SocketError, Change, Noticed, ProcFs};
use crate::pipeline::{self, Commands};
use crate::run::containers::Containers;

const SOCKET: &str = "/run/one.sock";
const LIMIT: Duration = Duration::from_secs(20);

/// A shell and the `cat` that it has started, which waits for its input and makes no call.
struct Workload {
    id: ContainerId,
    cgroup: PathBuf,
    child: Child,
    init: InitTask,
    cat: u32,
}

impl Workload {
    /// `within`: what the shell is run by, such as `unshare`, itself in the cgroup.
    fn start(engine: &Engine, name: &str, within: &str) -> Self {
        let id = ContainerId(format!("{name}-{}", std::process::id()));
        let cgroup = v2_root().join(&id.0);
        fs::create_dir(&cgroup).expect("root may make cgroups");
        let script = format!("read moved; exec {within} sh -c 'cat; :'");
        let mut child = Command::new("sh").args(["-c", &script]).stdin(Stdio::piped()).spawn().expect("sh runs");
        fs::write(cgroup.join("cgroup.procs"), child.id().to_string()).expect("root may move its child");
        child.stdin.as_mut().expect("it is piped").write_all(b"\n").expect("it is read");
        let cat = cat_below(engine, child.id());
        let init = ProcFs::new("/proc").init_task(cat.ppid).expect("it waits for its child");
        Self { id, cgroup, child, init, cat: cat.pid }
    }

    fn instance(&self) -> Instance {
        Instance { id: self.id.clone(), namespace: "default".into(), socket: Path::new(SOCKET).into(), init: self.init }
    }
}

impl Drop for Workload {
    fn drop(&mut self) {
        drop(self.child.stdin.take());
        let _ = self.child.wait();
        let _ = fs::remove_dir(&self.cgroup);
    }
}

fn v2_root() -> PathBuf {
    let mounts = fs::read_to_string("/proc/self/mounts").expect("proc is mounted");
    let mut fields = mounts.lines().map(|line| line.split(' ').collect::<Vec<_>>());
    let v2 = fields.find(|fields| fields[2] == "cgroup2").expect("the v2 hierarchy is mounted");
    PathBuf::from(v2[1])
}

/// Waits for it.
fn cat_below(engine: &Engine, pid: u32) -> Task {
    let deadline = Instant::now() + LIMIT;
    loop {
        let tasks = engine.tasks().expect("tasks can be listed");
        let tasks = by_number(&tasks);
        let is_below = |task: &Task| {
            let mut parents = std::iter::successors(Some(task), |task| tasks.get(&task.ppid).copied());
            parents.any(|task| task.ppid == pid)
        };
        if let Some(cat) = tasks.values().find(|task| task.comm == b"cat" && is_below(task)) {
            return (*cat).clone();
        }
        assert!(Instant::now() < deadline, "{pid} has started no cat");
    }
}

/// The part of an agent that hears of containers.
struct Node {
    engine: Arc<Engine>,
    containers: Containers,
    applier: Applier,
    _commands: Receiver<pipeline::Command>,
}

impl Node {
    fn new(engine: Arc<Engine>) -> Self {
        let (commands, _commands): (Commands, _) = pipeline::commands();
        let (_, freed) = channel();
        let probes = Probes::new(engine.clone(), Backend::Tracepoint).expect("the tracepoint works here");
        let applier = Applier::new(engine.clone(), probes, commands.clone());
        let containers = Containers::new(engine.clone(), commands, freed).expect("tasks can be listed");
        Self { engine, containers, applier, _commands }
    }

    fn appears(&mut self, workload: &Workload) {
        let container = Container::bare(workload.id.clone(), "containerd");
        let (instance, container) = (workload.instance(), Arc::new(container));
        self.hears(Change::Appeared { instance, container, noticed: Noticed::InList });
    }

    fn fails(&mut self) {
        self.hears(Change::Failing { error: SocketError::Refused(Path::new(SOCKET).into()) });
    }

    fn answers(&mut self, socket: &str) {
        self.hears(Change::Answering { socket: Path::new(socket).into(), version: "2".to_owned(), running: 1 });
    }

    fn hears(&mut self, change: Change) {
        self.containers.on_change(change, &mut self.applier);
    }

    /// The slot whose tag its `cat` carries.
    fn tag(&self, workload: &Workload) -> u32 {
        self.engine.task(workload.cat).expect("tasks can be listed").expect("it waits for its input").slot
    }

    fn slot(&self, workload: &Workload) -> u32 {
        self.containers.registry().get(&workload.instance()).expect("it has appeared").slot.0
    }

    /// Looks as time goes by, until its `cat` is somebody's.
    fn looks_until_tagged(&mut self, workload: &Workload) {
        let deadline = Instant::now() + LIMIT;
        while self.tag(workload) == 0 {
            assert!(Instant::now() < deadline, "{} has not got its cat", workload.id);
            self.containers.look(&mut self.applier);
        }
    }
}

fn engine() -> Arc<Engine> {
    Arc::new(Engine::load(&LoadOptions::default()).expect("the object loads"))
}

#[test]
fn root_what_ran_in_a_container_is_its_own_though_its_whole_list_never_comes() {
    let engine = engine();
    let [web, db] = ["web", "db"].map(|name| Workload::start(&engine, name, ""));
    let mut node = Node::new(engine);
    // As where one namespace's list fails for ever, and where one failed later.
    node.fails();
    node.appears(&web);
    node.appears(&db);
    assert_eq!((node.tag(&web), node.tag(&db)), (0, 0), "it is given later, with others'");
    node.looks_until_tagged(&web);
    node.looks_until_tagged(&db);
    assert_eq!((node.tag(&web), node.tag(&db)), (node.slot(&web), node.slot(&db)));
}

#[test]
fn root_pods_container_that_is_not_told_yet_is_not_taken_for_the_first_of_its_pid_namespace() {
    let engine = engine();
    let pause = Workload::start(&engine, "pause", "unshare --pid --fork");
    let app = Workload::start(&engine, "app", &format!("nsenter --pid --target {}", pause.init.pid));
    let mut node = Node::new(engine);
    node.appears(&pause);
    node.fails();
    assert_eq!(node.tag(&app), 0, "a failure leaves half a list");
    node.looks_until_tagged(&pause);
    assert_eq!((node.tag(&pause), node.tag(&app)), (node.slot(&pause), 0), "each gets what is in its own cgroup");
    node.answers("/run/other.sock");
    assert_eq!(node.tag(&app), 0, "another socket's list says nothing of this one's");
    node.appears(&app);
    node.answers(SOCKET);
    assert_eq!((node.tag(&pause), node.tag(&app)), (node.slot(&pause), node.slot(&app)));
}
