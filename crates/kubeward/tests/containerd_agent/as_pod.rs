//! The image of `deployments/Dockerfile` with exactly what the DaemonSet of `deployments/kubeward.yaml` gives it, under
//! containerd's CRI plugin as under a kubelet: capabilities, mounts, namespaces, seccomp profile, masks, memory limit, a
//! read-only root and no new privileges.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{ensure, Context, Result};
use kubeward_testkit::containerd::cri::messages::{ContainerConfig, PodSandboxConfig};
use kubeward_testkit::containerd::cri::{Cri, Pod, NAMESPACE};
use kubeward_testkit::containerd::Containerd;
use kubeward_testkit::image::Image;
use nix::mount::{mount, MsFlags};
use serde_json::{json, Value};
use tempfile::TempDir;

use crate::agent::{binary, Agent};
use crate::follow::{Follow, LIMIT};
use crate::image;
use crate::kubelet::{agents_template, Kubelet};
use crate::maps;
use crate::stream::is_notice;
use crate::told::Told;

const AGENT_IMAGE: &str = "docker.io/library/kubeward:test";
const POD: Pod<'static> =
    Pod { namespace: "kubeward", name: "kubeward-x7k2p", uid: "9c1d", labels: &[("app", "kubeward")] };
/// No API server is here; policies come from the environment instead, and lines go where `kubectl logs` reads them.
const INSTEAD_OF_A_CLUSTER: [(&str, &str); 2] =
    [("KUBEWARD_KUBERNETES", "off"), ("KUBEWARD_CALLS", "mkdirat,unlinkat")];

/// A node with the agent's image, and a client of its CRI.
struct Node {
    cri: Cri,
    containerd: Containerd,
    folder: TempDir,
}

/// The agent's pod on a node.
struct Running {
    sandbox_id: String,
    container_id: String,
}

impl Node {
    async fn start() -> Result<Self> {
        let mut containerd = Containerd::start_with_cri()?;
        containerd.import(NAMESPACE, &image_of_dockerfile()?)?;
        containerd.import("default", &image())?;
        // The plugin reads the images that it has when it starts.
        containerd.kill()?;
        share(&containerd.run_dir())?;
        containerd.resume()?;
        Ok(Self { cri: Cri::connect(&containerd).await?, containerd, folder: tempfile::tempdir()? })
    }

    fn kubelet(&self) -> Result<Kubelet<'static>> {
        let volumes = self.folder.path().join("volumes");
        Ok(Kubelet { template: agents_template()?, pod: POD, run: self.containerd.run_dir(), volumes })
    }

    /// Where `kubectl logs` would read.
    fn log(&self) -> Result<std::path::PathBuf> {
        let logs = self.folder.path().join("logs");
        fs::create_dir_all(&logs)?;
        Ok(logs.join("kubeward.log"))
    }

    fn sandbox(&self, kubelet: &Kubelet) -> Result<PodSandboxConfig> {
        let mut sandbox = self.cri.sandbox(&POD, kubelet.namespaces());
        sandbox.log_directory = self.log()?.parent().context("a folder")?.display().to_string();
        Ok(sandbox)
    }

    async fn run(&self, kubelet: &Kubelet<'_>) -> Result<Running> {
        let config = kubelet.container_config(AGENT_IMAGE, &INSTEAD_OF_A_CLUSTER)?;
        self.run_config(kubelet, config).await
    }

    async fn run_config(&self, kubelet: &Kubelet<'_>, config: ContainerConfig) -> Result<Running> {
        let sandbox = self.sandbox(kubelet)?;
        let sandbox_id = self.cri.run_configured_sandbox(&sandbox).await?;
        let container_id = self.cri.run_configured_container(&sandbox_id, &sandbox, config).await?;
        Ok(Running { sandbox_id, container_id })
    }

    /// With what the container ended by itself. CRI of containerd 1.6 can only be asked again and again.
    async fn ended(&self, running: &Running) -> Result<i32> {
        let deadline = Instant::now() + LIMIT;
        loop {
            if let Some(code) = self.cri.exit_code(&running.container_id).await? {
                return Ok(code);
            }
            ensure!(Instant::now() < deadline, "the agent still runs after {LIMIT:?}");
            sleep(Duration::from_millis(20));
        }
    }

    fn agent(&self) -> Result<Agent> {
        let log = self.log()?;
        Ok(Agent::reading(Follow::of_pod(&log, "stdout"), Follow::of_pod(&log, "stderr")))
    }
}

