//! Rows as lines of JSON, made where they are read, a batch at a time.

use super::values::{put, write_json};
use bytes::Bytes;
use store::{Columns, Fetch, Flow, InterruptHandle, Row, RowSink, Session, Statement, StoreError, Value};

/// As much is gathered before it is handed on, in bytes.
const BATCH_BYTES: usize = 64 << 10;

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
}

impl RowSink for Lines {
    fn begin(&mut self, columns: Columns<'_>) {
        self.columns = (0..columns.len()).map(|i| columns.name(i).to_owned()).collect();
        (self.out, self.rows) = (Vec::new(), 0);
    }

    fn row(&mut self, row: Row<'_>) -> Flow {
        self.out.push(b'[');
        for i in 0..self.columns.len() {
            if i > 0 {
                self.out.push(b',');
            }
            write_json(&mut self.out, row.value(i));
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
    interrupt: InterruptHandle,
}

impl RowReader {
    /// Starts a query of one statement. Gives the columns' names as well.
    pub async fn start(session: Session, sql: &str, params: &[Value]) -> Result<(Vec<String>, Self), StoreError> {
        let interrupt = session.interrupt_handle();
        // From here on whoever drops this stops the query.
        let mut reader = Self { session, lines: Lines::default(), more: false, interrupt };
        let params: Vec<_> = params.iter().map(Value::as_ref).collect();
        let (lines, fetch) = reader.session.query(Statement::Sql(sql), &params, Lines::default()).await;
        (reader.lines, reader.more) = (lines, fetch? == Fetch::More);
        Ok((reader.lines.columns.clone(), reader))
    }

    /// The next rows; none when all were given. Not cancel-safe: who drops the future drops the reader.
    pub async fn next(&mut self) -> Result<Option<RowBatch>, StoreError> {
        if self.lines.rows == 0 && self.more {
            let (lines, fetch) = self.session.fetch(std::mem::take(&mut self.lines)).await;
            (self.lines, self.more) = (lines, fetch? == Fetch::More);
        }
        let rows = std::mem::take(&mut self.lines.rows);
        let lines = Bytes::from(std::mem::take(&mut self.lines.out));
        Ok((rows > 0).then_some(RowBatch { lines, rows }))
    }
}

impl Drop for RowReader {
    fn drop(&mut self) {
        self.interrupt.interrupt();
    }
}

/// The first line of a stream.
pub(super) fn head(columns: &[String]) -> Bytes {
    let mut line = br#"{"columns":"#.to_vec();
    put(&mut line, columns);
    line.extend_from_slice(b"}\n");
    line.into()
}
