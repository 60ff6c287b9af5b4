//! Numbers for tests that look random and are the same in every run.

/// A xorshift generator.
pub(crate) struct Random(u64);

impl Random {
    /// The numbers of a seed, which is not 0.
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// One of these; there must be one.
    pub(crate) fn one_of<T: Copy>(&mut self, items: &[T]) -> T {
        items[self.below(items.len())]
    }

    /// The text, with some parts of it, or of these pieces, in the place of others.
    pub(crate) fn mutation(&mut self, text: &str, pieces: &[&str]) -> String {
        let mut bytes = text.as_bytes().to_vec();
        for _ in 0..=self.below(3) {
            let start = self.below(bytes.len() + 1);
            let end = (start + self.below(20)).min(bytes.len());
            let from = self.below(bytes.len() + 1);
            let other = bytes[from..(from + self.below(20)).min(bytes.len())].to_vec();
            let piece = match self.below(3) {
                0 => other,
                1 => vec![u8::try_from(self.below(256)).expect("a byte")],
                _ => self.one_of(pieces).into(),
            };
            bytes.splice(start..end, piece);
        }
        String::from_utf8_lossy(&bytes).into_owned()
    }

    /// A number less than this one.
    pub(crate) fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        let bound = u64::try_from(bound).expect("a small number");
        usize::try_from(self.0 % bound).expect("less than a small number")
    }
}
