//! What is to be done and when: the next first, and what is due at one moment in the order in which it was put down.

use std::collections::BTreeMap;
use swim::Moment;

/// What is to be done and when.
#[derive(Debug)]
pub(crate) struct Agenda<T> {
    entries: BTreeMap<(Moment, u64), T>,
    sequence: u64,
}

impl<T> Agenda<T> {
    pub(crate) fn new() -> Self {
        Self { entries: BTreeMap::new(), sequence: 0 }
    }

    pub(crate) fn put(&mut self, at: Moment, entry: T) {
        self.sequence += 1;
        self.entries.insert((at, self.sequence), entry);
    }

    pub(crate) fn next(&self) -> Option<Moment> {
        self.entries.first_key_value().map(|((at, _), _)| *at)
    }

    /// Takes what is due at `now`, if anything is, and says since when it has been.
    pub(crate) fn due(&mut self, now: Moment) -> Option<(Moment, T)> {
        let entry = self.entries.first_entry().filter(|entry| entry.key().0 <= now)?;
        let ((at, _), entry) = entry.remove_entry();
        Some((at, entry))
    }
}
