//! Inputs that are nearly sound, which get further into a reader than noise does.

use fastrand::Rng;

/// The bytes, with some parts of them, or some of these pieces, in the place of others; or with some bits
/// turned.
pub(crate) fn mutation(rng: &mut Rng, original: &[u8], pieces: &[&[u8]]) -> Vec<u8> {
    let mut bytes = original.to_vec();
    for _ in 0..rng.usize(1..4) {
        let mut part = || {
            let start = rng.usize(..=bytes.len());
            start..(start + rng.usize(..24)).min(bytes.len())
        };
        let (from, to) = (part(), part());
        let piece = match rng.u8(..6) {
            0 => Vec::new(),
            1 => bytes[from].to_vec(),
            2 => vec![rng.u8(..)],
            3 => {
                let mut turned = bytes[to.clone()].to_vec();
                if !turned.is_empty() {
                    let at = rng.usize(..turned.len());
                    turned[at] ^= 1 << rng.u8(..8);
                }
                turned
            }
            4 => {
                bytes.truncate(to.start);
                continue;
            }
            _ => one_of(rng, pieces).to_vec(),
        };
        bytes.splice(to, piece);
    }
    bytes
}

/// As [`mutation`], of a text.
pub(crate) fn mutated_text(rng: &mut Rng, original: &str, pieces: &[&str]) -> String {
    let pieces: Vec<&[u8]> = pieces.iter().map(|piece| piece.as_bytes()).collect();
    let bytes = mutation(rng, original.as_bytes(), &pieces);
    String::from_utf8_lossy(&bytes).into_owned()
}

/// One of these; there must be one.
pub(crate) fn one_of<'a, T: ?Sized>(rng: &mut Rng, items: &[&'a T]) -> &'a T {
    items[rng.usize(..items.len())]
}
