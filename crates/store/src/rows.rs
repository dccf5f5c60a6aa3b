//! Whole results in memory, for the product's own small queries and for requests passed between nodes.

use crate::session::{Columns, Fetch, Flow, Row, RowSink, Session, Statement, is_definition};
use crate::{Outcome, StoreError, Value};
use serde::{Deserialize, Serialize};
use sqlite::ValueRef;

/// The most rows a whole result may have.
pub const ROWS_MAX: usize = 100_000;

/// A whole result.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Rows {
    /// The columns' names.
    pub columns: Vec<String>,
    /// The rows, each with one value per column.
    pub rows: Vec<Vec<Value>>,
}

/// One statement with its parameters.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Command {
    /// The SQL text of one statement.
    pub sql: String,
    /// Its parameters.
    pub params: Vec<Value>,
}

impl Command {
    /// A statement with parameters.
    pub fn new(sql: impl Into<String>, params: impl Into<Vec<Value>>) -> Self {
        Self { sql: sql.into(), params: params.into() }
    }

    /// Whether it defines tables, triggers and the like, or removes them.
    pub(crate) fn is_definition(&self) -> bool {
        is_definition(&self.sql)
    }
}

impl RowSink for Rows {
    fn begin(&mut self, columns: Columns<'_>) {
        self.columns = (0..columns.len()).map(|i| columns.name(i).to_owned()).collect();
        self.rows.clear();
    }

    fn row(&mut self, row: Row<'_>) -> Flow {
        self.rows.push((0..self.columns.len()).map(|i| row.value(i).into()).collect());
        if self.rows.len() > ROWS_MAX { Flow::Pause } else { Flow::Continue }
    }
}

impl Session {
    /// Runs a query and gathers its whole result, [`ROWS_MAX`] rows at most.
    pub async fn rows(&mut self, sql: &str, params: &[Value]) -> Result<Rows, StoreError> {
        let params: Vec<ValueRef<'_>> = params.iter().map(Value::as_ref).collect();
        let (rows, fetch) = self.query(Statement::Sql(sql), &params, Rows::default()).await;
        if fetch? == Fetch::More {
            self.close_query();
            return Err(StoreError::TooManyRows { limit: ROWS_MAX });
        }
        Ok(rows)
    }

    /// Runs statements as one transaction: all of them, or none. Answers what each did. Each text is one statement, which writes and has
    /// a value for each of its parameters.
    ///
    /// Not cancel-safe: a dropped future may or may not have committed.
    pub async fn transact(&mut self, commands: &[Command]) -> Result<Vec<Outcome>, StoreError> {
        let outcomes = self.transact_all(commands).await;
        if outcomes.is_err() {
            self.rollback();
        }
        outcomes
    }

    async fn transact_all(&mut self, commands: &[Command]) -> Result<Vec<Outcome>, StoreError> {
        self.execute(Statement::Sql("BEGIN IMMEDIATE"), &[]).await?;
        let mut outcomes = Vec::with_capacity(commands.len());
        for (number, command) in (1..).zip(commands) {
            outcomes.push(self.execute_part(number, command).await?);
        }
        self.execute(Statement::Sql("COMMIT"), &[]).await?;
        Ok(outcomes)
    }
}
