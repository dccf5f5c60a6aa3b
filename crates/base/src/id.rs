//! Typed ids. None of them is ever a bare integer or string in a signature.

use serde::{Deserialize, Serialize};
use std::fmt;

macro_rules! id {
    ($(#[$doc:meta])* $name:ident($inner:ty)) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
        pub struct $name(pub $inner);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    };
}

id! {
    /// A node of the cluster. Random, never zero, never reused: a wiped machine that joins again is a new node.
    /// It is also the node's id in the dqlite protocol.
    NodeId(u64)
}
id! {
    /// A Raft group. Each database is one; `GroupId::SYS` is the cluster's own.
    GroupId(u64)
}
id! {
    /// A Raft term.
    Term(u64)
}
id! {
    /// The position of an entry in a group's Raft log. The first entry has index 0 (openraft's convention).
    LogIndex(u64)
}
id! {
    /// The number of a committed state of one database: each SQL commit adds one. It is the change counter of the
    /// SQLite file header.
    Version(u64)
}
id! {
    /// The number of a page in a database file, counted from 1 as SQLite does.
    PageNo(u32)
}

impl GroupId {
    /// The group of the `sys` database.
    pub const SYS: Self = Self(1);
}

impl Version {
    /// The state after the next commit.
    #[must_use]
    pub const fn next(self) -> Self {
        Self(self.0 + 1)
    }
}

/// What a node does for the Raft groups: dqlite's three roles, with dqlite's numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Role {
    /// Replicates and votes.
    Voter,
    /// Replicates, does not vote; the first to be promoted.
    StandBy,
    /// Neither replicates nor votes.
    Spare,
}

impl Role {
    /// The number of the role in the dqlite protocol.
    pub const fn dqlite_code(self) -> u64 {
        match self {
            Self::Voter => 0,
            Self::StandBy => 1,
            Self::Spare => 2,
        }
    }

    /// The role with that number in the dqlite protocol.
    pub const fn from_dqlite_code(code: u64) -> Option<Self> {
        match code {
            0 => Some(Self::Voter),
            1 => Some(Self::StandBy),
            2 => Some(Self::Spare),
            _ => None,
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Voter => "voter",
            Self::StandBy => "stand-by",
            Self::Spare => "spare",
        })
    }
}

/// The name of a database: 1 to 128 characters of `A-Z a-z 0-9 . _ -`, not starting with a dot or a dash.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct DbName(String);

/// The name cannot be a database's name; the text says why.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("database name {name:?} is not allowed: {why}")]
pub struct InvalidName {
    /// The refused name.
    pub name: String,
    /// What is wrong with it.
    pub why: &'static str,
}

impl DbName {
    /// The longest name, in bytes.
    pub const LEN_MAX: usize = 128;

    /// Checks and takes a name.
    pub fn new(name: impl Into<String>) -> Result<Self, InvalidName> {
        let name = name.into();
        let why = if name.is_empty() {
            "it is empty"
        } else if name.len() > Self::LEN_MAX {
            "it is longer than 128 characters"
        } else if name.starts_with(['.', '-']) {
            "it starts with a dot or a dash"
        } else if !name.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-')) {
            "it may hold only letters, digits, dot, underscore and dash"
        } else {
            return Ok(Self(name));
        };
        Err(InvalidName { name, why })
    }

    /// The cluster's own database.
    pub fn sys() -> Self {
        Self("sys".to_owned())
    }

    /// Whether this is the cluster's own database.
    pub fn is_sys(&self) -> bool {
        self.0 == "sys"
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for DbName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl TryFrom<String> for DbName {
    type Error = InvalidName;
    fn try_from(name: String) -> Result<Self, InvalidName> {
        Self::new(name)
    }
}

impl From<DbName> for String {
    fn from(name: DbName) -> Self {
        name.0
    }
}

impl std::str::FromStr for DbName {
    type Err = InvalidName;
    fn from_str(name: &str) -> Result<Self, InvalidName> {
        Self::new(name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_could_leave_the_directory_are_refused() {
        for name in ["", ".", "..", ".hidden", "-x", "a/b", "a\\b", "a b", "ä", "a\0"] {
            assert!(DbName::new(name).is_err(), "{name:?}");
        }
        assert!(DbName::new("x".repeat(129)).is_err());
        for name in ["shop", "bench.db", "A-1_b.c", &"x".repeat(128)] {
            assert!(DbName::new(name).is_ok(), "{name:?}");
        }
    }

    #[test]
    fn role_numbers_are_dqlites() {
        for role in [Role::Voter, Role::StandBy, Role::Spare] {
            assert_eq!(Role::from_dqlite_code(role.dqlite_code()), Some(role));
        }
        assert_eq!(Role::from_dqlite_code(3), None);
    }
}
