//! Parts that many lines have in common, as they were written before.

/// Parts of one kind that are kept. What has no cell of its own displaces another: more threads or containers at once than cells
/// cost time, nothing else.
const CELLS: usize = 256;

/// A longer part is not kept: all of one kind have a mebibyte.
const PART_BYTES: usize = 4 << 10;

/// Parts of one kind, by what they say.
#[derive(Debug)]
pub(super) struct Seen<K> {
    cells: Vec<Option<(K, Box<[u8]>)>>,
}

impl<K> Default for Seen<K> {
    fn default() -> Self {
        Self { cells: Vec::new() }
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
        if part.len() <= PART_BYTES {
            self.cells.resize_with(CELLS, || None);
            self.cells[place(number)] = Some((key, part.into()));
        }
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
        seen.keep(7, 'c', &[b'x'; PART_BYTES + 1]);
        assert!(seen.write(&mut out, 7, |key| *key == 'b'));
        assert_eq!(out, b"firstsecond");
    }
}
