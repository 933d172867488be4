//! Flags over environment over file over defaults: what is in force, and where each value is from.

use std::fmt::{self, Display};
use std::path::{Path, PathBuf};

use clap::parser::ValueSource;
use clap::{ArgMatches, ValueEnum};
use kubeward_agent::config::{Config, Format, Kubernetes, Target};
use kubeward_agent::discovery::containerd::choose;
use kubeward_agent::serve::client::DEFAULT_SOCKET;
use kubeward_agent::sinks::Rotation;
use kubeward_bpf::probe::Backend;
use kubeward_core::redact::Redactor;
use kubeward_core::render::line::Stream;
use tracing_subscriber::filter::LevelFilter;

use super::file::{bytes_of, one_of, parsed, read_file, File, SettingError, Size};
use super::{AgentArgs, KubernetesArg};
use crate::cmd::policies::calls_of;
use crate::cmd::{run_id, FormatArg};

/// A value and where it is from.
#[derive(Debug, Clone)]
struct Setting<T> {
    value: T,
    source: String,
}

/// What is in force.
#[derive(Debug)]
pub(super) struct Settings {
    calls: Setting<Vec<String>>,
    policy: Setting<Vec<PathBuf>>,
    kubernetes: Setting<KubernetesArg>,
    format: Setting<FormatArg>,
    output: Setting<PathBuf>,
    rotate_size: Setting<Option<u64>>,
    rotate_keep: Setting<Option<u32>>,
    cri_socket: Setting<Vec<String>>,
    procfs_mount: Setting<PathBuf>,
    probe_backend: Setting<Backend>,
    node_name: Setting<String>,
    cluster_name: Setting<Option<String>>,
    socket: Setting<PathBuf>,
    event_labels: Setting<Vec<String>>,
    redact: Setting<Vec<String>>,
    log_level: Setting<LevelFilter>,
    log_format: Setting<FormatArg>,
}

/// Where values may come from.
struct Sources<'a> {
    matches: &'a ArgMatches,
    file_name: String,
}

impl Sources<'_> {
    /// The command line's value wins, its environment variable among them; then older variables, the file, the default.
    fn pick<T>(&self, id: &str, given: T, older: Option<(&str, T)>, file: Option<T>, default: T) -> Setting<T> {
        let name = id.replace('_', "-");
        match (self.matches.value_source(id), older, file) {
            (Some(ValueSource::CommandLine), _, _) => Setting { value: given, source: format!("flag --{name}") },
            (Some(ValueSource::EnvVariable), _, _) => {
                Setting { value: given, source: format!("environment KUBEWARD_{}", id.to_uppercase()) }
            }
            (_, Some((variable, value)), _) => Setting { value, source: format!("environment {variable}") },
            (_, None, Some(value)) => Setting { value, source: format!("file {}", self.file_name) },
            (_, None, None) => Setting { value: default, source: "default".to_owned() },
        }
    }

    fn is_from_environment(&self, id: &str) -> bool {
        self.matches.value_source(id) == Some(ValueSource::EnvVariable)
    }
}

