//! Connections that the product's own requests have given back. A new one has to read the whole schema before its first statement, which
//! costs a hundred times what a small statement does.

use sqlite::Connection;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// So many are kept; more are used at once now and then.
const KEPT_MAX: usize = 4;

/// The connections of one database that nobody uses at present.
#[derive(Debug)]
pub(crate) struct Kept(Mutex<State>);

#[derive(Debug)]
enum State {
    Open(Vec<Connection>),
    Closed,
}

impl Default for Kept {
    fn default() -> Self {
        Self(Mutex::new(State::Open(Vec::new())))
    }
}

impl Kept {
    /// The one that was used last: its pages are the newest.
    pub(crate) fn take(&self) -> Option<Connection> {
        match &mut *self.lock() {
            State::Open(connections) => connections.pop(),
            State::Closed => None,
        }
    }

    /// Keeps one that is in no transaction, unless there are enough or the database is being closed.
    pub(crate) fn keep(&self, connection: Connection) {
        let mut state = self.lock();
        if let State::Open(connections) = &mut *state
            && connections.len() < KEPT_MAX
        {
            connections.push(connection);
            return;
        }
        drop(state);
        drop(connection);
    }

    /// Closes those that are kept, and keeps no more.
    pub(crate) fn close(&self) {
        let state = std::mem::replace(&mut *self.lock(), State::Closed);
        drop(state);
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
