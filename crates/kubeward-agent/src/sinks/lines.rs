//! Whole lines on their way to an output.

use std::collections::VecDeque;

use super::{Output, OutputError};

/// Buffered bytes at which a healthy sink writes: large enough that a write costs nothing a line.
const WRITE_AT: usize = 64 << 10;

/// Most bytes kept while the output fails. Later lines are dropped, and their owner is told so.
pub const ROOM: usize = 1 << 20;

/// On top of it, for lines that are worth more than events.
const RESERVE: usize = 1 << 20;

/// A buffer of lines before an output. Each line carries a tag, so that its owner's account can be put right when
/// it is lost after all.
///
/// After a failure nothing is written until [`LineSink::flush`] is called: how often to try again is the caller's
/// choice. A line that was written in part is taken back, or finished first: what follows it always begins a line.
#[derive(Debug)]
pub struct LineSink<O, T> {
    output: O,
    /// Lines not yet known to be written.
    buffer: Vec<u8>,
    /// Bytes at the beginning of `buffer` that the output has already: part of the first line.
    begun: usize,
    /// Length and tag of each line in `buffer`.
    lines: VecDeque<(usize, T)>,
    failure: Option<OutputError>,
}

/// What became of a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub enum Pushed {
    /// It is written, or will be; or [`LineSink::close`] will give its tag back.
    Kept,
    /// The output fails and the buffer is full.
    Dropped,
}

/// What was left when a sink was closed.
#[derive(Debug)]
pub struct Closed<T> {
    /// Tags of the lines that were kept and could not be written.
    pub unwritten: Vec<T>,
    /// Why not.
    pub failure: Option<OutputError>,
}

impl<O: Output, T> LineSink<O, T> {
    pub fn new(output: O) -> LineSink<O, T> {
        LineSink { output, buffer: Vec::with_capacity(2 * WRITE_AT), begun: 0, lines: VecDeque::new(), failure: None }
    }

    /// Takes one line that ends in `\n`.
    pub fn push(&mut self, line: &[u8], tag: T) -> Pushed {
        self.push_with(tag, |buffer| buffer.extend_from_slice(line))
    }

    /// The same for a line that has more room while the output fails: it stays when events no longer do.
    pub fn push_reserved(&mut self, line: &[u8], tag: T) -> Pushed {
        self.push_within(ROOM + RESERVE, tag, |buffer| buffer.extend_from_slice(line))
    }

    /// Takes the line that `render` appends, `\n` included, without a copy.
    pub fn push_with(&mut self, tag: T, render: impl FnOnce(&mut Vec<u8>)) -> Pushed {
        self.push_within(ROOM, tag, render)
    }

    fn push_within(&mut self, room: usize, tag: T, render: impl FnOnce(&mut Vec<u8>)) -> Pushed {
        let start = self.buffer.len();
        render(&mut self.buffer);
        debug_assert!(self.buffer.len() > start && self.buffer.ends_with(b"\n"), "a line ends in a newline");
        if self.failure.is_some() && self.buffer.len() > room {
            self.buffer.truncate(start);
            return Pushed::Dropped;
        }
        self.lines.push_back((self.buffer.len() - start, tag));
        if self.failure.is_none() && self.buffer.len() >= WRITE_AT {
            self.write_out();
        }
        Pushed::Kept
    }

    /// Writes many lines, without a copy. `lines` are the length and tag of each. Says how many were taken, which are all until
    /// the output fails; the others are for [`LineSink::push`].
    pub fn write_all(&mut self, bytes: &[u8], lines: &[(usize, T)]) -> usize
    where
        T: Copy,
    {
        if !self.buffer.is_empty() {
            self.write_out();
        }
        let written = self.write_from(bytes, 0);
        let (mut taken, mut end) = (0, 0);
        while end < written {
            end += lines[taken].0;
            taken += 1;
        }
        if end > written {
            let (length, tag) = lines[taken - 1];
            self.buffer.extend_from_slice(&bytes[end - length..end]);
            self.lines.push_back((length, tag));
            self.keep_unwritten(written - (end - length));
        }
        taken
    }

    /// Writes everything kept; after a failure, tries again.
    pub fn flush(&mut self) -> Result<(), &OutputError> {
        self.failure = None;
        self.write_out();
        match &self.failure {
            None => Ok(()),
            Some(failure) => Err(failure),
        }
    }

    /// Lines not yet known to be written: length and tag, the oldest first.
    pub fn kept(&self) -> impl Iterator<Item = (usize, &T)> {
        self.lines.iter().map(|(length, tag)| (*length, tag))
    }

