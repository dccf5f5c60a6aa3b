//! Everything that can go wrong in this crate, one enum per family of operations.

mod pages;
mod sql;

pub use pages::PAGES;
pub use sql::SqlError;

use base::{Code, Disposition, Fault, PageNo, Truncated, Version};
use std::path::PathBuf;
use std::time::Duration;

/// An error of the operating system, in a form that can be kept and copied.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text}")]
pub struct IoFault {
    /// What kind of error.
    pub kind: std::io::ErrorKind,
    /// The system's words.
    pub text: String,
}

impl From<std::io::Error> for IoFault {
    fn from(error: std::io::Error) -> Self {
        Self { kind: error.kind(), text: error.to_string() }
    }
}

/// What to do about an error of the operating system: a full disk or a passing fault may go away.
const IO: Disposition = Disposition::Retry { after: Duration::from_secs(1) };

/// A page could not be read in the wanted version.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReadError {
    /// The page on disk does not have the hash that was recorded for it.
    #[error("page {page} of the database file is corrupt: its contents do not match their hash")]
    Corrupt {
        /// Which page.
        page: PageNo,
    },
    /// The page lies past the end of the database in that version.
    #[error("page {page} is past the end of the database, which has {pages}")]
    PastEnd {
        /// Which page.
        page: PageNo,
        /// The size of the database.
        pages: u32,
    },
    /// The reader held more old versions than the limit allows, and lost its version.
    #[error("the reader was too old: it kept more old page versions than the limit allows")]
    TooOld,
    /// The version was speculative, and this node lost leadership before it was committed.
    #[error("leadership was lost while the transaction was not yet committed")]
    LeadershipLost,
    /// After a crash during a checkpoint, pages are whole again only once the log was replayed up to this version.
    #[error("the database is being replayed up to version {until}")]
    Replaying {
        /// The version from which on all pages can be read.
        until: Version,
    },
    /// The operating system failed.
    #[error("reading the database file failed: {0}")]
    Io(IoFault),
}

/// A page store could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The operating system failed.
    #[error("opening the database in {dir} failed: {fault}")]
    Io {
        /// The directory.
        dir: PathBuf,
        /// Why.
        fault: IoFault,
    },
    /// Another process has the database open.
    #[error("the database in {dir} is in use by another process")]
    InUse {
        /// The directory.
        dir: PathBuf,
    },
    /// A file beside the database does not make sense.
    #[error("{file} is damaged: {why}")]
    Damaged {
        /// Which file.
        file: PathBuf,
        /// What is wrong with it.
        why: &'static str,
    },
    /// The database file is not the one that the last checkpoint left: another program changed it.
    #[error("{file} was changed by another program: {why}")]
    Foreign {
        /// Which file.
        file: PathBuf,
        /// How it is known.
        why: &'static str,
    },
}

/// A checkpoint did not finish. Nothing is lost: the log still holds everything, and the next attempt starts over.
#[derive(Debug, thiserror::Error)]
pub enum CheckpointError {
    /// The operating system failed; a full disk looks like this.
    #[error("the checkpoint failed: {0}")]
    Io(IoFault),
    /// A page that must be read for it could not be.
    #[error("the checkpoint failed: {0}")]
    Read(ReadError),
    /// An install has failed half-way and must be repeated first.
    #[error("the checkpoint has to wait: a snapshot is half installed")]
    Installing,
    /// The view is older than the last checkpoint, or not of this store.
    #[error("version {version} cannot be checkpointed: the last checkpoint is of version {last}")]
    Backwards {
        /// The version asked for.
        version: Version,
        /// The version on disk.
        last: Version,
    },
}

/// Bytes are not a record. Such an entry of the log is damaged or made by a newer program.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RecordError {
    /// The bytes end too early.
    #[error("record: {0}")]
    Truncated(#[from] Truncated),
    /// Bytes follow the last page.
    #[error("record: {0} bytes after its end")]
    Trailing(usize),
    /// Not a format that this program knows.
    #[error("record: unknown format {0}")]
    Format(u8),
    /// Not a page encoding that this program knows.
    #[error("record: unknown page encoding {0}")]
    Encoding(u8),
    /// A page of another length than 4096 bytes.
    #[error("record: a page of {0} bytes")]
    PageLength(usize),
    /// The version it makes is not after the one it changes.
    #[error("record: version {version} does not follow {base}")]
    Versions {
        /// The version it changes.
        base: Version,
        /// The version it makes.
        version: Version,
    },
    /// More pages than a record, or the database, may hold.
    #[error("record: {count} changed pages in a database of {db_pages}")]
    TooManyPages {
        /// How many.
        count: u32,
        /// The size of the database.
        db_pages: u32,
    },
    /// A page out of order or outside the database.
    #[error("record: page {number} after page {after} in a database of {db_pages}")]
    PageNumber {
        /// The page.
        number: u32,
        /// The one before it.
        after: u32,
        /// The size of the database.
        db_pages: u32,
    },
}

/// A message of a snapshot transfer does not make sense or cannot be answered.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TransferError {
    /// The bytes are not such a message.
    #[error("snapshot transfer: {0}")]
    Message(#[from] RecordError),
    /// An unknown kind of message, or one that does not answer the request.
    #[error("snapshot transfer: unexpected message of kind {0}")]
    Unexpected(u8),
    /// More was asked for than one answer holds.
    #[error("snapshot transfer: {asked} items asked for, at most {most} fit an answer")]
    TooMuch {
        /// How many.
        asked: u32,
        /// The limit.
        most: u32,
    },
    /// A page that came does not have the hash that was announced.
    #[error("snapshot transfer: page {page} does not match its hash")]
    WrongHash {
        /// Which page.
        page: PageNo,
    },
    /// The sender could not read its page.
    #[error("snapshot transfer: {0}")]
    Read(ReadError),
}

