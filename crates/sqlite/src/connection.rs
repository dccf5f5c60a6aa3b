//! A SQLite connection on a page store.

mod statements;
mod value;

pub use value::{Access, Column, ConnectionOptions, Prepared, StatementId, Step, Value, ValueRef};

use crate::error::SqlError;
use crate::ffi::{Database, Failure, Hooks, OpenAs, STEPS_BETWEEN};
use crate::limits::Limits;
use crate::page_store::{Attachment, PageStore, Shared};
use crate::vfs;
use base::Version;
use libsqlite3_sys as sys;
use rt::time::Instant;
use statements::{Entry, Statements};
use std::ffi::c_int;
use std::sync::Arc;

/// Stops the statement that a connection is running. May be used from any thread, also after the connection was closed.
#[derive(Debug, Clone)]
pub struct InterruptHandle(Arc<Limits>);

impl InterruptHandle {
    /// Stops the statement that is in the middle of its run, at its next step or within a thousand virtual machine steps.
    /// Nothing happens if none is, also not to the next one.
    pub fn interrupt(&self) {
        self.0.interrupt();
    }

    /// Stops the statement that runs, and every other that would be begun: nobody waits for this connection any more.
    pub fn abandon(&self) {
        self.0.abandon();
    }
}

/// A SQLite connection. Send, not Sync. Every call may block its thread on disk and take as long as the statement takes.
///
/// Statements belong to the connection and are named by number. A transaction reads one version: the committed one, or the
/// head while the connection is granted to write. A commit makes a new head and does not wait for replication:
/// [`take_commit`](Self::take_commit) names what the answer must wait for, and [`seen`](Self::seen) what a read depended on.
#[derive(Debug)]
pub struct Connection {
    // Before the database: SQLite wants statements finalized first.
    statements: Statements,
    database: Database,
    hooks: Arc<Hooks>,
    limits: Arc<Limits>,
    attachment: Arc<Attachment>,
    pages: Arc<Shared>,
    running: usize,
}

