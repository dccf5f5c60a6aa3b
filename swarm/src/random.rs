//! Random numbers of a history: xoshiro256**, seeded by splitmix64.

/// A stream of random numbers.
#[derive(Debug, Clone)]
pub struct Random([u64; 4]);

/// In groups up to this size it is cheaper to look at all than to draw until somebody fits.
const SMALL: usize = 32;

impl Random {
    /// The stream of a seed.
    pub fn new(seed: u64) -> Self {
        let mut state = seed;
        Self([(); 4].map(|()| {
            state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
            let mut mixed = state;
            mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            mixed ^ (mixed >> 31)
        }))
    }

    /// A number.
    pub fn number(&mut self) -> u64 {
        let [a, b, c, d] = &mut self.0;
        let result = b.wrapping_mul(5).rotate_left(7).wrapping_mul(9);
        let shifted = *b << 17;
        *c ^= *a;
        *d ^= *b;
        *b ^= *c;
        *a ^= *d;
        *c ^= shifted;
        *d = d.rotate_left(45);
        result
    }

    /// A number from 0 up to 1.
    pub fn unit(&mut self) -> f64 {
        let high = u32::try_from(self.number() >> 32).unwrap_or(0);
        f64::from(high) / (f64::from(u32::MAX) + 1.0)
    }

    /// Whether something of this probability happens.
    pub fn happens(&mut self, probability: f64) -> bool {
        probability > 0.0 && self.unit() < probability
    }

    /// An index below `len`.
    pub fn below(&mut self, len: usize) -> usize {
        let wide = u128::from(self.number()) * u128::try_from(len).unwrap_or(0);
        usize::try_from(wide >> 64).unwrap_or(0)
    }

    /// A number between two.
    pub fn between(&mut self, min: f64, max: f64) -> f64 {
        min + (max - min) * self.unit()
    }

    /// Up to `count` different indices below `len` that fit, by chance: in a large group where hardly any fits, fewer than there are.
    pub fn pick(&mut self, count: usize, len: usize, fits: impl Fn(usize) -> bool) -> Vec<usize> {
        let mut picked = Vec::with_capacity(count);
        if len <= SMALL {
            let mut all: Vec<usize> = (0..len).filter(|index| fits(*index)).collect();
            self.shuffle(&mut all);
            all.truncate(count);
            return all;
        }
        for _ in 0..3 * len {
            if picked.len() == count {
                break;
            }
            let index = self.below(len);
            if fits(index) && !picked.contains(&index) {
                picked.push(index);
            }
        }
        picked
    }

    /// Puts them in any order.
    pub fn shuffle<T>(&mut self, items: &mut [T]) {
        for end in (1..items.len()).rev() {
            let other = self.below(end + 1);
            items.swap(end, other);
        }
    }

    /// 32 bytes.
    pub fn seed(&mut self) -> [u8; 32] {
        let mut bytes = [0; 32];
        for chunk in bytes.chunks_mut(8) {
            chunk.copy_from_slice(&self.number().to_le_bytes());
        }
        bytes
    }
}
