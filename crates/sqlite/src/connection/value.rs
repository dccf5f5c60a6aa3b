//! The plain types of the connection's interface.

/// What a connection may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// Read and, while granted, write. Statements that do not fit a replicated database are refused.
    ReadWrite,
    /// Read.
    ReadOnly,
    /// Everything SQLite can; for statements of the product itself.
    Internal,
}

/// How to open a connection.
#[derive(Debug, Clone)]
pub struct ConnectionOptions {
    /// What it may do.
    pub access: Access,
    /// SQLite's own page cache, in KiB. Pages that the store has in memory are copied to it.
    pub cache_kib: u32,
    /// How many prepared statements [`prepare_cached`](crate::Connection::prepare_cached) keeps.
    pub statements_cached_max: usize,
}

impl Default for ConnectionOptions {
    fn default() -> Self {
        Self { access: Access::ReadWrite, cache_kib: 512, statements_cached_max: 64 }
    }
}

/// A prepared statement of one connection. Numbers are not used again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StatementId(pub u32);

/// What preparing gave.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Prepared {
    /// The statement; `None` if the text holds only white space and comments.
    pub statement: Option<StatementId>,
    /// How many parameters it has.
    pub params: usize,
    /// How many bytes of the text it took; the next statement starts there.
    pub tail: usize,
}

/// What a step gave.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// A row is there.
    Row,
    /// The statement is done, and reset.
    Done,
}

/// A value of SQLite. Text is bytes: SQLite does not promise UTF-8.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// NULL.
    Null,
    /// INTEGER.
    Integer(i64),
    /// REAL.
    Real(f64),
    /// TEXT.
    Text(Vec<u8>),
    /// BLOB.
    Blob(Vec<u8>),
}

impl Value {
    /// Borrows it.
    pub fn as_ref(&self) -> ValueRef<'_> {
        match self {
            Self::Null => ValueRef::Null,
            Self::Integer(value) => ValueRef::Integer(*value),
            Self::Real(value) => ValueRef::Real(*value),
            Self::Text(bytes) => ValueRef::Text(bytes),
            Self::Blob(bytes) => ValueRef::Blob(bytes),
        }
    }
}

/// A borrowed [`Value`].
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum ValueRef<'a> {
    /// NULL.
    Null,
    /// INTEGER.
    Integer(i64),
    /// REAL. A NaN is bound as NULL, as SQLite does.
    Real(f64),
    /// TEXT.
    Text(&'a [u8]),
    /// BLOB.
    Blob(&'a [u8]),
}

impl ValueRef<'_> {
    /// Copies it.
    pub fn to_owned(self) -> Value {
        match self {
            Self::Null => Value::Null,
            Self::Integer(value) => Value::Integer(value),
            Self::Real(value) => Value::Real(value),
            Self::Text(bytes) => Value::Text(bytes.to_vec()),
            Self::Blob(bytes) => Value::Blob(bytes.to_vec()),
        }
    }
}

/// A column of a result.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Column {
    /// Its name.
    pub name: String,
    /// The declared type of the table's column, if it is one.
    pub decltype: Option<String>,
}
