//! The agent's socket and `kubeward health`, where containerd is not.

use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use std::{fs, thread};

use tempfile::TempDir;

use crate::tracer::{binary, kubeward, plain_environment};

/// For whatever is awaited: generous, since test machines are crowded.
const LIMIT: Duration = Duration::from_secs(30);

/// An agent whose containerd is not there. Dropping it kills it.
struct Lonely {
    process: Child,
    folder: TempDir,
}

impl Lonely {
    /// In a folder of its own, with every umask that lets others in.
    fn start() -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        Self { process: agent(&socket_in(&folder)).spawn().expect("sh starts"), folder }
    }

    fn ready() -> Self {
        let mut lonely = Self::start();
        lonely.becomes("--ready");
        lonely
    }

    fn socket(&self) -> PathBuf {
        socket_in(&self.folder)
    }

    /// Asks until it is so.
    fn becomes(&mut self, question: &str) -> String {
        let deadline = Instant::now() + LIMIT;
        loop {
            let (code, said) = health(&self.socket(), &[question]);
            if code == 0 {
                return said;
            }
            assert_eq!(self.process.try_wait().expect("a child of ours"), None, "the agent ended");
            assert!(Instant::now() < deadline, "not within {LIMIT:?}: {said}");
            thread::yield_now();
        }
    }

    fn signal(&self, name: &str) {
        let sent = Command::new("kill").args([name, &self.process.id().to_string()]).status().expect("kill runs");
        assert!(sent.success());
    }
}

impl Drop for Lonely {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn socket_in(folder: &TempDir) -> PathBuf {
    folder.path().join("made/agent.sock")
}

/// `kubeward agent` on that socket, to be started.
fn agent(socket: &Path) -> Command {
    let mut command = Command::new("sh");
    plain_environment(&mut command);
    command.args(["-c", "umask 0; exec \"$@\"", "sh"]).arg(binary()).args(["agent", "--kubernetes", "off"]);
    command.args(["-e", "openat", "--cri-socket", "/missing/socket", "--socket"]).arg(socket);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command
}

/// Exit code, and the one line that says why.
fn health(socket: &Path, args: &[&str]) -> (i32, String) {
    let output = kubeward(["health"]).args(args).arg("--socket").arg(socket).output().expect("kubeward runs");
    let said = [output.stdout, output.stderr].concat();
    let said = String::from_utf8(said).expect("text");
    assert_eq!(said.lines().count(), 1, "{said}");
    (output.status.code().expect("it exits"), said)
}

#[test]
fn root_agent_without_containerd_is_alive_and_ready() {
    let mut agent = Lonely::ready();
    assert_eq!(agent.becomes("--ready"), "ready: the policies known are in force\n");
    let alive = (0, "alive: the reader of the ring and the main loop make progress\n".to_owned());
    assert_eq!(health(&agent.socket(), &[]), alive);
}

#[test]
fn root_agents_socket_is_its_users_alone_and_goes_with_the_agent() {
    let mut agent = Lonely::ready();
    let mode = |path: &Path| fs::symlink_metadata(path).expect("it is there").permissions().mode() & 0o7777;
    let socket = agent.socket();
    assert_eq!((mode(&socket), mode(socket.parent().expect("a folder"))), (0o600, 0o700));
    agent.signal("-TERM");
    assert_eq!(agent.process.wait().expect("a child of ours").code(), Some(0));
    let left = fs::read_dir(socket.parent().expect("a folder")).expect("it is there");
    let left: Vec<_> = left.map(|entry| entry.expect("it can be listed").file_name()).collect();
    assert_eq!(left, ["agent.watched"], "the socket is gone, and what the next agent is to know is there");
}

#[test]
fn root_second_agent_on_a_socket_is_refused_and_the_first_goes_on() {
    let first = Lonely::ready();
    let output = agent(&first.socket()).stderr(Stdio::piped()).output().expect("sh runs");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("another agent answers") && said.contains(&*first.socket().to_string_lossy()), "{said}");
    assert_eq!(health(&first.socket(), &["--ready"]).0, 0);
}

#[test]
fn root_socket_of_a_killed_agent_is_taken_over() {
    let mut killed = Lonely::ready();
    killed.signal("-KILL");
    killed.process.wait().expect("a child of ours");
    let (code, said) = health(&killed.socket(), &[]);
    assert!(code == 1 && said.contains("nothing listens there any more"), "{said}");
    killed.process = agent(&killed.socket()).spawn().expect("sh starts");
    killed.becomes("--ready");
}

#[test]
fn root_stopped_agent_is_not_alive_until_it_goes_on() {
    let mut agent = Lonely::ready();
    agent.signal("-STOP");
    let (code, said) = health(&agent.socket(), &[]);
    assert!(code == 1 && said.contains("no answer on") && said.contains("hangs"), "{said}");
    agent.signal("-CONT");
    agent.becomes("--ready");
}

#[test]
fn root_clients_that_hang_do_not_keep_others_from_their_answer() {
    let agent = Lonely::ready();
    let silent: Vec<_> = (0..48).map(|_| UnixStream::connect(agent.socket()).expect("it listens")).collect();
    assert_eq!(health(&agent.socket(), &[]).0, 0);
    agent.signal("-TERM");
    let mut agent = agent;
    assert_eq!(agent.process.wait().expect("a child of ours").code(), Some(0), "the end does not wait for them");
    drop(silent);
}
