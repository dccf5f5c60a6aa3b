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
mod desk;
mod options;
mod slot;

pub use cursor::{Columns, Fetch, Flow, Row, RowSink};
pub(crate) use desk::is_definition;
pub use options::{BadName, SessionOptions, Statement};

use crate::answers::{Known, Outcome, WriteId};
use crate::database::{Database, Phase};
use crate::{Command, ReadLevel, StoreError, Value};
use cursor::{Begin, Cursor, NoRows, Pausing};
use desk::{Desk, Job, Settled, is_blank};
use rt::time::Instant;
use slot::Slot;
use sqlite::{Connection, InterruptHandle, Prepared, SqlError, StatementId, ValueRef};
use std::sync::Arc;

/// Whether the freshness of the state that a statement will read was established a moment ago.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Freshness {
    Established,
    Open,
}

/// A client's session on one database. It owns its SQLite connection: temporary tables, pragmas and prepared statements
/// are its own. Dropping it rolls back what is open.
#[derive(Debug)]
pub struct Session {
    database: Arc<Database>,
    options: SessionOptions,
    /// Lent to a blocking thread while a long statement runs; gone if the waiting future was dropped meanwhile.
    desk: Option<Box<Desk>>,
    interrupt: InterruptHandle,
    cursor: Option<Cursor>,
    last_used: Instant,
    expired: bool,
    is_given_back: bool,
}

impl Drop for Session {
    fn drop(&mut self) {
        // What runs on another thread for a future that was dropped is stopped, and gives the writer's slot back.
        if self.desk.is_none() && !self.is_given_back {
            self.interrupt.abandon();
        }
    }
}

impl Session {
    /// Opens a session. The database must be open on this node.
    pub fn open(database: Arc<Database>, options: SessionOptions) -> Result<Self, StoreError> {
        Self::begin(database, options, Database::connect)
    }

    /// Like [`open`](Self::open), on a connection that an earlier session has given back if there is one: it has read the schema and
    /// keeps statements prepared. For the product's own requests.
    pub(crate) fn open_kept(database: Arc<Database>, options: SessionOptions) -> Result<Self, StoreError> {
        Self::begin(database, options, |database| database.kept().take().map_or_else(|| database.connect(), Ok))
    }

    fn begin(
        database: Arc<Database>,
        options: SessionOptions,
        connect: impl FnOnce(&Database) -> Result<Connection, StoreError>,
    ) -> Result<Self, StoreError> {
        match database.phase() {
            Phase::Open => {}
            Phase::Importing => return Err(StoreError::Importing { name: database.name().clone() }),
            Phase::Closing => return Err(StoreError::NotOpen { state: "closing" }),
        }
        let connection = connect(&database)?;
        let interrupt = connection.interrupt_handle();
        let desk = Some(Box::new(Desk::new(connection, Arc::clone(database.core()))));
        Ok(Self {
            database,
            options,
            desk,
            interrupt,
            cursor: None,
            last_used: Instant::now(),
            expired: false,
            is_given_back: false,
        })
    }

    /// Ends the session and keeps its connection for the next [`open_kept`](Self::open_kept). To be called only after nothing has
    /// failed, and nothing was done that outlives a session: temporary tables, pragmas.
    pub(crate) fn give_back(mut self) {
        let is_idle =
            |desk: &Desk| desk.slot.is_none() && !desk.connection.in_transaction() && !desk.connection.is_reading();
        if self.cursor.is_none()
            && let Some(desk) = self.desk.take_if(|desk| is_idle(desk))
        {
            self.is_given_back = true;
            self.database.kept().keep(desk.connection);
        }
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
        self.desk.as_ref().is_some_and(|desk| desk.connection.in_transaction())
    }

    /// When the open transaction's patience with its client ends; none unless it holds the writer's slot. Whoever serves
    /// the client calls [`expire`](Self::expire) then.
    pub fn idle_deadline(&self) -> Option<Instant> {
        self.desk.as_ref()?.slot.as_ref().map(|_| self.last_used + self.options.idle_max)
    }

