//! One client's connection to one database: statements, transactions, and when each answer may leave.
//!
//! ```text
//!          first write: fair queue, then the slot          COMMIT, ROLLBACK, or autocommit
//!   Idle ────────────────────────────────────────▶ Writing ───────────────────────────────▶ Idle
//!    │  BEGIN and a read: a version is pinned          ▲  │ idle limit: rolled back
//!    └────────────────────────────────────▶ Reading ───┘  └ leadership lost: the session ends
//! ```
//!
//! An answer leaves only when everything it rests on is committed: a write waits for its own version, and whatever a
//! writer saw of the speculative head waits for that.

mod cursor;
mod options;
mod slot;

pub use cursor::{Columns, Fetch, Flow, Row, RowSink};
pub use options::{BadName, SessionOptions, Statement};

use crate::answers::{Answer, Known, Outcome, WriteId};
use crate::database::Database;
use crate::{ReadLevel, StoreError};
use cursor::{Cursor, NoRows, Pausing};
use rt::time::Instant;
use slot::Slot;
use sqlite::{Connection, InterruptHandle, Prepared, SqlError, StatementId, ValueRef};
use std::collections::BTreeMap;
use std::sync::Arc;
use tokio::sync::OwnedMutexGuard;

/// Statements that took at most this many virtual machine steps when they last ran are run on the caller's thread.
const CHEAP_STEPS_MAX: u64 = 2_000;
/// A statement that was thought cheap is moved to a blocking thread when it passes this many steps.
const INLINE_STEPS_MAX: u64 = 20_000;

/// How many statements' costs are remembered.
const COSTS_MAX: usize = 512;

/// A client's session on one database. It owns its SQLite connection: temporary tables, pragmas and prepared statements
/// are its own. Dropping it rolls back what is open.
#[derive(Debug)]
pub struct Session {
    database: Arc<Database>,
    options: SessionOptions,
    /// Lent to a blocking thread while a long statement runs; gone if the waiting future was dropped meanwhile.
    connection: Option<Box<Connection>>,
    interrupt: InterruptHandle,
    slot: Option<Slot>,
    cursor: Option<Cursor>,
    /// Whether the open transaction's reads were admitted: the version it reads is pinned.
    admitted: bool,
    last_used: Instant,
    expired: bool,
    costs: BTreeMap<StatementId, Cost>,
}

/// Steps of SQLite's virtual machine that a statement took.
#[derive(Debug, Clone, Copy, Default)]
struct Cost {
    total: u64,
    last: u64,
}

impl Session {
    /// Opens a session. The database must be open on this node.
    pub fn open(database: Arc<Database>, options: SessionOptions) -> Result<Self, StoreError> {
        if !database.is_available() {
            return Err(StoreError::Importing { name: database.name().clone() });
        }
        let connection = Box::new(database.connect()?);
        let interrupt = connection.interrupt_handle();
        Ok(Self {
            database,
            options,
            connection: Some(connection),
            interrupt,
            slot: None,
            cursor: None,
            admitted: false,
            last_used: Instant::now(),
            expired: false,
            costs: BTreeMap::new(),
        })
    }

    /// The session's choices.
    pub fn options(&self) -> SessionOptions {
        self.options
    }

    /// The database it works on.
    pub fn database(&self) -> &Arc<Database> {
        &self.database
    }

    /// Stops whatever statement is running, from another thread or task.
    pub fn interrupt_handle(&self) -> InterruptHandle {
        self.interrupt.clone()
    }

    /// Whether a transaction is open.
    pub fn in_transaction(&self) -> bool {
        self.connection.as_ref().is_some_and(|c| c.in_transaction())
    }

    /// When the open transaction's patience with its client ends; none unless it holds the writer's slot. Whoever serves
    /// the client calls [`expire`](Self::expire) then.
    pub fn idle_deadline(&self) -> Option<Instant> {
        self.slot.as_ref().map(|_| self.last_used + self.options.idle_max)
    }

    /// Rolls back the transaction that was idle for too long and lets the next writer in. The next request learns of it.
    pub fn expire(&mut self) {
        self.rollback();
        self.expired = true;
    }

    /// Rolls back what is open and gives the writer's slot back.
    pub fn rollback(&mut self) {
        self.close_query();
        if let Some(connection) = self.connection.as_mut()
            && connection.in_transaction()
            && let Err(error) = connection.execute("ROLLBACK")
        {
            tracing::debug!(%error, "a transaction had ended before it was rolled back");
        }
        self.leave_slot();
    }

    /// Prepares the first statement of `sql`.
    pub fn prepare(&mut self, sql: &str) -> Result<Prepared, StoreError> {
        Ok(self.connection()?.prepare(sql)?)
    }

