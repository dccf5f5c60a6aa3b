//! The dead that are not in the table any more: remembered for a while, so that a group that was cut in two finds itself again.

use crate::id::MemberId;
use crate::time::Moment;
use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::Duration;

/// A bounded memory of the dead, the latest last.
#[derive(Debug)]
pub(crate) struct Graves {
    all: VecDeque<Grave>,
    count_max: usize,
    keep: Duration,
}

#[derive(Debug, Clone, Copy)]
pub(crate) struct Grave {
    pub(crate) id: MemberId,
    pub(crate) addr: SocketAddr,
    since: Moment,
}

impl Graves {
    pub(crate) fn new(count_max: usize, keep: Duration) -> Self {
        Self { all: VecDeque::new(), count_max, keep }
    }

    pub(crate) fn add(&mut self, id: MemberId, addr: SocketAddr, now: Moment) {
        self.remove(&id);
        if self.all.len() >= self.count_max {
            self.all.pop_front();
        }
        self.all.push_back(Grave { id, addr, since: now });
    }

    pub(crate) fn remove(&mut self, id: &MemberId) {
        self.all.retain(|grave| grave.id != *id);
    }

    pub(crate) fn len(&self) -> usize {
        self.all.len()
    }

    /// Forgets those that are too old.
    pub(crate) fn expire(&mut self, now: Moment) {
        while self.all.front().is_some_and(|grave| now.since(grave.since) > self.keep) {
            self.all.pop_front();
        }
    }

    pub(crate) fn get(&self, at: usize) -> Option<Grave> {
        self.all.get(at).copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_has_bounds_in_number_and_time() {
        let at = |secs| Moment(Duration::from_secs(secs));
        let addr = ([127, 0, 0, 1], 1).into();
        let mut graves = Graves::new(3, Duration::from_mins(1));
        for n in 1..=5 {
            graves.add(MemberId([n; 16]), addr, at(u64::from(n)));
        }
        graves.add(MemberId([4; 16]), addr, at(50));
        assert_eq!((graves.len(), graves.get(2).map(|grave| grave.id)), (3, Some(MemberId([4; 16]))));
        graves.expire(at(64));
        assert_eq!(graves.len(), 2);
        graves.expire(at(200));
        assert_eq!(graves.len(), 0);
    }
}
