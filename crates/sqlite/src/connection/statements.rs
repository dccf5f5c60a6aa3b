//! The statements of a connection, by number, and those kept for the next time their text is prepared.

use super::StatementId;
use crate::error::SqlError;
use crate::ffi::Statement;
use indexmap::IndexMap;
use std::collections::BTreeMap;

/// A statement and what is known of it.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) statement: Statement,
    /// How many bytes of its text it took.
    pub(super) tail: usize,
    /// Its text, if it goes to the cache when it is released.
    pub(super) text: Option<Box<str>>,
    /// Whether it is in the middle of its run.
    pub(super) running: bool,
    /// What the connection's user noted of it.
    pub(super) cost: Option<u64>,
}

/// A statement that waits for its next use.
#[derive(Debug)]
struct Waiting {
    statement: Statement,
    tail: usize,
    cost: Option<u64>,
}

/// Statements in use, and statements waiting.
#[derive(Debug)]
pub(super) struct Statements {
    used: BTreeMap<StatementId, Entry>,
    /// Oldest first.
    waiting: IndexMap<Box<str>, Waiting>,
    waiting_max: usize,
    last: u32,
}

impl Statements {
    pub(super) fn new(waiting_max: usize) -> Self {
        Self { used: BTreeMap::new(), waiting: IndexMap::new(), waiting_max, last: 0 }
    }

    pub(super) fn add(
        &mut self,
        statement: Statement,
        tail: usize,
        text: Option<Box<str>>,
        cost: Option<u64>,
    ) -> StatementId {
        self.last = self.last.wrapping_add(1);
        while self.used.contains_key(&StatementId(self.last)) {
            self.last = self.last.wrapping_add(1);
        }
        let id = StatementId(self.last);
        self.used.insert(id, Entry { statement, tail, text, running: false, cost });
        id
    }

    /// Takes a waiting statement of that text into use.
    pub(super) fn reuse(&mut self, text: &str) -> Option<StatementId> {
        let (text, Waiting { statement, tail, cost }) = self.waiting.shift_remove_entry(text)?;
        Some(self.add(statement, tail, Some(text), cost))
    }

    pub(super) fn get(&self, id: StatementId) -> Result<&Entry, SqlError> {
        self.used.get(&id).ok_or(SqlError::UnknownStatement(id.0))
    }

    pub(super) fn get_mut(&mut self, id: StatementId) -> Result<&mut Entry, SqlError> {
        self.used.get_mut(&id).ok_or(SqlError::UnknownStatement(id.0))
    }

    pub(super) fn remove(&mut self, id: StatementId) -> Option<Entry> {
        self.used.remove(&id)
    }

    /// Lets a statement that was reset and unbound wait for its next use.
    pub(super) fn keep(&mut self, text: Box<str>, statement: Statement, tail: usize, cost: Option<u64>) {
        if self.waiting_max == 0 {
            return;
        }
        self.waiting.insert(text, Waiting { statement, tail, cost });
        if self.waiting.len() > self.waiting_max {
            self.waiting.shift_remove_index(0);
        }
    }

    pub(super) fn running(&self) -> Vec<StatementId> {
        self.used.iter().filter(|(_, entry)| entry.running).map(|(id, _)| *id).collect()
    }

    pub(super) fn clear(&mut self) {
        self.used.clear();
        self.waiting.clear();
    }
}
