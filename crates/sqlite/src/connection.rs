//! A SQLite connection on a page store.

use crate::error::SqlError;
use crate::page_store::PageStore;
use base::Version;
use rt::time::Instant;

/// What a connection may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// Read and, while granted, write. Statements that do not fit a replicated database are refused.
    ReadWrite,
    /// Read.
    ReadOnly,
    /// Everything SQLite can; for statements of the product itself.
    Internal,
}

/// How to open a connection.
#[derive(Debug, Clone)]
pub struct ConnectionOptions {
    /// What it may do.
    pub access: Access,
    /// SQLite's own page cache, in KiB.
    pub cache_kib: u32,
    /// How many prepared statements [`Connection::prepare_cached`] keeps.
    pub statements_cached_max: usize,
}

impl Default for ConnectionOptions {
    fn default() -> Self {
        Self { access: Access::ReadWrite, cache_kib: 512, statements_cached_max: 64 }
    }
}

/// A prepared statement of one connection. Numbers are not used again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StatementId(pub u32);

/// What preparing gave.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Prepared {
    /// The statement; `None` if the text holds only white space and comments.
    pub statement: Option<StatementId>,
    /// How many parameters it has.
    pub params: usize,
    /// How many bytes of the text it took; the next statement starts there.
    pub tail: usize,
}

/// What a step gave.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// A row is there.
    Row,
    /// The statement is done, and reset.
    Done,
}

/// A value of SQLite. Text is bytes: SQLite does not promise UTF-8.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// NULL.
    Null,
    /// INTEGER.
    Integer(i64),
    /// REAL.
    Real(f64),
    /// TEXT.
    Text(Vec<u8>),
    /// BLOB.
    Blob(Vec<u8>),
}

/// A borrowed [`Value`].
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum ValueRef<'a> {
    /// NULL.
    Null,
    /// INTEGER.
    Integer(i64),
    /// REAL.
    Real(f64),
    /// TEXT.
    Text(&'a [u8]),
    /// BLOB.
    Blob(&'a [u8]),
}

/// A column of a result.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Column {
    /// Its name.
    pub name: String,
    /// The declared type of the table's column, if it is one.
    pub decltype: Option<String>,
}

/// Stops the statement that a connection is running. May be used from any thread, also after the connection is closed.
#[derive(Debug, Clone)]
pub struct InterruptHandle(());

impl InterruptHandle {
    /// Stops the statement that is running now; nothing happens if none is.
    pub fn interrupt(&self) {
        todo!()
    }
}

/// A SQLite connection. Send, not Sync. Blocks the thread it runs on.
#[derive(Debug)]
pub struct Connection(());

