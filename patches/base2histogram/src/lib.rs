//! Histograms for openraft, in half a kilobyte each.
//!
//! Openraft counts the sizes of its batches in histograms of the crate `base2histogram`, whose first use fills tables for
//! sixteen resolutions, of which openraft uses one: 26 MiB of a node's memory, measured, and some milliseconds of its start.
//! This crate takes its place (see `[patch.crates-io]`) with what openraft calls, at a resolution of one bit. It can go when
//! the original fills its tables as they are needed.

use std::fmt;
use std::marker::PhantomData;

/// Samples by the number of their bits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Histogram<T = ()> {
    counts: [u64; 65],
    _slots: PhantomData<T>,
}

impl<T> Histogram<T> {
    /// An empty one.
    pub const fn new() -> Self {
        Self { counts: [0; 65], _slots: PhantomData }
    }

    /// Counts a sample.
    pub fn record(&mut self, value: u64) {
        self.record_n(value, 1);
    }

    /// Counts `n` samples of one value.
    pub fn record_n(&mut self, value: u64, n: u64) {
        if let Some(count) = self.counts.get_mut(bits(value)) {
            *count = count.saturating_add(n);
        }
    }

    /// How many samples were counted.
    pub fn total(&self) -> u64 {
        self.counts.iter().sum()
    }

    /// Each percentile is the smallest value with as many bits as the sample there.
    pub fn percentile_stats(&self) -> PercentileStats {
        PercentileStats {
            samples: self.total(),
            p0_1: self.at_permille(1),
            p1: self.at_permille(10),
            p5: self.at_permille(50),
            p10: self.at_permille(100),
            p50: self.at_permille(500),
            p90: self.at_permille(900),
            p99: self.at_permille(990),
            p99_9: self.at_permille(999),
        }
    }

    fn at_permille(&self, permille: u64) -> u64 {
        let rank = u128::from(self.total()) * u128::from(permille) / 1000;
        let mut below = 0;
        for (bits, count) in (0_u32..).zip(&self.counts) {
            below += u128::from(*count);
            if below > rank {
                return bits.checked_sub(1).map_or(0, |zeros| 1 << zeros);
            }
        }
        0
    }
}

impl<T> Default for Histogram<T> {
    fn default() -> Self {
        Self::new()
    }
}

fn bits(value: u64) -> usize {
    (u64::BITS - value.leading_zeros()) as usize
}

/// Percentiles of a histogram.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PercentileStats {
    /// How many samples there are.
    pub samples: u64,
    /// The 0.1st.
    pub p0_1: u64,
    /// The first.
    pub p1: u64,
    /// The fifth.
    pub p5: u64,
    /// The tenth.
    pub p10: u64,
    /// The median.
    pub p50: u64,
    /// The 90th.
    pub p90: u64,
    /// The 99th.
    pub p99: u64,
    /// The 99.9th.
    pub p99_9: u64,
}

impl fmt::Display for PercentileStats {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { samples, p50, p99, .. } = self;
        write!(f, "[samples: {samples}, P50: {p50}, P99: {p99}]")
    }
}

/// Histograms side by side: here, their names and percentiles.
#[derive(Debug, Clone, Default)]
pub struct AsciiChart(Vec<(String, PercentileStats)>);

impl AsciiChart {
    /// An empty one.
    pub const fn new() -> Self {
        Self(Vec::new())
    }

    /// With one more histogram.
    #[must_use]
    pub fn add<T>(mut self, name: impl Into<String>, histogram: Histogram<T>) -> Self {
        self.0.push((name.into(), histogram.percentile_stats()));
        self
    }
}

impl fmt::Display for AsciiChart {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|(name, stats)| writeln!(f, "{name}: {stats}"))
    }
}
