//! Runs the binary under test.

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use crate::events::Stream;

/// The binary under test: `KUBEWARD_BIN`, else the one that Cargo has built.
pub(crate) fn binary() -> PathBuf {
    std::env::var_os("KUBEWARD_BIN").map_or_else(|| env!("CARGO_BIN_EXE_kubeward").into(), PathBuf::from)
}

/// `kubeward ARGS`, with nothing on its standard input and a fixed environment.
pub(crate) fn kubeward<I: AsRef<OsStr>>(args: impl IntoIterator<Item = I>) -> Command {
    let mut command = Command::new(binary());
    command.args(args);
    plain_environment(&mut command);
    command.stdin(Stdio::null());
    command
}

/// The environment in which every program of these tests runs, whoever traces it.
pub(crate) fn plain_environment(command: &mut Command) {
    command.env_clear().env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin").env("LC_ALL", "C").env("TZ", "UTC");
}

/// One finished `kubeward trace`.
pub(crate) struct Traced {
    pub(crate) output: Output,
    pub(crate) stream: Stream,
}

impl Traced {
    pub(crate) fn code(&self) -> i32 {
        self.output.status.code().unwrap_or_else(|| panic!("kubeward was killed: {}", self.output.status))
    }

    pub(crate) fn stdout(&self) -> String {
        String::from_utf8_lossy(&self.output.stdout).into_owned()
    }

    pub(crate) fn stderr(&self) -> String {
        String::from_utf8_lossy(&self.output.stderr).into_owned()
    }
}

/// Runs `kubeward trace --format json -o FILE OPTIONS -- COMMAND` in a folder that is empty, and reads the file.
pub(crate) fn trace<I: AsRef<OsStr>>(options: &[&str], command: impl IntoIterator<Item = I>) -> Traced {
    trace_in(tempfile::tempdir().expect("a temporary folder").path(), options, command)
}

/// [`trace`] in a folder of the caller's.
pub(crate) fn trace_in<I: AsRef<OsStr>>(dir: &Path, options: &[&str], command: impl IntoIterator<Item = I>) -> Traced {
    let events = tempfile::tempdir().expect("a temporary folder");
    let file = events.path().join("events.jsonl");
    let mut line = trace_command(options, &file);
    line.args(command).current_dir(dir);
    let output = line.output().unwrap_or_else(|e| panic!("{}: {e}", binary().display()));
    Traced { stream: read_stream(&file, &output), output }
}

/// `kubeward trace --format json -o FILE OPTIONS --`, to be completed with a command.
pub(crate) fn trace_command(options: &[&str], file: &Path) -> Command {
    let mut line = kubeward(["trace", "--format", "json", "-o"]);
    line.arg(file).args(options).arg("--");
    line
}

pub(crate) fn read_stream(file: &Path, output: &Output) -> Stream {
    let explain = |what: String| -> String {
        format!("{what}\nkubeward {}: {}", output.status, String::from_utf8_lossy(&output.stderr))
    };
    let text = fs::read(file).unwrap_or_else(|e| panic!("{}", explain(format!("{}: {e}", file.display()))));
    Stream::parse(&text).unwrap_or_else(|e| panic!("{}", explain(e)))
}
