//! The first bytes of one direction, kept for when its end has to be explained.

use std::sync::atomic::{AtomicU64, Ordering};

/// How many bytes are kept: a record of TLS with an alert.
const KEPT: usize = 7;

/// The first bytes that came, as far as the first read brought them.
#[derive(Debug, Default)]
pub struct Opening(AtomicU64);

impl Opening {
    /// Notes what was read, if it is the first.
    pub(super) fn note(&self, read: &[u8]) {
        if self.0.load(Ordering::Relaxed) != 0 || read.is_empty() {
            return;
        }
        let kept = read.len().min(KEPT);
        let mut noted = [0; 8];
        noted[0] = kept as u8;
        noted[1..=kept].copy_from_slice(&read[..kept]);
        self.0.store(u64::from_le_bytes(noted), Ordering::Relaxed);
    }

    /// The bytes, and how many of them there are.
    pub fn bytes(&self) -> ([u8; KEPT], usize) {
        let [kept, bytes @ ..] = self.0.load(Ordering::Relaxed).to_le_bytes();
        (bytes, usize::from(kept))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_first_read_is_kept() {
        let opening = Opening::default();
        assert_eq!(opening.bytes().1, 0);
        opening.note(b"");
        opening.note(b"GE");
        opening.note(b"T / HTTP");
        assert_eq!(opening.bytes(), (*b"GE\0\0\0\0\0", 2));
        let opening = Opening::default();
        opening.note(b"0123456789");
        assert_eq!(opening.bytes(), (*b"0123456", 7));
    }
}
