//! Parameter tuples: what a client binds to a statement's placeholders.

use base::Reader;
use bytes::{BufMut, BytesMut};

use crate::value::{TypeCode, ValueRef};
use crate::wire::{self, DecodeError};

/// The parameters of a statement: values at hand, or a tuple of a message, read without copying.
#[derive(Clone, Copy)]
pub struct Params<'a>(Repr<'a>);

#[derive(Clone, Copy)]
enum Repr<'a> {
    Values(&'a [ValueRef<'a>]),
    /// Checked when it was read: `types` are known codes, `body` starts with their values.
    Wire {
        types: &'a [u8],
        body: &'a [u8],
    },
}

impl<'a> Params<'a> {
    /// No parameters.
    pub const NONE: Params<'static> = Params(Repr::Values(&[]));

    /// Most parameters in a tuple of schema 0; more need schema 1.
    pub const SCHEMA_0_MAX: usize = u8::MAX as usize;

    /// Parameters to send.
    pub const fn new(values: &'a [ValueRef<'a>]) -> Self {
        Self(Repr::Values(values))
    }

    /// How many there are.
    pub const fn len(&self) -> usize {
        match self.0 {
            Repr::Values(values) => values.len(),
            Repr::Wire { types, .. } => types.len(),
        }
    }

    /// Whether there are none.
    pub const fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The values in order.
    pub fn iter(&self) -> ParamsIter<'a> {
        ParamsIter(match self.0 {
            Repr::Values(values) => IterRepr::Values(values.iter()),
            Repr::Wire { types, body } => IterRepr::Wire { types: types.iter(), values: Reader::new(body) },
        })
    }

    /// The schema that can carry them.
    pub(crate) const fn schema(&self) -> u8 {
        if self.len() > Self::SCHEMA_0_MAX { 1 } else { 0 }
    }

    /// Writes the tuple in the form of [`Self::schema`]. No parameters are no bytes.
    pub(crate) fn put(&self, out: &mut BytesMut) {
        if self.is_empty() {
            return;
        }
        let start = out.len();
        match u8::try_from(self.len()) {
            Ok(n) => out.put_u8(n),
            Err(_) => out.put_u32_le(u32::try_from(self.len()).unwrap_or(u32::MAX)),
        }
        for value in self {
            out.put_u8(value.type_code().code());
        }
        let head = out.len() - start;
        out.put_bytes(0, wire::align(head) - head);
        for value in self {
            value.put(out);
        }
    }

    /// Reads and checks a tuple of the given schema (0 or 1). A body that has ended holds no parameters.
    pub(crate) fn read(reader: &mut Reader<'a>, schema: u8) -> Result<Self, DecodeError> {
        if reader.is_empty() {
            return Ok(Self::NONE);
        }
        let (count_len, count) = match schema {
            0 => (1, u64::from(reader.u8()?)),
            _ => (4, u64::from(reader.u32()?)),
        };
        let count = wire::list_len(reader, count, 1)?;
        let types = reader.take(count)?;
        let head = count_len + count;
        reader.take(wire::align(head) - head)?;
        let body = reader.rest();
        for (position, code) in types.iter().enumerate() {
            let code = TypeCode::from_code(*code).ok_or(DecodeError::UnknownValueType { code: *code, position })?;
            ValueRef::read(code, reader)?;
        }
        Ok(Self(Repr::Wire { types, body }))
    }
}

impl Default for Params<'_> {
    fn default() -> Self {
        Self::NONE
    }
}

impl PartialEq for Params<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.iter().eq(other.iter())
    }
}

impl std::fmt::Debug for Params<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}

impl<'a> IntoIterator for &Params<'a> {
    type Item = ValueRef<'a>;
    type IntoIter = ParamsIter<'a>;
    fn into_iter(self) -> ParamsIter<'a> {
        self.iter()
    }
}

/// The values of [`Params`], in order.
#[derive(Debug, Clone)]
pub struct ParamsIter<'a>(IterRepr<'a>);

#[derive(Debug, Clone)]
enum IterRepr<'a> {
    Values(std::slice::Iter<'a, ValueRef<'a>>),
    Wire { types: std::slice::Iter<'a, u8>, values: Reader<'a> },
}

impl<'a> Iterator for ParamsIter<'a> {
    type Item = ValueRef<'a>;

    fn next(&mut self) -> Option<ValueRef<'a>> {
        match &mut self.0 {
            IterRepr::Values(values) => values.next().copied(),
            // The tuple was checked when it was read, so neither step fails.
            IterRepr::Wire { types, values } => ValueRef::read(TypeCode::from_code(*types.next()?)?, values).ok(),
        }
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        let n = match &self.0 {
            IterRepr::Values(values) => values.len(),
            IterRepr::Wire { types, .. } => types.len(),
        };
        (n, Some(n))
    }
}

impl ExactSizeIterator for ParamsIter<'_> {}
