//! Flags over environment over file over defaults: what is in force, and where each value is from.

use std::fmt::{self, Display};
use std::net::SocketAddr;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};

use clap::parser::ValueSource;
use clap::ArgMatches;
use kubeward_agent::config::{Config, Format, Target};
use kubeward_agent::cost::CpuPercent;
use kubeward_agent::discovery::containerd::choose;
use kubeward_agent::serve::client::DEFAULT_SOCKET;
use kubeward_agent::sinks::Rotation;
use kubeward_bpf::object::LoadOptions;
use kubeward_bpf::probe::Backend;
use kubeward_bpf::size;
use kubeward_core::redact::Redactor;
use kubeward_core::render::line::Stream;
use tracing_subscriber::filter::LevelFilter;

use super::file::{read_file, ByteSize, SettingError};
use super::shown::Shown;
use super::values::{KubernetesArg, SetupArg, Values};
use super::AgentArgs;
use crate::cmd::policies::calls_of;
use crate::cmd::{run_id, FormatArg};

/// Settings by their names in [`Values`]: the type of what is in force, and the default.
macro_rules! settings {
    ($($name:ident: $type:ty = $default:expr,)*) => {
        /// What is in force.
        #[derive(Debug)]
        pub(super) struct Settings {
            $(pub(super) $name: $type,)*
            told: Vec<Told>,
        }

        impl Settings {
            /// Of each setting what the first layer says that says something.
            fn of(mut layers: Vec<Layer<'_>>) -> Self {
                let mut told = Vec::new();
                $(
                    let given = layers.iter_mut().find_map(|layer| {
                        Some((layer.values.$name.take()?, (layer.source)(stringify!($name))))
                    });
                    let $name: $type = pick(stringify!($name), given, $default, &mut told);
                )*
                Self { $($name,)* told }
            }
        }
    };
}

settings! {
    calls: Vec<String> = Vec::new(),
    policy: Vec<PathBuf> = Vec::new(),
    kubernetes: KubernetesArg = KubernetesArg::Auto,
    format: FormatArg = FormatArg::Json,
    output: PathBuf = "-".into(),
    rotate_size: Option<ByteSize> = None,
    rotate_keep: Option<u32> = None,
    cri_socket: Vec<String> = Vec::new(),
    procfs_mount: PathBuf = "/proc".into(),
    probe_backend: Backend = Backend::Auto,
    max_containers: u32 = size::DEFAULT_CONTAINERS,
    ring_size: ByteSize = ByteSize(size::ring_bytes(size::online_cpus()).into()),
    setup: SetupArg = SetupArg::Count,
    node_name: String = run_id::host_name(),
    cluster_name: Option<String> = None,
    socket: PathBuf = DEFAULT_SOCKET.into(),
    state_file: Option<PathBuf> = None,
    metrics_address: Option<SocketAddr> = None,
    warn_cpu_percent: Option<CpuPercent> = None,
    event_labels: Vec<String> = Vec::new(),
    redact: Vec<String> = Vec::new(),
    log_level: LevelFilter = LevelFilter::INFO,
    log_format: FormatArg = FormatArg::Text,
}

/// A smaller ring than 1 MiB has no room for what two containers do between two looks of the reader.
const RING_SIZES: RangeInclusive<u32> = 1 << 20..=*size::RING_BYTES.end();

/// The path that stands for none.
const NOWHERE: &str = "none";

/// One source of values, and how it is called for a setting's name.
struct Layer<'a> {
    values: Values,
    source: Box<dyn Fn(&str) -> String + 'a>,
}

/// A setting as `--print-config` tells it.
#[derive(Debug)]
struct Told {
    name: String,
    /// As TOML; empty when it is not set.
    value: String,
    source: String,
}

fn pick<G, T: From<G> + Shown>(name: &str, given: Option<(G, String)>, default: T, told: &mut Vec<Told>) -> T {
    let (value, source) = match given {
        Some((value, source)) => (T::from(value), source),
        None => (default, "default".to_owned()),
    };
    told.push(Told { name: name.replace('_', "-"), value: value.shown(), source });
    value
}

impl Settings {
    pub(super) fn resolve(args: &AgentArgs, matches: &ArgMatches) -> Result<Self, SettingError> {
        let file = args.config.as_deref().map_or(Ok(Values::default()), read_file)?;
        let file_name = args.config.as_ref().map_or_else(String::new, |path| format!("file {}", path.display()));
        let in_file = Layer { values: file, source: Box::new(move |_| file_name.clone()) };
        Ok(Self::of(vec![command_line(args.values.clone(), matches), older_variables(), in_file]))
    }