impl Connection {
    /// Opens a connection.
    pub fn open(_store: &PageStore, _options: ConnectionOptions) -> Result<Self, SqlError> {
        todo!()
    }
    /// Prepares the first statement of `sql`.
    pub fn prepare(&mut self, _sql: &str) -> Result<Prepared, SqlError> {
        todo!()
    }
    /// Like `prepare`, but takes a statement of the same text from the cache if there is one. Give it back with `release`.
    pub fn prepare_cached(&mut self, _sql: &str) -> Result<Prepared, SqlError> {
        todo!()
    }
    /// Gives a statement back: reset, unbound, and kept in the cache if it came from there; else finalized.
    pub fn release(&mut self, _id: StatementId) {
        todo!()
    }
    /// Forgets a statement.
    pub fn finalize(&mut self, _id: StatementId) {
        todo!()
    }
    /// Binds one parameter, counted from 1.
    pub fn bind(&mut self, _id: StatementId, _index: usize, _value: ValueRef<'_>) -> Result<(), SqlError> {
        todo!()
    }
    /// Binds all parameters; their number must be right.
    pub fn bind_all(&mut self, _id: StatementId, _values: &[ValueRef<'_>]) -> Result<(), SqlError> {
        todo!()
    }
    /// Sets all parameters to NULL.
    pub fn clear_bindings(&mut self, _id: StatementId) -> Result<(), SqlError> {
        todo!()
    }
    /// Runs to the next row or the end. After `Done` or an error the statement is reset.
    pub fn step(&mut self, _id: StatementId) -> Result<Step, SqlError> {
        todo!()
    }
    /// Ends a run before its end.
    pub fn reset(&mut self, _id: StatementId) -> Result<(), SqlError> {
        todo!()
    }
    /// The columns of the result.
    pub fn columns(&self, _id: StatementId) -> Result<Vec<Column>, SqlError> {
        todo!()
    }
    /// How many columns the result has; 0 for a statement that gives none.
    pub fn column_count(&self, _id: StatementId) -> Result<usize, SqlError> {
        todo!()
    }
    /// A value of the current row, columns counted from 0.
    pub fn value(&self, _id: StatementId, _column: usize) -> Result<ValueRef<'_>, SqlError> {
        todo!()
    }
    /// Runs all statements of a text, without parameters and dropping rows.
    pub fn execute(&mut self, _sql: &str) -> Result<(), SqlError> {
        todo!()
    }
    /// All rows of one statement.
    pub fn query(&mut self, _sql: &str, _values: &[ValueRef<'_>]) -> Result<Vec<Vec<Value>>, SqlError> {
        todo!()
    }
    /// Whether the statement writes nothing to the database file.
    pub fn readonly(&self, _id: StatementId) -> Result<bool, SqlError> {
        todo!()
    }
    /// Whether it is an EXPLAIN.
    pub fn is_explain(&self, _id: StatementId) -> Result<bool, SqlError> {
        todo!()
    }
    /// Steps of SQLite's virtual machine that the statement has taken since it was prepared.
    pub fn vm_steps(&self, _id: StatementId) -> Result<u64, SqlError> {
        todo!()
    }
    /// Whether a transaction is open (BEGIN without COMMIT).
    pub fn in_transaction(&self) -> bool {
        todo!()
    }
    /// As SQLite's.
    pub fn last_insert_rowid(&self) -> i64 {
        todo!()
    }
    /// Rows changed by the last statement.
    pub fn changes(&self) -> u64 {
        todo!()
    }
    /// Rows changed since the connection was opened.
    pub fn total_changes(&self) -> u64 {
        todo!()
    }
    /// The caller's queue says it is this connection's turn to write. Transactions begun from now on read the head.
    pub fn grant_write(&mut self) {
        todo!()
    }
    /// The turn is over. An open write transaction is rolled back.
    pub fn revoke_write(&mut self) {
        todo!()
    }
    /// Whether a write transaction is open, so that the turn must not end yet.
    pub fn is_writing(&self) -> bool {
        todo!()
    }
    /// The version that the last commit made, once.
    pub fn take_commit(&mut self) -> Option<Version> {
        todo!()
    }
    /// The newest version that the current or last transaction has read. Answers must wait until it is committed.
    pub fn seen(&self) -> Version {
        todo!()
    }
    /// For stopping a statement from outside.
    pub fn interrupt_handle(&self) -> InterruptHandle {
        todo!()
    }
    /// When statements are to be stopped.
    pub fn set_deadline(&mut self, _deadline: Option<Instant>) {
        todo!()
    }
    /// How many virtual machine steps each run of a statement may take, rounded up to a thousand.
    pub fn set_step_budget(&mut self, _steps: Option<u64>) {
        todo!()
    }
    /// Whether leadership was lost under it: every further use fails with `LeadershipLost`.
    pub fn poisoned(&self) -> bool {
        todo!()
    }
    /// Rolls back what is open and closes.
    pub fn close(self) {}
}

/// Makes SQLite's random numbers start anew from `rt::entropy`. For a simulator that runs several histories in a process.
pub fn reseed_random() {
    todo!()
}
