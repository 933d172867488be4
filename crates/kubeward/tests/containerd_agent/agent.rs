//! A running `kubeward agent`, and what it says.

use std::fs::File;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use nix::sys::signal::{kill, Signal};
use nix::unistd::Pid;
use serde_json::Value;
use tempfile::TempDir;

use crate::follow::{Follow, LIMIT};
use crate::stream::{is_call, is_container_line, is_notice, Stream};
use crate::told::Told;

/// The binary under test: `KUBEWARD_BIN`, else the one that Cargo has built.
pub(crate) fn binary() -> PathBuf {
    std::env::var_os("KUBEWARD_BIN").map_or_else(|| env!("CARGO_BIN_EXE_kubeward").into(), PathBuf::from)
}

/// The local API's, in the folder of the agent's log.
const SOCKET: &str = "agent.sock";

/// An agent with its output and log. Dropping it kills it.
pub(crate) struct Agent {
    /// Absent for one that runs in a container, and when it was stopped.
    process: Option<Child>,
    events: Follow,
    stream: Stream,
    log: Follow,
    logged: Vec<String>,
    /// Of the log, and of the output where the caller has none.
    folders: Vec<TempDir>,
    /// Of the local API; absent for one that somebody else started.
    socket: Option<PathBuf>,
}

/// An agent that has ended in order.
pub(crate) struct Ended {
    pub(crate) stream: Stream,
    pub(crate) log: Vec<String>,
}

impl Agent {
    /// Starts one that watches the containerd of `socket` by the policies of a file or folder.
    pub(crate) fn start(socket: &Path, policy: &Path) -> Result<Self> {
        let dir = tempfile::tempdir()?;
        let output = dir.path().join("events.jsonl");
        let mut agent = Self::start_writing_to(socket, policy, &output)?;
        agent.folders.push(dir);
        Ok(agent)
    }

    /// The same with more flags.
    pub(crate) fn start_with_args(socket: &Path, policy: &Path, args: &[&str]) -> Result<Self> {
        let dir = tempfile::tempdir()?;
        let mut agent = Self::start_with(socket, &dir.path().join("events.jsonl"), |agent| {
            agent.args(["--kubernetes", "off", "-f"]).arg(policy).args(args);
        })?;
        agent.folders.push(dir);
        Ok(agent)
    }

    /// The same with an output of the caller's.
    pub(crate) fn start_writing_to(socket: &Path, policy: &Path, output: &Path) -> Result<Self> {
        Self::start_with(socket, output, |agent| {
            agent.args(["--kubernetes", "off", "-f"]).arg(policy);
        })
    }

    /// The same with a file that says until when the agent before it watched.
    pub(crate) fn start_after(before: &Path, socket: &Path, policy: &Path) -> Result<Self> {
        let dir = tempfile::tempdir()?;
        let output = dir.path().join("events.jsonl");
        let mut agent = Self::start_with(socket, &output, |agent| {
            agent.args(["--kubernetes", "off", "-f"]).arg(policy).arg("--state-file").arg(before);
        })?;
        agent.folders.push(dir);
        Ok(agent)
    }

    /// Starts one that takes policies from an API server, as the agent of the node of this name.
    pub(crate) fn start_in_cluster(socket: &Path, kubeconfig: &Path, node: &str) -> Result<Self> {
        let dir = tempfile::tempdir()?;
        let output = dir.path().join("events.jsonl");
        let mut agent = Self::start_with(socket, &output, |agent| {
            agent.args(["--kubernetes", "on", "--node-name", node]).env("KUBECONFIG", kubeconfig);
        })?;
        agent.folders.push(dir);
        Ok(agent)
    }

    fn start_with(socket: &Path, output: &Path, configure: impl FnOnce(&mut Command)) -> Result<Self> {
        let dir = tempfile::tempdir()?;
        let log = dir.path().join("log");
        let (events, follow_log) = (Follow::of(output), Follow::of(&log));
        let mut command = Command::new(binary());
        command
            .args(["agent", "--format", "json", "--cri-socket"])
            .arg(socket)
            .arg("-o")
            .arg(output)
            .arg("--socket")
            .arg(dir.path().join(SOCKET))
            .env_clear()
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(File::create(&log)?);
        configure(&mut command);
        let process = command.spawn().with_context(|| format!("starting {}", binary().display()))?;
        let mut agent = Self::reading(events, follow_log);
        agent.process = Some(process);
        agent.socket = Some(dir.path().join(SOCKET));
        agent.folders.push(dir);
        Ok(agent)
    }

    /// One that somebody else started.
    pub(crate) fn reading(events: Follow, log: Follow) -> Self {
        let (stream, logged, folders) = (Stream::default(), Vec::new(), Vec::new());
        Self { process: None, events, stream, log, logged, folders, socket: None }
    }

    /// Returns when containerd answers and the policies are in force.
    pub(crate) fn ready(&mut self) {
        self.line("the policies in force", |line| is_notice(line, "policies"));
        self.line("containerd's answer", |line| is_notice(line, "containerd_answers"));
    }

    /// What `kubeward health` says of it: whether it holds, and why.
    pub(crate) fn health(&self, is_ready: bool) -> Result<(bool, String)> {
        let mut command = Command::new(binary());
        command.arg("health").args(is_ready.then_some("--ready")).arg("--socket").arg(self.socket());
        let output = command.output()?;
        let said = [output.stdout, output.stderr].concat();
        Ok((output.status.success(), String::from_utf8_lossy(&said).into_owned()))
    }

