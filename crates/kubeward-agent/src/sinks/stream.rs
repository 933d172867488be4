//! Standard output and standard error.

use std::fs::File;
use std::io::{self, ErrorKind, Write};
use std::os::fd::{AsFd, OwnedFd};

use rustix::event::{poll, PollFd, PollFlags};

use super::{Output, OutputError};

/// An open file that is not ours to name, move or shorten: standard output, standard error, a pipe.
#[derive(Debug)]
pub struct Stream {
    name: &'static str,
    file: File,
}

impl Stream {
    /// Standard output. Unbuffered: the sink decides what is written when.
    pub fn stdout() -> io::Result<Stream> {
        Ok(Stream::new("standard output", io::stdout().as_fd().try_clone_to_owned()?))
    }

    /// Standard error, as [`Stream::stdout`].
    pub fn stderr() -> io::Result<Stream> {
        Ok(Stream::new("standard error", io::stderr().as_fd().try_clone_to_owned()?))
    }

    /// Any other open file, by the name that messages give it.
    pub fn new(name: &'static str, file: OwnedFd) -> Stream {
        Stream { name, file: file.into() }
    }
}

impl Output for Stream {
    fn write(&mut self, bytes: &[u8]) -> Result<usize, OutputError> {
        loop {
            let outcome = match self.file.write(bytes) {
                // Another holder of the terminal or pipe (the watched program, often) made it non-blocking.
                Err(error) if error.kind() == ErrorKind::WouldBlock => wait_for_room(&self.file).map(|()| None),
                Err(error) if error.kind() == ErrorKind::Interrupted => Ok(None),
                Ok(0) => Err(ErrorKind::WriteZero.into()),
                written => written.map(Some),
            };
            match outcome {
                Ok(Some(written)) => return Ok(written),
                Ok(None) => {}
                Err(error) => return Err(OutputError::of_write(self.name, error)),
            }
        }
    }

    fn take_back(&mut self, _length: u64) -> bool {
        false
    }

    fn reopen(&mut self) -> Result<(), OutputError> {
        Ok(())
    }
}

fn wait_for_room(file: &File) -> io::Result<()> {
    match poll(&mut [PollFd::new(file, PollFlags::OUT)], None) {
        Ok(_) | Err(rustix::io::Errno::INTR) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;
    use std::os::unix::net::UnixStream;

    use super::*;
    use crate::sinks::{LineSink, Pushed};

    #[test]
    fn closed_pipe_is_gone() {
        let (reader, writer) = rustix::pipe::pipe().expect("a pipe");
        let mut sink = LineSink::new(Stream::new("a pipe", writer));
        assert_eq!(sink.push(b"one\n", 1), Pushed::Kept);
        sink.flush().expect("the pipe has a reader and room");
        drop(reader);
        assert_eq!(sink.push(b"two\n", 2), Pushed::Kept);
        assert!(matches!(sink.flush(), Err(OutputError::Gone { .. })));
        assert_eq!(sink.failure().map(ToString::to_string).as_deref(), Some("the reader of a pipe is gone"));
        let closed = sink.close();
        assert_eq!(closed.unwritten, [2]);
        assert!(matches!(closed.failure, Some(OutputError::Gone { .. })));
    }

    #[test]
    fn non_blocking_stream_is_waited_for() {
        let (writer, mut reader) = UnixStream::pair().expect("a socket pair");
        writer.set_nonblocking(true).expect("a socket can be non-blocking");
        let line = [&[b'x'; 9_999][..], b"\n"].concat();
        let mut sink = LineSink::new(Stream::new("a socket", writer.into()));
        let reading = std::thread::spawn(move || {
            let mut bytes = Vec::new();
            reader.read_to_end(&mut bytes).expect("the writer closes");
            bytes
        });
        (0..200).for_each(|tag| assert_eq!(sink.push(&line, tag), Pushed::Kept));
        assert!(sink.close().unwritten.is_empty());
        assert_eq!(reading.join().expect("the reader does not panic"), line.repeat(200));
    }

    #[test]
    fn full_device_is_full() {
        let full = File::options().write(true).open("/dev/full").expect("Linux has /dev/full");
        let mut sink = LineSink::new(Stream::new("/dev/full", full.into()));
        assert_eq!(sink.push(b"one\n", 1), Pushed::Kept);
        assert!(matches!(sink.flush(), Err(OutputError::Full { .. })));
        assert_eq!(sink.close().unwritten, [1]);
    }
}
