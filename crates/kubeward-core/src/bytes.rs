//! Bytes that mostly are few: names, short paths.

use std::fmt;
use std::ops::Deref;

/// Up to so many bytes need no memory of their own. Fits a thread's name and most arguments, and keeps the whole at 32 bytes.
const INLINE: usize = 30;

/// Bytes that do not grow. Making a short one costs a copy, and no allocation.
#[derive(Clone)]
pub struct Bytes(Place);

#[derive(Clone)]
enum Place {
    Inline { len: u8, bytes: [u8; INLINE] },
    Heap(Box<[u8]>),
}

impl Deref for Bytes {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match &self.0 {
            Place::Inline { len, bytes } => &bytes[..usize::from(*len)],
            Place::Heap(bytes) => bytes,
        }
    }
}

impl From<&[u8]> for Bytes {
    fn from(from: &[u8]) -> Self {
        if from.len() > INLINE {
            return Bytes(Place::Heap(from.into()));
        }
        let mut bytes = [0; INLINE];
        bytes[..from.len()].copy_from_slice(from);
        Bytes(Place::Inline { len: from.len() as u8, bytes })
    }
}

impl<const N: usize> From<[u8; N]> for Bytes {
    fn from(bytes: [u8; N]) -> Self {
        bytes[..].into()
    }
}

impl From<Vec<u8>> for Bytes {
    fn from(bytes: Vec<u8>) -> Self {
        match bytes.len() {
            0..=INLINE => bytes[..].into(),
            _ => Bytes(Place::Heap(bytes.into())),
        }
    }
}

impl Default for Bytes {
    fn default() -> Self {
        Bytes(Place::Inline { len: 0, bytes: [0; INLINE] })
    }
}

impl PartialEq for Bytes {
    fn eq(&self, other: &Self) -> bool {
        **self == **other
    }
}

impl Eq for Bytes {}

impl fmt::Debug for Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "b\"{}\"", self.escape_ascii())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_come_back_whatever_their_number() {
        let all: Vec<u8> = (0..=255).collect();
        for len in [0, 1, INLINE - 1, INLINE, INLINE + 1, 256] {
            let (from_slice, from_vec) = (Bytes::from(&all[..len]), Bytes::from(all[..len].to_vec()));
            assert_eq!((&*from_slice, &*from_vec), (&all[..len], &all[..len]));
            assert_eq!(from_slice, from_vec);
        }
        assert_ne!(Bytes::from(*b"a"), Bytes::from(*b"a\0"));
        assert_eq!(size_of::<Bytes>(), 32);
    }
}
