//! Policies of a command line: `-e` and `-f` together.

use std::fmt;
use std::fs;
use std::io::{self, Read};
use std::path::Path;

use kubeward_core::policy::{self, CheckedPolicy, Fault, PolicySet};
use kubeward_core::syscall::{parse_set, CallSet};

/// Why there is no policy set.
#[derive(Debug)]
pub(crate) enum PolicyFailure {
    /// A SET or a document is wrong. One line for each fault.
    Invalid(Vec<String>),
    /// A file could not be read, which is not its content's fault.
    Unreadable(String),
}

impl fmt::Display for PolicyFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            PolicyFailure::Invalid(faults) => f.write_str(&faults.join("\n")),
            PolicyFailure::Unreadable(message) => f.write_str(message),
        }
    }
}

/// The calls of all `-e` together.
pub(crate) fn calls_of(sets: &[String]) -> Result<CallSet, PolicyFailure> {
    let sets: Vec<&str> = sets.iter().map(String::as_str).collect();
    parse_set(&sets).map_err(|error| PolicyFailure::Invalid(vec![format!("-e: {error}")]))
}

/// The policies of the files, every one of which must be without fault, unknown names included.
pub(crate) fn strictly(files: &[impl AsRef<Path>]) -> Result<Vec<CheckedPolicy>, PolicyFailure> {
    let mut policies = Vec::new();
    let mut faults = Vec::new();
    for file in files {
        let (mut found, mut wrong) = Document::of_file(file.as_ref())?.load();
        faults.append(&mut wrong);
        policies.append(&mut found);
    }
    match faults.is_empty() {
        true => Ok(policies),
        false => Err(PolicyFailure::Invalid(faults)),
    }
}

/// All of them as one set.
pub(crate) fn set_of(policies: Vec<CheckedPolicy>) -> Result<PolicySet, PolicyFailure> {
    let (set, faults) = PolicySet::new(policies);
    match faults.is_empty() {
        true => Ok(set),
        false => Err(PolicyFailure::Invalid(faults.iter().map(Fault::to_string).collect())),
    }
}

/// A policy file as it is written.
pub(crate) struct Document {
    pub(crate) name: String,
    pub(crate) bytes: Vec<u8>,
}

impl Document {
    pub(crate) fn of_file(file: &Path) -> Result<Self, PolicyFailure> {
        let name = file.display().to_string();
        fs::File::open(file).and_then(bounded).map_or_else(
            |error| Err(PolicyFailure::Unreadable(format!("cannot read policy file {name}: {error}"))),
            |bytes| Ok(Self { name: name.clone(), bytes }),
        )
    }

    pub(crate) fn of_standard_input() -> Result<Self, PolicyFailure> {
        let bytes = bounded(io::stdin())
            .map_err(|error| PolicyFailure::Unreadable(format!("cannot read a policy from standard input: {error}")))?;
        Ok(Self { name: "standard input".to_owned(), bytes })
    }

    /// Its policies, and one line for each fault, unknown names included.
    pub(crate) fn load(&self) -> (Vec<CheckedPolicy>, Vec<String>) {
        let (policies, wrong) = policy::load(&self.name, &self.bytes);
        let refusals = policies
            .iter()
            .flat_map(|policy| policy.refusals.iter().map(|refusal| format!("{}: {refusal}", policy.source)));
        let faults = wrong.iter().map(Fault::to_string).chain(refusals).collect();
        (policies, faults)
    }
}

/// No more than one byte past what a policy file may have: the size is then the reader's to refuse.
fn bounded(input: impl Read) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    input.take(policy::MAX_FILE_BYTES as u64 + 1).read_to_end(&mut bytes)?;
    Ok(bytes)
}
