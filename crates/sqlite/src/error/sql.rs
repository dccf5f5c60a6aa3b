//! What a statement can fail with.

use super::ReadError;
use base::{Code, Disposition, Fault, PageNo, Version};
use std::ffi::c_int;
use std::time::Duration;

use super::IoFault;

/// SQLITE_IOERR with the extension that dqlite uses for "not leader".
const IOERR_NOT_LEADER: c_int = 0x0A | (40 << 8);
/// SQLITE_IOERR with the extension that dqlite uses for "leadership lost".
const IOERR_LEADERSHIP_LOST: c_int = 0x0A | (41 << 8);

/// A statement or connection failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SqlError {
    /// SQLite says no: a syntax error, a constraint, a missing table and the like.
    #[error("{message}")]
    Sqlite {
        /// SQLite's extended result code.
        extended: c_int,
        /// SQLite's words.
        message: String,
        /// Where in the statement, as a byte offset, if SQLite knows.
        offset: Option<u32>,
    },
    /// Bowline does not allow this statement, whatever the data.
    #[error("not authorized: {what}: {why}")]
    Refused {
        /// What was refused.
        what: String,
        /// Why.
        why: &'static str,
    },
    /// This node does not lead the database, so it cannot write.
    #[error("not leader")]
    NotLeader,
    /// This node lost leadership while the connection depended on what was not yet committed. The outcome is unknown. The
    /// connection is of no more use.
    #[error("leadership lost")]
    LeadershipLost,
    /// The connection was not granted the right to write, or another one is writing.
    #[error("database is locked: another connection is writing")]
    WriterBusy,
    /// The transaction has read a version that is no longer the newest, so it cannot start to write.
    #[error("database is locked: the transaction has read data that has changed since")]
    SnapshotStale,
    /// The transaction was open so long that its version had to be given up.
    #[error("the transaction was open too long: the version it reads is no longer kept")]
    ReaderTooOld,
    /// Someone interrupted the statement.
    #[error("interrupted")]
    Interrupted,
    /// The deadline of the statement passed.
    #[error("interrupted: the statement's deadline passed")]
    DeadlineExceeded,
    /// The statement took more steps than it was given.
    #[error("interrupted: the statement used up its {steps} virtual machine steps")]
    BudgetExceeded {
        /// How many it was given.
        steps: u64,
    },
    /// A page on disk is corrupt. It was not used; repair comes from a peer.
    #[error("database disk image is malformed: page {page} does not match its hash")]
    Corrupt {
        /// Which page.
        page: PageNo,
    },
    /// The transaction changes more than one record may hold.
    #[error("the transaction is too large: more than {bytes_max} bytes of pages")]
    TransactionTooLarge {
        /// The limit.
        bytes_max: u64,
    },
    /// The database would grow past its limit.
    #[error("database or disk is full: the limit is {bytes_max} bytes")]
    DatabaseFull {
        /// The limit.
        bytes_max: u64,
    },
    /// The database is still being replayed after a crash.
    #[error("the database is being replayed up to version {until}")]
    Replaying {
        /// The version from which on it can be read.
        until: Version,
    },
    /// The operating system failed.
    #[error("disk I/O error: {0}")]
    Io(IoFault),
    /// No statement of this connection has that number.
    #[error("no such statement: {0}")]
    UnknownStatement(u32),
    /// The number of values is not the number of parameters.
    #[error("the statement has {wanted} parameters, {given} values were given")]
    ParameterCount {
        /// Parameters.
        wanted: usize,
        /// Values.
        given: usize,
    },
    /// A value is larger than SQLite takes.
    #[error("string or blob too big: {bytes} bytes")]
    TooBig {
        /// Its size.
        bytes: usize,
    },
    /// The product broke its own rule.
    #[error("internal error: {0}")]
    Internal(&'static str),
}

