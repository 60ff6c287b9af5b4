//! A fixed stream of bytes in which a lost, doubled or moved piece shows in the digest.

use std::fmt;

use aws_lc_rs::digest::{Context, SHA256};
use bytes::Bytes;

const CHUNK: usize = 64 * 1024;

/// The stream's first `length` bytes, in chunks.
pub(crate) fn chunks(length: u64) -> impl Iterator<Item = Bytes> {
    // A prime period, so that no two chunks are alike.
    let source: Vec<u8> = (0..CHUNK + 251).map(|index| (index % 251) as u8).collect();
    let source = Bytes::from(source);
    let mut sent = 0;
    std::iter::from_fn(move || {
        let size = CHUNK.min(usize::try_from(length - sent).unwrap_or(CHUNK));
        let start = (sent % 251) as usize;
        sent += size as u64;
        (size > 0).then(|| source.slice(start..start + size))
    })
}

/// Length and SHA-256 of a stream.
pub(crate) struct Digest {
    length: u64,
    context: Context,
}

impl Digest {
    pub(crate) fn new() -> Self {
        Self {
            length: 0,
            context: Context::new(&SHA256),
        }
    }

    pub(crate) fn update(&mut self, chunk: &[u8]) {
        self.length += chunk.len() as u64;
        self.context.update(chunk);
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} bytes sha256:", self.length)?;
        for byte in self.context.clone().finish().as_ref() {
            write!(f, "{byte:02x}")?;
        }
        Ok(())
    }
}

/// What a faithful transfer of `length` bytes prints.
pub(crate) fn digest(length: u64) -> Digest {
    let mut digest = Digest::new();
    chunks(length).for_each(|chunk| digest.update(&chunk));
    digest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chunks_join_into_one_pattern_of_the_length() {
        let length = 3 * CHUNK as u64 + 7;
        let whole: Vec<u8> = chunks(length).flatten().collect();
        assert_eq!(whole.len() as u64, length);
        assert!(
            whole
                .iter()
                .enumerate()
                .all(|(index, byte)| *byte == (index % 251) as u8)
        );
    }
}
