//! Rows on their way from SQLite to a client.

use sqlite::{Column, Connection, SqlError, StatementId, Step, ValueRef};

/// Whether the one who takes the rows wants more before it is asked again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Flow {
    /// Go on.
    Continue,
    /// Enough for now: hand back what was gathered.
    Pause,
}

/// How far a query got.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fetch {
    /// The sink paused; there may be more rows.
    More,
    /// All rows were given.
    Done,
}

/// Takes rows as they are made, on whatever thread makes them.
pub trait RowSink: Send + 'static {
    /// The query starts, or starts again because it outgrew the thread it began on: forget the rows given so far.
    /// Called before the first row, also when there will be none, but not when it fails before that.
    fn begin(&mut self, columns: Columns<'_>);
    /// One row.
    fn row(&mut self, row: Row<'_>) -> Flow;
}

/// The columns of a result.
#[derive(Debug, Clone, Copy)]
pub struct Columns<'a> {
    columns: &'a [Column],
}

impl<'a> Columns<'a> {
    /// How many there are.
    pub fn len(&self) -> usize {
        self.columns.len()
    }

    /// Whether there are none, as for statements that make no rows.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The name of column `i`.
    pub fn name(&self, i: usize) -> &'a str {
        self.columns.get(i).map_or("", |c| c.name.as_str())
    }

    /// The declared type of column `i`, if it comes straight from a table.
    pub fn declared_type(&self, i: usize) -> Option<&'a str> {
        self.columns.get(i).and_then(|c| c.decltype.as_deref())
    }
}

/// One row, valid until the next step.
#[derive(Debug, Clone, Copy)]
pub struct Row<'a> {
    connection: &'a Connection,
    statement: StatementId,
}

impl<'a> Row<'a> {
    /// The value in column `i`; NULL past the last one.
    pub fn value(&self, i: usize) -> ValueRef<'a> {
        self.connection.value(self.statement, i).unwrap_or(ValueRef::Null)
    }
}

/// Whether a sink may pause a query.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Pausing {
    Allowed,
    /// The statement writes: it runs to its end before anything of it is shown.
    Refused,
}

/// A query that has begun and not ended.
#[derive(Debug, Clone, Copy)]
pub(super) struct Cursor {
    pub(super) statement: StatementId,
    pub(super) cached: bool,
}

/// Whether a query starts or goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Begin {
    /// It starts.
    Now,
    /// It has started before.
    Before,
}

/// Tells the sink that rows of `statement` will follow.
fn begin<S: RowSink>(connection: &Connection, statement: StatementId, sink: &mut S) {
    let columns = connection.columns(statement).unwrap_or_default();
    sink.begin(Columns { columns: &columns });
}

/// Steps `statement` until it ends or the sink pauses. The sink learns the columns after the first step: it is then that
/// SQLite notices a changed schema.
pub(super) fn run<S: RowSink>(
    connection: &mut Connection,
    statement: StatementId,
    sink: &mut S,
    pausing: Pausing,
    from: Begin,
) -> Result<Fetch, SqlError> {
    let mut from = from;
    loop {
        let step = connection.step(statement)?;
        if std::mem::replace(&mut from, Begin::Before) == Begin::Now {
            begin(connection, statement, sink);
        }
        match step {
            Step::Done => return Ok(Fetch::Done),
            Step::Row => {
                let flow = sink.row(Row { connection, statement });
                if flow == Flow::Pause && pausing == Pausing::Allowed {
                    return Ok(Fetch::More);
                }
            }
        }
    }
}

/// Takes no rows; remembers whether there were any.
#[derive(Debug, Default)]
pub(super) struct NoRows {
    pub(super) rows: bool,
}

impl RowSink for NoRows {
    fn begin(&mut self, _: Columns<'_>) {
        self.rows = false;
    }

    fn row(&mut self, _: Row<'_>) -> Flow {
        self.rows = true;
        Flow::Pause
    }
}
