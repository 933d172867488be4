//! Base64 (RFC 4648, standard alphabet, padded), for bytes that JSON strings cannot hold.

const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/// Appends `bytes` in base64.
pub(super) fn write(out: &mut Vec<u8>, bytes: &[u8]) {
    for group in bytes.chunks(3) {
        let word = group.iter().fold(0u32, |word, &byte| word << 8 | u32::from(byte)) << (8 * (3 - group.len()));
        let digit = |position: u32| ALPHABET[(word >> (18 - 6 * position) & 63) as usize];
        let mut quad = [b'='; 4];
        for (position, place) in quad.iter_mut().enumerate().take(group.len() + 1) {
            *place = digit(position as u32);
        }
        out.extend_from_slice(&quad);
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn matches_the_vectors_of_rfc_4648() {
        for (bytes, expected) in [
            ("", ""),
            ("f", "Zg=="),
            ("fo", "Zm8="),
            ("foo", "Zm9v"),
            ("foob", "Zm9vYg=="),
            ("fooba", "Zm9vYmE="),
            ("foobar", "Zm9vYmFy"),
        ] {
            let mut out = Vec::new();
            super::write(&mut out, bytes.as_bytes());
            assert_eq!(String::from_utf8_lossy(&out), expected);
        }
        let mut out = Vec::new();
        super::write(&mut out, &[0xfb, 0xff, 0xfe]);
        assert_eq!(out, b"+//+");
    }
}
