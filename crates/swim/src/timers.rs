//! What a node waits for: one deadline for each wait, and no deadline that two waits share.
//!
//! The original has one timer for all answers and winds it up anew at each ping, so that it never fires in a group of three. Here a deadline is never
//! moved and never cancelled: it names the epoch of its wait, and one whose wait is over is let pass.

use crate::id::{Incarnation, MemberId, Status};
use crate::time::Moment;
use std::cmp::Reverse;
use std::collections::{BTreeSet, BinaryHeap};

/// What is to be done at a deadline.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Wait {
    /// The next member is probed.
    Round,
    /// News goes to a few members.
    Gossip,
    /// One of the dead is asked again.
    Heal,
    /// The probe of this number takes its next step.
    Probe { number: u64, step: usize },
    /// A suspected member's time is over.
    Suspicion { id: MemberId, epoch: u32 },
    /// A member that is dead, or has left, and has not changed since is forgotten.
    Forget { id: MemberId, incarnation: Incarnation, status: Status },
    /// The ping of this number that was passed on has had time to be answered.
    Nack { number: u64 },
}

/// All deadlines, the next one first.
#[derive(Debug, Default)]
pub(crate) struct Timers {
    heap: BinaryHeap<Reverse<(Moment, u64, Wait)>>,
    /// Deadlines of one moment come in the order in which they were set.
    sequence: u64,
}

impl Timers {
    pub(crate) fn set(&mut self, deadline: Moment, wait: Wait) {
        self.sequence += 1;
        self.heap.push(Reverse((deadline, self.sequence, wait)));
    }

    pub(crate) fn next(&self) -> Option<Moment> {
        self.heap.peek().map(|Reverse((deadline, ..))| *deadline)
    }

    /// Takes the next deadline, if it is due.
    pub(crate) fn due(&mut self, now: Moment) -> Option<Wait> {
        if self.next()? > now {
            return None;
        }
        self.heap.pop().map(|Reverse((_, _, wait))| wait)
    }

    /// How many deadlines there are, those whose wait is over among them.
    pub(crate) fn len(&self) -> usize {
        self.heap.len()
    }

    /// Drops deadlines whose wait is over, and all but the first of each wait.
    pub(crate) fn purge(&mut self, is_current: impl Fn(&Wait) -> bool) {
        let mut seen = BTreeSet::new();
        let mut all: Vec<_> = std::mem::take(&mut self.heap).into_vec();
        all.sort_unstable_by_key(|Reverse(deadline)| *deadline);
        all.retain(|Reverse((_, _, wait))| is_current(wait) && seen.insert(*wait));
        self.heap = all.into();
    }

    pub(crate) fn clear(&mut self) {
        self.heap.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn at(secs: u64) -> Moment {
        Moment(Duration::from_secs(secs))
    }

    #[test]
    fn each_wait_has_its_own_deadline_and_a_later_one_moves_no_earlier_one() {
        let mut timers = Timers::default();
        timers.set(at(5), Wait::Probe { number: 1, step: 0 });
        for n in 2..50 {
            timers.set(at(5 + n), Wait::Probe { number: n, step: 0 });
        }
        assert_eq!(timers.next(), Some(at(5)));
        assert_eq!(timers.due(at(4)), None);
        assert_eq!(timers.due(at(5)), Some(Wait::Probe { number: 1, step: 0 }));
        assert_eq!(timers.due(at(5)), None);
    }

    #[test]
    fn deadlines_of_one_moment_come_in_the_order_in_which_they_were_set() {
        let mut timers = Timers::default();
        timers.set(at(1), Wait::Round);
        timers.set(at(1), Wait::Heal);
        timers.set(at(1), Wait::Gossip);
        let order: Vec<Wait> = std::iter::from_fn(|| timers.due(at(1))).collect();
        assert_eq!(order, [Wait::Round, Wait::Heal, Wait::Gossip]);
    }

    #[test]
    fn what_is_over_or_waited_for_twice_is_purged() {
        let mut timers = Timers::default();
        for secs in [3, 1, 2] {
            timers.set(at(secs), Wait::Nack { number: 7 });
        }
        timers.set(at(1), Wait::Nack { number: 8 });
        timers.set(at(4), Wait::Round);
        timers.purge(|wait| *wait != Wait::Nack { number: 8 });
        assert_eq!((timers.len(), timers.next()), (2, Some(at(1))));
    }
}
