//! How a world is built: what a scenario allows, and what the seed makes of it.

use rt::sim::{Dice, DiskProfile, Jitter};
use std::ops::RangeInclusive;
use std::time::Duration;

/// What a scenario allows the seed to choose from.
#[derive(Debug, Clone)]
pub struct Shape {
    /// How many nodes.
    pub nodes: RangeInclusive<u64>,
    /// Whether disks may be slow.
    pub slow_disks: bool,
    /// Whether clocks may drift, up to 10 % (more than any real crystal, and inside what leases allow for).
    pub drift_ppm_max: i32,
    /// The longest latency of the network.
    pub latency_max: Duration,
}

impl Default for Shape {
    fn default() -> Self {
        Self { nodes: 1..=5, slow_disks: true, drift_ppm_max: 50_000, latency_max: Duration::from_millis(50) }
    }
}

/// A world to build.
#[derive(Debug, Clone)]
pub struct WorldConfig {
    /// How many nodes.
    pub nodes: u64,
    /// The network's clock: messages arrive at its ticks.
    pub tick: Duration,
    /// The network's latency, at least and at most.
    pub latency: (Duration, Duration),
    /// How the disks behave.
    pub disk: DiskProfile,
    /// How often tasks nap.
    pub jitter: Jitter,
    /// The largest drift of a clock.
    pub drift_ppm_max: i32,
}

impl WorldConfig {
    /// What the seed makes of the shape.
    pub fn from_dice(dice: &mut Dice, shape: &Shape) -> Self {
        let millis = Duration::from_millis;
        let nodes = shape.nodes.start() + dice.below(shape.nodes.end() - shape.nodes.start() + 1);
        let slowest = dice.between(millis(1), shape.latency_max.max(millis(1)));
        let mut disk = DiskProfile::default();
        if shape.slow_disks && dice.chance(1, 2) {
            disk.latency = (Duration::ZERO, millis(dice.below(2)));
            disk.sync_latency = (Duration::ZERO, millis(1 + dice.below(20)));
        }
        let jitter = Jitter { one_in: *dice.pick(&[0, 4, 16, 64]).unwrap_or(&8) };
        let drift_ppm_max = if dice.chance(1, 2) { shape.drift_ppm_max } else { 0 };
        let tick = millis(*dice.pick(&[1, 2, 4]).unwrap_or(&1));
        Self { nodes, tick, latency: (Duration::ZERO, slowest), disk, jitter, drift_ppm_max }
    }

    pub(super) fn drift(&self, dice: &mut Dice) -> i32 {
        let span = u64::from(self.drift_ppm_max.unsigned_abs()) * 2 + 1;
        i32::try_from(dice.below(span)).unwrap_or(0) - self.drift_ppm_max.abs()
    }

    pub(super) fn builder(&self, seed: u64) -> turmoil::Builder {
        let mut builder = turmoil::Builder::new();
        builder
            .rng_seed(seed)
            .enable_random_order()
            .tick_duration(self.tick)
            .min_message_latency(self.latency.0)
            .max_message_latency(self.latency.1)
            .tcp_capacity(1024)
            .ephemeral_ports(10_000..=65_000)
            // The scenario decides when it is over.
            .simulation_duration(Duration::from_hours(1000));
        builder
    }
}