    /// The settings as the agent takes them, checked together.
    pub(super) fn config(&self) -> Result<Config, SettingError> {
        let calls = match self.calls.is_empty() {
            true => None,
            false => Some(calls_of(&self.calls).map_err(SettingError::Calls)?),
        };
        Ok(Config {
            calls,
            policies: self.policy.clone(),
            kubernetes: self.kubernetes.into(),
            format: match self.format {
                FormatArg::Json => Format::Json,
                FormatArg::Text => Format::Text,
            },
            target: self.target()?,
            sockets: choose(&self.cri_socket)?,
            procfs: self.procfs_mount.clone(),
            backend: self.probe_backend,
            room: self.room()?,
            emits_setup: self.setup == SetupArg::Emit,
            stream: Stream {
                cluster: self.cluster_name.clone(),
                ..run_id::stream(Some(self.node_name.clone()), self.event_labels.clone())
            },
            redactor: Redactor::new(&self.redact)?,
            socket: self.socket(),
            metrics_address: self.metrics_address,
            warn_cpu_percent: self.warn_cpu_percent,
            state_file: self.state_file(),
        })
    }

    fn room(&self) -> Result<LoadOptions, SettingError> {
        let (containers, ByteSize(ring)) = (self.max_containers, self.ring_size);
        if !(1..=size::MOST_CONTAINERS).contains(&containers) {
            return Err(SettingError::MaxContainers { given: containers });
        }
        let ring_bytes = u32::try_from(ring).ok().filter(|bytes| bytes.is_power_of_two() && RING_SIZES.contains(bytes));
        let ring_bytes = ring_bytes.ok_or(SettingError::RingSize(ring))?;
        Ok(LoadOptions { ring_bytes, containers, ..LoadOptions::default() })
    }

    fn socket(&self) -> Option<PathBuf> {
        Some(self.socket.clone()).filter(|socket| socket != Path::new(NOWHERE))
    }

    fn state_file(&self) -> Option<PathBuf> {
        let beside_socket = || self.socket().map(|socket| socket.with_extension("watched"));
        self.state_file.clone().or_else(beside_socket).filter(|file| file != Path::new(NOWHERE))
    }

    fn target(&self) -> Result<Target, SettingError> {
        let (size, keep) = (self.rotate_size, self.rotate_keep);
        if self.output == Path::new("-") {
            return match (size, keep) {
                (None, None) => Ok(Target::Stdout),
                _ => Err(SettingError::RotationWithoutFile),
            };
        }
        let rotation = match (size, keep) {
            (None, Some(_)) => return Err(SettingError::KeepWithoutSize),
            (None, None) => None,
            (Some(ByteSize(size_bytes)), keep) => Some(Rotation { size_bytes, keep: keep.unwrap_or(5) }),
        };
        Ok(Target::File { path: self.output.clone(), rotation })
    }
}

/// Flags, and the environment variables that stand for them.
fn command_line(mut values: Values, matches: &ArgMatches) -> Layer<'_> {
    let is_variable = |name: &str| matches.value_source(name) == Some(ValueSource::EnvVariable);
    // A variable has one value, where a flag is repeated.
    if is_variable("policy") {
        let lists = values.policy.iter().flatten().flat_map(|list| split(&list.to_string_lossy()));
        values.policy = Some(lists.map(PathBuf::from).collect());
    }
    if is_variable("cri_socket") {
        values.cri_socket = Some(values.cri_socket.iter().flatten().flat_map(|list| split(list)).collect());
    }
    let source = move |name: &str| match is_variable(name) {
        true => format!("environment KUBEWARD_{}", name.to_uppercase()),
        false => format!("flag --{}", name.replace('_', "-")),
    };
    Layer { values, source: Box::new(source) }
}

/// Variables that were there before ours.
fn older_variables() -> Layer<'static> {
    let (socket, procfs) = (first_set(&["CRI_SOCKET", "CRISOCKET"]), first_set(&["PROCFSMOUNT"]));
    let (socket_name, procfs_name) = (name_of(&socket), name_of(&procfs));
    let values = Values {
        cri_socket: socket.map(|(_, list)| split(&list)),
        procfs_mount: procfs.map(|(_, path)| path.into()),
        ..Values::default()
    };
    let source = move |name: &str| match name {
        "cri_socket" => format!("environment {socket_name}"),
        _ => format!("environment {procfs_name}"),
    };
    Layer { values, source: Box::new(source) }
}

