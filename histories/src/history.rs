//! The record of what clients asked and what they were told.

use serde::Serialize;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// Calls and their ends, in the order in which they happened. Clones are the same history.
#[derive(Debug)]
pub struct History<Op, Ret>(Arc<Mutex<Vec<Entry<Op, Ret>>>>, Arc<Mutex<u64>>);

/// One call of a client.
#[derive(Debug, Clone, Serialize)]
pub struct Entry<Op, Ret> {
    /// Who called.
    pub client: u64,
    /// On what.
    pub key: u64,
    /// What was asked.
    pub op: Op,
    /// The call's place in the order of all calls and ends.
    pub called: u64,
    /// The time of the call.
    pub called_at: Duration,
    /// How it ended.
    pub end: End<Ret>,
}

/// How a call ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum End<Ret> {
    /// It was answered, at that place in the order.
    Answered(u64, Ret),
    /// It certainly had no effect.
    Refused,
    /// Nobody knows: it may take effect at any time, even later, or never.
    Unknown,
}

/// A call under way. Dropping it leaves its outcome unknown, which is what a client that gave up knows.
#[derive(Debug)]
pub struct Call<Op, Ret> {
    history: History<Op, Ret>,
    index: usize,
}

impl<Op, Ret> Clone for History<Op, Ret> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0), Arc::clone(&self.1))
    }
}

impl<Op, Ret> Default for History<Op, Ret> {
    fn default() -> Self {
        Self(Arc::default(), Arc::default())
    }
}

impl<Op, Ret> History<Op, Ret> {
    fn entries_mut(&self) -> MutexGuard<'_, Vec<Entry<Op, Ret>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn tick(&self) -> u64 {
        let mut order = self.1.lock().unwrap_or_else(PoisonError::into_inner);
        *order += 1;
        *order
    }

    /// A client calls, now; `called_at` is what the clock says.
    pub fn call(&self, client: u64, key: u64, op: Op, called_at: Duration) -> Call<Op, Ret> {
        let called = self.tick();
        let mut entries = self.entries_mut();
        entries.push(Entry { client, key, op, called, called_at, end: End::Unknown });
        Call { history: self.clone(), index: entries.len() - 1 }
    }

    /// How many calls there were.
    pub fn len(&self) -> usize {
        self.entries_mut().len()
    }

    /// Whether nobody called.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// How many calls were answered.
    pub fn answered(&self) -> usize {
        self.entries_mut().iter().filter(|e| matches!(e.end, End::Answered(..))).count()
    }
}

impl<Op: Clone, Ret: Clone> History<Op, Ret> {
    /// A copy of all calls.
    pub fn entries(&self) -> Vec<Entry<Op, Ret>> {
        self.entries_mut().clone()
    }
}

impl<Op, Ret> Call<Op, Ret> {
    fn end(self, end: End<Ret>) {
        if let Some(entry) = self.history.entries_mut().get_mut(self.index) {
            entry.end = end;
        }
    }

    /// It was answered, now.
    pub fn answered(self, ret: Ret) {
        let at = self.history.tick();
        self.end(End::Answered(at, ret));
    }

    /// It certainly had no effect.
    pub fn refused(self) {
        self.end(End::Refused);
    }

    /// Its outcome is unknown.
    pub fn unknown(self) {
        drop(self);
    }
}
