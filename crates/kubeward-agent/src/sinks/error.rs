//! What can be wrong with an output.

use std::io::{self, ErrorKind};
use std::path::PathBuf;

use thiserror::Error;

/// Why an output took no more. Each message is whole: the cause is in it, and not a source to be appended.
///
/// `trace` ends for any of them; the agent counts, keeps what it has room for, and
/// tries again.
#[derive(Debug, Error)]
pub enum OutputError {
    /// Nobody reads any more. A pipe's reader does not come back.
    #[error("the reader of {name} is gone")]
    Gone { name: String },

    /// No space, or over quota. Goes on once there is space.
    #[error("no space left for {name} ({cause}); free some, or write somewhere else with -o")]
    Full { name: String, cause: io::Error },

    #[error("cannot write {name}: {cause}")]
    Write { name: String, cause: io::Error },

    #[error("cannot open {name} for events: {cause}")]
    Open { name: String, cause: io::Error },

    /// The full file stays as it is; nothing is written until renaming works.
    #[error("cannot rename {} to {} to begin a new file: {cause}", from.display(), to.display())]
    Rotate { from: PathBuf, to: PathBuf, cause: io::Error },

    #[error("{name} is not a regular file and cannot be rotated; leave out --rotate-size")]
    NotRotatable { name: String },
}

impl OutputError {
    /// Sorts a failed write by what can be done about it.
    pub(super) fn of_write(name: &str, cause: io::Error) -> OutputError {
        let name = name.to_owned();
        match cause.kind() {
            ErrorKind::BrokenPipe | ErrorKind::ConnectionReset | ErrorKind::NotConnected => OutputError::Gone { name },
            ErrorKind::StorageFull | ErrorKind::QuotaExceeded | ErrorKind::FileTooLarge => {
                OutputError::Full { name, cause }
            }
            _ => OutputError::Write { name, cause },
        }
    }
}
