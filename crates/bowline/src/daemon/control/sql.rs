//! SQL that the control API is asked for.

use super::{Node, problem, witness};
use api::control::sql::{RowReader, SqlDone, SqlResult, SqlRows};
use api::control::{Problem, ProblemKind};
use base::DbName;
use futures::StreamExt;
use store::{Command, Session, SessionOptions, StoreError, WriteId};

pub(super) async fn query(
    node: &Node,
    name: &DbName,
    options: SessionOptions,
    statement: Command,
) -> Result<SqlRows, Problem> {
    let started = async {
        let database = match node.store()?.opened(name).await {
            Err(error @ StoreError::NoCopy { .. }) => return Err(witness::elsewhere(node, &error).await),
            opened => opened.map_err(|error| refused(&error))?,
        };
        let session = Session::open(database, options).map_err(|error| refused(&error))?;
        RowReader::start(session, &statement.sql, &statement.params).await.map_err(|error| refused(&error))
    };
    let (columns, reader) = started.await?;
    let batches = futures::stream::try_unfold(reader, async |mut reader| {
        let batch = reader.next().await.map_err(|error| problem(&error))?;
        Ok(batch.map(|batch| (batch, reader)))
    });
    Ok(SqlRows { columns, batches: batches.boxed() })
}

fn refused(error: &StoreError) -> Problem {
    match error {
        // No majority was there to begin with: nothing was done.
        StoreError::ReadTimeout { .. } => problem(error).kind(ProblemKind::NotReady),
        _ => problem(error),
    }
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
    let results = outcomes.map_err(|error| refused(&error))?.into_iter().map(|outcome| SqlResult {
        rows_affected: outcome.rows_affected,
        last_insert_rowid: outcome.last_insert_rowid,
    });
    Ok(SqlDone { results: results.collect() })
}
