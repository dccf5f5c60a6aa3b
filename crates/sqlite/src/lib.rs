//! SQLite connections on a multi-version page store of our own.
//!
//! A [`PageStore`] holds the pages of one database in all the versions that somebody still needs: the committed one, the
//! speculative ones of this node's writers, and those that readers pinned. A [`Connection`] is SQLite on such a store,
//! through a VFS. SQLite writes nothing to disk: a commit becomes a version in memory, commits become a [`Record`] for
//! the Raft log, and a checkpoint moves committed pages to a plain SQLite file behind the log.
//!
//! `unsafe` lives in two modules only, `ffi` (calls of SQLite) and `vfs` (calls by SQLite). See docs/adr/0003 and 0004,
//! docs/formats/record.md and docs/formats/page-store.md.

mod connection;
mod error;
mod ffi;
mod files;
mod import;
mod limits;
#[cfg(test)]
mod oracle_tests;
mod page;
mod page_store;
mod recode;
mod record;
mod transfer;
mod vfs;

pub use connection::{
    Access, Column, Connection, ConnectionOptions, InterruptHandle, Prepared, StatementId, Step, Value, ValueRef,
};
pub use error::{
    CheckpointError, ImportError, InstallError, IoFault, OpenError, PAGES, ReadError, RecordError, SqlError,
    TransferError,
};
pub use ffi::reseed_random;
pub use import::{Batches, SourceFile};
pub use page::{PAGE_SIZE, Page, PageHash, PageRef};
pub use page_store::{
    Applied, CheckpointMeta, PageStore, PageStoreOptions, Resigned, Stats, VerifyReads, View, WantedPage,
};
pub use recode::Form;
pub use record::{PageImage, Record};
pub use transfer::{Install, LocalPages, Manifest, SnapshotRequest, SnapshotServer};
