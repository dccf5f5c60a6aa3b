//! Time, as the caller tells it, and what of it counts.

use std::time::Duration;

/// A moment, as the time since some start of the caller's choice. The caller's clock should be monotonic; one that jumps does no harm.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Moment(pub Duration);

impl Moment {
    /// This much later.
    #[must_use]
    pub fn after(self, wait: Duration) -> Self {
        Self(self.0.saturating_add(wait))
    }

    /// How long ago `earlier` was; nothing if it was not.
    pub fn since(self, earlier: Self) -> Duration {
        self.0.saturating_sub(earlier.0)
    }
}

/// The time in which this node looked.
///
/// A process that was stopped, starved or swapped out has heard nothing meanwhile, and may not blame others for that: what passed between
/// the moment at which it wanted to run and the one at which it did is no part of this time. All waits of a node are in this time. A jump of
/// the caller's clock looks the same as a stall, and costs as little; a clock that goes back stands still until it has caught up.
#[derive(Debug)]
pub(crate) struct WatchedTime {
    last: Moment,
    lost: Duration,
    /// How late a node may be before it is a stall; `None` never calls it one.
    tolerance: Option<Duration>,
}

impl WatchedTime {
    pub(crate) fn new(tolerance: Option<Duration>) -> Self {
        Self { last: Moment::default(), lost: Duration::ZERO, tolerance }
    }

    /// The caller says that it is `told`, and `due` was the next thing to do. Returns the time that counts, and how long this node
    /// was stalled, if it was.
    pub(crate) fn observe(&mut self, told: Moment, due: Option<Moment>) -> (Moment, Option<Duration>) {
        self.last = self.last.max(told);
        let now = self.now();
        let late = due.map_or(Duration::ZERO, |due| now.since(due));
        if self.tolerance.is_some_and(|tolerance| late > tolerance) {
            self.lost += late;
            return (self.now(), Some(late));
        }
        (now, None)
    }

    pub(crate) fn now(&self) -> Moment {
        Moment(self.last.0.saturating_sub(self.lost))
    }

    /// When it is that moment by the caller's clock, if nothing more is lost.
    pub(crate) fn told(&self, moment: Moment) -> Moment {
        moment.after(self.lost)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(ms: u64) -> Moment {
        Moment(Duration::from_millis(ms))
    }

    #[test]
    fn what_was_slept_through_does_not_count() {
        let mut time = WatchedTime::new(Some(Duration::from_millis(100)));
        assert_eq!(time.observe(at(50), Some(at(40))), (at(50), None));
        // Ten seconds late: it is as if it were on time.
        assert_eq!(time.observe(at(10_060), Some(at(60))), (at(60), Some(Duration::from_secs(10))));
        assert_eq!(time.told(at(70)), at(10_070));
        // The caller's clock goes back: nothing moves.
        assert_eq!(time.observe(at(5_000), Some(at(70))), (at(60), None));
        assert_eq!(time.observe(at(10_070), Some(at(70))), (at(70), None));
    }

    #[test]
    fn without_a_tolerance_all_time_counts() {
        let mut time = WatchedTime::new(None);
        assert_eq!(time.observe(at(10_060), Some(at(60))), (at(10_060), None));
    }
}
