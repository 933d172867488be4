//! Until when this machine was watched, kept in a file for the next agent: it tells the time in which nobody watched.
//!
//! One line of fixed length, written in place, so that it takes no more room on a full disk and is whole whenever the agent is
//! killed. The agent that writes it holds a lock on it.

use std::fs::{self, DirBuilder, File, TryLockError};
use std::io::{self, Read};
use std::os::unix::fs::{DirBuilderExt, FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

const BOOT_ID: &str = "/proc/sys/kernel/random/boot_id";

/// What the line begins with: another form of it is another number.
const FORM: &str = "kubeward-watched 1";

/// More than a line has.
const LINE_BYTES: usize = 128;

#[derive(Debug, thiserror::Error)]
pub enum WatchFileError {
    #[error("{}: another agent keeps it; give each its own --state-file", .0.display())]
    Taken(PathBuf),
    #[error("{}: {doing}: {source}", path.display())]
    Failed { path: PathBuf, doing: &'static str, source: io::Error },
}

/// What the agent before left in the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Before {
    /// It watched until this moment of CLOCK_BOOTTIME.
    WatchedUntil(u64),
    /// There was none.
    Nobody,
    /// It was before the machine was started anew.
    OtherBoot,
    /// What is there is no such line.
    Damaged,
}

/// The file in this agent's hands. Dropping it lets go of the lock; the file stays.
#[derive(Debug)]
pub struct WatchFile {
    file: File,
    path: PathBuf,
    boot: String,
    until_ns: u64,
    is_failing: bool,
}

impl WatchFile {
    /// Takes the file, which is made (0600, its folder 0700) where it is missing, and reads what is in it.
    pub fn take(path: &Path) -> Result<(Self, Before), WatchFileError> {
        let failed = |doing| move |source| WatchFileError::Failed { path: path.to_owned(), doing, source };
        if let Some(folder) = path.parent() {
            DirBuilder::new().recursive(true).mode(0o700).create(folder).map_err(failed("making its folder"))?;
        }
        let options = File::options().read(true).write(true).create(true).truncate(false).mode(0o600).clone();
        let mut file = options.open(path).map_err(failed("opening it"))?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(WatchFileError::Taken(path.to_owned())),
            Err(TryLockError::Error(source)) => return Err(failed("locking it")(source)),
        }
        let boot = fs::read_to_string(BOOT_ID).map_err(failed("reading the boot's id"))?.trim().to_owned();
        let mut text = Vec::new();
        (&mut file).take(LINE_BYTES as u64).read_to_end(&mut text).map_err(failed("reading it"))?;
        let before = read(&text, &boot);
        Ok((Self { file, path: path.to_owned(), boot, until_ns: 0, is_failing: false }, before))
    }

    /// All until this moment of CLOCK_BOOTTIME was watched and written. Some microseconds where the file is in memory. What
    /// cannot be written is said once: the next agent then tells a longer gap.
    pub fn keep(&mut self, until_ns: u64) {
        if until_ns <= self.until_ns {
            return;
        }
        let written = self.file.write_all_at(line(&self.boot, until_ns).as_bytes(), 0);
        match written {
            Ok(()) => (self.until_ns, self.is_failing) = (until_ns, false),
            Err(error) if !std::mem::replace(&mut self.is_failing, true) => {
                tracing::warn!(
                    "{}: {error}; the next agent will tell a longer gap than there was",
                    self.path.display()
                );
            }
            Err(_) => {}
        }
    }
}

fn line(boot: &str, until_ns: u64) -> String {
    let text = format!("{FORM} {boot} {until_ns:020}");
    format!("{text} {:016x}\n", sum(text.as_bytes()))
}

fn read(text: &[u8], boot: &str) -> Before {
    if text.is_empty() {
        return Before::Nobody;
    }
    parse(text).map_or(Before::Damaged, |(its_boot, until_ns)| match its_boot == boot {
        true => Before::WatchedUntil(until_ns),
        false => Before::OtherBoot,
    })
}

fn parse(text: &[u8]) -> Option<(&str, u64)> {
    let (text, its_sum) = std::str::from_utf8(text).ok()?.strip_suffix('\n')?.rsplit_once(' ')?;
    let (boot, until_ns) = text.strip_prefix(FORM)?.strip_prefix(' ')?.split_once(' ')?;
    let is_whole = u64::from_str_radix(its_sum, 16).ok()? == sum(text.as_bytes());
    is_whole.then_some((boot, until_ns.parse().ok()?))
}

/// FNV-1a: tells a damaged line from a whole one, and is no defence against whoever may write the file.
fn sum(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |sum, byte| (sum ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn folder() -> tempfile::TempDir {
        tempfile::tempdir().expect("a temporary folder")
    }

    fn taken(path: &Path) -> (WatchFile, Before) {
        WatchFile::take(path).expect("nobody has it")
    }

    #[test]
    fn next_agent_reads_what_was_kept_last() {
        let dir = folder();
        let path = dir.path().join("made/agent.watched");
        let (mut file, before) = taken(&path);
        assert_eq!(before, Before::Nobody);
        [7, u64::MAX - 1, 5].into_iter().for_each(|until_ns| file.keep(until_ns));
        drop(file);
        assert_eq!(taken(&path).1, Before::WatchedUntil(u64::MAX - 1));
        let mode = |path: &Path| path.metadata().expect("it is there").permissions().mode() & 0o7777;
        assert_eq!((mode(&path), mode(path.parent().expect("a folder"))), (0o600, 0o700));
    }

    #[test]
    fn file_is_one_agents_alone() {
        let dir = folder();
        let path = dir.path().join("agent.watched");
        let first = taken(&path);
        assert!(matches!(WatchFile::take(&path), Err(WatchFileError::Taken(_))));
        drop(first);
        taken(&path);
    }

    #[test]
    fn line_of_another_boot_says_nothing_of_this_one() {
        assert_eq!(read(line("a", 9).as_bytes(), "b"), Before::OtherBoot);
        assert_eq!(read(line("a", 9).as_bytes(), "a"), Before::WatchedUntil(9));
    }

    #[test]
    fn every_cut_and_every_changed_byte_is_damage() {
        let whole = line("0123-4567", 123_456_789);
        for end in 1..whole.len() {
            assert_eq!(read(&whole.as_bytes()[..end], "0123-4567"), Before::Damaged, "{end}");
        }
        for at in 0..whole.len() {
            let mut bytes = whole.clone().into_bytes();
            bytes[at] ^= 1;
            assert_eq!(read(&bytes, "0123-4567"), Before::Damaged, "{at}");
        }
    }

    #[test]
    fn lines_have_one_length() {
        let boot = fs::read_to_string(BOOT_ID).expect("procfs is there");
        let lengths = [0, u64::MAX].map(|until_ns| line(boot.trim(), until_ns).len());
        assert!(lengths[0] == lengths[1] && lengths[0] < LINE_BYTES, "{lengths:?}");
    }
}
