//! Takes rows where they are made and encodes them straight into the outgoing buffer.

use ::dqlite::{RowsEncoder, ValueRef};
use bytes::BytesMut;

/// As much is gathered before it is sent. Several ROWS parts of 4 KiB go out in one write.
const BATCH_LEN: usize = 64 << 10;

/// Whether the sink wants more rows before it is handed back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Flow {
    /// Go on.
    Continue,
    /// Enough for now.
    Pause,
}

/// Where the rows of one query go. It owns the connection's outgoing buffer while a query runs, so that rows can be
/// encoded on whatever thread makes them.
#[derive(Debug)]
pub struct RowsSink {
    out: BytesMut,
    /// What was in the buffer before the query.
    before: usize,
    encoder: Option<RowsEncoder>,
    too_large: bool,
}

impl RowsSink {
    /// A sink that appends to `out`.
    pub(super) fn new(out: BytesMut) -> Self {
        Self { before: out.len(), out, encoder: None, too_large: false }
    }

    /// The query starts, or starts again: rows given so far and not yet sent are forgotten. `columns`: name and declared
    /// type of each.
    pub fn begin<'c>(&mut self, columns: impl IntoIterator<Item = (&'c str, Option<&'c str>)>) {
        self.out.truncate(self.before);
        self.too_large = false;
        self.encoder = Some(RowsEncoder::new(columns));
    }

    /// How many columns a row has.
    pub fn columns(&self) -> usize {
        self.encoder.as_ref().map_or(0, RowsEncoder::columns)
    }

    /// Takes a row. Without columns there are no rows, and nothing is taken.
    pub fn row<'v>(&mut self, values: impl IntoIterator<Item = ValueRef<'v>>) -> Flow {
        let Some(encoder) = self.encoder.as_mut().filter(|e| e.columns() > 0) else { return Flow::Continue };
        self.too_large |= encoder.row(&mut self.out, values).is_err();
        if self.too_large || self.out.len() - self.before >= BATCH_LEN { Flow::Pause } else { Flow::Continue }
    }

    /// Whether a row did not fit into a message: the result can only be refused.
    pub(super) fn is_too_large(&self) -> bool {
        self.too_large
    }

    /// Closes the open part, so that the buffer can be sent; takes the buffer.
    pub(super) fn pause(&mut self) -> BytesMut {
        if let Some(encoder) = &mut self.encoder {
            encoder.pause(&mut self.out);
        }
        self.before = 0;
        std::mem::take(&mut self.out)
    }

    /// Gives the buffer back, emptied, to gather more.
    pub(super) fn resume(&mut self, out: BytesMut) {
        self.before = out.len();
        self.out = out;
    }

    /// Takes the buffer without what is not a whole part.
    pub(super) fn abandon(mut self) -> BytesMut {
        if let Some(encoder) = &mut self.encoder {
            encoder.abandon(&mut self.out);
        }
        self.out
    }

    /// Takes the buffer, and what ends the result set in it.
    pub(super) fn finish(self) -> (BytesMut, RowsEncoder) {
        (self.out, self.encoder.unwrap_or_else(|| RowsEncoder::new([])))
    }
}
