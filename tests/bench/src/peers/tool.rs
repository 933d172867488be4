//! The programs that watch a load, and how each is told to show every call with its arguments.

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use anyhow::{bail, Context, Result};

use super::attach;
use crate::load::{own_program, Load, LoadProcess, Size};

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
            Self::KubeWard => "kubeward trace --host --format json -o /dev/null",
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
            Ok(status) if status.success() => Ok(()),
            Ok(status) => bail!("{} --version: {status}", program.display()),
            Err(error) if self == Self::KubeWard => bail!("{}: {error} (`make build` makes it)", program.display()),
            Err(error) => bail!("{}: {error} (`scripts/setup.sh bench` installs it)", program.display()),
        }
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
        let flags: &[&str] = match self {
            Self::KubeWard => &["trace", "--host", "--format", "json", "-o", "/dev/null", "--"],
            Self::Strace => &["-f", "-o", "/dev/null"],
            _ => &["trace", "-o", "/dev/null"],
        };
        let load: [OsString; 3] = [own_program()?.into(), "load".into(), load.name().into()];
        let mut process = LoadProcess::start_under(Command::new(self.program()).args(flags).args(load))?;
        let took = process.run(size)?;
        process.stop().context("ending the load")?;
        Ok(took)
    }
}

/// The program under test: `$KUBEWARD_BIN`, else where `make build` puts it.
pub(super) fn kubeward() -> PathBuf {
    std::env::var_os("KUBEWARD_BIN").map_or_else(|| "bin/kubeward".into(), PathBuf::from)
}
