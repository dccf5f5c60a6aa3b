//! SQL that the control API is asked for.

use super::{Node, problem};
use api::control::sql::{RowReader, SqlDone, SqlResult, SqlRows};
use api::control::{Problem, ProblemKind};
use base::DbName;
use futures::StreamExt;
use store::{Command, SessionOptions, StoreError, WriteId};

pub(super) async fn query(
    node: &Node,
    name: &DbName,
    options: SessionOptions,
    statement: Command,
) -> Result<SqlRows, Problem> {
    let session = node.store()?.session(name, options).map_err(|error| problem(&error))?;
    let started = RowReader::start(session, &statement.sql, &statement.params).await;
    let (columns, reader) = started.map_err(|error| problem(&error))?;
    let batches = futures::stream::try_unfold(reader, async |mut reader| {
        let batch = reader.next().await.map_err(|error| problem(&error))?;
        Ok(batch.map(|batch| (batch, reader)))
    });
    Ok(SqlRows { columns, batches: batches.boxed() })
}

pub(super) async fn execute(
    node: &Node,
    name: &DbName,
    statements: Vec<Command>,
    id: Option<WriteId>,
) -> Result<SqlDone, Problem> {
    let store = node.store()?;
    let outcomes = match (id, statements.as_slice()) {
        (Some(id), [statement]) => store.write_once(name, id, statement.clone()).await.map(|outcome| vec![outcome]),
        _ => store.transact_each(name, statements).await,
    };
    let outcomes = outcomes.map_err(|error| match &error {
        // No majority was there to begin with: nothing was done.
        StoreError::ReadTimeout { .. } => problem(&error).kind(ProblemKind::NotReady),
        _ => problem(&error),
    });
    let results = outcomes?.into_iter().map(|outcome| SqlResult {
        rows_affected: outcome.rows_affected,
        last_insert_rowid: outcome.last_insert_rowid,
    });
    Ok(SqlDone { results: results.collect() })
}
