//! What a statement needs to run and to be settled. It is lent as a whole to a blocking thread, so that a statement whose
//! client has gone meanwhile is settled all the same.

use super::cursor::{self, Begin, Fetch, Pausing, RowSink};
use super::slot::Slot;
use crate::StoreError;
use crate::answers::{Answer, Outcome, WriteId};
use crate::core::Core;
use base::Version;
use rt::time::Instant;
use sqlite::{Connection, Prepared, SqlError, StatementId, ValueRef};
use std::sync::Arc;
use std::time::Duration;

/// Statements that took at most this many virtual machine steps when they last ran are run on the caller's thread.
const CHEAP_STEPS_MAX: u64 = 2_000;
/// A statement that was thought cheap is moved to a blocking thread when it passes this many steps.
const INLINE_STEPS_MAX: u64 = 20_000;
/// A statement that took longer is not cheap, however few its steps: one step may read a whole table.
const CHEAP_TIME_MAX: Duration = Duration::from_millis(2);
/// The cost of a statement that looks cheap and has not run yet.
const PRESUMED: u64 = 0;

/// What a statement that ran rests on.
#[derive(Debug)]
pub(super) struct Settled {
    pub(super) outcome: Outcome,
    /// The version, and the reign in which it was the head; none if everything it saw was committed.
    pub(super) rests_on: Option<(Version, u64)>,
}

/// A statement that is to run, bound.
#[derive(Debug, Clone, Copy)]
pub(super) struct Job {
    pub(super) statement: StatementId,
    pub(super) pausing: Pausing,
    pub(super) begin: Begin,
    /// The number of the write, if it has one.
    pub(super) id: Option<WriteId>,
}

/// A connection, and the writer's slot while it has it.
#[derive(Debug)]
pub(super) struct Desk {
    // Goes before the slot: the next writer must not meet this one's transaction.
    pub(super) connection: Connection,
    pub(super) slot: Option<Slot>,
    core: Arc<Core>,
}

impl Desk {
    pub(super) fn new(connection: Connection, core: Arc<Core>) -> Self {
        Self { connection, slot: None, core }
    }

    /// Prepares a statement, and guesses what it costs.
    pub(super) fn prepare(&mut self, sql: &str) -> Result<Prepared, SqlError> {
        let prepared = self.connection.prepare(sql)?;
        self.guess_cost(&prepared, sql);
        Ok(prepared)
    }

    /// Like [`prepare`](Self::prepare), from the cache of statements.
    pub(super) fn prepare_cached(&mut self, sql: &str) -> Result<Prepared, SqlError> {
        let prepared = self.connection.prepare_cached(sql)?;
        self.guess_cost(&prepared, sql);
        Ok(prepared)
    }

    fn guess_cost(&mut self, prepared: &Prepared, sql: &str) {
        if let Some(id) = prepared.statement
            && self.connection.cost(id).is_none()
            && looks_cheap(sql)
        {
            self.connection.set_cost(id, PRESUMED);
        }
    }

    /// Whether a statement only begins or ends a transaction, or changes a setting.
    pub(super) fn is_control(&self, id: StatementId) -> bool {
        self.connection.readonly(id).unwrap_or(false) && self.connection.column_count(id) == Ok(0)
    }

