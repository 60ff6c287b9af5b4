//! The 64-bit MurmurHash 2 as GNU's C++ library has it for texts, by Austin Appleby's definition.

const SEED: u64 = 0xc70f_6907;
const FACTOR: u64 = 0xc6a4_a793_5bd1_e995;

pub(super) fn hash(text: &[u8]) -> u64 {
    let fold = |hash: u64| hash ^ (hash >> 47);
    let mut hash = SEED ^ (text.len() as u64).wrapping_mul(FACTOR);
    let (words, rest) = text.as_chunks::<8>();
    for word in words {
        let word = u64::from_le_bytes(*word).wrapping_mul(FACTOR);
        hash = (hash ^ fold(word).wrapping_mul(FACTOR)).wrapping_mul(FACTOR);
    }
    if !rest.is_empty() {
        let rest = rest.iter().rev();
        let rest = rest.fold(0, |word, byte| (word << 8) | u64::from(*byte));
        hash = (hash ^ rest).wrapping_mul(FACTOR);
    }
    fold(fold(hash).wrapping_mul(FACTOR))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The numbers are those of `std::hash<std::string>`.
    #[test]
    fn hashes_are_those_of_the_cpp_library() {
        for (text, expected) in [
            ("", 0x553e_9390_1e46_2a6e),
            ("a", 0x454d_dee4_88c1_ed6b),
            ("10.0.0.1:80", 0xbfbc_45c9_f426_9b08),
            ("10.0.0.1:80_17", 0x3d93_8892_823c_2ba7),
            ("sixteen bytes ok", 0x116c_984b_faeb_06af),
            ("abcdefgh", 0x783d_b3e3_8db8_98bb),
        ] {
            assert_eq!(hash(text.as_bytes()), expected, "{text}");
        }
    }
}
