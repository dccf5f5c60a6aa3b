//! What a node waits for: one deadline for each wait, and no deadline that two waits share.
//!
//! The original has one timer for all answers and winds it up anew at each ping, so that it never fires in a group of three. Here a deadline is never
//! moved and never cancelled: it names the epoch of its wait, and one whose wait is over is let pass.

use crate::id::{Incarnation, MemberId, Status};
use crate::time::Moment;
use std::cmp::Reverse;
use std::collections::BinaryHeap;

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

    pub(crate) fn clear(&mut self) {
        self.heap.clear();
    }
}