impl Settings {
    pub(super) fn resolve(args: &AgentArgs, matches: &ArgMatches) -> Result<Self, SettingError> {
        let file = args.config.as_deref().map_or(Ok(File::default()), read_file)?;
        let file_name = args.config.as_ref().map_or_else(String::new, |path| path.display().to_string());
        let from = Sources { matches, file_name };
        let file_source = || format!("file {}", from.file_name);
        let policy = match from.is_from_environment("policy") {
            true => args.policy.iter().flat_map(|list| split(&list.to_string_lossy())).map(PathBuf::from).collect(),
            false => args.policy.clone(),
        };
        let cri_socket = match from.is_from_environment("cri_socket") {
            true => args.cri_socket.iter().flat_map(|list| split(list)).collect(),
            false => args.cri_socket.clone(),
        };
        let older_socket = older(&["CRI_SOCKET", "CRISOCKET"]).map(|(name, list)| (name, split(&list)));
        let older_procfs = older(&["PROCFSMOUNT"]).map(|(name, path)| (name, PathBuf::from(path)));
        let rotate_size = args.rotate_size.as_deref().map(|text| bytes_of(text, "the command line")).transpose()?;
        let file_rotate_size = match file.rotate_size {
            Some(Size::Bytes(bytes)) => Some(bytes),
            Some(Size::Text(text)) => Some(bytes_of(&text, &file_source())?),
            None => None,
        };
        let kubernetes = one_of::<KubernetesArg>("kubernetes", file.kubernetes, &file_source)?;
        let format = one_of::<FormatArg>("format", file.format, &file_source)?;
        let log_format = one_of::<FormatArg>("log-format", file.log_format, &file_source)?;
        let probe_backend = parsed::<Backend>("probe-backend", file.probe_backend, &file_source)?;
        let log_level = parsed::<LevelFilter>("log-level", file.log_level, &file_source)?;
        let node_name = args.node_name.clone().unwrap_or_default();
        Ok(Self {
            calls: from.pick("calls", args.calls.clone(), None, file.calls, vec![]),
            policy: from.pick("policy", policy, None, file.policy, vec![]),
            kubernetes: from.pick(
                "kubernetes",
                args.kubernetes.unwrap_or(KubernetesArg::Auto),
                None,
                kubernetes,
                KubernetesArg::Auto,
            ),
            format: from.pick("format", args.format.unwrap_or(FormatArg::Json), None, format, FormatArg::Json),
            output: from.pick("output", args.output.clone().unwrap_or_default(), None, file.output, "-".into()),
            rotate_size: from.pick("rotate_size", rotate_size, None, file_rotate_size.map(Some), None),
            rotate_keep: from.pick("rotate_keep", args.rotate_keep, None, file.rotate_keep.map(Some), None),
            cri_socket: from.pick("cri_socket", cri_socket, older_socket, file.cri_socket, vec![]),
            procfs_mount: from.pick(
                "procfs_mount",
                args.procfs_mount.clone().unwrap_or_default(),
                older_procfs,
                file.procfs_mount,
                "/proc".into(),
            ),
            probe_backend: from.pick(
                "probe_backend",
                args.probe_backend.unwrap_or_default(),
                None,
                probe_backend,
                Backend::Auto,
            ),
            node_name: from.pick("node_name", node_name, None, file.node_name, run_id::host_name()),
            cluster_name: from.pick("cluster_name", args.cluster_name.clone(), None, file.cluster_name.map(Some), None),
            socket: from.pick(
                "socket",
                args.socket.clone().unwrap_or_default(),
                None,
                file.socket,
                DEFAULT_SOCKET.into(),
            ),
            event_labels: from.pick("event_labels", args.event_labels.clone(), None, file.event_labels, vec![]),
            redact: from.pick("redact", args.redact.clone(), None, file.redact, vec![]),
            log_level: from.pick(
                "log_level",
                args.log_level.unwrap_or(LevelFilter::INFO),
                None,
                log_level,
                LevelFilter::INFO,
            ),
            log_format: from.pick(
                "log_format",
                args.log_format.unwrap_or(FormatArg::Text),
                None,
                log_format,
                FormatArg::Text,
            ),
        })
    }

    /// The settings as the agent takes them, checked together.
    pub(super) fn config(&self) -> Result<Config, SettingError> {
        let calls = match self.calls.value.is_empty() {
            true => None,
            false => Some(calls_of(&self.calls.value).map_err(SettingError::Calls)?),
        };
        Ok(Config {
            calls,
            policies: self.policy.value.clone(),
            kubernetes: match self.kubernetes.value {
                KubernetesArg::Auto => Kubernetes::Auto,
                KubernetesArg::On => Kubernetes::On,
                KubernetesArg::Off => Kubernetes::Off,
            },
            format: match self.format.value {
                FormatArg::Json => Format::Json,
                FormatArg::Text => Format::Text,
            },
            target: self.target()?,
            sockets: choose(&self.cri_socket.value)?,
            procfs: self.procfs_mount.value.clone(),
            backend: self.probe_backend.value,
            stream: Stream {
                cluster: self.cluster_name.value.clone(),
                ..run_id::stream(Some(self.node_name.value.clone()), self.event_labels.value.clone())
            },
            redactor: Redactor::new(&self.redact.value)?,
            socket: Some(self.socket.value.clone()).filter(|socket| socket != Path::new("none")),
        })
    }

