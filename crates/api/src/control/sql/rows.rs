//! Rows as lines of JSON, made where they are read, a batch at a time.

use super::values::{put, write_json};
use bytes::Bytes;
use store::{Columns, Fetch, Flow, Row, RowSink, Session, Statement, StoreError, Value, ValueRef};

/// As much is gathered before it is handed on, in bytes.
const BATCH_BYTES: usize = 64 << 10;

/// The largest row that is answered, in bytes.
const ROW_BYTES_MAX: usize = 16 << 20;

/// Some rows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RowBatch {
    /// One JSON array for each row, each with a line break after it.
    pub lines: Bytes,
    /// How many there are.
    pub rows: u64,
}

#[derive(Default)]
struct Lines {
    columns: Vec<String>,
    out: Vec<u8>,
    rows: u64,
    /// A row did not fit: the query fails.
    too_large: bool,
}

impl Lines {
    fn checked(&self, fetch: Result<Fetch, StoreError>) -> Result<Fetch, StoreError> {
        if self.too_large { Err(StoreError::RowTooLarge { limit: ROW_BYTES_MAX }) } else { fetch }
    }
}

/// How long a value is before it is written as text.
fn length(value: ValueRef<'_>) -> usize {
    match value {
        ValueRef::Text(bytes) | ValueRef::Blob(bytes) => bytes.len(),
        _ => 0,
    }
}

impl RowSink for Lines {
    fn begin(&mut self, columns: Columns<'_>) {
        self.columns = (0..columns.len()).map(|i| columns.name(i).to_owned()).collect();
        (self.out, self.rows) = (Vec::new(), 0);
    }

    fn row(&mut self, row: Row<'_>) -> Flow {
        let began = self.out.len();
        self.out.push(b'[');
        for i in 0..self.columns.len() {
            if i > 0 {
                self.out.push(b',');
            }
            let value = row.value(i);
            if self.out.len() - began + length(value) > ROW_BYTES_MAX {
                self.too_large = true;
                return Flow::Pause;
            }
            write_json(&mut self.out, value);
        }
        self.out.extend_from_slice(b"]\n");
        self.rows += 1;
        if self.out.len() >= BATCH_BYTES { Flow::Pause } else { Flow::Continue }
    }
}

/// A query that is read to its end, or dropped before it: then what runs is stopped.
pub struct RowReader {
    session: Session,
    lines: Lines,
    more: bool,
}

impl RowReader {
    /// Starts a query of one statement. Gives the columns' names as well.
    pub async fn start(session: Session, sql: &str, params: &[Value]) -> Result<(Vec<String>, Self), StoreError> {
        let mut session = session;
        let params: Vec<_> = params.iter().map(Value::as_ref).collect();
        let (lines, fetch) = session.query(Statement::Sql(sql), &params, Lines::default()).await;
        let more = lines.checked(fetch)? == Fetch::More;
        Ok((lines.columns.clone(), Self { session, lines, more }))
    }

    /// The next rows; none when all were given. Not cancel-safe: who drops the future drops the reader.
    pub async fn next(&mut self) -> Result<Option<RowBatch>, StoreError> {
        if self.lines.rows == 0 && self.more {
            let (lines, fetch) = self.session.fetch(std::mem::take(&mut self.lines)).await;
            self.more = lines.checked(fetch)? == Fetch::More;
            self.lines = lines;
        }
        let rows = std::mem::take(&mut self.lines.rows);
        let lines = Bytes::from(std::mem::take(&mut self.lines.out));
        Ok((rows > 0).then_some(RowBatch { lines, rows }))
    }
}

/// The first line of a stream.
pub(super) fn head(columns: &[String]) -> Bytes {
    let mut line = br#"{"columns":"#.to_vec();
    put(&mut line, columns);
    line.extend_from_slice(b"}\n");
    line.into()
}
