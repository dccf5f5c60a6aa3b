//! A group's log in memory: where each entry is on disk, and the newest ones themselves.

use super::record::Head;
use crate::{LogPos, Payload};
use base::LogIndex;
use std::collections::VecDeque;

/// Where a record is on disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) segment: u64,
    pub(super) offset: usize,
    pub(super) len: usize,
}

#[derive(Debug, Clone)]
pub(super) struct Slot {
    pub(super) pos: LogPos,
    /// What it takes on disk.
    pub(super) size: usize,
    /// Known once it is durable.
    pub(super) place: Option<Place>,
    /// Kept while it is new, and always while it has no place.
    pub(super) payload: Option<Payload>,
}

/// One group's entries, in order and without holes.
#[derive(Debug, Clone, Default)]
pub(super) struct GroupLog {
    pub(super) head: Head,
    /// The index of the first slot.
    first: u64,
    slots: VecDeque<Slot>,
    bytes: u64,
    /// Only while the log is read at open: the last entry that was in segments that are gone. A purge has to follow.
    missing: Option<u64>,
}

/// An entry does not follow the one before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Hole;

impl GroupLog {
    /// The log as a segment's first record tells of it, when what came before is gone.
    pub(super) fn from_head(head: Head) -> Self {
        let next = |pos: Option<LogPos>| pos.map_or(0, |p| p.index.0 + 1);
        let missing = (next(head.last) > next(head.purged)).then(|| next(head.last) - 1);
        Self { head, first: next(head.last), slots: VecDeque::new(), bytes: 0, missing }
    }

    /// Whether entries that should be there were in segments that are gone.
    pub(super) fn has_missing(&self) -> bool {
        self.missing.is_some()
    }

    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// The index after the last entry.
    pub(super) fn next_index(&self) -> u64 {
        self.first + self.slots.len() as u64
    }

    pub(super) fn first_index(&self) -> u64 {
        self.first
    }

    pub(super) fn get(&self, index: u64) -> Option<&Slot> {
        self.slots.get(usize::try_from(index.checked_sub(self.first)?).ok()?)
    }

    pub(super) fn get_mut(&mut self, index: u64) -> Option<&mut Slot> {
        self.slots.get_mut(usize::try_from(index.checked_sub(self.first)?).ok()?)
    }

    /// Adds an entry, in place of one with its index and all after it. Returns the places that are free now.
    pub(super) fn append(&mut self, slot: Slot) -> Result<Vec<Place>, Hole> {
        let index = slot.pos.index.0;
        if index > self.next_index() || (index < self.first && self.missing.is_none()) {
            return Err(Hole);
        }
        let freed =
            if index < self.next_index() { self.truncate(index.checked_sub(1).map(LogIndex)) } else { Vec::new() };
        self.head.last = Some(slot.pos);
        self.bytes += slot.size as u64;
        self.slots.push_back(slot);
        Ok(freed)
    }

    /// Removes all entries after `after`. Returns the places that are free now.
    pub(super) fn truncate(&mut self, after: Option<LogIndex>) -> Vec<Place> {
        let next = after.map_or(0, |i| i.0 + 1);
        let mut freed = Vec::new();
        while self.next_index() > next.max(self.first) {
            if let Some(slot) = self.slots.pop_back() {
                self.bytes = self.bytes.saturating_sub(slot.size as u64);
                freed.extend(slot.place);
            }
        }
        if next < self.first {
            // Only among the missing at open: what is purged is never truncated.
            self.first = next;
            self.missing = self
                .missing
                .and_then(|_| next.checked_sub(1))
                .filter(|m| self.head.purged.is_none_or(|p| *m > p.index.0));
        }
        self.head.last = self.slots.back().map(|s| s.pos).or(self.head.purged);
        freed
    }

    /// Removes all entries up to and including `upto`, which may be after the last one. Returns the places that are free now.
    pub(super) fn purge(&mut self, upto: LogPos) -> Vec<Place> {
        let mut freed = Vec::new();
        if self.head.purged.is_some_and(|p| p.index >= upto.index) {
            return freed;
        }
        while self.slots.front().is_some_and(|s| s.pos.index <= upto.index) {
            if let Some(slot) = self.slots.pop_front() {
                self.bytes = self.bytes.saturating_sub(slot.size as u64);
                freed.extend(slot.place);
            }
        }
        if self.missing.is_some_and(|m| m <= upto.index.0) {
            self.missing = None;
        }
        self.head.purged = Some(upto);
        if let Some(front) = self.slots.front() {
            self.first = front.pos.index.0;
        } else {
            self.first = self.first.max(upto.index.0 + 1);
            if self.head.last.is_none_or(|last| last.index <= upto.index) {
                self.head.last = Some(upto);
            }
        }
        freed
    }

    /// Removes everything: what is left is the vote. Returns the places that are free now.
    pub(super) fn clear(&mut self) -> Vec<Place> {
        let freed = self.slots.drain(..).filter_map(|s| s.place).collect();
        self.head = Head { vote: self.head.vote, quarantined: self.head.quarantined, ..Head::default() };
        (self.first, self.bytes, self.missing) = (0, 0, None);
        freed
    }

    /// All places that hold entries.
    pub(super) fn places(&self) -> impl Iterator<Item = Place> {
        self.slots.iter().filter_map(|s| s.place)
    }

    /// The oldest segment that holds one of the entries.
    pub(super) fn oldest_segment(&self) -> Option<u64> {
        self.slots.front().and_then(|s| s.place).map(|p| p.segment)
    }
}
