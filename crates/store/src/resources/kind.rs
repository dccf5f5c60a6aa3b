//! What a kind of resource is: which table, which columns, what of it is wanted and what is observed.

use super::Severity;
use crate::Value;

/// A kind of resource: how the rows of one table of `sys` are seen as objects.
///
/// In all SQL in here `ROW.` stands before the columns of the table.
#[derive(Debug)]
pub struct Kind {
    /// In the plural, as it stands in paths, in the name of the view and in `sys.changes`.
    pub name: &'static str,
    /// One sentence for people.
    pub does: &'static str,
    /// The table.
    pub table: &'static str,
    /// What names an object. It never changes.
    pub key: Key,
    /// Which rows are objects, as an SQL condition.
    pub exists: &'static str,
    /// What is seen of them.
    pub columns: &'static [Column],
    /// Changes that become events as well.
    pub events: &'static [EventRule],
}

/// The column that names the objects of a kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Key {
    /// A name.
    Text(&'static str),
    /// A number: objects are listed in the order in which they came.
    Number(&'static str),
}

impl Key {
    pub(super) const fn column(self) -> &'static str {
        match self {
            Self::Text(column) | Self::Number(column) => column,
        }
    }
}

/// A column of the view, and a field of the object.
#[derive(Debug)]
pub struct Column {
    /// Its name.
    pub name: &'static str,
    /// Where it comes from.
    pub sql: &'static str,
    /// What form it has.
    pub form: Form,
    /// Whether it is wanted or observed.
    pub part: Part,
    /// One sentence for people.
    pub does: &'static str,
}

/// What a value is, and so how it is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// A whole number.
    Integer,
    /// Text.
    Text,
    /// A time, kept in seconds since the Unix epoch and shown as RFC 3339 has it.
    Seconds,
    /// A time, kept in milliseconds since the Unix epoch.
    Millis,
    /// An id, kept as a signed number and shown as sixteen hexadecimal digits: JSON's numbers are too small for it.
    Id,
}

/// Who decides a column.
#[derive(Debug)]
pub enum Part {
    /// Wanted, and fixed when the object is made.
    Spec,
    /// Wanted, and may be changed. `accepts` judges a new value.
    Settable {
        /// The column of the table.
        column: &'static str,
        /// Why a value is not good.
        accepts: fn(&Value) -> Result<(), &'static str>,
    },
    /// Observed. Exactly one part of the product writes it.
    Status {
        /// Which.
        writer: &'static str,
    },
}

impl Part {
    /// Whether it belongs to the spec.
    pub const fn is_spec(&self) -> bool {
        matches!(self, Self::Spec | Self::Settable { .. })
    }
}

/// A change of a row that is told as an event, in the same transaction.
#[derive(Debug)]
pub struct EventRule {
    /// What happens to the row.
    pub when: When,
    /// On which further condition; `OLD.` and `NEW.` stand before columns here.
    pub condition: &'static str,
    /// Is it news or a warning.
    pub severity: Severity,
    /// One word in capitals and small letters, for programs. Unique in its kind.
    pub reason: &'static str,
    /// An SQL expression of the sentence for people; `OLD.` and `NEW.` stand before columns.
    pub message: &'static str,
}

/// What happens to a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum When {
    /// It is written for the first time.
    Inserted,
    /// It is changed.
    Updated,
    /// It is removed.
    Deleted,
}

impl When {
    pub(super) const fn sql(self) -> &'static str {
        match self {
            Self::Inserted => "INSERT",
            Self::Updated => "UPDATE",
            Self::Deleted => "DELETE",
        }
    }

    /// Before which columns stand that are there.
    pub(super) const fn row(self) -> &'static str {
        match self {
            Self::Inserted | Self::Updated => "NEW.",
            Self::Deleted => "OLD.",
        }
    }
}
