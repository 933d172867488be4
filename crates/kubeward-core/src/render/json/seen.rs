//! Parts that many lines have in common, as they were written before.

use super::MAX_LINE_BYTES;

/// Parts of one kind that are kept. What has no cell of its own displaces another: more threads or containers at once than cells
/// cost time, nothing else.
const CELLS: usize = 256;

/// Of a longer part the beginning is kept: with it, too, a line is longer than any may be, and is written anew with less.
const PART_BYTES: usize = MAX_LINE_BYTES;

/// Most bytes of all parts of one kind. One more, and all are forgotten: of the longest, 65 are kept.
const MOST_BYTES: usize = 1 << 20;

/// Parts of one kind, by what they say.
#[derive(Debug)]
pub(super) struct Seen<K> {
    cells: Vec<Option<(K, Box<[u8]>)>>,
    kept_bytes: usize,
}

impl<K> Default for Seen<K> {
    fn default() -> Self {
        Self { cells: Vec::new(), kept_bytes: 0 }
    }
}

impl<K> Seen<K> {
    /// Appends the part that says what `is_same` holds for. False when it is not kept. `number` is anything that the part goes with
    /// and others mostly do not.
    pub(super) fn write(&self, out: &mut Vec<u8>, number: u64, is_same: impl FnOnce(&K) -> bool) -> bool {
        match self.cells.get(place(number)) {
            Some(Some((key, part))) if is_same(key) => {
                out.extend_from_slice(part);
                true
            }
            _ => false,
        }
    }

    pub(super) fn keep(&mut self, number: u64, key: K, part: &[u8]) {
        let part = &part[..part.len().min(PART_BYTES)];
        self.cells.resize_with(CELLS, || None);
        let displaced = self.cells[place(number)].take();
        self.kept_bytes -= displaced.map_or(0, |(_, part)| part.len());
        if self.kept_bytes + part.len() > MOST_BYTES {
            self.cells.fill_with(|| None);
            self.kept_bytes = 0;
        }
        self.kept_bytes += part.len();
        self.cells[place(number)] = Some((key, part.into()));
    }
}

fn place(number: u64) -> usize {
    (number.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> (64 - CELLS.ilog2())) as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn part_is_written_for_its_key_alone_and_the_newcomer_displaces() {
        let (mut seen, mut out) = (Seen::default(), Vec::new());
        assert!(!seen.write(&mut out, 7, |_: &char| true));
        seen.keep(7, 'a', b"first");
        assert!(!seen.write(&mut out, 7, |key| *key == 'b') && out.is_empty());
        assert!(seen.write(&mut out, 7, |key| *key == 'a'));
        seen.keep(7, 'b', b"second");
        assert!(!seen.write(&mut out, 7, |key| *key == 'a'));
        assert!(seen.write(&mut out, 7, |key| *key == 'b'));
        assert_eq!(out, b"firstsecond");
    }

    #[test]
    fn part_as_long_as_a_line_is_kept_and_of_a_longer_one_its_beginning() {
        for length in [4_097, PART_BYTES, PART_BYTES + 1] {
            let (mut seen, mut out) = (Seen::default(), Vec::new());
            seen.keep(7, 'a', &vec![b'x'; length]);
            assert!(seen.write(&mut out, 7, |key| *key == 'a'));
            assert_eq!(out.len(), length.min(PART_BYTES));
        }
    }

    #[test]
    fn long_parts_are_kept_up_to_their_room_and_then_begun_anew() {
        let mut seen = Seen::default();
        let long = vec![b'x'; PART_BYTES];
        let held = |seen: &Seen<u64>| seen.cells.iter().flatten().map(|(_, part)| part.len()).sum::<usize>();
        let mut most = 0;
        for number in 0..1_000 {
            seen.keep(number, number, &long);
            assert!(seen.write(&mut Vec::new(), number, |key| *key == number), "the newest is kept");
            assert_eq!(held(&seen), seen.kept_bytes);
            most = most.max(seen.kept_bytes);
        }
        assert_eq!(most, MOST_BYTES / PART_BYTES * PART_BYTES);
    }
}
