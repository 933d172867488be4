//! A file of lines, rotated by size.

use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{self, ErrorKind, Write};
use std::os::fd::OwnedFd;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::thread;

use rustix::fs::{Mode, OFlags};

use super::{Output, OutputError};

/// When a file is full, and how many full ones stay: `events.1` is the newest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rotation {
    /// A file grows no larger, but for a single line that is.
    pub size_bytes: u64,
    /// 0: a full file is removed.
    pub keep: u32,
}

/// A file that lines are appended to.
#[derive(Debug)]
pub struct LogFile {
    path: PathBuf,
    rotation: Option<Rotation>,
    /// Absent from the moment a full file is renamed until its successor could be opened.
    open: Option<OpenFile>,
}

#[derive(Debug)]
struct OpenFile {
    file: File,
    size: u64,
    /// Pipes and devices given by path are written to, not measured, shortened or renamed.
    is_regular: bool,
    /// The last byte is no newline: a line was begun here.
    is_mid_line: bool,
    /// What stands there is half a line of an earlier run: it is ended before anything is written.
    has_foreign_half_line: bool,
}

/// Who may read a file that is made.
#[derive(Debug, Clone, Copy)]
enum Readers {
    /// Those whom the umask leaves.
    Umask,
    Owner,
}

impl LogFile {
    /// Makes an empty file, or empties it, as `trace -o` does. Readable as the umask allows.
    ///
    /// Opening a FIFO waits until it has a reader, here and in [`LogFile::append`].
    pub fn create(path: &Path) -> Result<LogFile, OutputError> {
        let mut open = OpenFile::open(path, Readers::Umask)?;
        if open.is_regular {
            open.empty().map_err(|cause| OutputError::of_write(&path.display().to_string(), cause))?;
        }
        Ok(LogFile { path: path.to_owned(), rotation: None, open: Some(open) })
    }

    /// Continues a file or makes it, as the agent does, then for its owner alone: events may hold what only root
    /// may read.
    pub fn append(path: &Path, rotation: Option<Rotation>) -> Result<LogFile, OutputError> {
        let open = OpenFile::open(path, Readers::Owner)?;
        if rotation.is_some() && !open.is_regular {
            return Err(OutputError::NotRotatable { name: path.display().to_string() });
        }
        Ok(LogFile { path: path.to_owned(), rotation, open: Some(open) })
    }

    /// The part of `bytes` that goes into the present file, after beginning a new one where the first line does
    /// not fit any more. Always at least a line.
    fn make_room<'a>(&mut self, bytes: &'a [u8], rotation: Rotation) -> Result<&'a [u8], OutputError> {
        let line_end = |bytes: &[u8]| bytes.iter().position(|&byte| byte == b'\n').map_or(bytes.len(), |at| at + 1);
        let first_line = line_end(bytes);
        let is_too_long =
            |open: &OpenFile| open.size > 0 && !open.is_mid_line && open.size + first_line as u64 > rotation.size_bytes;
        if self.open.as_ref().is_some_and(is_too_long) {
            let removed = self.rename_all(rotation.keep)?;
            self.open = None;
            removed.into_iter().for_each(close_elsewhere);
        }
        let room = rotation.size_bytes.saturating_sub(self.current()?.size);
        let fits = &bytes[..bytes.len().min(usize::try_from(room).unwrap_or(usize::MAX))];
        let whole = fits.iter().rposition(|&byte| byte == b'\n').map_or(0, |at| at + 1);
        Ok(&bytes[..whole.max(first_line)])
    }

    /// Makes the full file number 1 and each number one more; the last one goes, and what is left of it is returned. Moves no
    /// further than the first number that is free, so that trying again after a failure does not push out what is kept.
    fn rename_all(&self, keep: u32) -> Result<Option<OwnedFd>, OutputError> {
        if keep == 0 {
            let removed = remove(&self.path);
            return removed.map_err(|cause| OutputError::of_write(&self.path.display().to_string(), cause));
        }
        let first_free = (1..=keep).find(|&number| !self.numbered(number).exists());
        let mut removed = None;
        if first_free.is_none() {
            let from = if keep == 1 { self.path.clone() } else { self.numbered(keep - 1) };
            let to = self.numbered(keep);
            // A rename onto it would have ext4 write the whole file to the disk first. Only a file takes a file's place.
            if from.is_file() {
                removed = remove(&to).map_err(|cause| OutputError::Rotate { from, to, cause })?;
            }
        }
        for number in (1..first_free.unwrap_or(keep)).rev() {
            rename(&self.numbered(number), &self.numbered(number + 1))?;
        }
        rename(&self.path, &self.numbered(1))?;
        Ok(removed)
    }

    fn numbered(&self, number: u32) -> PathBuf {
        let mut name = OsString::from(&self.path);
        name.push(format!(".{number}"));
        name.into()
    }

    fn current(&mut self) -> Result<&mut OpenFile, OutputError> {
        match &mut self.open {
            Some(open) => Ok(open),
            absent => Ok(absent.insert(OpenFile::open(&self.path, Readers::Owner)?)),
        }
    }
}