/// A mount of its own that passes on what is mounted below, as `/run` is where systemd is the init.
fn share(folder: &Path) -> Result<()> {
    mount(Some(folder), folder, None::<&str>, MsFlags::MS_BIND, None::<&str>)?;
    Ok(mount(None::<&str>, folder, None::<&str>, MsFlags::MS_SHARED, None::<&str>)?)
}

/// What `make docker` makes, of the binary under test. Knows no more of Dockerfiles than ours needs.
fn image_of_dockerfile() -> Result<Image> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../deployments/Dockerfile");
    let text = fs::read_to_string(&path)?.replace("\\\n", " ");
    let mut image = None;
    for line in text.lines().filter(|line| !line.is_empty() && !line.starts_with('#')) {
        let (instruction, rest) = line.split_once(' ').with_context(|| line.to_owned())?;
        image = Some(match (instruction, image) {
            ("FROM", None) if rest == "scratch" => Image::empty(AGENT_IMAGE),
            ("ARG" | "LABEL", Some(image)) => image,
            ("COPY", Some(image)) if rest == "kubeward /kubeward" => image.program_at("/kubeward", &binary()),
            ("ENTRYPOINT", Some(image)) if rest == r#"["/kubeward"]"# => image.entrypoint(&["/kubeward"]),
            _ => anyhow::bail!("this test does not know what {line:?} makes: teach it"),
        });
    }
    image.context("an empty Dockerfile")
}

/// Everything in a folder, however deep, but what containerd keeps of its containers.
fn listing(folder: &Path) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        let entries = fs::read_dir(&folder).into_iter().flatten().flatten();
        for entry in entries.filter(|entry| !entry.file_name().to_string_lossy().starts_with("io.containerd.")) {
            found.insert(entry.path().display().to_string());
            if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                folders.push(entry.path());
            }
        }
    }
    found
}

#[tokio::test(flavor = "multi_thread")]
async fn containerd_image_with_the_daemonsets_rights_names_the_calls_of_others_and_leaves_nothing() -> Result<()> {
    let node = Node::start().await?;
    let kubelet = node.kubelet()?;
    let mut agent = node.agent()?;
    let of_host = [node.containerd.run_dir(), "/sys/fs/bpf".into()];
    let before: Vec<_> = of_host.iter().map(|folder| listing(folder)).collect();

    let running = node.run(&kubelet).await?;
    agent.ready();
    let pid = node.containerd.init_pid(NAMESPACE, &running.container_id)?;
    assert_confined(pid)?;
    for probe in ["startupProbe", "livenessProbe", "readinessProbe"] {
        let (command, limit) = kubelet.probe(probe);
        let command: Vec<&str> = command.iter().map(String::as_str).collect();
        let answer = node.cri.exec(&running.container_id, &command, limit).await?;
        assert_eq!(answer.exit_code, 0, "{probe}: {}", String::from_utf8_lossy(&answer.stderr));
    }
    let mut told = Told::start_labelled(&node.containerd, "web", &crate::told::POD)?;
    agent.sees(&mut told, "mkdirat")?;
    told.tell("mkdir /marker")?;
    let event = agent.event(&told.id, "mkdirat", "/marker");
    assert_eq!(event["node"], "node-1");
    assert_eq!((&event["k8s"]["namespace"], &event["k8s"]["pod"]), (&"shop".into(), &"web-0".into()));
    assert_eq!(event["container"]["name"], "app");

    assert!(mounts_of(pid)?.contains(&told.id), "what is mounted below /run later is seen");
    let id = told.id.clone();
    drop(told);
    node.containerd.remove("default", &id)?;
    assert!(!mounts_of(pid)?.contains(&id), "the agent holds the file system of a container that has gone");

    let held = maps::held(pid)?;
    assert!(!held.programs.is_empty() && !held.maps.is_empty());
    node.cri.stop_container(&running.container_id, kubelet.grace_seconds()).await?;
    assert_eq!(node.cri.exit_code(&running.container_id).await?, Some(0));
    let stream = agent.read_to_end();
    stream.assert_whole(&id);
    assert!(!stream.mentions(&running.container_id), "the agent's own container is in no line");

    node.cri.remove_sandbox(&running.sandbox_id).await?;
    held.wait_until_gone(Instant::now() + LIMIT)?;
    for (folder, before) in of_host.iter().zip(before) {
        let new: Vec<String> = listing(folder).difference(&before).cloned().collect();
        assert!(new.is_empty(), "left on the host: {new:?}");
    }
    Ok(())
}

fn mounts_of(pid: u32) -> Result<String> {
    fs::read_to_string(format!("/proc/{pid}/mountinfo")).context("the agent runs")
}

