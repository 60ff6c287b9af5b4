//! Numbers that look random and follow from the first.

/// A splitmix generator: near seeds give unlike numbers.
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// A number less than this one.
    pub(crate) fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        let bound = u64::try_from(bound).expect("a small number");
        usize::try_from((mixed ^ (mixed >> 31)) % bound).expect("less than a small number")
    }

    /// One of these; there must be one.
    pub(crate) fn one_of<'a, T>(&mut self, items: &'a [T]) -> &'a T {
        &items[self.below(items.len())]
    }

    /// The bytes, with some parts of them, or some of these pieces, in the place of others.
    pub(crate) fn mutation(&mut self, original: &[u8], pieces: &[&str]) -> Vec<u8> {
        let mut bytes = original.to_vec();
        for _ in 0..=self.below(3) {
            let part = |random: &mut Self| {
                let start = random.below(bytes.len() + 1);
                start..(start + random.below(24)).min(bytes.len())
            };
            let (from, to) = (part(self), part(self));
            let piece = match self.below(4) {
                0 => Vec::new(),
                1 => bytes[from].to_vec(),
                2 => vec![u8::try_from(self.below(256)).expect("a byte")],
                _ => self.one_of(pieces).as_bytes().to_vec(),
            };
            bytes.splice(to, piece);
        }
        bytes
    }
}