    /// The same once it is not ready, or at the limit.
    pub(crate) fn unready(&self) -> Result<(bool, String)> {
        let deadline = Instant::now() + LIMIT;
        loop {
            let health = self.health(true)?;
            if !health.0 || Instant::now() > deadline {
                return Ok(health);
            }
        }
    }

    /// Of its local API.
    pub(crate) fn socket(&self) -> &Path {
        self.socket.as_deref().expect("the agent was started here")
    }

    pub(crate) fn pid(&self) -> Pid {
        let process = self.process.as_ref().expect("the agent is a child of this process");
        Pid::from_raw(i32::try_from(process.id()).expect("process ids are below 2^22"))
    }

    pub(crate) fn signal(&self, signal: Signal) {
        kill(self.pid(), signal).expect("the agent is not waited for yet");
    }

    /// How many lines were read so far: where what happens next begins.
    pub(crate) fn now(&mut self) -> usize {
        self.stream.parse(self.events.news());
        self.stream.0.len()
    }

    /// How many lines there are so far of which `is_wanted` holds.
    pub(crate) fn count(&mut self, is_wanted: impl Fn(&Value) -> bool) -> usize {
        self.now();
        self.stream.0.iter().filter(|line| is_wanted(line)).count()
    }

    /// The first line of which `is_wanted` holds, from the beginning on.
    pub(crate) fn line(&mut self, awaited: &str, is_wanted: impl Fn(&Value) -> bool) -> Value {
        self.line_after(0, awaited, is_wanted)
    }

    /// The first line of which `is_wanted` holds, from the line number `start` on.
    pub(crate) fn line_after(&mut self, start: usize, awaited: &str, is_wanted: impl Fn(&Value) -> bool) -> Value {
        let deadline = Instant::now() + LIMIT;
        let mut looked_at = start;
        loop {
            let end = self.now();
            if let Some(found) = self.stream.0[looked_at.min(end)..].iter().find(|line| is_wanted(line)) {
                return found.clone();
            }
            looked_at = looked_at.max(end);
            if !self.events.wait(deadline) {
                self.fail(awaited, LIMIT);
            }
        }
    }

    /// The log's line number `nth`, from 0, of those that hold `text`.
    pub(crate) fn logged(&mut self, text: &str, nth: usize) -> String {
        self.logged_within(LIMIT, text, nth)
    }

    /// The same of what takes longer.
    pub(crate) fn logged_within(&mut self, limit: Duration, text: &str, nth: usize) -> String {
        let deadline = Instant::now() + limit;
        loop {
            self.logged.extend(self.log.news());
            if let Some(line) = self.logged.iter().filter(|line| line.contains(text)).nth(nth) {
                return line.clone();
            }
            if !self.log.wait(deadline) {
                self.fail(&format!("{text:?} in the log"), limit);
            }
        }
    }

    fn fail(&mut self, awaited: &str, limit: Duration) -> ! {
        self.logged.extend(self.log.news());
        let (written, logged) = (self.stream.tail(), self.logged.join("\n    "));
        panic!("{awaited} did not come within {limit:?}; the last lines:{written}\nthe agent's log:\n    {logged}")
    }

    /// The event of a call with that path.
    pub(crate) fn event(&mut self, id: &str, call: &str, path: &str) -> Value {
        self.line(&format!("{call} of {path} in {id}"), |line| is_call(line, id, call, path))
    }

    /// The line that a container came, changed or went.
    pub(crate) fn container(&mut self, id: &str, change: &str) -> Value {
        self.line(&format!("{id}, {change}"), |line| is_container_line(line, id, change))
    }

    /// Returns when calls of the container are seen: what it is told from now on is. `call` is one that a policy names.
    pub(crate) fn sees(&mut self, told: &mut Told, call: &str) -> Result<()> {
        let start = self.now();
        told.tell("beat")?;
        self.line_after(start, &format!("a beat of {}", told.id), |line| is_call(line, &told.id, call, "/proc/beat"));
        told.tell("rest")
    }

    /// Ends it by SIGTERM, which it must follow with status 0 and the accounts.
    pub(crate) fn stop(mut self) -> Ended {
        self.signal(Signal::SIGTERM);
        let status = self.status();
        self.logged.extend(self.log.news());
        let log = std::mem::take(&mut self.logged);
        assert_eq!(status.code(), Some(0), "signal {:?}; the log:\n{}", status.signal(), log.join("\n"));
        Ended { stream: self.read_to_end(), log }
    }

    /// Ends it by SIGKILL. What it had written by then.
    pub(crate) fn kill(mut self) -> Stream {
        self.signal(Signal::SIGKILL);
        let status = self.status();
        assert_eq!(status.signal(), Some(Signal::SIGKILL as i32), "{status}");
        self.read_to_end()
    }

    /// All lines of an agent that has ended.
    pub(crate) fn read_to_end(mut self) -> Stream {
        self.now();
        std::mem::take(&mut self.stream)
    }

    fn status(&mut self) -> ExitStatus {
        let pid = self.pid();
        let mut process = self.process.take().expect("the agent was not stopped before");
        let (sender, receiver) = mpsc::channel();
        let waiter = thread::spawn(move || sender.send(process.wait()));
        let ended = receiver.recv_timeout(LIMIT);
        if ended.is_err() {
            kill(pid, Signal::SIGKILL).expect("the agent is not waited for yet");
        }
        waiter.join().expect("waiting does not panic").ok();
        match ended {
            Ok(status) => status.expect("the agent is a child of this process"),
            Err(_) => self.fail("the agent's end after SIGTERM", LIMIT),
        }
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        if let Some(mut process) = self.process.take() {
            let _ = process.kill();
            let _ = process.wait();
        }
    }
}