    fn target(&self) -> Result<Target, SettingError> {
        let (size, keep) = (self.rotate_size.value, self.rotate_keep.value);
        if self.output.value == Path::new("-") {
            return match (size, keep) {
                (None, None) => Ok(Target::Stdout),
                _ => Err(SettingError::RotationWithoutFile),
            };
        }
        let rotation = match (size, keep) {
            (None, Some(_)) => return Err(SettingError::KeepWithoutSize),
            (None, None) => None,
            (Some(size_bytes), keep) => Some(Rotation { size_bytes, keep: keep.unwrap_or(5) }),
        };
        Ok(Target::File { path: self.output.value.clone(), rotation })
    }

    pub(super) fn log_level(&self) -> LevelFilter {
        self.log_level.value
    }

    pub(super) fn log_format(&self) -> FormatArg {
        self.log_format.value
    }
}

/// As a configuration file that would have the same effect, with each value's source behind it.
impl Display for Settings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = |value: &dyn Display| format!("{:?}", value.to_string());
        let list = |values: &[String]| format!("{values:?}");
        let paths = |paths: &[PathBuf]| list(&paths.iter().map(|path| path.display().to_string()).collect::<Vec<_>>());
        let word = |value: &dyn Fn() -> Option<clap::builder::PossibleValue>| {
            format!("{:?}", value().map_or_else(String::new, |value| value.get_name().to_owned()))
        };
        let number = |value: Option<u64>| value.map_or_else(String::new, |number| number.to_string());
        let keep = self.rotate_keep.value.map(u64::from);
        let lines = [
            ("calls", list(&self.calls.value), &self.calls.source),
            ("policy", paths(&self.policy.value), &self.policy.source),
            ("kubernetes", word(&|| self.kubernetes.value.to_possible_value()), &self.kubernetes.source),
            ("format", word(&|| self.format.value.to_possible_value()), &self.format.source),
            ("output", text(&self.output.value.display()), &self.output.source),
            ("rotate-size", number(self.rotate_size.value), &self.rotate_size.source),
            ("rotate-keep", number(keep), &self.rotate_keep.source),
            ("cri-socket", list(&self.cri_socket.value), &self.cri_socket.source),
            ("procfs-mount", text(&self.procfs_mount.value.display()), &self.procfs_mount.source),
            ("probe-backend", text(&self.probe_backend.value), &self.probe_backend.source),
            ("node-name", text(&self.node_name.value), &self.node_name.source),
            (
                "cluster-name",
                self.cluster_name.value.as_ref().map_or_else(String::new, |name| text(name)),
                &self.cluster_name.source,
            ),
            ("socket", text(&self.socket.value.display()), &self.socket.source),
            ("event-labels", list(&self.event_labels.value), &self.event_labels.source),
            ("redact", list(&self.redact.value), &self.redact.source),
            ("log-level", text(&self.log_level.value), &self.log_level.source),
            ("log-format", word(&|| self.log_format.value.to_possible_value()), &self.log_format.source),
        ];
        for (name, value, source) in lines {
            match value.is_empty() {
                true => writeln!(f, "# {name} is not set  # {source}")?,
                false => writeln!(f, "{name} = {value}  # {source}")?,
            }
        }
        Ok(())
    }
}

/// The first of these variables that is set and not empty.
fn older(names: &[&'static str]) -> Option<(&'static str, String)> {
    names.iter().find_map(|name| Some((*name, std::env::var(name).ok().filter(|value| !value.is_empty())?)))
}

fn split(list: &str) -> Vec<String> {
    list.split(',').map(str::trim).filter(|item| !item.is_empty()).map(str::to_owned).collect()
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
        let printed =
            settings(&["-e", "mkdir", "-o", "/tmp/x", "--event-labels", "a,b"]).expect("all is well").to_string();
        let again: File = toml::from_str(&printed).unwrap_or_else(|error| panic!("{error}"));
        assert_eq!(again.event_labels, Some(vec!["a".to_owned(), "b".to_owned()]));
        assert_eq!(again.calls, Some(vec!["mkdir".to_owned()]));
    }

    #[test]
    fn what_cannot_work_together_is_refused() {
        let refused =
            |line: &[&str]| settings(line).and_then(|settings| settings.config()).expect_err("refused").to_string();
        assert!(refused(&["--rotate-size", "1M"]).contains("-o FILE"));
        assert!(refused(&["-o", "/tmp/x", "--rotate-keep", "3"]).contains("--rotate-size"));
        assert!(refused(&["-e", "opnat"]).contains("openat"));
        assert!(refused(&["--redact", "("]).contains("("));
        assert!(refused(&["--cri-socket", "tcp://x"]).contains("unix://"));
    }
}
