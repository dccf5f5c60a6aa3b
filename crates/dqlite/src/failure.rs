//! The codes of FAILURE answers.

use std::fmt;

/// A code as a FAILURE answer carries it: an SQLite (extended) result code, or one of dqlite's own.
///
/// go-dqlite takes [`Self::NOT_LEADER`], [`Self::LEADERSHIP_LOST`], [`Self::NOT_FOUND`], [`Self::NONE`] and a closed
/// connection for a bad connection, and `database/sql` then repeats the request on a new one, even a write.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FailureCode(pub u64);

impl FailureCode {
    /// "empty statement" carries code 0, for historic reasons.
    pub const NONE: Self = Self(0);
    /// Everything that has no better code.
    pub const ERROR: Self = Self(1);
    /// Another connection holds what this one waited for; or a membership change is running.
    pub const BUSY: Self = Self(5);
    /// The statement was interrupted.
    pub const INTERRUPT: Self = Self(9);
    /// The database or the disk is full.
    pub const FULL: Self = Self(13);
    /// No database was opened, or there is no such statement: also after a loss of leadership.
    pub const NOT_FOUND: Self = Self(12);
    /// The statement or the request is not allowed.
    pub const AUTH: Self = Self(23);
    /// A parameter is out of range.
    pub const RANGE: Self = Self(25);
    /// A read transaction tried to write after another connection's commit; start it again.
    pub const BUSY_SNAPSHOT: Self = Self(517);
    /// The message does not follow the protocol.
    pub const PROTO: Self = Self(1001);
    /// The message cannot be read.
    pub const PARSE: Self = Self(1005);
    /// This member is not the leader: `SQLITE_IOERR | 40 << 8`.
    pub const NOT_LEADER: Self = Self(10250);
    /// Leadership was lost while the request ran: its outcome is unknown: `SQLITE_IOERR | 41 << 8`.
    pub const LEADERSHIP_LOST: Self = Self(10506);
    /// [`Self::NOT_LEADER`] in very old servers.
    pub const NOT_LEADER_OLD: Self = Self(8202);
    /// [`Self::LEADERSHIP_LOST`] in very old servers.
    pub const LEADERSHIP_LOST_OLD: Self = Self(8458);

    /// A code that SQLite itself gave; SQLite's codes are never negative, and one that were would be [`Self::ERROR`].
    pub fn from_sqlite(code: i32) -> Self {
        u64::try_from(code).map_or(Self::ERROR, Self)
    }

    /// SQLite's primary code: the low byte.
    pub const fn primary(self) -> u64 {
        self.0 & 0xff
    }

    /// Whether a client should look for the (new) leader.
    pub const fn asks_for_another_leader(self) -> bool {
        matches!(
            self,
            Self::NOT_LEADER
                | Self::LEADERSHIP_LOST
                | Self::NOT_LEADER_OLD
                | Self::LEADERSHIP_LOST_OLD
                | Self::NOT_FOUND
        )
    }
}

impl fmt::Display for FailureCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_those_that_clients_know() {
        assert_eq!(FailureCode::NOT_LEADER.0, 10250);
        assert_eq!(FailureCode::LEADERSHIP_LOST.0, 10506);
        assert_eq!(FailureCode::NOT_LEADER_OLD.0, 8202);
        assert_eq!(FailureCode::LEADERSHIP_LOST_OLD.0, 8458);
        assert_eq!(FailureCode::BUSY_SNAPSHOT.primary(), FailureCode::BUSY.0);
        assert_eq!(FailureCode::from_sqlite(-1), FailureCode::ERROR);
    }
}
