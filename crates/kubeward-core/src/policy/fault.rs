//! What can be wrong with a policy document, told so that its author can find and mend it.

use std::fmt;
use std::sync::Arc;

use thiserror::Error;

/// Where a policy was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Source {
    /// The file's path or the object's name, as the caller gave it.
    pub file: Arc<str>,
    /// Number of the YAML document in the file, from 1; absent where there is no file.
    pub document: Option<usize>,
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.document {
            Some(document) => write!(f, "{}, document {document}", self.file),
            None => f.write_str(&self.file),
        }
    }
}

/// One reason why a whole document is not accepted.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub struct Fault {
    pub source: Source,
    /// Line in the file, from 1, where it is known.
    pub line: Option<usize>,
    /// Path of the field from the document's root (`spec.kprobe[0].name`); empty for the document itself.
    pub field: String,
    #[source]
    pub problem: Problem,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.source)?;
        if let Some(line) = self.line {
            write!(f, ", line {line}")?;
        }
        if !self.field.is_empty() {
            write!(f, ": {}", self.field)?;
        }
        write!(f, ": {}", self.problem)
    }
}

/// The reason itself. Every text ends with what to do about it.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum Problem {
    #[error("the file has {bytes} bytes, more than the {limit} that a policy file may have; split it")]
    TooLarge { bytes: usize, limit: usize },
    #[error("not UTF-8 text at byte {offset}; save the file as UTF-8")]
    NotText { offset: usize },
    #[error("not YAML: {message}")]
    NotYaml { message: String },
    #[error("nested deeper than {limit} levels, which no policy is")]
    TooDeep { limit: usize },
    #[error("more than {limit} values once its aliases are expanded; write them out or split the file")]
    TooManyValues { limit: usize },
    #[error("the file holds no policy; write one, or remove the file")]
    Empty,
    #[error("kind is {found:?}; a policy's is \"KubeWard\"")]
    WrongKind { found: String },
    #[error("apiVersion is {found:?}; a policy's is \"kubeward.kubeward/v1\"")]
    WrongApiVersion { found: String },
    #[error("missing; write {example}")]
    Missing { example: &'static str },
    #[error("unknown field {name:?}{}", remedy(.nearest, .known))]
    UnknownField { name: String, nearest: Option<&'static str>, known: &'static [&'static str] },
    #[error("{name:?} is there twice; keep one")]
    RepeatedField { name: String },
    #[error("must be {wanted}, not {found}")]
    WrongType { wanted: &'static str, found: String },
    #[error("unknown {what} {name:?}{}", remedy(.nearest, .known))]
    UnknownWord { what: &'static str, name: String, nearest: Option<&'static str>, known: &'static [&'static str] },
    #[error("unknown error name {name:?}; use a name of errno(3), like EPERM or EACCES")]
    UnknownErrno { name: String },
    #[error("has {len} entries, more than the {limit} allowed; split the policy")]
    TooManyEntries { len: usize, limit: usize },
    #[error("{found} is out of range; choose from {min} to {max}")]
    OutOfRange { found: String, min: u64, max: u64 },
    #[error("{found:?} is not {wanted}")]
    Malformed { found: String, wanted: &'static str },
    #[error("{feature} is not in this version of KubeWard; {remedy}")]
    NotInThisBuild { feature: &'static str, remedy: &'static str },
    #[error("nodeSelector goes by labels that Kubernetes keeps, and this agent runs without it; remove it and give each node its own file")]
    NoNodeLabels,
    #[error("a policy named {name:?} is there already, from {other}; rename one of them")]
    NameTaken { name: String, other: Source },
    #[error("policy {name:?} is one too many: at most {limit} apply at a time; remove or join some")]
    TooManyPolicies { name: String, limit: usize },
}

/// `(did you mean ...?)`, or the whole list when nothing is near.
fn remedy(nearest: &Option<&'static str>, known: &&'static [&'static str]) -> String {
    match nearest {
        Some(nearest) => format!(" (did you mean {nearest:?}?)"),
        None => format!("; known here: {}", known.join(", ")),
    }
}

/// The entry of `known` that `word` most likely was meant to be: at most a third of its letters differ.
pub(super) fn nearest(word: &str, known: &[&'static str]) -> Option<&'static str> {
    let word = word.to_lowercase();
    known
        .iter()
        .map(|candidate| (strsim::osa_distance(&word, &candidate.to_lowercase()), *candidate))
        .filter(|(edits, candidate)| *edits <= candidate.len().div_ceil(3))
        .min_by_key(|(edits, _)| *edits)
        .map(|(_, candidate)| candidate)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nearest_field_is_the_misspelt_one() {
        let known = &["kprobe", "kretprobe", "syscalls", "selector"];
        assert_eq!(nearest("kprobes", known), Some("kprobe"));
        assert_eq!(nearest("krpobe", known), Some("kprobe"));
        assert_eq!(nearest("Selector", known), Some("selector"));
        assert_eq!(nearest("containers", known), None);
    }
}
