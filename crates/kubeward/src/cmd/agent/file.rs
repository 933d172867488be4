//! The configuration file, and values as it and the command line write them.

use std::fmt::Display;
use std::fs;
use std::path::{Path, PathBuf};

use clap::ValueEnum;
use kubeward_agent::discovery::containerd::AddressError;
use kubeward_core::redact::RedactError;
use serde::Deserialize;

use crate::cmd::policies::PolicyFailure;

/// A setting that cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SettingError {
    #[error("cannot read the configuration file {}: {source}", path.display())]
    Unreadable { path: PathBuf, source: std::io::Error },
    #[error("configuration file {}: {source}", path.display())]
    File { path: PathBuf, source: toml::de::Error },
    #[error("{name} from {source_name}: {message}")]
    Value { name: &'static str, source_name: String, message: String },
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
pub(super) struct File {
    pub(super) calls: Option<Vec<String>>,
    pub(super) policy: Option<Vec<PathBuf>>,
    pub(super) kubernetes: Option<String>,
    pub(super) format: Option<String>,
    pub(super) output: Option<PathBuf>,
    pub(super) rotate_size: Option<Size>,
    pub(super) rotate_keep: Option<u32>,
    pub(super) cri_socket: Option<Vec<String>>,
    pub(super) procfs_mount: Option<PathBuf>,
    pub(super) probe_backend: Option<String>,
    pub(super) node_name: Option<String>,
    pub(super) cluster_name: Option<String>,
    pub(super) socket: Option<PathBuf>,
    pub(super) event_labels: Option<Vec<String>>,
    pub(super) redact: Option<Vec<String>>,
    pub(super) log_level: Option<String>,
    pub(super) log_format: Option<String>,
}

/// `104857600` or `"100M"`.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
pub(super) enum Size {
    Bytes(u64),
    Text(String),
}

pub(super) fn read_file(path: &Path) -> Result<File, SettingError> {
    let text = fs::read_to_string(path).map_err(|source| SettingError::Unreadable { path: path.to_owned(), source })?;
    toml::from_str(&text).map_err(|source| SettingError::File { path: path.to_owned(), source })
}

pub(super) fn one_of<T: ValueEnum>(
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

pub(super) fn parsed<T: std::str::FromStr<Err: Display>>(
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
pub(super) fn bytes_of(text: &str, source: &str) -> Result<u64, SettingError> {
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
    use crate::cmd::FormatArg;

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
