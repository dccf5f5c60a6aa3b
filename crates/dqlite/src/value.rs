//! Values and their type codes.

use base::Reader;
use bytes::{BufMut, BytesMut};

use crate::wire::{self, DecodeError, WORD};

/// The code of a value's type in a tuple.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum TypeCode {
    /// A signed 64-bit integer.
    Integer = 1,
    /// An IEEE-754 double.
    Float = 2,
    /// A text.
    Text = 3,
    /// Bytes.
    Blob = 4,
    /// NULL: one zero word.
    Null = 5,
    /// Seconds since the Unix epoch: an integer in a column declared DATETIME, DATE or TIMESTAMP.
    UnixTime = 9,
    /// A time as text: text or NULL (then empty) in a column declared DATETIME, DATE or TIMESTAMP.
    Iso8601 = 10,
    /// 0 or 1: an integer in a column declared BOOLEAN.
    Boolean = 11,
}

impl TypeCode {
    /// The type with that code.
    pub const fn from_code(code: u8) -> Option<Self> {
        Some(match code {
            1 => Self::Integer,
            2 => Self::Float,
            3 => Self::Text,
            4 => Self::Blob,
            5 => Self::Null,
            9 => Self::UnixTime,
            10 => Self::Iso8601,
            11 => Self::Boolean,
            _ => return None,
        })
    }

    /// The code on the wire.
    pub const fn code(self) -> u8 {
        self as u8
    }
}

/// A value, borrowed from a message or from a result row. Texts are bytes: SQLite does not promise UTF-8, and neither does
/// the wire.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum ValueRef<'a> {
    /// NULL.
    Null,
    /// An integer.
    Integer(i64),
    /// A double.
    Float(f64),
    /// A text. What follows an embedded NUL is not sent.
    Text(&'a [u8]),
    /// Bytes.
    Blob(&'a [u8]),
    /// Seconds since the Unix epoch.
    UnixTime(i64),
    /// A time as text; empty for NULL.
    Iso8601(&'a [u8]),
    /// A truth value.
    Boolean(bool),
}

impl<'a> ValueRef<'a> {
    /// The value's type.
    pub const fn type_code(&self) -> TypeCode {
        match self {
            Self::Null => TypeCode::Null,
            Self::Integer(_) => TypeCode::Integer,
            Self::Float(_) => TypeCode::Float,
            Self::Text(_) => TypeCode::Text,
            Self::Blob(_) => TypeCode::Blob,
            Self::UnixTime(_) => TypeCode::UnixTime,
            Self::Iso8601(_) => TypeCode::Iso8601,
            Self::Boolean(_) => TypeCode::Boolean,
        }
    }

    /// A copy that owns its bytes.
    pub fn to_value(self) -> Value {
        match self {
            Self::Null => Value::Null,
            Self::Integer(v) => Value::Integer(v),
            Self::Float(v) => Value::Float(v),
            Self::Text(v) => Value::Text(v.into()),
            Self::Blob(v) => Value::Blob(v.into()),
            Self::UnixTime(v) => Value::UnixTime(v),
            Self::Iso8601(v) => Value::Iso8601(v.into()),
            Self::Boolean(v) => Value::Boolean(v),
        }
    }

    /// Writes the value, without its type code.
    pub(crate) fn put(self, out: &mut BytesMut) {
        match self {
            Self::Null => out.put_u64_le(0),
            Self::Integer(v) | Self::UnixTime(v) => out.put_i64_le(v),
            Self::Float(v) => out.put_u64_le(v.to_bits()),
            Self::Text(v) | Self::Iso8601(v) => wire::put_text(out, v),
            Self::Blob(v) => wire::put_blob(out, v),
            Self::Boolean(v) => out.put_u64_le(u64::from(v)),
        }
    }

    /// Reads a value of a known type.
    pub(crate) fn read(code: TypeCode, reader: &mut Reader<'a>) -> Result<Self, DecodeError> {
        Ok(match code {
            TypeCode::Integer => Self::Integer(reader.i64()?),
            TypeCode::Float => Self::Float(f64::from_bits(reader.u64()?)),
            TypeCode::Text => Self::Text(wire::text_bytes(reader)?),
            TypeCode::Blob => Self::Blob(wire::blob(reader)?),
            TypeCode::Null => {
                reader.take(WORD)?;
                Self::Null
            }
            TypeCode::UnixTime => Self::UnixTime(reader.i64()?),
            TypeCode::Iso8601 => Self::Iso8601(wire::text_bytes(reader)?),
            TypeCode::Boolean => Self::Boolean(reader.u64()? != 0),
        })
    }
}

/// A value that owns its bytes.
#[derive(Debug, Clone, PartialEq, Default)]
pub enum Value {
    /// NULL.
    #[default]
    Null,
    /// An integer.
    Integer(i64),
    /// A double.
    Float(f64),
    /// A text.
    Text(Box<[u8]>),
    /// Bytes.
    Blob(Box<[u8]>),
    /// Seconds since the Unix epoch.
    UnixTime(i64),
    /// A time as text; empty for NULL.
    Iso8601(Box<[u8]>),
    /// A truth value.
    Boolean(bool),
}

impl Value {
    /// A text value.
    pub fn text(text: impl Into<String>) -> Self {
        Self::Text(text.into().into_bytes().into_boxed_slice())
    }

    /// Borrows the value.
    pub fn borrow(&self) -> ValueRef<'_> {
        match self {
            Self::Null => ValueRef::Null,
            Self::Integer(v) => ValueRef::Integer(*v),
            Self::Float(v) => ValueRef::Float(*v),
            Self::Text(v) => ValueRef::Text(v),
            Self::Blob(v) => ValueRef::Blob(v),
            Self::UnixTime(v) => ValueRef::UnixTime(*v),
            Self::Iso8601(v) => ValueRef::Iso8601(v),
            Self::Boolean(v) => ValueRef::Boolean(*v),
        }
    }
}