    /// Forgets a prepared statement.
    pub fn finalize(&mut self, statement: StatementId) -> Result<(), StoreError> {
        if self.cursor.is_some_and(|c| c.statement == statement) {
            self.close_query();
        }
        let connection = self.connection()?;
        connection.readonly(statement).map_err(|_| StoreError::NoSuchStatement)?;
        connection.finalize(statement);
        self.costs.remove(&statement);
        Ok(())
    }

    /// Runs a statement for its effect and answers when the effect is on a majority's disks. SQL text may hold several
    /// statements; they run one after another, each taking its own number of parameters, and the last one's outcome is
    /// the answer. Rows of a writing statement are dropped; a reading statement that makes rows is refused.
    ///
    /// Not cancel-safe: a dropped future may or may not have committed.
    pub async fn execute(&mut self, statement: Statement<'_>, params: &[ValueRef<'_>]) -> Result<Outcome, StoreError> {
        let (mut sql, mut params) = match statement {
            Statement::Prepared(id) => return self.execute_one(id, params, None).await,
            Statement::Sql(sql) => (sql, params),
        };
        let mut outcome = Outcome::default();
        loop {
            let prepared = self.connection()?.prepare_cached(sql)?;
            sql = sql.get(prepared.tail..).unwrap_or_default();
            let Some(id) = prepared.statement else { return Ok(outcome) };
            let (mine, others) = params.split_at_checked(prepared.params).unwrap_or((params, &[]));
            params = others;
            // The last statement gets what is left over, so that too many parameters are an error of SQLite's own words.
            let mine = if sql.trim().is_empty() && !others.is_empty() {
                params = &[];
                &[mine, others].concat()
            } else {
                mine
            };
            let result = self.execute_one(id, mine, None).await;
            self.release(id);
            outcome = result?;
        }
    }

    /// Runs one autocommit statement at most once: a repeated `id` returns the first answer without running anything.
    ///
    /// Safe to repeat after [`StoreError::OutcomeUnknown`], on any session of the leader.
    pub async fn execute_once(
        &mut self,
        id: WriteId,
        sql: &str,
        params: &[ValueRef<'_>],
    ) -> Result<Outcome, StoreError> {
        // Under the slot no other attempt of the same write can run, so what is known is all there is.
        self.take_slot().await?;
        match self.database.known(id) {
            (Known::New, _) => {}
            (Known::Overtaken { latest }, _) => {
                self.leave_slot();
                return Err(StoreError::SequenceOvertaken { client: id.client, sequence: id.sequence, latest });
            }
            (Known::Answered(outcome), at) => {
                let reign = self.slot.as_ref().map_or(0, |s| s.reign);
                self.leave_slot();
                self.database.await_commit(at, reign).await?;
                return Ok(outcome);
            }
        }
        let prepared = self.connection()?.prepare_cached(sql);
        let statement = match prepared {
            Ok(Prepared { statement: Some(statement), .. }) => statement,
            Ok(_) => {
                self.leave_slot();
                return Ok(Outcome::default());
            }
            Err(error) => {
                self.leave_slot();
                return Err(error.into());
            }
        };
        let result = self.execute_one(statement, params, Some(id)).await;
        self.release(statement);
        result
    }

    async fn execute_one(
        &mut self,
        statement: StatementId,
        params: &[ValueRef<'_>],
        id: Option<WriteId>,
    ) -> Result<Outcome, StoreError> {
        let (sink, result) = self.run(statement, params, NoRows::default(), id).await;
        let connection = self.connection()?;
        let refused = sink.rows && connection.readonly(statement)?;
        connection.reset(statement)?;
        let (_, outcome) = result?;
        if refused { Err(sql_error(1, "rows yielded when none expected for EXEC request")) } else { Ok(outcome) }
    }

    /// Starts a query and gathers its first rows. `More` means that [`fetch`](Self::fetch) goes on; the query also ends
    /// with [`close_query`](Self::close_query) or with the next statement. The sink comes back in any case.
    ///
    /// A statement that writes runs to its end, whatever the sink says, and its rows are answered when they are durable.
    pub async fn query<S: RowSink>(
        &mut self,
        statement: Statement<'_>,
        params: &[ValueRef<'_>],
        sink: S,
    ) -> (S, Result<Fetch, StoreError>) {
        self.close_query();
        let (id, cached) = match statement {
            Statement::Prepared(id) => (id, false),
            Statement::Sql(sql) => match self.prepare_single(sql) {
                Ok(id) => (id, true),
                Err(error) => return (sink, Err(error)),
            },
        };
        self.cursor = Some(Cursor { statement: id, cached });
        let (sink, result) = self.run(id, params, sink, None).await;
        let result = result.map(|(fetch, _)| fetch);
        if !matches!(result, Ok(Fetch::More)) {
            self.close_query();
        }
        (sink, result)
    }

    /// Gathers more rows of the query that is open.
    pub async fn fetch<S: RowSink>(&mut self, sink: S) -> (S, Result<Fetch, StoreError>) {
        self.last_used = Instant::now();
        let Some(cursor) = self.cursor else { return (sink, Ok(Fetch::Done)) };
        let (sink, result) = self.step_blocking(cursor.statement, sink, Pausing::Allowed).await;
        if !matches!(result, Ok(Fetch::More)) {
            self.close_query();
        }
        (sink, result)
    }

    /// Ends the open query, if there is one.
    pub fn close_query(&mut self) {
        if let Some(cursor) = self.cursor.take()
            && let Some(connection) = self.connection.as_mut()
        {
            if let Err(error) = connection.reset(cursor.statement) {
                tracing::debug!(%error, "a query ended with an error that its client no longer waits for");
            }
            if cursor.cached {
                connection.release(cursor.statement);
            }
        }
        if !self.in_transaction() {
            self.admitted = false;
        }
    }

    fn prepare_single(&mut self, sql: &str) -> Result<StatementId, StoreError> {
        let connection = self.connection()?;
        let prepared = connection.prepare_cached(sql)?;
        let Some(id) = prepared.statement else { return Err(sql_error(0, "empty statement")) };
        let tail = sql.get(prepared.tail..).unwrap_or_default();
        if !tail.trim().is_empty() {
            connection.release(id);
            return Err(sql_error(1, "nonempty statement tail"));
        }
        Ok(id)
    }

    /// Admits, binds and runs a statement until it ends or the sink pauses, and waits for what the answer rests on.
    async fn run<S: RowSink>(
        &mut self,
        statement: StatementId,
        params: &[ValueRef<'_>],
        mut sink: S,
        id: Option<WriteId>,
    ) -> (S, Result<(Fetch, Outcome), StoreError>) {
        self.last_used = Instant::now();
        if let Err(error) = self.admit(statement).await {
            return (sink, Err(error));
        }
        let numbered = match id {
            Some(_) => Some(Arc::clone(&self.database.core().numbered).lock_owned().await),
            None => None,
        };
        let deadline = self.options.statement_max.map(|d| Instant::now() + d);
        let (pausing, cheap) = match self.connection() {
            Ok(connection) => {
                connection.set_deadline(deadline);
                if let Err(error) = bind(connection, statement, params) {
                    self.leave_slot_unless_in_transaction();
                    return (sink, Err(error.into()));
                }
                let readonly = connection.readonly(statement).unwrap_or(true);
                cursor::begin(connection, statement, &mut sink);
                let cheap = self.costs.get(&statement).is_some_and(|cost| cost.last <= CHEAP_STEPS_MAX);
                (if readonly { Pausing::Allowed } else { Pausing::Refused }, cheap)
            }
            Err(error) => return (sink, Err(error)),
        };
        let mut result = None;
        if cheap && let Some(connection) = self.connection.as_mut() {
            // A write in an open transaction cannot be run twice: stopping it rolls the transaction back.
            let again = pausing == Pausing::Allowed || !connection.in_transaction();
            connection.set_step_budget(again.then_some(INLINE_STEPS_MAX));
            match cursor::run(connection, statement, &mut sink, pausing) {
                Err(SqlError::BudgetExceeded { .. }) => {
                    rt::sometimes!("a statement thought cheap was moved to a blocking thread");
                    cursor::begin(connection, statement, &mut sink);
                }
                done => result = Some(done.map_err(StoreError::from)),
            }
            connection.set_step_budget(None);
        }
        let (sink, result) = match result {
            Some(result) => (sink, result),
            None => self.step_blocking(statement, sink, pausing).await,
        };
        self.note_cost(statement);
        let answer_to = id.filter(|_| result.is_ok());
        let settled = self.settle(answer_to, numbered).await;
        let result = match (result, settled) {
            (Ok(fetch), Ok(outcome)) => Ok((fetch, outcome)),
            (Err(error), Ok(_)) | (_, Err(error)) => Err(error),
        };
        (sink, result)
    }

    async fn step_blocking<S: RowSink>(
        &mut self,
        statement: StatementId,
        mut sink: S,
        pausing: Pausing,
    ) -> (S, Result<Fetch, StoreError>) {
        let Some(mut connection) = self.connection.take() else {
            return (sink, Err(StoreError::OutcomeUnknown));
        };
        let run = rt::blocking::run(move || {
            let result = cursor::run(&mut connection, statement, &mut sink, pausing);
            (connection, sink, result)
        });
        // The closure returns the sink; if it panicked there is no sink to return, and the panic goes on in this task,
        // where the session's owner catches it.
        match run.await {
            Ok((connection, sink, result)) => {
                self.connection = Some(connection);
                (sink, result.map_err(StoreError::from))
            }
            Err(end) => std::panic::resume_unwind(Box::new(end.to_string())),
        }
    }

    /// Lets a statement begin: reads when their level allows, writes when the slot is this session's.
    async fn admit(&mut self, statement: StatementId) -> Result<(), StoreError> {
        if self.expired && !self.in_transaction() {
            self.expired = false;
            return Err(StoreError::TransactionIdle { idle: self.options.idle_max });
        }
        let connection = self.connection()?;
        if connection.poisoned() {
            return Err(SqlError::LeadershipLost.into());
        }
        let readonly = connection.readonly(statement).map_err(|_| StoreError::NoSuchStatement)?;
        if self.slot.is_some() {
            return Ok(());
        }
        if !readonly {
            return self.take_slot().await;
        }
        if !self.admitted {
            self.database.fresh(self.options.read, self.options.leader_only, self.options.wait_max).await?;
            self.admitted = self.in_transaction();
        }
        Ok(())
    }

    async fn take_slot(&mut self) -> Result<(), StoreError> {
        if self.slot.is_some() {
            return Ok(());
        }
        // What the statement reads must be the newest: a leader that was replaced without knowing it fails here.
        self.database.fresh(ReadLevel::Linearizable, true, self.options.wait_max).await?;
        let slot = Slot::take(&self.database, self.options.wait_max).await?;
        self.connection()?.grant_write();
        self.slot = Some(slot);
        Ok(())
    }

    fn leave_slot(&mut self) {
        if let Some(connection) = self.connection.as_mut() {
            connection.revoke_write();
        }
        self.slot = None;
        self.admitted = false;
    }

    fn leave_slot_unless_in_transaction(&mut self) {
        if !self.in_transaction() {
            self.leave_slot();
        }
    }

    /// After a statement: hands its commit to the replicator, lets the next writer in, and waits for durability.
    async fn settle(
        &mut self,
        id: Option<WriteId>,
        numbered: Option<OwnedMutexGuard<()>>,
    ) -> Result<Outcome, StoreError> {
        let database = Arc::clone(&self.database);
        let Some(connection) = self.connection.as_mut() else { return Ok(Outcome::default()) };
        let outcome =
            Outcome { last_insert_rowid: connection.last_insert_rowid(), rows_affected: connection.changes() };
        let Some(reign) = self.slot.as_ref().map(|slot| slot.reign) else {
            // A read: what it saw was committed.
            if self.cursor.is_none() && !connection.in_transaction() {
                self.admitted = false;
            }
            return Ok(outcome);
        };
        let own = connection.take_commit();
        let rests_on = own.unwrap_or_default().max(connection.seen());
        if let Some(version) = own {
            database.committed_locally(version, id.map(|id| Answer { id, outcome }));
        }
        drop(numbered);
        self.leave_slot_unless_in_transaction();
        database.await_commit(rests_on, reign).await?;
        Ok(outcome)
    }

    /// Remembers how many steps the statement took, for where it runs next time.
    fn note_cost(&mut self, statement: StatementId) {
        let Some(total) = self.connection.as_ref().and_then(|c| c.vm_steps(statement).ok()) else { return };
        if self.costs.len() > COSTS_MAX {
            self.costs.clear();
        }
        let cost = self.costs.entry(statement).or_default();
        *cost = Cost { last: total.saturating_sub(cost.total), total };
    }

    fn release(&mut self, statement: StatementId) {
        if let Some(connection) = self.connection.as_mut() {
            connection.release(statement);
        }
    }

    fn connection(&mut self) -> Result<&mut Connection, StoreError> {
        self.connection.as_deref_mut().ok_or(StoreError::OutcomeUnknown)
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        // The connection goes before the slot: the next writer must not meet this one's transaction.
        self.connection = None;
        self.slot = None;
    }
}

fn sql_error(code: i32, message: &str) -> StoreError {
    SqlError::Sqlite { extended: code, message: message.to_owned(), offset: None }.into()
}

/// Binds what was given; parameters without a value are NULL, as dqlite has it.
fn bind(connection: &mut Connection, statement: StatementId, params: &[ValueRef<'_>]) -> Result<(), SqlError> {
    connection.clear_bindings(statement)?;
    (1..).zip(params).try_for_each(|(index, value)| connection.bind(statement, index, *value))
}