    pub fn kept_bytes(&self) -> usize {
        self.buffer.len()
    }

    /// Why the output takes nothing at present.
    pub fn failure(&self) -> Option<&OutputError> {
        self.failure.as_ref()
    }

    /// Writes what it can to the old file and goes on in the new one, whole lines in both.
    pub fn reopen(&mut self) -> Result<(), &OutputError> {
        self.failure = None;
        self.write_out();
        match self.output.reopen() {
            Ok(()) => {
                self.begun = 0;
                self.flush()
            }
            Err(failure) => Err(self.failure.insert(failure)),
        }
    }

    /// Writes what it can and says whose lines were not.
    pub fn close(mut self) -> Closed<T> {
        self.failure = None;
        self.write_out();
        Closed { unwritten: self.lines.into_iter().map(|(_, tag)| tag).collect(), failure: self.failure }
    }

    fn write_out(&mut self) {
        let buffer = std::mem::take(&mut self.buffer);
        let written = self.write_from(&buffer, self.begun);
        self.buffer = buffer;
        if written == self.buffer.len() {
            self.buffer.clear();
            self.lines.clear();
            self.begun = 0;
        } else {
            self.keep_unwritten(written);
        }
    }

    /// Writes `bytes` from `start` on, to their end or the first failure. Gives the end of what is written.
    fn write_from(&mut self, bytes: &[u8], start: usize) -> usize {
        let mut written = start;
        while written < bytes.len() && self.failure.is_none() {
            match self.output.write(&bytes[written..]) {
                Ok(length) => written += length,
                Err(failure) => self.failure = Some(failure),
            }
        }
        written
    }

    /// Forgets the lines that `written` bytes hold whole, and settles the one that was torn.
    fn keep_unwritten(&mut self, written: usize) {
        let mut whole = 0;
        while let Some((length, _)) = self.lines.front().filter(|(length, _)| whole + length <= written) {
            whole += length;
            self.lines.pop_front();
        }
        self.buffer.drain(..whole);
        let torn = written - whole;
        let is_taken_back = torn > 0 && self.output.take_back(torn as u64);
        self.begun = if is_taken_back { 0 } else { torn };
    }
}

#[cfg(test)]
mod tests {
    use std::io;

    use proptest::prelude::*;

    use super::*;

    /// Takes what its budget allows, in pieces of at most `piece` bytes, then fails.
    #[derive(Debug)]
    struct Fake {
        taken: Vec<u8>,
        budget: usize,
        piece: usize,
        can_take_back: bool,
    }

    impl Output for Fake {
        fn write(&mut self, bytes: &[u8]) -> Result<usize, OutputError> {
            let length = bytes.len().min(self.piece).min(self.budget);
            if length == 0 {
                return Err(OutputError::of_write("a fake", io::ErrorKind::StorageFull.into()));
            }
            self.taken.extend_from_slice(&bytes[..length]);
            self.budget -= length;
            Ok(length)
        }

        fn take_back(&mut self, length: u64) -> bool {
            if self.can_take_back {
                self.taken.truncate(self.taken.len() - length as usize);
            }
            self.can_take_back
        }

        fn reopen(&mut self) -> Result<(), OutputError> {
            self.taken.clear();
            Ok(())
        }
    }

    fn sink(budget: usize, can_take_back: bool) -> LineSink<Fake, usize> {
        LineSink::new(Fake { taken: Vec::new(), budget, piece: usize::MAX, can_take_back })
    }

    fn push_all<const N: usize>(sink: &mut LineSink<Fake, usize>, lines: [&[u8]; N]) {
        for (tag, line) in lines.into_iter().enumerate() {
            assert_eq!(sink.push(line, tag), Pushed::Kept);
        }
    }

    #[test]
    fn nothing_is_written_before_it_is_worth_it() {
        let mut sink = sink(usize::MAX, false);
        let line = [&[b'x'; 999][..], b"\n"].concat();
        for tag in 0..WRITE_AT / line.len() {
            assert_eq!(sink.push(&line, tag), Pushed::Kept);
        }
        assert_eq!(sink.output.taken.len(), 0);
        assert_eq!(sink.push(&line, 0), Pushed::Kept);
        assert_eq!(sink.output.taken.len(), 66_000);
    }

    #[test]
    fn torn_line_is_taken_back() {
        let mut sink = sink(6, true);
        push_all(&mut sink, [b"one\n", b"two\n", b"three\n"]);
        assert!(sink.flush().is_err());
        assert_eq!(sink.output.taken, b"one\n");
        sink.output.budget = usize::MAX;
        assert!(sink.flush().is_ok());
        assert_eq!(sink.output.taken, b"one\ntwo\nthree\n");
    }

