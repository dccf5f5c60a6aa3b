//! Random numbers from a seed: BLAKE3 as an extendable output. Unpredictable if the seed is, and the same again for the same seed.

use crate::crypto::Iv;

/// A stream of random bytes.
pub(crate) struct Entropy {
    stream: blake3::OutputReader,
    block: [u8; 64],
    used: usize,
}

impl Entropy {
    pub(crate) fn new(seed: &[u8; 32]) -> Self {
        Self { stream: blake3::Hasher::new_keyed(seed).finalize_xof(), block: [0; 64], used: 64 }
    }

    fn take<const N: usize>(&mut self) -> [u8; N] {
        if self.used + N > self.block.len() {
            self.stream.fill(&mut self.block);
            self.used = 0;
        }
        let bytes = self.block.get(self.used..).and_then(|rest| rest.first_chunk()).copied().unwrap_or([0; N]);
        self.used += N;
        bytes
    }

    pub(crate) fn number(&mut self) -> u64 {
        u64::from_le_bytes(self.take())
    }

    /// An index below `len`, or 0 if there is none. The bias is below `len` / 2^64.
    pub(crate) fn below(&mut self, len: usize) -> usize {
        let wide = u128::from(self.number()) * u128::try_from(len).unwrap_or(0);
        usize::try_from(wide >> 64).unwrap_or(0)
    }

    pub(crate) fn iv(&mut self) -> Iv {
        self.take()
    }
}

impl std::fmt::Debug for Entropy {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Entropy(..)")
    }
}