/// What the kernel says that the process may do.
fn assert_confined(pid: u32) -> Result<()> {
    let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
    let field =
        |name: &str| status.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_default().trim().to_owned();
    for capabilities in ["CapPrm:", "CapEff:", "CapBnd:"] {
        // CAP_PERFMON and CAP_BPF.
        assert_eq!(field(capabilities), "000000c000000000", "{capabilities}");
    }
    assert_eq!((field("NoNewPrivs:").as_str(), field("Seccomp:").as_str()), ("1", "2"));
    let mounts = mounts_of(pid)?;
    let is_read_only = |at: &str| {
        let line = mounts.lines().find(|line| line.split(' ').nth(4) == Some(at));
        line.with_context(|| format!("{at} is not mounted"))
            .map(|line| line.split(' ').nth(5).unwrap_or("").starts_with("ro"))
    };
    for folder in ["/", "/run", "/sys", "/sys/kernel/tracing"] {
        ensure!(is_read_only(folder)?, "{folder} can be written to");
    }
    let namespace = |of: &str, kind: &str| fs::read_link(format!("/proc/{of}/ns/{kind}"));
    let pid = pid.to_string();
    assert_eq!(namespace(&pid, "pid")?, namespace("self", "pid")?);
    for own in ["net", "ipc", "mnt", "uts"] {
        assert_ne!(namespace(&pid, own)?, namespace("self", own)?, "{own}");
    }
    Ok(())
}

/// The agent with the DaemonSet's pod changed so, which must end by itself; what it says.
async fn refusal(change: impl Fn(&mut Value)) -> Result<String> {
    let node = Node::start().await?;
    let mut kubelet = node.kubelet()?;
    change(&mut kubelet.template["spec"]);
    let mut agent = node.agent()?;
    let running = node.run(&kubelet).await?;
    let line = agent.logged("was refused", 0);
    assert_eq!(node.ended(&running).await?, 1);
    Ok(line)
}

fn capabilities(pod: &mut Value, add: &[&str]) {
    pod["containers"][0]["securityContext"]["capabilities"]["add"] = json!(add);
}

#[tokio::test(flavor = "multi_thread")]
async fn containerd_image_without_cap_bpf_is_refused_by_name() -> Result<()> {
    let said = refusal(|pod| capabilities(pod, &["PERFMON"])).await?;
    assert!(said.contains("refused: CAP_BPF missing"), "{said}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn containerd_image_without_cap_perfmon_is_refused_by_name() -> Result<()> {
    let said = refusal(|pod| capabilities(pod, &["BPF"])).await?;
    assert!(said.contains("refused: CAP_PERFMON missing"), "{said}");
    Ok(())
}

/// Capabilities that are added to a user other than root are not effective.
#[tokio::test(flavor = "multi_thread")]
async fn containerd_image_as_another_user_than_root_is_refused() -> Result<()> {
    let said = refusal(|pod| pod["securityContext"]["runAsUser"] = json!(65532)).await?;
    assert!(said.contains("refused: CAP_BPF and CAP_PERFMON missing"), "{said}");
    Ok(())
}

/// Without the host's pids no container's first task is found in /proc, and the agent says what is missing.
#[tokio::test(flavor = "multi_thread")]
async fn containerd_image_without_the_hosts_pids_says_so() -> Result<()> {
    let node = Node::start().await?;
    let mut kubelet = node.kubelet()?;
    kubelet.template["spec"].as_object_mut().context("a pod")?.remove("hostPID");
    let mut agent = node.agent()?;
    let _told = Told::start(&node.containerd, "web")?;
    let running = node.run(&kubelet).await?;
    let said = agent.logged("hostPID", 0);
    assert!(said.contains("hostPID: true"), "{said}");
    node.cri.remove_sandbox(&running.sandbox_id).await
}

/// A folder is mounted and not the socket: containerd's new socket is found under the old name.
#[tokio::test(flavor = "multi_thread")]
async fn containerd_image_finds_containerd_again_after_its_restart() -> Result<()> {
    let mut node = Node::start().await?;
    let kubelet = node.kubelet()?;
    let mut agent = node.agent()?;
    let running = node.run(&kubelet).await?;
    agent.ready();
    let start = agent.now();
    node.containerd.kill()?;
    node.containerd.resume()?;
    agent.line_after(start, "containerd's answer after its restart", |line| is_notice(line, "containerd_answers"));
    let mut told = Told::start(&node.containerd, "web")?;
    agent.sees(&mut told, "mkdirat")?;
    node.cri = Cri::connect(&node.containerd).await?;
    node.cri.remove_sandbox(&running.sandbox_id).await
}
