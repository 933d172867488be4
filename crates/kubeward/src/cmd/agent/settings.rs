//! Flags over environment over file over defaults: what is in force, and where each value is from.

use std::fmt::{self, Display};
use std::fs;
use std::path::{Path, PathBuf};

use clap::parser::ValueSource;
use clap::{ArgMatches, ValueEnum};
use kubeward_agent::config::{Config, Format, Target};
use kubeward_agent::discovery::containerd::{choose, AddressError};
use kubeward_agent::sinks::Rotation;
use kubeward_bpf::probe::Backend;
use kubeward_core::redact::{RedactError, Redactor};
use serde::Deserialize;
use tracing_subscriber::filter::LevelFilter;

use super::{AgentArgs, KubernetesArg};
use crate::cmd::policies::{calls_of, PolicyFailure};
use crate::cmd::{run_id, FormatArg};

/// A setting that cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SettingError {
    #[error("cannot read the configuration file {}: {source}", path.display())]
    Unreadable { path: PathBuf, source: std::io::Error },
    #[error("configuration file {}: {source}", path.display())]
    File { path: PathBuf, source: toml::de::Error },
    #[error("{name} from {source_name}: {message}")]
    Value { name: &'static str, source_name: String, message: String },
    #[error("--kubernetes on: this version takes no policies from the Kubernetes API; use off, and -f")]
    Kubernetes,
    #[error("--rotate-size and --rotate-keep need a file to rotate: give -o FILE")]
    RotationWithoutFile,
    #[error("--rotate-keep needs --rotate-size: without it no file is ever full")]
    KeepWithoutSize,
    #[error(transparent)]
    Socket(#[from] AddressError),
    #[error(transparent)]
    Redact(#[from] RedactError),
    #[error("{0}")]
    Calls(PolicyFailure),
}

/// The configuration file: every key is a flag's long name.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct File {
    calls: Option<Vec<String>>,
    policy: Option<Vec<PathBuf>>,
    kubernetes: Option<String>,
    format: Option<String>,
    output: Option<PathBuf>,
    rotate_size: Option<Size>,
    rotate_keep: Option<u32>,
    cri_socket: Option<Vec<String>>,
    procfs_mount: Option<PathBuf>,
    probe_backend: Option<String>,
    node_name: Option<String>,
    event_labels: Option<Vec<String>>,
    redact: Option<Vec<String>>,
    log_level: Option<String>,
    log_format: Option<String>,
}

/// `104857600` or `"100M"`.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Size {
    Bytes(u64),
    Text(String),
}

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
        if self.kubernetes.value == KubernetesArg::On {
            return Err(SettingError::Kubernetes);
        }
        let calls = match self.calls.value.is_empty() {
            true => None,
            false => Some(calls_of(&self.calls.value).map_err(SettingError::Calls)?),
        };
        Ok(Config {
            calls,
            policies: self.policy.value.clone(),
            format: match self.format.value {
                FormatArg::Json => Format::Json,
                FormatArg::Text => Format::Text,
            },
            target: self.target()?,
            sockets: choose(&self.cri_socket.value)?,
            procfs: self.procfs_mount.value.clone(),
            backend: self.probe_backend.value,
            stream: run_id::stream(Some(self.node_name.value.clone()), self.event_labels.value.clone()),
            redactor: Redactor::new(&self.redact.value)?,
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

    pub(super) fn kubernetes(&self) -> KubernetesArg {
        self.kubernetes.value
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

fn read_file(path: &Path) -> Result<File, SettingError> {
    let text = fs::read_to_string(path).map_err(|source| SettingError::Unreadable { path: path.to_owned(), source })?;
    toml::from_str(&text).map_err(|source| SettingError::File { path: path.to_owned(), source })
}

/// The first of these variables that is set and not empty.
fn older(names: &[&'static str]) -> Option<(&'static str, String)> {
    names.iter().find_map(|name| Some((*name, std::env::var(name).ok().filter(|value| !value.is_empty())?)))
}

fn split(list: &str) -> Vec<String> {
    list.split(',').map(str::trim).filter(|item| !item.is_empty()).map(str::to_owned).collect()
}

fn one_of<T: ValueEnum>(
    name: &'static str,
    given: Option<String>,
    source: &dyn Fn() -> String,
) -> Result<Option<T>, SettingError> {
    let names = || {
        let values = T::value_variants().iter().filter_map(T::to_possible_value);
        values.map(|value| value.get_name().to_owned()).collect::<Vec<_>>().join(", ")
    };
    let parse = |text: String| {
        T::from_str(&text, false).map_err(|_| SettingError::Value {
            name,
            source_name: source(),
            message: format!("{text:?} is none of {}", names()),
        })
    };
    given.map(parse).transpose()
}

fn parsed<T: std::str::FromStr<Err: Display>>(
    name: &'static str,
    given: Option<String>,
    source: &dyn Fn() -> String,
) -> Result<Option<T>, SettingError> {
    let parse = |text: String| {
        text.parse().map_err(|error: T::Err| SettingError::Value {
            name,
            source_name: source(),
            message: format!("{text:?}: {error}"),
        })
    };
    given.map(parse).transpose()
}

/// `104857600`, `100M`: binary multiples.
fn bytes_of(text: &str, source: &str) -> Result<u64, SettingError> {
    let (digits, factor) = match text.trim().strip_suffix(['K', 'k']).map(|rest| (rest, 1 << 10)) {
        Some(kilo) => kilo,
        None => match text.trim().strip_suffix(['M', 'm']).map(|rest| (rest, 1 << 20)) {
            Some(mega) => mega,
            None => text.trim().strip_suffix(['G', 'g']).map_or((text.trim(), 1), |rest| (rest, 1 << 30)),
        },
    };
    let bytes = digits.parse::<u64>().ok().and_then(|number| number.checked_mul(factor)).filter(|bytes| *bytes > 0);
    bytes.ok_or_else(|| SettingError::Value {
        name: "rotate-size",
        source_name: source.to_owned(),
        message: format!("{text:?} is not a number of bytes; write for example 100M"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_have_binary_suffixes() {
        let bytes = |text| bytes_of(text, "a test").ok();
        assert_eq!(
            [bytes("1"), bytes("2K"), bytes("100M"), bytes("1g")],
            [Some(1), Some(2048), Some(100 << 20), Some(1 << 30)]
        );
        assert_eq!([bytes("0"), bytes("M"), bytes("-1"), bytes("99999999999G")], [None; 4]);
    }

    #[test]
    fn unknown_key_of_the_file_is_refused_by_name() {
        let error = toml::from_str::<File>("polcy = ['a']\n").expect_err("there is no such key").to_string();
        assert!(error.contains("polcy") && error.contains("policy"), "{error}");
    }

    #[test]
    fn word_of_the_file_that_is_none_is_told_with_its_choices() {
        let source = || "file a.toml".to_owned();
        let error = one_of::<FormatArg>("format", Some("xml".to_owned()), &source).expect_err("no such format");
        assert_eq!(error.to_string(), "format from file a.toml: \"xml\" is none of text, json");
    }
}
