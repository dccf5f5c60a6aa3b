//! What a client may choose for its session.

use crate::read::{UnknownReadLevel, duration};
use crate::{ReadLevel, StoreError};
use base::{DbName, InvalidName};
use sqlite::StatementId;
use std::time::Duration;

/// A client's choices for its session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SessionOptions {
    /// How fresh reads are.
    pub read: ReadLevel,
    /// Whether reads, too, are refused where the database is not led, as dqlite's clients expect.
    pub leader_only: bool,
    /// The session is for one statement that reads rows: everything else is refused, each parameter needs its value, and it runs on a
    /// thread of its own, for nothing is known of its cost.
    pub one_read: bool,
    /// What would write is refused.
    pub read_only: bool,
    /// How long a write waits for the writer's slot, and a read for a majority.
    pub wait_max: Duration,
    /// How long a transaction that holds the writer's slot may wait for its client.
    pub idle_max: Duration,
    /// How long one statement may run.
    pub statement_max: Option<Duration>,
}

impl Default for SessionOptions {
    fn default() -> Self {
        Self {
            read: ReadLevel::default(),
            leader_only: false,
            one_read: false,
            read_only: false,
            wait_max: Duration::from_secs(5),
            idle_max: Duration::from_secs(30),
            statement_max: None,
        }
    }
}

/// A database name with options that cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadName {
    /// The name itself.
    #[error(transparent)]
    Name(#[from] InvalidName),
    /// The read level.
    #[error(transparent)]
    Read(#[from] UnknownReadLevel),
    /// Some other option.
    #[error("option {0:?} is not one of read=LEVEL, busy=DURATION, idle=DURATION, deadline=DURATION")]
    Option(String),
}

impl From<BadName> for StoreError {
    fn from(bad: BadName) -> Self {
        match bad {
            BadName::Name(name) => Self::Name(name),
            other => Self::BadOption { why: other.to_string() },
        }
    }
}

impl SessionOptions {
    /// Reads `NAME?read=local&busy=20s&idle=1m&deadline=2s`, changing the given defaults. A read level other than the
    /// default also lets any member serve the reads.
    pub fn parse(mut self, name: &str) -> Result<(DbName, Self), BadName> {
        let (name, options) = name.split_once('?').unwrap_or((name, ""));
        for option in options.split('&').filter(|o| !o.is_empty()) {
            let (key, value) = option.split_once('=').ok_or_else(|| BadName::Option(option.to_owned()))?;
            self.set(key, value)?;
        }
        Ok((DbName::new(name)?, self))
    }

    /// Takes one option by its name: `read`, `busy`, `idle` or `deadline`.
    pub fn set(&mut self, key: &str, value: &str) -> Result<(), BadName> {
        let bad = || BadName::Option(format!("{key}={value}"));
        match key {
            "read" => {
                self.read = value.parse()?;
                self.leader_only = false;
            }
            "busy" => self.wait_max = duration(value).ok_or_else(bad)?,
            "idle" => self.idle_max = duration(value).ok_or_else(bad)?,
            "deadline" => self.statement_max = Some(duration(value).ok_or_else(bad)?),
            _ => return Err(bad()),
        }
        Ok(())
    }
}

/// The statement a request means.
#[derive(Debug, Clone, Copy)]
pub enum Statement<'a> {
    /// One that was prepared on this session.
    Prepared(StatementId),
    /// SQL text.
    Sql(&'a str),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_carries_its_options() {
        let dqlite = SessionOptions { leader_only: true, ..SessionOptions::default() };
        let (name, options) = dqlite.parse("shop").unwrap();
        assert_eq!((name.as_str(), options), ("shop", dqlite));
        let (name, options) = dqlite.parse("shop?read=local&busy=20s&idle=1m&deadline=250ms").unwrap();
        assert_eq!(name.as_str(), "shop");
        assert_eq!(
            options,
            SessionOptions {
                read: ReadLevel::Local,
                leader_only: false,
                one_read: false,
                read_only: false,
                wait_max: Duration::from_secs(20),
                idle_max: Duration::from_mins(1),
                statement_max: Some(Duration::from_millis(250)),
            }
        );
        for bad in ["shop?read=now", "shop?busy", "shop?busy=5", "shop?mode=ro", "?read=local", "../x"] {
            assert!(dqlite.parse(bad).is_err(), "{bad:?}");
        }
    }
}
