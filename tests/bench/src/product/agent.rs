//! A running `kubeward agent`: what it says of its accounts, and what the kernel says of its cost.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{bail, ensure, Context, Result};
use kubeward_agent::serve::client;
use kubeward_agent::serve::health::READINESS;
use kubeward_agent::serve::proto::{Account, GetLedgerRequest, GetLedgerResponse};
use nix::sys::signal::{kill, Signal};
use nix::unistd::Pid;
use tempfile::TempDir;

/// From the start to all policies in force and all containers known: 2 s on an idle machine, longer for thousands of containers.
const READY_WITHIN: Duration = Duration::from_secs(500);
const ENDS_WITHIN: Duration = Duration::from_secs(30);
const LOOK_EVERY: Duration = Duration::from_millis(10);

/// The program that is measured: `KUBEWARD_BIN`, as `make bench` sets it.
pub(super) fn program() -> Result<PathBuf> {
    let path = std::env::var_os("KUBEWARD_BIN").map_or_else(|| PathBuf::from("bin/kubeward"), PathBuf::from);
    ensure!(path.is_file(), "there is no {}: `make build` makes it, or KUBEWARD_BIN names another", path.display());
    Ok(path)
}

/// Dropping it kills it.
pub(super) struct Agent {
    process: Child,
    folder: TempDir,
    runtime: tokio::runtime::Runtime,
}

impl Agent {
    /// Starts one that watches the containerd of `socket`; it is ready when this returns.
    pub(super) fn start(socket: &Path, args: &[&str]) -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let program = program()?;
        let mut command = Command::new(&program);
        command.arg("agent").args(["--kubernetes", "off", "--cri-socket"]).arg(socket).args(args);
        command.arg("--socket").arg(folder.path().join("agent.sock"));
        command.env_clear().stdin(Stdio::null()).stdout(Stdio::null()).stderr(File::create(folder.path().join("log"))?);
        let process = command.spawn().with_context(|| format!("starting {}", program.display()))?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let mut agent = Self { process, folder, runtime };
        agent.wait_until_ready()?;
        Ok(agent)
    }

    fn wait_until_ready(&mut self) -> Result<()> {
        let deadline = Instant::now() + READY_WITHIN;
        loop {
            if let Some(status) = self.process.try_wait()? {
                bail!("the agent ended at its start ({status}):\n{}", self.log());
            }
            let health = self.runtime.block_on(client::health(&self.socket(), READINESS));
            match health {
                Ok(verdict) if verdict.holds => return Ok(()),
                _ if Instant::now() < deadline => thread::sleep(LOOK_EVERY),
                Ok(verdict) => bail!("the agent is not ready after {READY_WITHIN:?}: {}\n{}", verdict.why, self.log()),
                Err(error) => bail!("the agent is not ready after {READY_WITHIN:?}: {error}\n{}", self.log()),
            }
        }
    }

    fn socket(&self) -> PathBuf {
        self.folder.path().join("agent.sock")
    }

    fn log(&self) -> String {
        fs::read_to_string(self.folder.path().join("log")).unwrap_or_default()
    }

    pub(super) fn pid(&self) -> u32 {
        self.process.id()
    }

    /// The accounts of all containers and of the node, now.
    pub(super) fn ledger(&self) -> Result<GetLedgerResponse> {
        self.runtime.block_on(async {
            let mut api = client::kubeward(client::connect(&self.socket()).await?);
            Ok(api.get_ledger(GetLedgerRequest {}).await.context("asking for the accounts")?.into_inner())
        })
    }

    /// Returns when so many are watched.
    pub(super) fn wait_for_containers(&self, count: usize) -> Result<()> {
        let deadline = Instant::now() + READY_WITHIN;
        loop {
            let known = self.ledger()?.containers.len();
            if known == count {
                return Ok(());
            }
            let late = Instant::now() > deadline;
            ensure!(!late, "the agent knows {known} of {count} containers after {READY_WITHIN:?}:\n{}", self.log());
            thread::sleep(10 * LOOK_EVERY);
        }
    }

    /// The node's accounts once nothing is on its way any more.
    pub(super) fn settled_account(&self) -> Result<GetLedgerResponse> {
        let deadline = Instant::now() + ENDS_WITHIN;
        loop {
            let ledger = self.ledger()?;
            let node = ledger.node.as_ref().context("the answer has no account of the node")?;
            if node.in_flight == 0 {
                return Ok(ledger);
            }
            ensure!(Instant::now() < deadline, "{} calls are still in flight after {ENDS_WITHIN:?}", node.in_flight);
            thread::sleep(LOOK_EVERY);
        }
    }

    /// CPU time of each thread so far, by its name, in nanoseconds.
    pub(super) fn cpu_ns(&self) -> Result<BTreeMap<String, u64>> {
        let tasks = fs::read_dir(format!("/proc/{}/task", self.pid())).context("the agent's threads")?;
        let mut sums = BTreeMap::new();
        for task in tasks {
            let task = task?.path();
            let read =
                |file: &str| fs::read_to_string(task.join(file)).with_context(|| format!("{} {file}", task.display()));
            let ns =
                read("schedstat")?.split(' ').next().and_then(|ns| ns.parse::<u64>().ok()).context("a CPU time")?;
            *sums.entry(read("comm")?.trim().to_owned()).or_default() += ns;
        }
        Ok(sums)
    }

    /// Resident now (`VmRSS`), what is mapped of the ring and of the program's file included.
    pub(super) fn resident_bytes(&self) -> Result<u64> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.pid())).context("the agent's status")?;
        let kib = status
            .lines()
            .find_map(|line| line.strip_prefix("VmRSS:")?.trim().strip_suffix(" kB")?.parse::<u64>().ok());
        Ok(1024 * kib.context("VmRSS of the agent")?)
    }

    /// What the kernel's maps of this agent take, by the map's number.
    pub(super) fn map_bytes(&self) -> Result<BTreeMap<u32, u64>> {
        let descriptors = fs::read_dir(format!("/proc/{}/fdinfo", self.pid())).context("the agent's descriptors")?;
        let texts = descriptors.filter_map(|entry| fs::read_to_string(entry.ok()?.path()).ok());
        let maps = texts.filter_map(|text| {
            let field = |name: &str| text.lines().find_map(|line| line.strip_prefix(name)?.trim().parse::<u64>().ok());
            Some((u32::try_from(field("map_id:")?).ok()?, field("memlock:")?))
        });
        Ok(maps.collect())
    }

    /// Ends it in order.
    pub(super) fn stop(mut self) -> Result<()> {
        kill(Pid::from_raw(self.pid().cast_signed()), Signal::SIGTERM)?;
        let deadline = Instant::now() + ENDS_WITHIN;
        loop {
            match self.process.try_wait()? {
                Some(status) if status.success() => return Ok(()),
                Some(status) => bail!("the agent ended badly ({status}):\n{}", self.log()),
                None if Instant::now() < deadline => thread::sleep(LOOK_EVERY),
                None => bail!("the agent has not ended within {ENDS_WITHIN:?} of SIGTERM:\n{}", self.log()),
            }
        }
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Whether the account adds up, and how much of it is lost.
pub(super) fn lost(account: &Account) -> Result<u64> {
    let sum = |reasons: &BTreeMap<String, u64>| reasons.values().sum::<u64>();
    let (filtered, lost) = (sum(&account.filtered), sum(&account.lost));
    let parts = account.emitted + filtered + account.sampled + lost + account.in_flight;
    ensure!(account.balanced && account.seen == parts, "the ledger does not add up: {account:?}");
    Ok(lost)
}