impl SqlError {
    /// The extended SQLite result code that stands for it, dqlite's where SQLite has none.
    pub fn extended(&self) -> c_int {
        match self {
            Self::Sqlite { extended, .. } => *extended,
            Self::Refused { .. } => 23,
            Self::NotLeader => IOERR_NOT_LEADER,
            Self::LeadershipLost => IOERR_LEADERSHIP_LOST,
            Self::WriterBusy | Self::Replaying { .. } => 5,
            Self::SnapshotStale => 5 | (2 << 8),
            Self::ReaderTooOld => 4 | (2 << 8),
            Self::Interrupted | Self::DeadlineExceeded | Self::BudgetExceeded { .. } => 9,
            Self::Corrupt { .. } => 11,
            Self::TransactionTooLarge { .. } | Self::DatabaseFull { .. } => 13,
            Self::Io(_) => 10,
            Self::UnknownStatement(_) => 12,
            Self::ParameterCount { .. } => 25,
            Self::TooBig { .. } => 18,
            Self::Internal(_) => 2,
        }
    }

    /// The primary SQLite result code.
    pub fn primary(&self) -> c_int {
        self.extended() & 0xFF
    }

    /// Where in the statement the error is, as a byte offset, if SQLite knows.
    pub fn offset(&self) -> Option<u32> {
        match self {
            Self::Sqlite { offset, .. } => *offset,
            _ => None,
        }
    }
}

impl From<ReadError> for SqlError {
    fn from(error: ReadError) -> Self {
        match error {
            ReadError::Corrupt { page } => Self::Corrupt { page },
            ReadError::PastEnd { .. } => Self::Internal("SQLite read a page past the end of the database"),
            ReadError::TooOld => Self::ReaderTooOld,
            ReadError::LeadershipLost => Self::LeadershipLost,
            ReadError::Replaying { until } => Self::Replaying { until },
            ReadError::Io(fault) => Self::Io(fault),
        }
    }
}

impl Fault for SqlError {
    fn code(&self) -> Code {
        Code(match self {
            Self::Sqlite { .. } | Self::TooBig { .. } => "BL-SQL-001",
            Self::Refused { .. } => "BL-SQL-002",
            Self::NotLeader => "BL-SQL-003",
            Self::LeadershipLost => "BL-SQL-004",
            Self::WriterBusy => "BL-SQL-005",
            Self::SnapshotStale => "BL-SQL-006",
            Self::ReaderTooOld => "BL-SQL-007",
            Self::Interrupted => "BL-SQL-008",
            Self::DeadlineExceeded => "BL-SQL-009",
            Self::BudgetExceeded { .. } => "BL-SQL-010",
            Self::Corrupt { .. } => "BL-SQL-011",
            Self::TransactionTooLarge { .. } => "BL-SQL-012",
            Self::DatabaseFull { .. } => "BL-SQL-013",
            Self::UnknownStatement(_) => "BL-SQL-014",
            Self::ParameterCount { .. } => "BL-SQL-015",
            Self::Io(_) => "BL-SQL-016",
            Self::Replaying { .. } => "BL-SQL-017",
            Self::Internal(_) => "BL-SQL-019",
        })
    }

    fn disposition(&self) -> Disposition {
        let soon = Disposition::Retry { after: Duration::from_millis(10) };
        match self {
            Self::NotLeader | Self::Replaying { .. } => Disposition::Retry { after: Duration::from_millis(100) },
            Self::LeadershipLost => Disposition::Unknown,
            Self::WriterBusy | Self::SnapshotStale | Self::ReaderTooOld => soon,
            Self::Sqlite { extended, .. } => match extended & 0xFF {
                // SQLITE_INTERNAL and SQLITE_MISUSE
                2 | 21 => Disposition::Bug,
                // SQLITE_BUSY and SQLITE_LOCKED
                5 | 6 => soon,
                // SQLITE_CORRUPT and SQLITE_NOTADB
                11 | 26 => Disposition::Corrupt,
                _ => Disposition::Refuse,
            },
            Self::Corrupt { .. } => Disposition::Corrupt,
            Self::Io(_) => super::IO,
            Self::Internal(_) => Disposition::Bug,
            Self::Refused { .. }
            | Self::Interrupted
            | Self::DeadlineExceeded
            | Self::BudgetExceeded { .. }
            | Self::TransactionTooLarge { .. }
            | Self::DatabaseFull { .. }
            | Self::UnknownStatement(_)
            | Self::ParameterCount { .. }
            | Self::TooBig { .. } => Disposition::Refuse,
        }
    }
}
