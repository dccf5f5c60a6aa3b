//! SQL over HTTP: statements and rows as JSON.
//!
//! A query's rows come as one JSON document, or, for results of any size, as lines of JSON (`Accept: application/x-ndjson`):
//!
//! ```text
//! {"columns":["id","item"]}
//! [1,"bolt"]
//! [2,"nut"]
//! {"rows":2}
//! ```
//!
//! The last line says that all rows came. A stream that fails after its first line ends with `{"problem":{..}}` in its place.

mod places;
mod routes;
mod rows;
mod sessions;
mod values;

pub use rows::{RowBatch, RowReader};
pub use sessions::{Passage, SessionAt, SessionWanted, SqlSession, TakesOver};
pub use values::{BadParameter, from_json};

pub(super) use routes::{changes, queries};
pub(super) use sessions::{Handover, PROTOCOL, SERVED_BY, sessions};

use super::Problem;
use futures::stream::BoxStream;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// One statement with its parameters.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SqlStatement {
    /// The text of one statement.
    pub sql: String,
    /// Values for its `?`, in order: null, numbers, text, true and false (1 and 0), and `{"base64": ".."}` for bytes.
    #[serde(default)]
    pub params: Vec<serde_json::Value>,
}

/// Statements that are carried out as one transaction: all of them, or none.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SqlTransaction {
    /// The statements, in order. One at least.
    pub statements: Vec<SqlStatement>,
    /// The client's own number for it, if it is one statement: sent again with the same number, it is not carried out twice, and has
    /// the first answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<SqlWriteId>,
}

/// A client's number for one write. The numbers of a client only go up, and it waits for an answer before it takes the next.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SqlWriteId {
    /// Who writes: a number that nobody else takes, such as a random one.
    pub client: u64,
    /// Which of its writes.
    pub sequence: u64,
}

/// What each statement did, in order.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct SqlDone {
    /// One for each statement.
    pub results: Vec<SqlResult>,
}

/// What one statement did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct SqlResult {
    /// How many rows it changed.
    pub rows_affected: u64,
    /// The rowid of the last row that was inserted so far.
    pub last_insert_rowid: i64,
}

/// A result on its way out.
pub struct SqlRows {
    /// The columns' names.
    pub columns: Vec<String>,
    /// The rows, in order. An error ends it.
    pub batches: BoxStream<'static, Result<RowBatch, Problem>>,
}
