//! Result sets: rows go out in parts of about a page, and come in the same way.

use base::Reader;
use bytes::{BufMut, BytesMut};

use crate::frame::{HEADER_LEN, close_message, open_message};
use crate::response::ResponseKind;
use crate::value::{TypeCode, ValueRef};
use crate::wire::{self, DecodeError, WORD};

/// A part that has reached this many bytes gets no further row.
pub const PART_LIMIT: usize = 4096;

/// The word after the last row.
const DONE: u64 = u64::MAX;
/// The word after a part that another one follows.
const MORE: u64 = 0xeeee_eeee_eeee_eeee;

/// What a column's declared type means for the type codes of its values.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Declared {
    /// Nothing: values go by their storage class.
    #[default]
    Plain,
    /// DATETIME, DATE or TIMESTAMP.
    Time,
    /// BOOLEAN.
    Boolean,
}

impl Declared {
    /// By the declared type of a column, as SQLite tells it; letter case does not matter, all else must be exact.
    pub fn new(declared: Option<&str>) -> Self {
        let is = |name: &str| declared.is_some_and(|d| d.eq_ignore_ascii_case(name));
        if is("DATETIME") || is("DATE") || is("TIMESTAMP") {
            Self::Time
        } else if is("BOOLEAN") {
            Self::Boolean
        } else {
            Self::Plain
        }
    }

    /// The value as this column sends it. A value that the declared type does not foresee, such as a text in a BOOLEAN or
    /// a double in a DATETIME, goes by its storage class.
    pub const fn typed(self, value: ValueRef<'_>) -> ValueRef<'_> {
        match (self, value) {
            (Self::Time, ValueRef::Integer(v)) => ValueRef::UnixTime(v),
            (Self::Time, ValueRef::Text(v)) => ValueRef::Iso8601(v),
            (Self::Time, ValueRef::Null) => ValueRef::Iso8601(b""),
            (Self::Boolean, ValueRef::Integer(v)) => ValueRef::Boolean(v != 0),
            (_, value) => value,
        }
    }
}

/// One row does not fit into a message, however large.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a row of more than 4 GiB cannot be sent")]
pub struct RowTooLarge;

/// Writes a result set as ROWS messages straight into an outgoing buffer.
///
/// Between [`Self::row`] and the next [`Self::pause`], [`Self::done`] or [`Self::abandon`] a part is open in the buffer:
/// nothing else may be written to it, and nothing taken from its front.
#[derive(Debug)]
pub struct RowsEncoder {
    /// The column count and the names: they open every part.
    names: Vec<u8>,
    declared: Vec<Declared>,
    part: Option<usize>,
    limit: usize,
}

impl RowsEncoder {
    /// An encoder for rows of these columns: name and declared type of each.
    pub fn new<'c>(columns: impl IntoIterator<Item = (&'c str, Option<&'c str>)>) -> Self {
        let mut names = BytesMut::new();
        names.put_u64_le(0);
        let mut declared = Vec::new();
        for (name, decl) in columns {
            wire::put_text(&mut names, name.as_bytes());
            declared.push(Declared::new(decl));
        }
        if let Some(count) = names.get_mut(..WORD) {
            count.copy_from_slice(&(declared.len() as u64).to_le_bytes());
        }
        Self { names: names.into(), declared, part: None, limit: PART_LIMIT }
    }

    /// How many columns a row has.
    pub fn columns(&self) -> usize {
        self.declared.len()
    }

    /// Whether a part is open in the buffer.
    pub fn is_part_open(&self) -> bool {
        self.part.is_some()
    }

    fn open(&mut self, out: &mut BytesMut) -> usize {
        if let Some(part) = self.part {
            return part;
        }
        let part = open_message(out, ResponseKind::Rows.number(), 0);
        out.extend_from_slice(&self.names);
        self.part = Some(part);
        part
    }

    fn close(&mut self, out: &mut BytesMut, marker: u64) {
        let part = self.open(out);
        out.put_u64_le(marker);
        close_message(out, part);
        self.part = None;
    }