impl Output for LogFile {
    fn write(&mut self, bytes: &[u8]) -> Result<usize, OutputError> {
        let name = self.path.display().to_string();
        self.current()?.end_foreign_half_line().map_err(|error| OutputError::of_write(&name, error))?;
        let bytes = match self.rotation {
            Some(rotation) => self.make_room(bytes, rotation)?,
            None => bytes,
        };
        self.current()?.write(bytes).map_err(|error| OutputError::of_write(&name, error))
    }

    fn take_back(&mut self, length: u64) -> bool {
        self.open.as_mut().is_some_and(|open| open.shorten(length).is_ok())
    }

    fn reopen(&mut self) -> Result<(), OutputError> {
        self.open = Some(OpenFile::open(&self.path, Readers::Owner)?);
        Ok(())
    }
}

impl OpenFile {
    fn open(path: &Path, readers: Readers) -> Result<OpenFile, OutputError> {
        let opened = OpenFile::open_io(path, readers);
        opened.map_err(|cause| OutputError::Open { name: path.display().to_string(), cause })
    }

    fn open_io(path: &Path, readers: Readers) -> io::Result<OpenFile> {
        let mode = match readers {
            Readers::Umask => 0o666,
            Readers::Owner => 0o600,
        };
        let file = File::options().append(true).create(true).mode(mode).open(path)?;
        let metadata = file.metadata()?;
        let (is_regular, size) = (metadata.is_file(), metadata.len());
        let has_foreign_half_line = is_regular && size > 0 && !ends_in_newline(path, size)?;
        Ok(OpenFile { file, size, is_regular, is_mid_line: false, has_foreign_half_line })
    }

    fn empty(&mut self) -> io::Result<()> {
        self.file.set_len(0)?;
        (self.size, self.has_foreign_half_line) = (0, false);
        Ok(())
    }

    fn end_foreign_half_line(&mut self) -> io::Result<()> {
        if self.has_foreign_half_line {
            self.write(b"\n")?;
            self.has_foreign_half_line = false;
        }
        Ok(())
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let length = loop {
            match self.file.write(bytes) {
                Ok(0) => return Err(ErrorKind::WriteZero.into()),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                outcome => break outcome?,
            }
        };
        self.size += length as u64;
        self.is_mid_line = bytes[length - 1] != b'\n';
        Ok(length)
    }

    /// Cuts the last `length` bytes off, measured from the file's real end: others may have shortened it.
    fn shorten(&mut self, length: u64) -> io::Result<()> {
        if !self.is_regular {
            return Err(ErrorKind::Unsupported.into());
        }
        self.size = self.file.metadata()?.len().saturating_sub(length);
        self.file.set_len(self.size)?;
        self.is_mid_line = false;
        Ok(())
    }
}

/// Looks at the last byte through a handle of its own: the one for writing cannot read.
fn ends_in_newline(path: &Path, size: u64) -> io::Result<bool> {
    let mut last = [0];
    File::open(path)?.read_exact_at(&mut last, size - 1)?;
    Ok(last == *b"\n")
}

fn rename(from: &Path, to: &Path) -> Result<(), OutputError> {
    ignore_absent(fs::rename(from, to)).map_err(|cause| OutputError::Rotate {
        from: from.to_owned(),
        to: to.to_owned(),
        cause,
    })
}

/// Removes a file but for its blocks, which go when what is returned is closed.
fn remove(path: &Path) -> io::Result<Option<OwnedFd>> {
    // Neither waits for the other end of a FIFO nor follows a link.
    let last = rustix::fs::open(path, OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC, Mode::empty());
    ignore_absent(fs::remove_file(path))?;
    Ok(last.ok())
}

/// Giving back the blocks of a gigabyte takes tenths of a second, in which events would wait for their writer.
fn close_elsewhere(removed: OwnedFd) {
    // Where no thread can be had, it is closed here.
    let _ = thread::Builder::new().name("kubeward-remove".to_owned()).spawn(move || drop(removed));
}

/// Somebody may have moved or removed a file of ours: then there is nothing left to do with it.
fn ignore_absent(outcome: io::Result<()>) -> io::Result<()> {
    match outcome {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        outcome => outcome,
    }
}

#[cfg(test)]
#[path = "file_tests.rs"]
mod tests;
