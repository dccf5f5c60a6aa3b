//! What a node has to tell: changes of members, those first that it has told the least.
//!
//! Changes of status come before changes of payload, so that a storm of payloads does not hold up news of a death. Among changes told equally
//! often the order is by weight. A change counts as told when it is in a packet, not when it had to stay behind.

use crate::table::Slot;
use std::collections::VecDeque;

/// How urgent a change of status is, among those that were told equally often.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Weight {
    /// This node says that it is alive.
    Refutation,
    /// A member is dead, or has left.
    Death,
    /// A member is suspected.
    Suspicion,
    /// A member is there, or has changed.
    Presence,
}

const WEIGHTS: usize = 4;

/// A change. It is out of date when the member has a newer number.
#[derive(Debug, Clone, Copy)]
struct Item {
    slot: Slot,
    number: u32,
    weight: Weight,
}

/// One queue of changes, by how often they were told, then by weight.
#[derive(Debug, Default)]
pub(crate) struct Queue {
    levels: Vec<[VecDeque<Item>; WEIGHTS]>,
    len: usize,
    /// What was taken and goes one level up, kept for its memory.
    taken: Vec<(usize, Item)>,
}

/// All that a node has to tell, the most urgent first.
#[derive(Debug, Default)]
pub(crate) struct News {
    /// Deaths, suspicions, and that they are wrong.
    pub(crate) urgent: Queue,
    /// Who is there and where.
    pub(crate) presence: Queue,
    /// Payloads.
    pub(crate) payloads: Queue,
    last_number: u32,
}

impl News {
    /// Adds a change of status or address. Returns its number, never 0, which its member has to keep.
    pub(crate) fn add(&mut self, slot: Slot, weight: Weight) -> u32 {
        let number = self.number();
        let queue = if weight == Weight::Presence { &mut self.presence } else { &mut self.urgent };
        queue.push(0, Item { slot, number, weight });
        number
    }

    /// Adds a change of payload. Returns its number, never 0, which its member has to keep.
    pub(crate) fn add_payload(&mut self, slot: Slot) -> u32 {
        let number = self.number();
        self.payloads.push(0, Item { slot, number, weight: Weight::Presence });
        number
    }

    fn number(&mut self) -> u32 {
        self.last_number = self.last_number.checked_add(1).unwrap_or(1);
        self.last_number
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.urgent.is_empty() && self.presence.is_empty() && self.payloads.is_empty()
    }
}

/// What became of a change that was offered to a packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Offer {
    /// It is in the packet.
    Told,
    /// There was no room for it.
    NoRoom,
    /// It is out of date.
    Stale,
}

/// So many changes that do not fit are passed over before a packet counts as full.
const MISSES_MAX: usize = 3;