    /// Gets everything ready for a statement; the caller then runs it inline or on a blocking thread.
    pub(super) fn bind(
        &mut self,
        statement: StatementId,
        params: &[ValueRef<'_>],
        id: Option<WriteId>,
        deadline: Option<Instant>,
    ) -> Result<Job, StoreError> {
        self.connection.set_deadline(deadline);
        self.connection.clear_bindings(statement)?;
        // Parameters without a value are NULL, as dqlite has it.
        (1..).zip(params).try_for_each(|(index, value)| self.connection.bind(statement, index, *value))?;
        if id.is_some() {
            self.connection.hold_commits();
        }
        let pausing = if self.connection.readonly(statement)? { Pausing::Allowed } else { Pausing::Refused };
        Ok(Job { statement, pausing, begin: Begin::Now, id })
    }

    /// Runs a statement that is thought cheap on the caller's thread. None if it is not, or has turned out not to be: it is to
    /// run from its beginning on a blocking thread then.
    pub(super) fn run_inline<S: RowSink>(&mut self, job: Job, sink: &mut S) -> Option<Result<Fetch, SqlError>> {
        let cost = self.connection.cost(job.statement)?;
        // A write in an open transaction cannot be run twice: stopping it rolls the transaction back.
        let may_restart = job.pausing == Pausing::Allowed || !self.connection.in_transaction();
        if cost > CHEAP_STEPS_MAX || (cost == PRESUMED && !may_restart) {
            return None;
        }
        self.connection.set_step_budget(may_restart.then_some(INLINE_STEPS_MAX));
        let result = self.run(job, sink);
        self.connection.set_step_budget(None);
        if matches!(result, Err(SqlError::BudgetExceeded { .. })) {
            rt::sometimes!("a statement thought cheap was moved to a blocking thread");
            return None;
        }
        Some(result)
    }

    /// Runs a statement until it ends or the sink pauses.
    pub(super) fn run<S: RowSink>(&mut self, job: Job, sink: &mut S) -> Result<Fetch, SqlError> {
        let steps = self.connection.vm_steps(job.statement)?;
        let began = Instant::now();
        let result = cursor::run(&mut self.connection, job.statement, sink, job.pausing, job.begin);
        let steps = self.connection.vm_steps(job.statement)?.saturating_sub(steps);
        let slow = if began.elapsed() > CHEAP_TIME_MAX { CHEAP_STEPS_MAX + 1 } else { PRESUMED + 1 };
        self.connection.set_cost(job.statement, steps.max(slow));
        result
    }

    /// After a statement: hands its commit to the replicator and lets the next writer in. What is left to do is to wait.
    pub(super) fn settle(&mut self, job: Job, result: Result<Fetch, SqlError>) -> Result<(Fetch, Settled), SqlError> {
        let outcome = Outcome {
            last_insert_rowid: self.connection.last_insert_rowid(),
            rows_affected: self.connection.changes(),
        };
        let Some(reign) = self.slot.as_ref().map(|slot| slot.reign) else {
            // A read: what it saw was committed.
            return Ok((result?, Settled { outcome, rests_on: None }));
        };
        let mut own = self.connection.take_commit();
        let mut result = result;
        if job.id.is_some() && own.is_none() && job.pausing == Pausing::Refused && result.is_ok() {
            // It has changed nothing; that answer must be kept, too.
            match self.connection.commit_nothing() {
                Ok(version) => own = Some(version),
                Err(error) => result = Err(error),
            }
        }
        let answer = job.id.filter(|_| result.is_ok()).map(|id| Answer { id, outcome });
        let rests_on = own.unwrap_or_default().max(self.connection.seen());
        self.core.release(&mut self.connection, own, reign, answer, rests_on);
        // A reader inside of a transaction keeps the slot while it looks at a head that may still be dropped.
        let may_leave = !self.connection.in_transaction() || rests_on <= self.core.pages.committed();
        if may_leave && !self.connection.is_writing() {
            self.leave_slot();
        }
        result.map(|fetch| (fetch, Settled { outcome, rests_on: Some((rests_on, reign)) }))
    }

    /// Gives the writer's slot back; an open write transaction is rolled back.
    pub(super) fn leave_slot(&mut self) {
        self.connection.revoke_write();
        self.slot = None;
    }

    pub(super) fn leave_slot_unless_in_transaction(&mut self) {
        if !self.connection.in_transaction() {
            self.leave_slot();
        }
    }
}

/// Whether a statement is of a kind that may touch only a few rows. That it does is seen when it runs.
fn looks_cheap(sql: &str) -> bool {
    const KINDS: [&str; 10] =
        ["SELECT", "INSERT", "UPDATE", "DELETE", "REPLACE", "WITH", "BEGIN", "COMMIT", "END", "ROLLBACK"];
    let sql = sql.trim_start();
    let word = sql.split(|c: char| !c.is_ascii_alphabetic()).next().unwrap_or_default();
    KINDS.iter().any(|kind| kind.eq_ignore_ascii_case(word))
}

/// Whether a statement is one of those that define tables, triggers and the like. SQLite says of some of them that they write nothing,
/// if what they define is there already.
pub(crate) fn is_definition(sql: &str) -> bool {
    let sql = after_blank(sql);
    let word = sql.split(|c: char| !c.is_ascii_alphabetic()).next().unwrap_or_default();
    ["CREATE", "DROP"].iter().any(|kind| kind.eq_ignore_ascii_case(word))
}

/// Whether a text holds no statement: only white space, comments and semicolons.
pub(super) fn is_blank(sql: &str) -> bool {
    after_blank(sql).is_empty()
}

/// What follows the white space, comments and semicolons at the beginning of a text.
fn after_blank(sql: &str) -> &str {
    let mut rest = sql;
    loop {
        rest = rest.trim_start_matches(|c: char| c.is_ascii_whitespace() || c == ';');
        rest = if let Some(comment) = rest.strip_prefix("--") {
            comment.split_once('\n').map_or("", |(_, after)| after)
        } else if let Some(comment) = rest.strip_prefix("/*") {
            comment.split_once("*/").map_or("", |(_, after)| after)
        } else {
            return rest;
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tail_of_comments_and_semicolons_holds_no_statement() {
        for blank in ["", " ;; \n", "-- note", "; /* a */ -- b\n ;", "/* never closed"] {
            assert!(is_blank(blank), "{blank:?}");
        }
        for statement in ["SELECT 1", "-- note\nSELECT 1", "/**/x", "; ;y", "-", "/"] {
            assert!(!is_blank(statement), "{statement:?}");
        }
    }

    #[test]
    fn definitions_are_told_by_their_first_word() {
        for sql in ["create table t(a)", " -- why\n DROP TRIGGER IF EXISTS t", "/* x */ CREATE VIEW v AS SELECT 1"] {
            assert!(is_definition(sql), "{sql:?}");
        }
        for sql in ["BEGIN", "-- CREATE\nCOMMIT", "created", "PRAGMA user_version", ""] {
            assert!(!is_definition(sql), "{sql:?}");
        }
    }

    #[test]
    fn statements_that_may_be_long_in_one_step_are_not_presumed_cheap() {
        assert!(looks_cheap(" select 1") && looks_cheap("COMMIT;") && looks_cheap("BEGIN IMMEDIATE"));
        for sql in ["PRAGMA integrity_check", "VACUUM", "ANALYZE", "CREATE INDEX i ON t(x)", "selection", ""] {
            assert!(!looks_cheap(sql), "{sql:?}");
        }
    }

    #[test]
    fn a_read_by_key_runs_on_the_callers_thread_from_the_first_time_on_and_a_long_one_never_again() {
        let dir = tempfile::tempdir().unwrap();
        let (pages, _) = sqlite::PageStore::open(dir.path(), sqlite::PageStoreOptions::default()).unwrap();
        let core = Arc::new(Core::new(pages, crate::answers::Answers::default()));
        let connection = Connection::open(&core.pages, sqlite::ConnectionOptions::default()).unwrap();
        let mut desk = Desk::new(connection, core);
        let mut runs_inline = |sql: &str| {
            let id = desk.prepare_cached(sql).unwrap().statement.unwrap();
            let job = desk.bind(id, &[], None, None).unwrap();
            let inline = desk.run_inline(job, &mut cursor::NoRows::default()).is_some();
            let cost = desk.connection.cost(id).unwrap();
            desk.connection.release(id);
            (inline, cost)
        };
        let key = "SELECT name FROM sqlite_schema WHERE rowid = 7";
        let (first, cost) = runs_inline(key);
        assert!(first && (1..=CHEAP_STEPS_MAX).contains(&cost), "{cost}");
        assert!(runs_inline(key).0);
        let long =
            "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 20000) SELECT max(i) FROM n";
        for _ in 0..2 {
            let (inline, cost) = runs_inline(long);
            assert!(!inline && cost > CHEAP_STEPS_MAX, "{cost}");
        }
    }
}
