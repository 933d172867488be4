//! A file that another process appends lines to, read as it grows.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::poll::{poll, PollFd, PollFlags, PollTimeout};
use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify};

/// For whatever is awaited: generous, since test machines are crowded.
pub(crate) const LIMIT: Duration = Duration::from_secs(20);

/// The whole lines of a file, those to come too. The file's folder must exist, the file need not.
pub(crate) struct Follow {
    path: PathBuf,
    folder: Inotify,
    read_bytes: u64,
    /// Of a line whose end is not written yet.
    begun: Vec<u8>,
    /// `stdout` or `stderr`: the file is a pod's log, and these are the lines that count.
    of_pod: Option<&'static str>,
}

impl Follow {
    pub(crate) fn of(path: &Path) -> Self {
        let folder = Inotify::init(InitFlags::IN_NONBLOCK | InitFlags::IN_CLOEXEC).expect("inotify");
        let parent = path.parent().expect("a file is in a folder");
        folder.add_watch(parent, AddWatchFlags::IN_CREATE | AddWatchFlags::IN_MODIFY).expect("the folder exists");
        Self { path: path.to_owned(), folder, read_bytes: 0, begun: Vec::new(), of_pod: None }
    }

    /// The lines of one of the streams in a pod's log, which reads `TIME stdout F text`.
    pub(crate) fn of_pod(path: &Path, stream: &'static str) -> Self {
        Self { of_pod: Some(stream), ..Self::of(path) }
    }

    /// The lines that were completed since this was last asked.
    pub(crate) fn news(&mut self) -> Vec<String> {
        let Ok(mut file) = File::open(&self.path) else { return Vec::new() };
        file.seek(SeekFrom::Start(self.read_bytes)).expect("a regular file");
        let read = file.read_to_end(&mut self.begun).expect("a readable file");
        self.read_bytes += read as u64;
        let whole = self.begun.iter().rposition(|&byte| byte == b'\n').map_or(0, |at| at + 1);
        let lines: Vec<u8> = self.begun.drain(..whole).collect();
        let text = String::from_utf8_lossy(&lines);
        text.lines().filter_map(|line| self.own(line)).map(str::to_owned).collect()
    }

    /// The line without what a pod's log puts before it, if it is of the stream that counts.
    fn own<'a>(&self, line: &'a str) -> Option<&'a str> {
        let Some(stream) = self.of_pod else { return Some(line) };
        let mut words = line.splitn(4, ' ').skip(1);
        let (from, tag, text) = (words.next()?, words.next()?, words.next()?);
        assert_eq!(tag, "F", "a line of the log was split: {line}");
        (from == stream).then_some(text)
    }

    /// Returns when the folder has changed since this was last called; false when that took until `deadline`.
    pub(crate) fn wait(&self, deadline: Instant) -> bool {
        let left = deadline.saturating_duration_since(Instant::now());
        let has_changed = is_readable(self.folder.as_fd(), left);
        match self.folder.read_events() {
            Ok(_) | Err(Errno::EAGAIN) => has_changed,
            Err(error) => panic!("inotify of {}: {error}", self.path.display()),
        }
    }
}

/// Whether something can be read within `limit`.
pub(crate) fn is_readable(fd: std::os::fd::BorrowedFd<'_>, limit: Duration) -> bool {
    let limit = PollTimeout::try_from(limit).expect("limits of a test fit into 24 days");
    poll(&mut [PollFd::new(fd, PollFlags::POLLIN)], limit).expect("poll") > 0
}
