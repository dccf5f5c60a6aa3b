//! Replicated SQL databases: execution, group commit, reads by level, and the list of databases.
//!
//! A database is a Raft group whose state machine is a page store. Sessions run SQLite on the leader's speculative head;
//! the replicator merges their commits into records; an answer leaves when what it rests on is on a majority's disks.

mod answers;
mod catalog;
mod core;
mod database;
mod error;
mod forward;
mod import;
mod inner;
mod kept;
mod machine;
mod mend;
mod read;
mod recode;
mod replicator;
pub mod resources;
mod rows;
mod session;
mod store;
mod transfer;
mod value;
mod waiters;
mod witness;

pub use answers::{Outcome, WriteId};
pub use catalog::{DatabaseRow, DatabaseState};
pub use database::{Database, Leadership};
pub use error::{PAGES, StoreError};
pub use read::{ReadLevel, UnknownReadLevel};
pub use recode::Form;
pub use rows::{Command, ROWS_MAX, Rows};
pub use session::{BadName, Columns, Fetch, Flow, Row, RowSink, Session, SessionOptions, Statement};
pub use sqlite::{InterruptHandle, Prepared, StatementId, ValueRef};
pub use store::{Store, StoreConfig, TRANSACTION_BYTES_MAX, tables};
pub use value::Value;
pub use witness::Witnessed;
