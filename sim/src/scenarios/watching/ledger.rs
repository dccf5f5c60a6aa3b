//! What all watchers and writers know together.

use crate::scenarios::cluster::Board;
use api::control::resources::ChangeInfo;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Clones are the same ledger.
#[derive(Clone)]
pub(super) struct Ledger(Arc<Mutex<Known>>);

struct Known {
    board: Board,
    /// Each change, as it was told first.
    told: BTreeMap<u64, ChangeInfo>,
    /// Updates that were acknowledged, and such of which nobody knows.
    acknowledged: u64,
    unknown: u64,
    /// Writers that have not counted for the last time.
    writing: u64,
    /// The last change that there is, once nobody makes another one.
    last: Option<u64>,
}

impl Ledger {
    pub(super) fn new(board: Board) -> Self {
        let writing = super::WRITERS;
        let told = BTreeMap::new();
        Self(Arc::new(Mutex::new(Known { board, told, acknowledged: 0, unknown: 0, writing, last: None })))
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn is_healed(&self) -> bool {
        self.known().board.is_healed()
    }

    pub(super) fn breaks(&self, oracle: &'static str, what: String) {
        self.known().board.breaks(oracle, what);
    }

    /// A watcher that had heard of the changes up to `after` is told of another one.
    pub(super) fn tells(&self, after: u64, change: &ChangeInfo) {
        let revision = change.revision;
        if revision != after + 1 {
            self.breaks("watch", format!("after change {after} came change {revision}"));
        }
        let first = self.known().told.entry(revision).or_insert_with(|| change.clone()).clone();
        if first != *change {
            self.breaks("watch", format!("one watcher was told {first:?}, another one {change:?}"));
        }
    }

    pub(super) fn acknowledge(&self) {
        self.known().acknowledged += 1;
    }

    pub(super) fn forget(&self) {
        self.known().unknown += 1;
    }

    pub(super) fn acknowledged(&self) -> u64 {
        self.known().acknowledged
    }

    pub(super) fn changes(&self) -> u64 {
        self.known().told.len() as u64
    }

    /// A writer has counted for the last time. The last of them looks at what came of it.
    pub(super) fn is_last_writer(&self) -> bool {
        let mut known = self.known();
        known.writing -= 1;
        known.writing == 0
    }

    /// What was counted in the end, and the last change.
    pub(super) fn ends(&self, counted: u64, last: u64) {
        let mut known = self.known();
        known.last = Some(last);
        let sure = known.acknowledged;
        let possible = sure + known.unknown;
        drop(known);
        if counted < sure || counted > possible {
            self.breaks("lost update", format!("{counted} was counted, where {sure} to {possible} updates were made"));
        }
    }

    /// Whether a watcher has been told everything that there will be.
    pub(super) fn is_complete(&self, told: u64) -> bool {
        self.known().last.is_some_and(|last| told >= last)
    }
}