impl Connection {
    /// Opens a connection.
    #[expect(
        clippy::needless_pass_by_value,
        reason = "options are made for one connection; callers build them in place"
    )]
    pub fn open(store: &PageStore, options: ConnectionOptions) -> Result<Self, SqlError> {
        let attachment = store.shared.attach();
        let limits = Arc::new(Limits::default());
        let hooks = Arc::new(Hooks::new(options.access, Arc::clone(&limits), Arc::clone(&attachment)));
        let open_as = if options.access == Access::ReadOnly { OpenAs::ReadOnly } else { OpenAs::ReadWrite };
        let database = Database::init().and_then(|()| {
            let name = vfs::expect_open(&store.shared, &attachment);
            let opened = Database::open(&name, open_as);
            vfs::forget(&name);
            opened
        });
        let database = database.map_err(|failure| own_error(&attachment, failure))?;
        let statements = Statements::new(options.statements_cached_max);
        let mut connection =
            Self { statements, database, hooks, limits, attachment, pages: Arc::clone(&store.shared), running: 0 };
        connection.execute(&format!(
            "PRAGMA journal_mode=MEMORY; PRAGMA synchronous=OFF; PRAGMA temp_store=MEMORY; PRAGMA foreign_keys=ON; \
             PRAGMA cache_size=-{}",
            options.cache_kib
        ))?;
        if options.access != Access::Internal {
            let defensive = connection.database.set_defensive();
            defensive.map_err(|failure| own_error(&connection.attachment, failure))?;
        }
        connection.database.hook(Arc::clone(&connection.hooks));
        Ok(connection)
    }

    // ---- statements ----

    /// Prepares the first statement of `sql`.
    pub fn prepare(&mut self, sql: &str) -> Result<Prepared, SqlError> {
        self.prepare_as(sql, None)
    }

    /// Like [`prepare`](Self::prepare), but takes a statement of the same text that was released, if there is one. Give it
    /// back with [`release`](Self::release).
    pub fn prepare_cached(&mut self, sql: &str) -> Result<Prepared, SqlError> {
        self.attachment.check()?;
        if let Some(id) = self.statements.reuse(sql) {
            let entry = self.statements.get(id)?;
            return Ok(Prepared { statement: Some(id), params: entry.statement.params(), tail: entry.tail });
        }
        self.prepare_as(sql, Some(sql.into()))
    }

    fn prepare_as(&mut self, sql: &str, text: Option<Box<str>>) -> Result<Prepared, SqlError> {
        self.attachment.check()?;
        self.forget_faults();
        let (statement, tail) = match self.database.prepare(sql) {
            Ok(prepared) => prepared,
            Err(failure) => return Err(self.error(failure)),
        };
        let params = statement.as_ref().map_or(0, crate::ffi::Statement::params);
        let statement = statement.map(|statement| self.statements.add(statement, tail, text, None));
        Ok(Prepared { statement, params, tail })
    }

    /// Gives a statement back: it is reset and unbound, and kept for its next use if it came from
    /// [`prepare_cached`](Self::prepare_cached). An unknown number is fine.
    pub fn release(&mut self, id: StatementId) {
        let Some(mut entry) = self.take(id) else { return };
        if let Some(text) = entry.text.take() {
            entry.statement.clear_bindings();
            self.statements.keep(text, entry.statement, entry.tail, entry.cost);
        }
    }

    /// Forgets a statement. An unknown number is fine.
    pub fn finalize(&mut self, id: StatementId) {
        drop(self.take(id));
    }

    fn take(&mut self, id: StatementId) -> Option<Entry> {
        self.end_run(id);
        self.statements.remove(id)
    }

    /// Binds one parameter, counted from 1. The value is copied.
    pub fn bind(&mut self, id: StatementId, index: usize, value: ValueRef<'_>) -> Result<(), SqlError> {
        let code = self.statements.get_mut(id)?.statement.bind(index, value);
        if code == sys::SQLITE_OK { Ok(()) } else { Err(self.error_of(code)) }
    }

    /// Binds all parameters. Their number must be that of the statement.
    pub fn bind_all(&mut self, id: StatementId, values: &[ValueRef<'_>]) -> Result<(), SqlError> {
        let wanted = self.statements.get(id)?.statement.params();
        if wanted != values.len() {
            return Err(SqlError::ParameterCount { wanted, given: values.len() });
        }
        (1..).zip(values).try_for_each(|(index, value)| self.bind(id, index, *value))
    }

    /// Sets all parameters to NULL.
    pub fn clear_bindings(&mut self, id: StatementId) -> Result<(), SqlError> {
        self.statements.get_mut(id)?.statement.clear_bindings();
        Ok(())
    }

    /// Runs to the next row or the end. After `Done` or an error the statement is reset and may run again.
    pub fn step(&mut self, id: StatementId) -> Result<Step, SqlError> {
        let entry = self.statements.get_mut(id)?;
        let new_run = !std::mem::replace(&mut entry.running, true);
        self.running += usize::from(new_run);
        let stop = if new_run { !self.limits.begin() } else { self.limits.advance(0) };
        if new_run {
            self.forget_faults();
        }
        let outcome = match self.attachment.check() {
            Err(error) => Err(error),
            Ok(()) if stop => Err(self.limits.error()),
            Ok(()) => self.step_now(id),
        };
        if !matches!(outcome, Ok(Step::Row)) {
            self.end_run(id);
        }
        outcome
    }

    fn step_now(&mut self, id: StatementId) -> Result<Step, SqlError> {
        match self.statements.get_mut(id)?.statement.step() {
            sys::SQLITE_ROW => Ok(Step::Row),
            sys::SQLITE_DONE => Ok(Step::Done),
            failed => Err(self.error_of(failed)),
        }
    }

    fn end_run(&mut self, id: StatementId) {
        let Ok(entry) = self.statements.get_mut(id) else { return };
        entry.statement.reset();
        if std::mem::take(&mut entry.running) {
            self.running -= 1;
            if self.running == 0 {
                self.limits.end();
            }
        }
    }

    /// Ends a run before its end. A statement that was writing outside of BEGIN is undone or done as SQLite sees fit: what
    /// it has changed so far is committed.
    pub fn reset(&mut self, id: StatementId) -> Result<(), SqlError> {
        self.statements.get(id)?;
        self.end_run(id);
        Ok(())
    }

    /// The columns of the result. They may change at the first step, when the schema has.
    pub fn columns(&self, id: StatementId) -> Result<Vec<Column>, SqlError> {
        let statement = &self.statements.get(id)?.statement;
        Ok((0..statement.column_count()).map(|at| statement.column(at)).collect())
    }

    /// How many columns the result has; 0 for a statement that gives none.
    pub fn column_count(&self, id: StatementId) -> Result<usize, SqlError> {
        Ok(self.statements.get(id)?.statement.column_count())
    }

    /// A value of the current row, columns counted from 0. NULL if there is no such column or no row.
    pub fn value(&self, id: StatementId, column: usize) -> Result<ValueRef<'_>, SqlError> {
        Ok(self.statements.get(id)?.statement.value(column))
    }

    /// Runs all statements of a text, without parameters and dropping rows. Stops at the first that fails.
    pub fn execute(&mut self, sql: &str) -> Result<(), SqlError> {
        let mut rest = sql;
        while !rest.is_empty() {
            let prepared = self.prepare(rest)?;
            if let Some(id) = prepared.statement {
                let outcome = self.run_out(id);
                self.finalize(id);
                outcome?;
            }
            rest = rest.get(prepared.tail.max(1)..).unwrap_or_default();
        }
        Ok(())
    }

    fn run_out(&mut self, id: StatementId) -> Result<(), SqlError> {
        while self.step(id)? == Step::Row {}
        Ok(())
    }

    /// All rows of the first statement of a text.
    pub fn query(&mut self, sql: &str, values: &[ValueRef<'_>]) -> Result<Vec<Vec<Value>>, SqlError> {
        let Some(id) = self.prepare_cached(sql)?.statement else { return Ok(Vec::new()) };
        let rows = self.bind_all(id, values).and_then(|()| self.rows(id));
        self.release(id);
        rows
    }

    fn rows(&mut self, id: StatementId) -> Result<Vec<Vec<Value>>, SqlError> {
        let mut rows = Vec::new();
        while self.step(id)? == Step::Row {
            let statement = &self.statements.get(id)?.statement;
            rows.push((0..statement.data_count()).map(|at| statement.value(at).to_owned()).collect());
        }
        Ok(rows)
    }

    /// Whether the statement writes nothing to the database file. BEGIN, COMMIT and the like write nothing themselves.
    pub fn readonly(&self, id: StatementId) -> Result<bool, SqlError> {
        Ok(self.statements.get(id)?.statement.is_readonly())
    }

    /// Whether it is an EXPLAIN or EXPLAIN QUERY PLAN.
    pub fn is_explain(&self, id: StatementId) -> Result<bool, SqlError> {
        Ok(self.statements.get(id)?.statement.is_explain())
    }

    /// Whether the statement is in the middle of its run.
    pub fn is_running(&self, id: StatementId) -> Result<bool, SqlError> {
        Ok(self.statements.get(id)?.statement.is_busy())
    }

    /// Steps of SQLite's virtual machine that the statement has taken since it was prepared, modulo 2^32.
    pub fn vm_steps(&self, id: StatementId) -> Result<u64, SqlError> {
        Ok(self.statements.get(id)?.statement.vm_steps())
    }

    /// What the caller has noted as the cost of a statement, if it has. It stays with a statement that is
    /// [released](Self::release) and taken again.
    pub fn cost(&self, id: StatementId) -> Option<u64> {
        self.statements.get(id).ok().and_then(|entry| entry.cost)
    }

    /// Notes what a statement costs, by the caller's measure.
    pub fn set_cost(&mut self, id: StatementId, cost: u64) {
        if let Ok(entry) = self.statements.get_mut(id) {
            entry.cost = Some(cost);
        }
    }

    // ---- the connection's state ----

    /// Whether a transaction is open: BEGIN without COMMIT or ROLLBACK.
    pub fn in_transaction(&self) -> bool {
        !self.database.is_autocommit()
    }

    /// As SQLite's.
    pub fn last_insert_rowid(&self) -> i64 {
        self.database.last_insert_rowid()
    }

    /// Rows changed by the last INSERT, UPDATE or DELETE that ended.
    pub fn changes(&self) -> u64 {
        u64::try_from(self.database.changes()).unwrap_or(0)
    }

    /// Rows changed since the connection was opened, those by triggers included.
    pub fn total_changes(&self) -> u64 {
        u64::try_from(self.database.total_changes()).unwrap_or(0)
    }

    // ---- writing and replication ----

    /// The caller's queue says it is this connection's turn to write. Transactions begun from now on read the head. Only one
    /// connection of a store may be granted at a time; two that are get `WriterBusy` from each other.
    /// The grant ends with the leadership in which it was given, even if that comes back.
    pub fn grant_write(&mut self) {
        self.pages.grant(&self.attachment);
    }

    /// Commits from now on are held: each is in no record before [`let_go`](Self::let_go), so that what belongs to it can be
    /// made known first.
    pub fn hold_commits(&mut self) {
        let _was = self.attachment.set_holds(true);
    }

    /// The commit that made this version may be taken into a record, and later commits are not held any more. Does nothing if
    /// none are held.
    pub fn let_go(&mut self, commit: Option<Version>) {
        if self.attachment.set_holds(false)
            && let Some(version) = commit
        {
            self.pages.let_go_of(version);
        }
    }

    /// Makes a version in which nothing has changed, so that the next record carries what the layer above adds to it. To be called
    /// while granted, outside of transactions.
    pub fn commit_nothing(&mut self) -> Result<Version, SqlError> {
        self.pages.publish_nothing(&self.attachment)
    }

    /// The turn is over. An open write transaction is rolled back.
    pub fn revoke_write(&mut self) {
        self.attachment.revoke();
        if self.is_writing() {
            for id in self.statements.running() {
                self.end_run(id);
            }
            if self.in_transaction()
                && let Err(error) = self.execute("ROLLBACK")
            {
                tracing::debug!(%error, "rolling back a writer whose turn is over");
            }
        }
    }

    /// Whether a write transaction is open, so that the turn must not end yet.
    pub fn is_writing(&self) -> bool {
        self.database.is_writing()
    }

    /// Whether a transaction, or a statement in the middle of its run, has a version pinned: what it reads cannot change.
    pub fn is_reading(&self) -> bool {
        self.database.is_reading()
    }

    /// The version that the last commit made, once. `None` if nothing was committed since the last call.
    pub fn take_commit(&mut self) -> Option<Version> {
        self.attachment.take_commit()
    }

    /// The version that the current or last transaction reads or made. Answers must wait until it is committed.
    pub fn seen(&self) -> Version {
        self.attachment.seen()
    }

    // ---- limits ----

    /// For stopping a statement from outside.
    pub fn interrupt_handle(&self) -> InterruptHandle {
        InterruptHandle(Arc::clone(&self.limits))
    }

    /// When statements are to be stopped; those that run, and those begun later.
    pub fn set_deadline(&mut self, deadline: Option<Instant>) {
        self.limits.set_deadline(deadline);
    }

    /// How many virtual machine steps each run may take. Counted by the thousand.
    pub fn set_step_budget(&mut self, steps: Option<u64>) {
        self.limits.set_budget(steps.map(|steps| steps.next_multiple_of(u64::from(STEPS_BETWEEN))));
    }

    /// Whether leadership was lost under it: every further use fails with `LeadershipLost`.
    pub fn poisoned(&self) -> bool {
        self.attachment.poisoned().is_some()
    }

    /// Rolls back what is open and closes. Dropping does the same.
    pub fn close(self) {}

    // ---- errors ----

    fn forget_faults(&self) {
        drop(self.attachment.take_fault());
        drop(self.hooks.take_refusal());
    }

    fn error_of(&self, code: c_int) -> SqlError {
        self.error(self.database.failure(code))
    }

    fn error(&self, failure: Failure) -> SqlError {
        // SQLite reports what the authorizer refused with different codes.
        if let Some(refusal) = self.hooks.take_refusal() {
            return refusal;
        }
        if failure.extended & 0xFF == sys::SQLITE_INTERRUPT {
            return self.limits.error();
        }
        own_error(&self.attachment, failure)
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.statements.clear();
    }
}

/// The error in our own terms, if the VFS has left a word on it, else SQLite's.
fn own_error(attachment: &Attachment, failure: Failure) -> SqlError {
    let fault = attachment.take_fault();
    match (failure.extended & 0xFF, fault) {
        (
            sys::SQLITE_IOERR
            | sys::SQLITE_BUSY
            | sys::SQLITE_FULL
            | sys::SQLITE_CORRUPT
            | sys::SQLITE_CANTOPEN
            | sys::SQLITE_NOTADB
            | sys::SQLITE_READONLY,
            Some(fault),
        ) => fault,
        _ => SqlError::Sqlite { extended: failure.extended, message: failure.message, offset: failure.offset },
    }
}
