//! The programs that watch a load, and how each is told to show every call with its arguments.

use std::ffi::OsString;
use std::fs::File;
use std::io::{BufRead, BufReader, ErrorKind};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{anyhow, bail, ensure, Context, Result};
use serde_json::Value;

use super::attach;
use crate::excuse::Excuse;
use crate::load::{own_program, Load, LoadProcess, Size};

/// Where tracefs shows them, mounted by itself or within debugfs.
const TRACEPOINTS: [&str; 2] =
    ["/sys/kernel/tracing/events/raw_syscalls", "/sys/kernel/debug/tracing/events/raw_syscalls"];

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Tool {
    KubeWard,
    Strace,
    PerfTrace,
    BpftraceCount,
    BpftracePrint,
}

impl Tool {
    pub(super) const ALL: [Self; 5] =
        [Self::KubeWard, Self::Strace, Self::PerfTrace, Self::BpftraceCount, Self::BpftracePrint];

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::KubeWard => "kubeward",
            Self::Strace => "strace",
            Self::PerfTrace => "perf-trace",
            Self::BpftraceCount => "bpftrace-count",
            Self::BpftracePrint => "bpftrace-print",
        }
    }

    /// For people.
    pub(super) fn command(self) -> String {
        match self {
            Self::KubeWard => "kubeward trace --host --format json -o FILE",
            Self::Strace => "strace -f -o /dev/null",
            Self::PerfTrace => "perf trace -o /dev/null",
            Self::BpftraceCount => "bpftrace, counting",
            Self::BpftracePrint => "bpftrace, printf of arguments and result",
        }
        .to_owned()
    }

    /// Each call waits for the tool, or for a wake-up of it.
    pub(super) fn stops_its_caller(self) -> bool {
        matches!(self, Self::Strace | Self::PerfTrace)
    }

    fn program(self) -> PathBuf {
        match self {
            Self::KubeWard => kubeward(),
            Self::Strace => "strace".into(),
            Self::PerfTrace => "perf".into(),
            Self::BpftraceCount | Self::BpftracePrint => "bpftrace".into(),
        }
    }

    pub(super) fn is_there(self) -> Result<()> {
        let program = self.program();
        let asked = Command::new(&program).arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status();
        match asked {
            Ok(status) if status.success() => self.has_its_hooks(),
            Ok(status) => bail!("{} --version: {status}", program.display()),
            Err(error) if self == Self::KubeWard => bail!("{}: {error} (`make build` makes it)", program.display()),
            Err(error) => {
                let told = format!("{}: {error} (`scripts/setup.sh bench` installs it)", program.display());
                Err(if error.kind() == ErrorKind::NotFound { Excuse::NoSuchTool.error(told) } else { anyhow!(told) })
            }
        }
    }

    /// Those of perf and bpftrace are in tracefs.
    fn has_its_hooks(self) -> Result<()> {
        let needs_tracefs = matches!(self, Self::PerfTrace | Self::BpftraceCount | Self::BpftracePrint);
        if needs_tracefs && !TRACEPOINTS.iter().any(|folder| Path::new(folder).is_dir()) {
            let told = format!("the tracepoints of system calls are not at {}", TRACEPOINTS.join(" or "));
            return Err(Excuse::NoSuchHook.error(told));
        }
        Ok(())
    }

    /// Nanoseconds a turn of the load.
    pub(super) fn run(self, load: Load, size: Size) -> Result<f64> {
        match self {
            Self::KubeWard | Self::Strace | Self::PerfTrace => self.run_around(load, size),
            Self::BpftraceCount => attach::run_beside(load, size, attach::COUNT),
            Self::BpftracePrint => attach::run_beside(load, size, attach::PRINT),
        }
    }

    /// The tool starts the load.
    fn run_around(self, load: Load, size: Size) -> Result<f64> {
        let folder = tempfile::tempdir()?;
        let events = folder.path().join("events.jsonl");
        let mut command = Command::new(self.program());
        match self {
            Self::KubeWard => command.args(["trace", "--host", "--format", "json", "-o"]).arg(&events).arg("--"),
            Self::Strace => command.args(["-f", "-o", "/dev/null"]),
            _ => command.args(["trace", "-o", "/dev/null"]),
        };
        let load: [OsString; 3] = [own_program()?.into(), "load".into(), load.name().into()];
        let mut process = LoadProcess::start_under(command.args(load))?;
        let took = process.run(size)?;
        process.stop().context("ending the load")?;
        if self == Self::KubeWard {
            let lost = lost_of_trace(&events)?;
            ensure!(lost == 0, "kubeward trace lost {lost} events, which cost less than those that are kept");
        }
        Ok(took)
    }
}

/// By the trace's last account.
fn lost_of_trace(events: &Path) -> Result<u64> {
    let events = File::open(events).context("opening what kubeward trace wrote")?;
    let last = BufReader::new(events).lines().last().context("kubeward trace wrote nothing")??;
    let account: Value = serde_json::from_str(&last).context("reading its last line")?;
    let lost = account["lost"]["total"].as_u64().filter(|_| account["kind"] == "ledger" && account["final"] == true);
    lost.with_context(|| format!("its last line is no last account: {last}"))
}

/// The program under test: `$KUBEWARD_BIN`, else where `make build` puts it.
pub(super) fn kubeward() -> PathBuf {
    std::env::var_os("KUBEWARD_BIN").map_or_else(|| "bin/kubeward".into(), PathBuf::from)
}