impl Queue {
    fn push(&mut self, level: usize, item: Item) {
        if self.levels.len() <= level {
            self.levels.resize_with(level + 1, Default::default);
        }
        if let Some(queue) = self.levels.get_mut(level).and_then(|level| level.get_mut(rank(item.weight))) {
            queue.push_back(item);
            self.len += 1;
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// How many changes there are, those that are out of date among them.
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// Drops what is out of date.
    pub(crate) fn purge(&mut self, is_current: impl Fn(Slot, u32) -> bool) {
        for queue in self.levels.iter_mut().flatten() {
            queue.retain(|item| is_current(item.slot, item.number));
        }
        self.len = self.levels.iter().flatten().map(VecDeque::len).sum();
    }

    /// Offers changes to a packet, least told first. A change that was told `times` times is done with, and given to `done`.
    pub(crate) fn offer(
        &mut self,
        times: usize,
        mut offer: impl FnMut(Slot, u32) -> Offer,
        mut done: impl FnMut(Slot, u32),
    ) {
        let mut misses = 0;
        for (level, queues) in self.levels.iter_mut().enumerate() {
            for queue in queues {
                for _ in 0..queue.len() {
                    if misses >= MISSES_MAX {
                        break;
                    }
                    let Some(item) = queue.pop_front() else { break };
                    self.len -= 1;
                    match offer(item.slot, item.number) {
                        Offer::Told => self.taken.push((level + 1, item)),
                        Offer::NoRoom => {
                            self.taken.push((level, item));
                            misses += 1;
                        }
                        Offer::Stale => {}
                    }
                }
            }
        }
        let mut taken = std::mem::take(&mut self.taken);
        for (level, item) in taken.drain(..) {
            if level < times {
                self.push(level, item);
            } else {
                done(item.slot, item.number);
            }
        }
        self.taken = taken;
    }
}

fn rank(weight: Weight) -> usize {
    match weight {
        Weight::Refutation => 0,
        Weight::Death => 1,
        Weight::Suspicion => 2,
        Weight::Presence => 3,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::entropy::Entropy;
    use crate::id::{Incarnation, MemberId};
    use crate::table::{Member, Table};
    use std::collections::BTreeMap;

    fn slots(count: u8) -> Vec<Slot> {
        let (mut table, mut entropy) = (Table::default(), Entropy::new(&[0; 32]));
        let member = |n| Member::new(MemberId([n; 16]), ([127, 0, 0, 1], 1).into(), Incarnation::default());
        (1..=count).map(|n| table.insert(member(n), &mut entropy).unwrap()).collect()
    }

    /// What a packet with room for `room` changes carries.
    fn packet(queue: &mut Queue, room: usize, times: usize) -> Vec<Slot> {
        let mut told = Vec::new();
        let offer = |slot, _| {
            if told.len() == room {
                return Offer::NoRoom;
            }
            told.push(slot);
            Offer::Told
        };
        queue.offer(times, offer, |_, _| {});
        told
    }

    #[test]
    fn what_did_not_fit_is_told_as_often_as_what_did() {
        let slots = slots(100);
        let mut news = News::default();
        for slot in &slots {
            news.add(*slot, Weight::Presence);
        }
        let mut queue = news.presence;
        let mut times: BTreeMap<Slot, usize> = BTreeMap::new();
        while !queue.is_empty() {
            let told = packet(&mut queue, 26, 4);
            assert!(!told.is_empty());
            for slot in told {
                *times.entry(slot).or_default() += 1;
            }
        }
        assert!(slots.iter().all(|slot| times[slot] == 4), "{times:?}");
    }

    #[test]
    fn the_urgent_comes_first_and_the_new_before_the_told() {
        let slots = slots(4);
        let mut news = News::default();
        news.add(slots[0], Weight::Suspicion);
        news.add(slots[1], Weight::Death);
        assert_eq!(packet(&mut news.urgent, 1, 9), [slots[1]]);
        assert_eq!(packet(&mut news.urgent, 1, 9), [slots[0]]);
        news.add(slots[2], Weight::Suspicion);
        news.add(slots[3], Weight::Refutation);
        assert_eq!(packet(&mut news.urgent, 4, 9), [slots[3], slots[2], slots[1], slots[0]]);
        news.add(slots[0], Weight::Presence);
        news.add_payload(slots[0]);
        assert_eq!((news.urgent.len(), news.presence.len(), news.payloads.len()), (4, 1, 1));
    }

    #[test]
    fn what_is_out_of_date_is_dropped() {
        let slots = slots(2);
        let mut news = News::default();
        let first = news.add(slots[0], Weight::Suspicion);
        let second = news.add(slots[0], Weight::Death);
        let mut queue = news.urgent;
        queue.purge(|_, number| number != first);
        assert_eq!(queue.len(), 1);
        let mut told = Vec::new();
        queue.offer(
            3,
            |_, number| {
                told.push(number);
                Offer::Stale
            },
            |_, _| {},
        );
        assert_eq!(told, [second]);
        assert!(queue.is_empty());
    }
}