/// The first of these variables that is set and not empty.
fn first_set(names: &[&'static str]) -> Option<(&'static str, String)> {
    names.iter().find_map(|name| Some((*name, std::env::var(name).ok().filter(|value| !value.is_empty())?)))
}

fn name_of(variable: &Option<(&'static str, String)>) -> &'static str {
    variable.as_ref().map_or("", |(name, _)| name)
}

fn split(list: &str) -> Vec<String> {
    list.split(',').map(str::trim).filter(|item| !item.is_empty()).map(str::to_owned).collect()
}

/// As a configuration file that would have the same effect, with each value's source behind it.
impl Display for Settings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for Told { name, value, source } in &self.told {
            match value.is_empty() {
                true => writeln!(f, "# {name} is not set  # {source}")?,
                false => writeln!(f, "{name} = {value}  # {source}")?,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use clap::{Args, Command, FromArgMatches};

    use super::*;

    /// The settings of this command line, none of whose flags have environment variables set.
    fn settings(line: &[&str]) -> Result<Settings, SettingError> {
        let command = AgentArgs::augment_args(Command::new("agent"));
        let matches = command.get_matches_from([&["agent"], line].concat());
        Settings::resolve(&AgentArgs::from_arg_matches(&matches).expect("they matched"), &matches)
    }

    fn shown(settings: &Settings, name: &str) -> String {
        let text = settings.to_string();
        let line = text.lines().find(|line| line.starts_with(&format!("{name} = ")));
        line.unwrap_or_else(|| panic!("no {name} in\n{text}")).to_owned()
    }

    #[test]
    fn flag_beats_file_beats_default() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let file = folder.path().join("agent.toml");
        std::fs::write(&file, "format = 'text'\nnode-name = 'from-file'\nrotate-size = '2K'\n")
            .expect("it is writable");
        let file = file.to_string_lossy();
        let settings = settings(&["--config", &file, "--node-name", "from-flag"]).expect("all is well");
        assert_eq!(shown(&settings, "node-name"), "node-name = \"from-flag\"  # flag --node-name");
        assert_eq!(shown(&settings, "format"), format!("format = \"text\"  # file {file}"));
        assert_eq!(shown(&settings, "rotate-size"), format!("rotate-size = 2048  # file {file}"));
        assert_eq!(shown(&settings, "procfs-mount"), "procfs-mount = \"/proc\"  # default");
    }

    #[test]
    fn printed_configuration_is_a_configuration() {
        let printed = settings(&[
            "-e",
            "mkdir",
            "-o",
            "/tmp/x",
            "--event-labels",
            "a,b",
            "--warn-cpu-percent",
            "2.5",
            "--metrics-address",
            "[::1]:9464",
        ])
        .expect("all is well")
        .to_string();
        let again: Values = toml::from_str(&printed).unwrap_or_else(|error| panic!("{error}"));
        assert_eq!(again.event_labels, Some(vec!["a".to_owned(), "b".to_owned()]));
        assert_eq!(again.calls, Some(vec!["mkdir".to_owned()]));
        assert_eq!(again.warn_cpu_percent.map(CpuPercent::get), Some(2.5));
        assert_eq!(again.metrics_address.map(|address| address.port()), Some(9464));
    }

    #[test]
    fn what_cannot_work_together_is_refused() {
        let refused =
            |line: &[&str]| settings(line).and_then(|settings| settings.config()).expect_err("refused").to_string();
        assert!(refused(&["--rotate-size", "1M"]).contains("-o FILE"));
        assert!(refused(&["-o", "/tmp/x", "--rotate-keep", "3"]).contains("--rotate-size"));
        assert!(refused(&["-e", "opnat"]).contains("openat"));
        assert!(refused(&["--redact", "("]).contains("("));
        assert_eq!(
            refused(&["--max-containers", "16384"]),
            "--max-containers 16384: there can be room for 1 to 16383 containers on a node; give a number in between"
        );
        assert!(refused(&["--max-containers", "0"]).contains("1 to 16383"));
        assert_eq!(
            refused(&["--ring-size", "3M"]),
            "--ring-size 3145728: the kernel takes a power of two from 1M to 1G, for example 16M"
        );
        assert!(
            refused(&["--ring-size", "512K"]).contains("1M to 1G")
                && refused(&["--ring-size", "8G"]).contains("1M to 1G")
        );
        assert!(refused(&["--cri-socket", "tcp://x"]).contains("unix://"));
    }
}
