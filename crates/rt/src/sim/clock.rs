//! A node's clocks: they run too fast or too slow, and the wall clock may jump.

use std::time::Duration;

/// The wall clock of every node shows this when the world begins: 2026-01-01T00:00:00Z.
const EPOCH: Duration = Duration::from_hours(490_896);
const MILLION: i128 = 1_000_000;

#[derive(Debug, Clone)]
pub(super) struct Clock {
    /// Where the present rate began, in the world's time and in this clock's.
    since: (Duration, Duration),
    /// Parts per million by which this clock is faster than the world.
    drift_ppm: i32,
    /// Added to the wall clock only.
    wall_offset_ms: i64,
}

impl Clock {
    pub(super) fn new() -> Self {
        Self { since: (Duration::ZERO, Duration::ZERO), drift_ppm: 0, wall_offset_ms: 0 }
    }

    pub(super) fn set_drift(&mut self, world: Duration, ppm: i32) {
        self.since = (world, self.monotonic(world));
        self.drift_ppm = ppm;
    }

    pub(super) fn jump_wall(&mut self, by_ms: i64) {
        self.wall_offset_ms = self.wall_offset_ms.saturating_add(by_ms);
    }

    pub(super) fn monotonic(&self, world: Duration) -> Duration {
        self.since.1 + scale(world.saturating_sub(self.since.0), MILLION + i128::from(self.drift_ppm), MILLION)
    }

    pub(super) fn wall(&self, world: Duration) -> Duration {
        let shown = EPOCH + self.monotonic(world);
        let offset = Duration::from_millis(self.wall_offset_ms.unsigned_abs());
        if self.wall_offset_ms < 0 { shown.saturating_sub(offset) } else { shown + offset }
    }

    /// How long the world takes for `local` on this clock; rounded up, so that a sleeper wakes after its time, not before.
    pub(super) fn in_world(&self, local: Duration) -> Duration {
        if self.drift_ppm == 0 {
            return local;
        }
        scale(local, MILLION, MILLION + i128::from(self.drift_ppm)).saturating_add(Duration::from_micros(1))
    }
}

fn scale(d: Duration, numerator: i128, denominator: i128) -> Duration {
    let nanos = i128::try_from(d.as_nanos()).unwrap_or(i128::MAX >> 32).saturating_mul(numerator) / denominator.max(1);
    Duration::from_nanos(u64::try_from(nanos.max(0)).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fast_clock_shows_more_and_sleeps_less() {
        let mut clock = Clock::new();
        clock.set_drift(Duration::from_secs(10), 1000);
        let world = Duration::from_secs(1010);
        assert_eq!(clock.monotonic(world), Duration::from_secs(1011));
        let slept = clock.in_world(Duration::from_secs(1));
        assert!(slept < Duration::from_secs(1));
        assert!(clock.monotonic(world + slept) >= Duration::from_secs(1012), "woke too early");
    }

    #[test]
    fn a_change_of_drift_does_not_jump_and_a_jump_moves_the_wall_only() {
        let mut clock = Clock::new();
        let now = Duration::from_secs(100);
        let (monotonic, wall) = (clock.monotonic(now), clock.wall(now));
        clock.set_drift(now, -50_000);
        assert_eq!(clock.monotonic(now), monotonic);
        clock.jump_wall(-5000);
        assert_eq!(clock.monotonic(now), monotonic);
        assert_eq!(clock.wall(now), wall.saturating_sub(Duration::from_secs(5)));
    }
}