/// A snapshot was not installed. What was fetched is kept, and the next attempt goes on from there.
#[derive(Debug, thiserror::Error)]
pub enum InstallError {
    /// The operating system failed.
    #[error("installing the snapshot failed: {0}")]
    Io(IoFault),
    /// The sender's answer is wrong.
    #[error(transparent)]
    Transfer(#[from] TransferError),
    /// A page on this side could not be read.
    #[error("installing the snapshot failed: {0}")]
    Read(ReadError),
    /// Pages are still to be fetched: the store changed in the meantime, or `finish` came too early.
    #[error("installing the snapshot failed: {pages} pages are still to be fetched")]
    Incomplete {
        /// How many.
        pages: u32,
    },
    /// The snapshot is older than what this store has.
    #[error("the snapshot is of version {version}, this store has {committed} already")]
    Old {
        /// The snapshot's version.
        version: Version,
        /// The store's.
        committed: Version,
    },
}

/// A file cannot be imported.
#[derive(Debug, thiserror::Error)]
pub enum ImportError {
    /// The operating system failed.
    #[error("reading {file} failed: {fault}")]
    Io {
        /// Which file.
        file: PathBuf,
        /// Why.
        fault: IoFault,
    },
    /// The file is not a database that can be taken over page by page.
    #[error("the file cannot be imported: {why}")]
    Refused {
        /// Which file: a copy, as a rule, whose name tells nobody anything.
        file: PathBuf,
        /// Why.
        why: &'static str,
    },
}

impl Fault for ReadError {
    fn code(&self) -> Code {
        Code(match self {
            Self::Corrupt { .. } => "BL-SQL-011",
            Self::PastEnd { .. } => "BL-SQL-019",
            Self::TooOld => "BL-SQL-007",
            Self::LeadershipLost => "BL-SQL-004",
            Self::Replaying { .. } => "BL-SQL-017",
            Self::Io(_) => "BL-SQL-016",
        })
    }

    fn disposition(&self) -> Disposition {
        match self {
            Self::Corrupt { .. } => Disposition::Corrupt,
            Self::PastEnd { .. } => Disposition::Bug,
            Self::TooOld | Self::LeadershipLost | Self::Replaying { .. } => {
                Disposition::Retry { after: Duration::from_millis(100) }
            }
            Self::Io(_) => IO,
        }
    }
}

impl Fault for OpenError {
    fn code(&self) -> Code {
        Code(match self {
            Self::Io { .. } => "BL-SQL-030",
            Self::InUse { .. } => "BL-SQL-031",
            Self::Damaged { .. } => "BL-SQL-032",
            Self::Foreign { .. } => "BL-SQL-033",
        })
    }

    fn disposition(&self) -> Disposition {
        match self {
            Self::Io { .. } => IO,
            Self::InUse { .. } => Disposition::Refuse,
            Self::Damaged { .. } | Self::Foreign { .. } => Disposition::Corrupt,
        }
    }
}

impl Fault for CheckpointError {
    fn code(&self) -> Code {
        match self {
            Self::Io(_) => Code("BL-SQL-040"),
            Self::Read(error) => error.code(),
            Self::Installing => Code("BL-SQL-042"),
            Self::Backwards { .. } => Code("BL-SQL-041"),
        }
    }

    fn disposition(&self) -> Disposition {
        match self {
            Self::Io(_) | Self::Installing => IO,
            Self::Read(error) => error.disposition(),
            Self::Backwards { .. } => Disposition::Bug,
        }
    }
}

impl Fault for RecordError {
    fn code(&self) -> Code {
        Code("BL-SQL-050")
    }

    fn disposition(&self) -> Disposition {
        Disposition::Corrupt
    }
}

impl Fault for TransferError {
    fn code(&self) -> Code {
        match self {
            Self::Read(error) => error.code(),
            _ => Code("BL-SQL-051"),
        }
    }

    fn disposition(&self) -> Disposition {
        match self {
            Self::Read(error) => error.disposition(),
            _ => Disposition::Refuse,
        }
    }
}

impl Fault for InstallError {
    fn code(&self) -> Code {
        match self {
            Self::Io(_) => Code("BL-SQL-052"),
            Self::Transfer(error) => error.code(),
            Self::Read(error) => error.code(),
            Self::Incomplete { .. } | Self::Old { .. } => Code("BL-SQL-053"),
        }
    }

    fn disposition(&self) -> Disposition {
        match self {
            Self::Io(_) => IO,
            Self::Transfer(error) => error.disposition(),
            Self::Read(error) => error.disposition(),
            Self::Incomplete { .. } => Disposition::Retry { after: Duration::ZERO },
            Self::Old { .. } => Disposition::Refuse,
        }
    }
}

impl Fault for ImportError {
    fn code(&self) -> Code {
        Code(match self {
            Self::Io { .. } => "BL-SQL-060",
            Self::Refused { .. } => "BL-SQL-061",
        })
    }

    fn disposition(&self) -> Disposition {
        match self {
            Self::Io { .. } => IO,
            Self::Refused { .. } => Disposition::Refuse,
        }
    }
}
