//! Values as `--print-config` shows them: in TOML.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::ValueEnum;
use kubeward_agent::cost::CpuPercent;
use kubeward_bpf::probe::Backend;
use tracing_subscriber::filter::LevelFilter;

use super::file::ByteSize;
use super::values::{KubernetesArg, SetupArg};
use crate::cmd::FormatArg;

pub(super) trait Shown {
    /// As TOML; empty when there is no value.
    fn shown(&self) -> String;
}

impl Shown for String {
    fn shown(&self) -> String {
        format!("{self:?}")
    }
}

impl Shown for PathBuf {
    fn shown(&self) -> String {
        self.display().to_string().shown()
    }
}

impl<T: Shown> Shown for Vec<T> {
    fn shown(&self) -> String {
        match self.is_empty() {
            true => String::new(),
            false => format!("[{}]", self.iter().map(Shown::shown).collect::<Vec<_>>().join(", ")),
        }
    }
}

impl<T: Shown> Shown for Option<T> {
    fn shown(&self) -> String {
        self.as_ref().map_or_else(String::new, Shown::shown)
    }
}

impl Shown for u32 {
    fn shown(&self) -> String {
        self.to_string()
    }
}

impl Shown for SocketAddr {
    fn shown(&self) -> String {
        self.to_string().shown()
    }
}

impl Shown for CpuPercent {
    fn shown(&self) -> String {
        self.to_string()
    }
}

impl Shown for ByteSize {
    fn shown(&self) -> String {
        self.0.to_string()
    }
}

impl Shown for Backend {
    fn shown(&self) -> String {
        self.to_string().shown()
    }
}

impl Shown for LevelFilter {
    fn shown(&self) -> String {
        self.to_string().shown()
    }
}

impl Shown for FormatArg {
    fn shown(&self) -> String {
        word(self)
    }
}

impl Shown for SetupArg {
    fn shown(&self) -> String {
        word(self)
    }
}

impl Shown for KubernetesArg {
    fn shown(&self) -> String {
        word(self)
    }
}

fn word(value: &impl ValueEnum) -> String {
    value.to_possible_value().map_or_else(String::new, |value| value.get_name().to_owned().shown())
}