    /// Rolls back the transaction that was idle for too long and lets the next writer in. The next request learns of it.
    pub fn expire(&mut self) {
        self.rollback();
        self.expired = true;
    }

    /// Rolls back what is open and gives the writer's slot back.
    pub fn rollback(&mut self) {
        self.close_query();
        let Some(desk) = self.desk.as_mut() else { return };
        if desk.connection.in_transaction()
            && let Err(error) = desk.connection.execute("ROLLBACK")
        {
            tracing::debug!(%error, "a transaction had ended before it was rolled back");
        }
        desk.leave_slot();
    }

    /// Prepares the first statement of `sql`.
    pub fn prepare(&mut self, sql: &str) -> Result<Prepared, StoreError> {
        Ok(self.desk()?.prepare(sql)?)
    }

    /// Forgets a prepared statement.
    pub fn finalize(&mut self, statement: StatementId) -> Result<(), StoreError> {
        if self.cursor.is_some_and(|c| c.statement == statement) {
            self.close_query();
        }
        let connection = &mut self.desk()?.connection;
        connection.readonly(statement).map_err(|_| StoreError::NoSuchStatement)?;
        connection.finalize(statement);
        Ok(())
    }

    /// Runs a statement for its effect and answers when the effect is on a majority's disks. SQL text may hold several
    /// statements; they run one after another, each taking its own number of parameters, and the last one's outcome is
    /// the answer. Rows of a writing statement are dropped; a reading statement that makes rows is refused.
    ///
    /// Not cancel-safe: a dropped future may or may not have committed.
    pub async fn execute(&mut self, statement: Statement<'_>, params: &[ValueRef<'_>]) -> Result<Outcome, StoreError> {
        self.close_query();
        self.tell_expired()?;
        let (mut sql, mut params) = match statement {
            Statement::Prepared(id) => return self.execute_one(id, params, None, Freshness::Open).await,
            Statement::Sql(sql) => (sql, params),
        };
        let mut outcome = Outcome::default();
        loop {
            let (prepared, freshness) = self.prepare_fresh(sql).await?;
            sql = sql.get(prepared.tail..).unwrap_or_default();
            let Some(id) = prepared.statement else { return Ok(outcome) };
            let is_last = is_blank(sql);
            let (mine, others) = params.split_at_checked(prepared.params).unwrap_or((params, &[]));
            // The last statement gets what is left over, so that too many parameters are an error of SQLite's own words.
            let mine = if is_last { params } else { mine };
            params = others;
            let result = self.execute_one(id, mine, None, freshness).await;
            self.release(id);
            outcome = result?;
            if is_last {
                return Ok(outcome);
            }
        }
    }

    /// Runs one statement that commits by itself at most once: a repeated `id` returns the first answer without running
    /// anything. A statement that fails leaves no answer; one that only reads runs again.
    ///
    /// Safe to repeat after [`StoreError::OutcomeUnknown`], on any session of the leader; also if the future was dropped.
    pub async fn execute_once(
        &mut self,
        id: WriteId,
        sql: &str,
        params: &[ValueRef<'_>],
    ) -> Result<Outcome, StoreError> {
        self.close_query();
        self.tell_expired()?;
        if self.in_transaction() {
            return Err(sql_error(1, "a numbered write cannot be part of an open transaction"));
        }
        // Under the slot no other attempt of the same write can run, so what is known is all there is.
        let reign = self.take_slot(Freshness::Open).await?;
        let known = self.database.core().known(id);
        if let (Known::New, _) = known {
            let result = match self.prepare_numbered(sql) {
                Ok(statement) => {
                    let result = self.execute_one(statement, params, Some(id), Freshness::Established).await;
                    self.release(statement);
                    result
                }
                Err(error) => Err(error),
            };
            if let Some(desk) = self.desk.as_mut() {
                desk.leave_slot_unless_in_transaction();
            }
            return result;
        }
        self.desk()?.leave_slot();
        self.database.await_commit(known.1, reign).await?;
        match known.0 {
            Known::Overtaken { latest } => {
                Err(StoreError::SequenceOvertaken { client: id.client, sequence: id.sequence, latest })
            }
            Known::Answered(outcome) => Ok(outcome),
            Known::New => Err(StoreError::Internal("a write is new and known".to_owned())),
        }
    }

    fn prepare_numbered(&mut self, sql: &str) -> Result<StatementId, StoreError> {
        let desk = self.desk()?;
        let prepared = desk.prepare_cached(sql)?;
        let statement = single(desk, sql, &prepared)?;
        if desk.is_control(statement) {
            desk.connection.release(statement);
            return Err(sql_error(1, "a numbered write is one statement that commits by itself"));
        }
        Ok(statement)
    }

    async fn execute_one(
        &mut self,
        statement: StatementId,
        params: &[ValueRef<'_>],
        id: Option<WriteId>,
        freshness: Freshness,
    ) -> Result<Outcome, StoreError> {
        let (sink, result) = self.run(statement, params, NoRows::default(), id, freshness).await;
        let mut refused = false;
        if let Some(desk) = self.desk.as_mut() {
            refused = sink.rows && desk.connection.readonly(statement).unwrap_or(false);
            // What a reset can fail with was told by the run.
            desk.connection.reset(statement).ok();
        }
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
        if let Err(error) = self.tell_expired() {
            return (sink, Err(error));
        }
        let (id, cached, freshness) = match statement {
            Statement::Prepared(id) => (id, false, Freshness::Open),
            Statement::Sql(sql) => match self.prepare_single(sql, params.len()).await {
                Ok((id, freshness)) => (id, true, freshness),
                Err(error) => return (sink, Err(error)),
            },
        };
        self.cursor = Some(Cursor { statement: id, cached });
        let (sink, result) = self.run(id, params, sink, None, freshness).await;
        let result = result.map(|(fetch, _)| fetch);
        if !matches!(result, Ok(Fetch::More)) {
            self.close_query();
        }
        (sink, result)
    }

    /// Gathers more rows of the query that is open.
    pub async fn fetch<S: RowSink>(&mut self, sink: S) -> (S, Result<Fetch, StoreError>) {
        if let Err(error) = self.tell_expired() {
            return (sink, Err(error));
        }
        let Some(cursor) = self.cursor else { return (sink, Ok(Fetch::Done)) };
        let job = Job { statement: cursor.statement, pausing: Pausing::Allowed, begin: Begin::Before, id: None };
        let (sink, result) = self.run_blocking(job, sink).await;
        let result = result.map(|(fetch, _)| fetch);
        self.last_used = Instant::now();
        if !matches!(result, Ok(Fetch::More)) {
            self.close_query();
        }
        (sink, result)
    }

    /// Ends the open query, if there is one.
    pub fn close_query(&mut self) {
        if let Some(cursor) = self.cursor.take()
            && let Some(desk) = self.desk.as_mut()
        {
            if let Err(error) = desk.connection.reset(cursor.statement) {
                tracing::debug!(%error, "a query ended with an error that its client no longer waits for");
            }
            if cursor.cached {
                desk.connection.release(cursor.statement);
            }
        }
    }

    /// Prepares SQL text on a state as fresh as its reads must be: what it names may have been made by a commit that was
    /// acknowledged elsewhere.
    async fn prepare_fresh(&mut self, sql: &str) -> Result<(Prepared, Freshness), StoreError> {
        let desk = self.desk()?;
        if desk.slot.is_some() || desk.connection.is_reading() {
            return Ok((desk.prepare_cached(sql)?, Freshness::Open));
        }
        // COMMIT and ROLLBACK of a transaction that has read nothing need nobody.
        if desk.connection.in_transaction()
            && let Ok(prepared) = desk.prepare_cached(sql)
        {
            match prepared.statement {
                Some(id) if !desk.is_control(id) => desk.connection.release(id),
                _ => return Ok((prepared, Freshness::Open)),
            }
        }
        self.database.fresh(self.options.read, self.options.leader_only, self.options.wait_max).await?;
        Ok((self.desk()?.prepare_cached(sql)?, Freshness::Established))
    }

    async fn prepare_single(&mut self, sql: &str, given: usize) -> Result<(StatementId, Freshness), StoreError> {
        let one_read = self.options.one_read;
        let (prepared, freshness) = self.prepare_fresh(sql).await?;
        if one_read && prepared.params != given {
            return Err(SqlError::ParameterCount { wanted: prepared.params, given }.into());
        }
        Ok((single(self.desk()?, sql, &prepared)?, freshness))
    }

    /// Runs the `number`th statement of a transaction that somebody else begins and ends.
    pub(crate) async fn execute_part(&mut self, number: usize, command: &Command) -> Result<Outcome, StoreError> {
        let desk = self.desk()?;
        let prepared = desk.prepare_cached(&command.sql)?;
        let id = single(desk, &command.sql, &prepared).map_err(|_| StoreError::OneStatement { number })?;
        let given = command.params.len();
        let writes = !desk.connection.readonly(id)? && !desk.connection.is_explain(id)?;
        let is_write = writes || command.is_definition();
        let before = desk.connection.total_changes();
        let result = if !is_write {
            Err(StoreError::WritesOnly { number })
        } else if prepared.params != given {
            Err(SqlError::ParameterCount { wanted: prepared.params, given }.into())
        } else {
            let params: Vec<_> = command.params.iter().map(Value::as_ref).collect();
            self.execute_one(id, &params, None, Freshness::Established).await
        };
        self.release(id);
        let mut outcome = result?;
        if self.desk()?.connection.total_changes() == before {
            // SQLite still says what the statement before it did.
            outcome.rows_affected = 0;
        }
        Ok(outcome)
    }

    /// Admits, binds and runs a statement until it ends or the sink pauses, and waits for what the answer rests on.
    async fn run<S: RowSink>(
        &mut self,
        statement: StatementId,
        params: &[ValueRef<'_>],
        mut sink: S,
        id: Option<WriteId>,
        freshness: Freshness,
    ) -> (S, Result<(Fetch, Outcome), StoreError>) {
        if let Err(error) = self.admit(statement, freshness).await {
            return (sink, Err(error));
        }
        let deadline = self.options.statement_max.map(|d| Instant::now() + d);
        let Some(desk) = self.desk.as_mut() else { return (sink, Err(StoreError::OutcomeUnknown)) };
        let job = match desk.bind(statement, params, id, deadline) {
            Ok(job) => job,
            Err(error) => {
                desk.leave_slot_unless_in_transaction();
                return (sink, Err(error));
            }
        };
        // No await between the run and its settling: whoever drops this future does not lose the commit.
        let inline = if self.options.one_read { None } else { desk.run_inline(job, &mut sink) };
        let (sink, result) = match inline {
            Some(result) => (sink, desk.settle(job, result).map_err(StoreError::from)),
            None => self.run_blocking(job, sink).await,
        };
        self.last_used = Instant::now();
        let (fetch, settled) = match result {
            Ok(done) => done,
            Err(error) => return (sink, Err(error)),
        };
        if let Some((version, reign)) = settled.rests_on
            && let Err(error) = self.database.await_commit(version, reign).await
        {
            return (sink, Err(error));
        }
        (sink, Ok((fetch, settled.outcome)))
    }

    async fn run_blocking<S: RowSink>(&mut self, job: Job, mut sink: S) -> (S, Result<(Fetch, Settled), StoreError>) {
        let Some(mut desk) = self.desk.take() else {
            return (sink, Err(StoreError::OutcomeUnknown));
        };
        let run = rt::blocking::run(move || {
            let result = desk.run(job, &mut sink);
            let result = desk.settle(job, result);
            (desk, sink, result)
        });
        // The closure returns the sink; if it panicked there is no sink to return, and the panic goes on in this task,
        // where the session's owner catches it.
        match run.await {
            Ok((desk, sink, result)) => {
                self.desk = Some(desk);
                (sink, result.map_err(StoreError::from))
            }
            Err(end) => std::panic::resume_unwind(Box::new(end.to_string())),
        }
    }

    /// Tells the client once that its transaction was rolled back meanwhile.
    fn tell_expired(&mut self) -> Result<(), StoreError> {
        self.last_used = Instant::now();
        if std::mem::take(&mut self.expired) {
            return Err(StoreError::TransactionIdle { idle: self.options.idle_max });
        }
        Ok(())
    }

    /// Lets a statement begin: reads when their level allows, writes when the slot is this session's.
    async fn admit(&mut self, statement: StatementId, freshness: Freshness) -> Result<(), StoreError> {
        let SessionOptions { one_read, read_only, .. } = self.options;
        let desk = self.desk()?;
        let connection = &desk.connection;
        if connection.poisoned() {
            return Err(SqlError::LeadershipLost.into());
        }
        let readonly = connection.readonly(statement).map_err(|_| StoreError::NoSuchStatement)?;
        // To explain a statement that writes is to read.
        let readonly = readonly || connection.is_explain(statement).unwrap_or(false);
        if (read_only && !readonly) || (one_read && (!readonly || desk.is_control(statement))) {
            return Err(StoreError::ReadsOnly);
        }
        if desk.slot.is_some() {
            return Ok(());
        }
        if !readonly {
            return self.take_slot(freshness).await.map(|_reign| ());
        }
        // What is pinned stays as fresh as it was; the end of a transaction reads nothing.
        let is_pinned = connection.is_reading() || (connection.in_transaction() && desk.is_control(statement));
        if freshness == Freshness::Open && !is_pinned {
            self.database.fresh(self.options.read, self.options.leader_only, self.options.wait_max).await?;
        }
        Ok(())
    }

    /// Waits for the writer's slot; gives the reign in which it was taken.
    async fn take_slot(&mut self, freshness: Freshness) -> Result<u64, StoreError> {
        if let Some(slot) = &self.desk()?.slot {
            return Ok(slot.reign);
        }
        // What the statement reads must be the newest: a leader that was replaced without knowing it fails here.
        if freshness == Freshness::Open || self.options.read != ReadLevel::Linearizable {
            self.database.fresh(ReadLevel::Linearizable, true, self.options.wait_max).await?;
        }
        let permit = Slot::wait(&self.database, self.options.wait_max).await?;
        let core = Arc::clone(self.database.core());
        let desk = self.desk()?;
        let reign = core.grant(&mut desk.connection);
        desk.slot = Some(Slot::new(permit, reign));
        Ok(reign)
    }

    fn release(&mut self, statement: StatementId) {
        if let Some(desk) = self.desk.as_mut() {
            desk.connection.release(statement);
        }
    }

    fn desk(&mut self) -> Result<&mut Desk, StoreError> {
        self.desk.as_deref_mut().ok_or(StoreError::OutcomeUnknown)
    }
}

/// The statement that was prepared, if nothing but comments follows it.
fn single(desk: &mut Desk, sql: &str, prepared: &Prepared) -> Result<StatementId, StoreError> {
    let Some(id) = prepared.statement else { return Err(sql_error(0, "empty statement")) };
    if is_blank(sql.get(prepared.tail..).unwrap_or_default()) {
        return Ok(id);
    }
    desk.connection.release(id);
    Err(sql_error(1, "nonempty statement tail"))
}

fn sql_error(code: i32, message: &str) -> StoreError {
    SqlError::Sqlite { extended: code, message: message.to_owned(), offset: None }.into()
}
