//! Where lines go: standard output or a file, in large writes, never half a line.
//!
//! A [`LineSink`] keeps whole lines and who they belong to until its [`Output`] took them. It knows nothing of
//! events; it is plain blocking code for the one thread that owns it.

mod error;
mod file;
mod lines;
mod stream;

pub use error::OutputError;
pub use file::{LogFile, Rotation};
pub use lines::{Closed, LineSink, Pushed, ROOM};
pub use stream::Stream;

/// What a sink writes to.
pub trait Output {
    /// Writes the beginning of `bytes`, at least one of them, and says how much. They are whole lines, but for the
    /// first one's part that an earlier write took.
    fn write(&mut self, bytes: &[u8]) -> Result<usize, OutputError>;

    /// Removes the last `length` bytes written, the beginning of a line that could not be finished. False when
    /// this output cannot; the line is then finished by the next write that succeeds.
    fn take_back(&mut self, length: u64) -> bool;

    /// Opens the same name anew, as log rotation by others asks for with SIGHUP.
    fn reopen(&mut self) -> Result<(), OutputError>;
}

impl<O: Output + ?Sized> Output for Box<O> {
    fn write(&mut self, bytes: &[u8]) -> Result<usize, OutputError> {
        (**self).write(bytes)
    }

    fn take_back(&mut self, length: u64) -> bool {
        (**self).take_back(length)
    }

    fn reopen(&mut self) -> Result<(), OutputError> {
        (**self).reopen()
    }
}
