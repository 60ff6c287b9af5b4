//! Numbers for tests that look random and are the same in every run.

/// A xorshift generator.
pub(super) struct Random(u64);

impl Random {
    /// The numbers of a seed, which is not 0.
    pub(super) fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// A number less than this one.
    pub(super) fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        let bound = u64::try_from(bound).expect("a small number");
        usize::try_from(self.0 % bound).expect("less than a small number")
    }
}