    #[test]
    fn torn_line_is_finished_first_where_it_cannot_be_taken_back() {
        let mut sink = sink(6, false);
        push_all(&mut sink, [b"one\n", b"two\n", b"three\n"]);
        assert!(sink.flush().is_err());
        assert_eq!(sink.output.taken, b"one\ntw");
        sink.output.budget = 1;
        assert!(sink.flush().is_err());
        assert_eq!(sink.output.taken, b"one\ntwo");
        sink.output.budget = usize::MAX;
        assert!(sink.flush().is_ok());
        assert_eq!(sink.output.taken, b"one\ntwo\nthree\n");
    }

    #[test]
    fn new_file_gets_the_torn_line_whole() {
        let mut sink = sink(6, false);
        push_all(&mut sink, [b"one\n", b"two\n"]);
        assert!(sink.flush().is_err());
        assert!(sink.reopen().is_err());
        assert_eq!(sink.output.taken, b"");
        sink.output.budget = usize::MAX;
        assert!(sink.flush().is_ok());
        assert_eq!(sink.output.taken, b"two\n");
    }

    #[test]
    fn lines_that_are_written_at_once_are_whole_or_not_taken() {
        for (budget, taken) in [(0, 0), (4, 1), (6, 2), (8, 2), (10, 3), (14, 3)] {
            let mut sink = sink(budget, false);
            let lines = [(4, 0), (4, 1), (6, 2)];
            assert_eq!(sink.write_all(b"one\ntwo\nthree\n", &lines), taken, "{budget}");
            sink.output.budget = usize::MAX;
            assert!(sink.flush().is_ok());
            let end: usize = lines[..taken].iter().map(|(length, _)| length).sum();
            assert_eq!(sink.output.taken, b"one\ntwo\nthree\n"[..end]);
        }
    }

    #[test]
    fn failing_sink_does_not_write_until_it_is_flushed() {
        let mut sink = sink(0, false);
        push_all(&mut sink, [b"one\n"]);
        assert!(sink.flush().is_err());
        sink.output.budget = usize::MAX;
        let line = [&[b'x'; 9_999][..], b"\n"].concat();
        (0..20).for_each(|tag| assert_eq!(sink.push(&line, tag), Pushed::Kept));
        assert_eq!(sink.output.taken, b"");
        assert!(sink.flush().is_ok());
        assert_eq!(sink.output.taken.len(), 4 + 20 * line.len());
        assert!(sink.failure().is_none());
    }

    #[test]
    fn full_buffer_drops_and_says_so() {
        let mut sink = sink(0, false);
        push_all(&mut sink, [b"one\n"]);
        assert!(sink.flush().is_err());
        let line = [&[b'x'; 9_999][..], b"\n"].concat();
        let kept = (0..200).filter(|&tag| sink.push(&line, tag) == Pushed::Kept).count();
        assert_eq!(kept, (ROOM - 4) / line.len());
        assert_eq!(sink.close().unwritten.len(), 1 + kept);
    }

    proptest! {
        #[test]
        fn every_line_is_whole_and_every_tag_is_accounted_for(
            lines in prop::collection::vec(prop::collection::vec(b'a'..=b'z', 0..12), 0..40),
            steps in prop::collection::vec((0..40usize, 1..8usize), 0..40),
            can_take_back in any::<bool>(),
            recovers in any::<bool>(),
        ) {
            let mut sink = sink(0, can_take_back);
            let mut steps = steps.into_iter();
            let mut expected = Vec::new();
            for (tag, mut line) in lines.iter().cloned().enumerate() {
                line.push(b'\n');
                prop_assert_eq!(sink.push(&line, tag), Pushed::Kept);
                expected.extend_from_slice(&line);
                if let Some((budget, piece)) = steps.next() {
                    (sink.output.budget, sink.output.piece) = (budget, piece);
                    let is_ok = sink.flush().is_ok();
                    prop_assert!(expected.starts_with(&sink.output.taken));
                    prop_assert!(!(is_ok || can_take_back) || matches!(sink.output.taken.last(), None | Some(b'\n')));
                }
            }
            sink.output.budget = if recovers { usize::MAX } else { 0 };
            let is_ok = sink.flush().is_ok();
            let written = sink.output.taken.iter().filter(|&&byte| byte == b'\n').count();
            if recovers {
                prop_assert!(is_ok);
                prop_assert_eq!(&sink.output.taken, &expected);
            }
            prop_assert_eq!(sink.close().unwritten, (written..lines.len()).collect::<Vec<_>>());
        }
    }
}
