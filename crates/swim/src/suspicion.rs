//! The time that a suspected member has to say that it is alive: shorter, the more members have found it silent by themselves
//! (Lifeguard, arXiv 1707.00788).

use crate::id::MemberId;
use crate::time::Moment;
use std::time::Duration;

/// A suspicion that has not come to an end.
#[derive(Debug)]
pub(crate) struct Suspicion {
    /// Tells its deadline from earlier ones.
    pub(crate) epoch: u32,
    pub(crate) since: Moment,
    /// Who found it silent, as far as that counts. [`MemberId::NIL`] is somebody who is not named.
    pub(crate) accusers: Vec<MemberId>,
    /// How many accusers beside the first bring the time down to its least.
    confirmations_max: usize,
    bounds: Bounds,
}

/// The least and the most time that a suspected member has.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Bounds {
    pub(crate) min: Duration,
    pub(crate) max: Duration,
}

/// So many confirmations are wanted, where there are members for them.
const CONFIRMATIONS: usize = 2;

impl Suspicion {
    /// A suspicion in a group of `present` members, this one and the suspected one among them.
    pub(crate) fn new(epoch: u32, since: Moment, accuser: MemberId, present: usize, bounds: Bounds) -> Self {
        let confirmations_max = present.saturating_sub(2).min(CONFIRMATIONS);
        Self { epoch, since, accusers: vec![accuser], confirmations_max, bounds }
    }

    /// Takes an accuser. Returns whether it is one more.
    pub(crate) fn accuse(&mut self, accuser: MemberId) -> bool {
        let counts = self.accusers.len() <= self.confirmations_max && !self.accusers.contains(&accuser);
        if counts {
            self.accusers.push(accuser);
        }
        counts
    }

    pub(crate) fn deadline(&self) -> Moment {
        self.since.after(timeout(self.bounds, self.accusers.len().saturating_sub(1), self.confirmations_max))
    }
}

/// `max - (max - min) * ln(c + 1) / ln(k + 1)`, down to `min`: most of the way is gone with the first confirmation.
fn timeout(bounds: Bounds, confirmations: usize, confirmations_max: usize) -> Duration {
    if confirmations >= confirmations_max {
        return bounds.min;
    }
    let ln = |n: usize| u32::try_from(n + 1).map_or(0.0, |n| f64::from(n).ln());
    let way = ln(confirmations) / ln(confirmations_max);
    bounds.max.saturating_sub((bounds.max.saturating_sub(bounds.min)).mul_f64(way.clamp(0.0, 1.0)))
}

#[cfg(test)]
mod tests {
    use super::*;

    const BOUNDS: Bounds = Bounds { min: Duration::from_secs(2), max: Duration::from_secs(10) };

    fn who(n: u8) -> MemberId {
        MemberId([n; 16])
    }

    #[test]
    fn each_accuser_shortens_the_time_once() {
        let mut suspicion = Suspicion::new(1, Moment::default(), who(1), 10, BOUNDS);
        assert_eq!(suspicion.deadline(), Moment(Duration::from_secs(10)));
        assert!(!suspicion.accuse(who(1)));
        assert!(suspicion.accuse(who(2)));
        let after_two = suspicion.deadline().0.as_secs_f64();
        assert!((4.9..5.0).contains(&after_two), "{after_two}");
        assert!(suspicion.accuse(who(3)));
        assert_eq!(suspicion.deadline(), Moment(Duration::from_secs(2)));
        assert!(!suspicion.accuse(who(4)), "more than enough");
    }

    #[test]
    fn where_nobody_else_can_confirm_the_time_is_the_least() {
        let suspicion = Suspicion::new(1, Moment::default(), who(1), 2, BOUNDS);
        assert_eq!(suspicion.deadline(), Moment(BOUNDS.min));
    }
}
