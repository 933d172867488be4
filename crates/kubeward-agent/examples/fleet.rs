//! What a fleet costs the API server: many agents' real watches and writers in one process, the real controller, and
//! Kubernetes' own server of custom resources, whose own metrics are read.
//!
//!     tests/kubernetes/fleet.sh [AGENTS [POLICIES [SECONDS OF REST]]]
//!
//! What is not real: there is no kernel side, so every policy applies as soon as it is heard; and all agents share one
//! process, so what they cost is not what is measured here. Watches of pods and of the node are not there.

#[path = "fleet/agents.rs"]
mod agents;
#[path = "fleet/metrics.rs"]
mod metrics;

use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use kubeward_agent::kubernetes::client::connect;
use kubeward_agent::kubernetes::crd::definitions;
use kubeward_testkit::kubernetes::ApiServer;
use serde_json::{json, Value};
use tokio::runtime::Runtime;

use agents::Fleet;
use metrics::Metrics;

const POLICIES: &str = "/apis/kubeward.kubeward/v1/kubewards";

/// For all agents to start, or to answer an edit: minutes on a busy machine.
const PHASE_LIMIT: Duration = Duration::from_secs(900);

/// After the last status: what is still on its way belongs to the phase. Longer than a policy's rest of ten seconds.
const TRAIL: Duration = Duration::from_secs(15);

fn main() -> Result<()> {
    let mut args = std::env::args().skip(1);
    let mut number = |fallback: usize| args.next().map_or(Ok(fallback), |text| text.parse().context("a number"));
    let (agents, policies, rest) = (number(1000)?, number(20)?, number(60)?);
    let program =
        PathBuf::from(std::env::var_os("KUBEWARD_BIN").context("KUBEWARD_BIN names the controller's program")?);
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let run = Run::start(runtime, &program, agents, policies)?;
    run.measure(rest)
}

struct Run {
    runtime: Runtime,
    server: ApiServer,
    controller: Controller,
    agents: usize,
    policies: usize,
}

impl Run {
    fn start(runtime: Runtime, program: &PathBuf, agents: usize, policies: usize) -> Result<Self> {
        let server = ApiServer::start()?;
        server.install_crds(&definitions())?;
        for number in 0..policies {
            server.api().create(POLICIES, &policy(number))?;
        }
        let controller = Controller::start(program, &server)?;
        Ok(Self { runtime, server, controller, agents, policies })
    }

    fn measure(self, rest: usize) -> Result<()> {
        println!("{} agents, {} policies", self.agents, self.policies);
        std::env::set_var("KUBECONFIG", self.server.kubeconfig());
        let (client, _) = self.runtime.block_on(connect("kubeward-agent"))?;
        let mut fleet = Fleet::new(client, self.agents);
        let tenth = self.agents.div_ceil(10);
        self.phase("start, a tenth of the nodes at a time", || {
            self.runtime.block_on(fleet.roll(tenth));
            self.wait_for_all(1)
        })?;
        println!("  controller: {} MB resident", self.controller.resident_kb()? / 1024);
        self.phase(&format!("rest, {rest} s"), || {
            sleep(Duration::from_secs(rest.try_into()?));
            Ok(())
        })?;
        self.phase("edit of one policy", || {
            let edit = json!({"spec": {"kprobe": [{"name": "sys_openat"}, {"name": "sys_execve"}]}});
            self.server.api().patch(&format!("{POLICIES}/policy-0"), &edit)?;
            self.wait_for("policy-0", 2)
        })?;
        self.phase("rollout, a tenth of the nodes at a time", || {
            self.runtime.block_on(fleet.roll(tenth));
            self.wait_for("policy-0", 2)
        })?;
        println!("  controller: {} MB resident", self.controller.resident_kb()? / 1024);
        Ok(())
    }

    /// Does it, lets it trail off, and prints what the server counted meanwhile.
    fn phase(&self, name: &str, work: impl FnOnce() -> Result<()>) -> Result<()> {
        let (before, started) = (Metrics::read(&self.server)?, Instant::now());
        work()?;
        let took = started.elapsed();
        sleep(TRAIL);
        println!("{name}: {:.1} s", took.as_secs_f64());
        Metrics::read(&self.server)?.print_since(&before);
        Ok(())
    }

    fn wait_for_all(&self, generation: i64) -> Result<()> {
        (0..self.policies).try_for_each(|number| self.wait_for(&format!("policy-{number}"), generation))
    }

    /// Until all agents have the policy's generation in force and its status says so.
    fn wait_for(&self, name: &str, generation: i64) -> Result<()> {
        let ready = format!("{0}/{0}", self.agents);
        let holds =
            |policy: &Value| policy["status"]["ready"] == ready && policy["status"]["observedGeneration"] == generation;
        self.server.api().wait_until(&format!("{POLICIES}/{name}"), PHASE_LIMIT, holds)?;
        Ok(())
    }
}

fn policy(number: usize) -> Value {
    json!({
        "apiVersion": "kubeward.kubeward/v1",
        "kind": "KubeWard",
        "metadata": {"name": format!("policy-{number}")},
        "spec": {"kprobe": [{"name": "sys_openat"}]},
    })
}

/// The real program, in a process of its own.
struct Controller(Child);

impl Controller {
    fn start(program: &PathBuf, server: &ApiServer) -> Result<Self> {
        let child = Command::new(program)
            .args(["controller", "--namespace", agents::NAMESPACE])
            .env("KUBECONFIG", server.kubeconfig())
            .stdin(Stdio::null())
            .spawn()
            .with_context(|| format!("starting {}", program.display()))?;
        Ok(Self(child))
    }

    fn resident_kb(&self) -> Result<u64> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.0.id())).context("the controller runs")?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("a process has VmRSS")?;
        line.trim().trim_end_matches(" kB").parse().context("a number of kB")
    }
}

impl Drop for Controller {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