    /// Appends a row. Values beyond the columns are dropped, missing ones are NULL. On an error the row is not there, and
    /// the result set can only be abandoned.
    pub fn row<'v>(
        &mut self,
        out: &mut BytesMut,
        values: impl IntoIterator<Item = ValueRef<'v>>,
    ) -> Result<(), RowTooLarge> {
        if self.part.is_some_and(|part| out.len() - part - HEADER_LEN >= self.limit) {
            self.close(out, MORE);
        }
        let part = self.open(out);
        let row = out.len();
        let mut values = values.into_iter();
        let typed = self.declared.iter().map(|d| d.typed(values.next().unwrap_or(ValueRef::Null)));
        put_row(out, self.declared.len(), typed);
        if out.len() - part - HEADER_LEN + WORD > u32::MAX as usize {
            out.truncate(row);
            return Err(RowTooLarge);
        }
        Ok(())
    }

    /// Closes the open part, if one is, and says that another follows: the buffer can be sent.
    pub fn pause(&mut self, out: &mut BytesMut) {
        if self.part.is_some() {
            self.close(out, MORE);
        }
    }

    /// Ends the result set. A set without rows is one part with the names.
    pub fn done(&mut self, out: &mut BytesMut) {
        self.close(out, DONE);
    }

    /// Takes the open part back from the buffer: what follows is an error, or the end of an interrupted set.
    pub fn abandon(&mut self, out: &mut BytesMut) {
        if let Some(part) = self.part.take() {
            out.truncate(part);
        }
    }
}

/// Writes a row's type nibbles and values: `count` of them.
fn put_row<'v>(out: &mut BytesMut, count: usize, values: impl Iterator<Item = ValueRef<'v>>) {
    let row = out.len();
    out.put_bytes(0, wire::align(count.div_ceil(2)));
    for (i, value) in values.enumerate() {
        if let Some(pair) = out.get_mut(row + i / 2) {
            *pair |= value.type_code().code() << (4 * (i % 2));
        }
        value.put(out);
    }
}

/// One ROWS message, read row by row.
#[derive(Debug, Clone)]
pub struct RowsPart<'a> {
    columns: Vec<&'a str>,
    reader: Reader<'a>,
}

/// What [`RowsPart::next`] found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RowsStep {
    /// A row.
    Row,
    /// The part has ended; another ROWS message follows without a new request.
    More,
    /// The result set has ended.
    Done,
}

impl<'a> RowsPart<'a> {
    /// Reads the columns; the rows are read by [`Self::next`].
    pub(crate) fn read(body: &'a [u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(body);
        let announced = reader.u64()?;
        let count = wire::list_len(&reader, announced, WORD)?;
        let columns = (0..count).map(|_| wire::text(&mut reader)).collect::<Result<_, _>>()?;
        Ok(Self { columns, reader })
    }

    /// The names of the columns.
    pub fn columns(&self) -> &[&'a str] {
        &self.columns
    }

    /// Reads the next row into `row`, whose old content goes. After the part's end it goes on saying so.
    pub fn next(&mut self, row: &mut Vec<ValueRef<'a>>) -> Result<RowsStep, DecodeError> {
        row.clear();
        let head_len = wire::align(self.columns.len().div_ceil(2)).max(WORD);
        let mut ahead = self.reader.clone();
        // A marker takes the place of a row's types: no type is 0xe or 0xf, so its first byte tells.
        match ahead.u64()? {
            DONE => return Ok(RowsStep::Done),
            MORE => return Ok(RowsStep::More),
            _ if self.columns.is_empty() => return Err(DecodeError::RowsWithoutColumns),
            _ => {}
        }
        let head = self.reader.take(head_len)?;
        for (position, pair) in (0..self.columns.len()).zip(head.iter().flat_map(|b| [b & 0xf, b >> 4])) {
            let code = TypeCode::from_code(pair).ok_or(DecodeError::UnknownValueType { code: pair, position })?;
            row.push(ValueRef::read(code, &mut self.reader)?);
        }
        Ok(RowsStep::Row)
    }

    /// Repeats the part from where it is read, as far as it is well-formed.
    pub(crate) fn put(&self, out: &mut BytesMut) {
        out.put_u64_le(self.columns.len() as u64);
        for name in &self.columns {
            wire::put_text(out, name.as_bytes());
        }
        let mut part = self.clone();
        let mut row = Vec::new();
        let marker = loop {
            match part.next(&mut row) {
                Ok(RowsStep::Row) => put_row(out, row.len(), row.iter().copied()),
                Ok(RowsStep::More) => break MORE,
                Ok(RowsStep::Done) | Err(_) => break DONE,
            }
        };
        out.put_u64_le(marker);
    }

    /// How a ROWS body ends, judged by its last word alone: what a client needs to know whether more messages follow.
    pub(crate) fn ending(body: &[u8]) -> Option<RowsStep> {
        match body.last_chunk().copied().map(u64::from_le_bytes) {
            Some(DONE) => Some(RowsStep::Done),
            Some(MORE) => Some(RowsStep::More),
            _ => None,
        }
    }
}
