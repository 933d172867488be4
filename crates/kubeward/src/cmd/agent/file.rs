//! The configuration file, and values as it and the command line write them.

use std::fmt::Display;
use std::fs;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use clap::ValueEnum;
use kubeward_agent::cost::CpuPercent;
use kubeward_agent::discovery::containerd::AddressError;
use kubeward_bpf::size;
use kubeward_core::redact::RedactError;
use serde::de::Error;
use serde::{Deserialize, Deserializer};

use super::values::Values;
use crate::cmd::policies::PolicyFailure;

/// A setting that cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SettingError {
    #[error("cannot read the configuration file {}: {source}", path.display())]
    Unreadable { path: PathBuf, source: std::io::Error },
    #[error("configuration file {}: {source}", path.display())]
    File { path: PathBuf, source: toml::de::Error },
    #[error("--rotate-size and --rotate-keep need a file to rotate: give -o FILE")]
    RotationWithoutFile,
    #[error("--rotate-keep needs --rotate-size: without it no file is ever full")]
    KeepWithoutSize,
    #[error("--max-containers {given}: there can be room for 1 to {most} containers on a node; give a number in between", most = size::MOST_CONTAINERS)]
    MaxContainers { given: u32 },
    #[error("--ring-size {0}: the kernel takes a power of two from 1M to 1G, for example 16M")]
    RingSize(u64),
    #[error(transparent)]
    Socket(#[from] AddressError),
    #[error(transparent)]
    Redact(#[from] RedactError),
    #[error("{0}")]
    Calls(PolicyFailure),
}

pub(super) fn read_file(path: &Path) -> Result<Values, SettingError> {
    let text = fs::read_to_string(path).map_err(|source| SettingError::Unreadable { path: path.to_owned(), source })?;
    toml::from_str(&text).map_err(|source| SettingError::File { path: path.to_owned(), source })
}

/// For serde: one of the words of an enum that flags take too.
pub(super) fn word<'de, D: Deserializer<'de>, T: ValueEnum>(deserializer: D) -> Result<Option<T>, D::Error> {
    let text = String::deserialize(deserializer)?;
    let names = || {
        let values = T::value_variants().iter().filter_map(T::to_possible_value);
        values.map(|value| value.get_name().to_owned()).collect::<Vec<_>>().join(", ")
    };
    let none = |_| D::Error::custom(format_args!("{text:?} is none of {}", names()));
    T::from_str(&text, false).map(Some).map_err(none)
}

/// For serde: whatever flags parse, written as text.
pub(super) fn parsed<'de, D: Deserializer<'de>, T: FromStr<Err: Display>>(
    deserializer: D,
) -> Result<Option<T>, D::Error> {
    let text = String::deserialize(deserializer)?;
    text.parse().map(Some).map_err(|error: T::Err| D::Error::custom(format_args!("{text:?}: {error}")))
}

/// For serde: a share of a CPU, written as a number.
pub(super) fn number<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<CpuPercent>, D::Error> {
    CpuPercent::new(f64::deserialize(deserializer)?).map(Some).map_err(D::Error::custom)
}

/// A size of a file, more than 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(try_from = "WrittenSize")]
pub(super) struct ByteSize(pub(super) u64);

/// `104857600` or `"100M"`.
#[derive(Deserialize)]
#[serde(untagged, expecting = "expected a number of bytes, or text as \"100M\"")]
enum WrittenSize {
    Bytes(u64),
    Text(String),
}

#[derive(Debug, thiserror::Error)]
#[error("{0:?} is not a number of bytes; write for example 100M")]
pub(super) struct NoSize(String);

impl TryFrom<WrittenSize> for ByteSize {
    type Error = NoSize;

    fn try_from(written: WrittenSize) -> Result<Self, NoSize> {
        match written {
            WrittenSize::Bytes(bytes) => bytes.to_string().parse(),
            WrittenSize::Text(text) => text.parse(),
        }
    }
}

/// With K, M and G as binary multiples.
impl FromStr for ByteSize {
    type Err = NoSize;

    fn from_str(text: &str) -> Result<Self, NoSize> {
        let units = [(['K', 'k'], 1 << 10), (['M', 'm'], 1 << 20), (['G', 'g'], 1 << 30)];
        let trimmed = text.trim();
        let with_unit = units.iter().find_map(|(letters, factor)| Some((trimmed.strip_suffix(letters)?, *factor)));
        let (digits, factor) = with_unit.unwrap_or((trimmed, 1));
        let bytes = digits.parse::<u64>().ok().and_then(|number| number.checked_mul(factor));
        bytes.filter(|bytes| *bytes > 0).map(ByteSize).ok_or_else(|| NoSize(text.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(text: &str) -> String {
        toml::from_str::<Values>(text).expect_err("it is refused").to_string()
    }

    #[test]
    fn sizes_have_binary_suffixes() {
        let bytes = |text: &str| text.parse().ok().map(|ByteSize(bytes)| bytes);
        assert_eq!(
            [bytes("1"), bytes("2K"), bytes("100M"), bytes("1g")],
            [Some(1), Some(2048), Some(100 << 20), Some(1 << 30)]
        );
        assert_eq!([bytes("0"), bytes("M"), bytes("-1"), bytes("99999999999G")], [None; 4]);
    }

    #[test]
    fn size_in_the_file_is_a_number_or_text() {
        let size = |text: &str| toml::from_str::<Values>(text).expect("it is a size").rotate_size;
        assert_eq!([size("rotate-size = 2048"), size("rotate-size = '2K'")], [Some(ByteSize(2048)); 2]);
        assert!(refused("rotate-size = 0").contains("100M"));
        assert!(refused("rotate-size = true").contains("100M"));
    }

    #[test]
    fn share_of_a_cpu_in_the_file_is_a_number_above_zero() {
        let share = |text: &str| toml::from_str::<Values>(text).expect("it is a share").warn_cpu_percent;
        assert_eq!(share("warn-cpu-percent = 5").map(CpuPercent::get), Some(5.0));
        assert_eq!(share("warn-cpu-percent = 0.5").map(CpuPercent::get), Some(0.5));
        let error = refused("\nwarn-cpu-percent = 0");
        assert!(error.contains("line 2") && error.contains("above 0"), "{error}");
    }

    #[test]
    fn unknown_key_of_the_file_is_refused_by_name() {
        let error = refused("polcy = ['a']\n");
        assert!(error.contains("polcy") && error.contains("policy"), "{error}");
    }

    #[test]
    fn word_of_the_file_that_is_none_is_told_with_its_choices_and_its_line() {
        let error = refused("\nformat = 'xml'\n");
        assert!(error.contains("line 2") && error.contains("\"xml\" is none of text, json"), "{error}");
        let error = refused("probe-backend = 'ftrace'\n");
        assert!(error.contains("ftrace") && error.contains("fentry"), "{error}");
    }
}
