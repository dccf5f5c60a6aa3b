//! The versions of a database's pages: in memory what is newer than the last checkpoint, on disk the rest.
//!
//! ```text
//!   version  0 ......... checkpoint ......... committed ......... taken ......... head
//!            data.db                memory: replicated     in flight     speculative
//! ```
//!
//! *Committed* is what Raft has applied here; every reader sees one committed version and keeps it while it reads. *Head*
//! is what the writer of this node, while it leads, builds upon; it is ahead of committed by the commits that are not yet
//! replicated. Losing leadership drops everything after committed.

use crate::error::{CheckpointError, OpenError, ReadError, RecordError};
use crate::page::{Page, PageHash};
use crate::record::Record;
use base::{PageNo, Term, Version};
use bytes::Bytes;
use std::path::Path;
use std::sync::Arc;

/// Limits and habits of a page store.
#[derive(Debug, Clone)]
pub struct PageStoreOptions {
    /// Check every page read from disk against its hash. Costs about two microseconds a page not yet in memory.
    pub verify_reads: VerifyReads,
    /// How many bytes of old versions readers may keep in memory; past it the oldest reader loses its version.
    pub old_versions_bytes_max: u64,
    /// How many bytes of pages that are also on disk are kept in memory.
    pub cache_bytes_max: u64,
    /// The largest transaction, in bytes of changed pages.
    pub transaction_bytes_max: u64,
    /// The largest database, in bytes.
    pub database_bytes_max: u64,
    /// A checkpoint syncs the file each time it has written so many bytes, so that the log's own syncs never wait for more.
    pub checkpoint_sync_bytes: u64,
}

/// Whether pages read from disk are checked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum VerifyReads {
    /// Each page is checked against its hash.
    On,
    /// Pages are taken as the disk gives them.
    Off,
}

impl Default for PageStoreOptions {
    fn default() -> Self {
        Self {
            verify_reads: VerifyReads::On,
            old_versions_bytes_max: 256 << 20,
            cache_bytes_max: 32 << 20,
            transaction_bytes_max: 64 << 20,
            database_bytes_max: 1 << 40,
            checkpoint_sync_bytes: 1 << 20,
        }
    }
}

/// What became of a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Applied {
    /// The committed version is now this one.
    Done(Version),
    /// The record does not fit: it was prepared in another term, or on another version. Every member skips it.
    Void,
}

/// What losing leadership cost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Resigned {
    /// The committed version, which is the head again.
    pub committed: Version,
    /// How many speculative commits were dropped.
    pub dropped: u64,
    /// How many connections depended on them and are of no more use.
    pub poisoned: usize,
}

/// Sizes, for metrics and for the choice of when to checkpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Stats {
    /// The committed version.
    pub committed: Version,
    /// The newest version.
    pub head: Version,
    /// The version on disk.
    pub checkpoint: Version,
    /// The size of the committed database, in pages.
    pub pages: u32,
    /// Pages that are newer than the file, in bytes: what the next checkpoint writes.
    pub overlay_bytes: u64,
    /// Old versions kept for readers, in bytes.
    pub old_versions_bytes: u64,
    /// Pages kept in memory although they are on disk, in bytes.
    pub cache_bytes: u64,
    /// Commits that [`PageStore::next_record`] has not taken yet, in bytes of distinct pages at most.
    pub pending_bytes: u64,
    /// Pinned versions: views and open transactions.
    pub pins: usize,
    /// Pages found corrupt since the store was opened.
    pub corrupt_pages: u64,
}

#[derive(Debug)]
struct Shared;

/// What the last checkpoint left on disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CheckpointMeta {
    /// The version in the file.
    pub version: Version,
    /// The size of the database in that version, in pages.
    pub pages: u32,
    /// What the layer above keeps with it: the position in the Raft log, the membership, the answers to clients.
    pub extra: Bytes,
}

/// One version of the database, kept for as long as this value lives. Never blocks the writer or a checkpoint. Send and Sync.
#[derive(Debug)]
pub struct View(#[expect(dead_code, reason = "not used yet")] Arc<Shared>);

impl View {
    /// Which version.
    pub fn version(&self) -> Version {
        todo!()
    }
    /// The size of the database in that version, in pages.
    pub fn pages(&self) -> u32 {
        todo!()
    }
    /// Copies a page. Blocks on disk if the page is not in memory.
    pub fn read(&self, _page: PageNo, _into: &mut Page) -> Result<(), ReadError> {
        todo!()
    }
    /// The hash of a page.
    pub fn hash(&self, _page: PageNo) -> Result<PageHash, ReadError> {
        todo!()
    }
    /// The hash of all pages: equal on two members if and only if their databases are.
    pub fn database_hash(&self) -> Result<PageHash, ReadError> {
        todo!()
    }
    /// Writes the database as a plain SQLite file, which must not exist yet.
    pub fn export(&self, _path: &Path) -> Result<(), CheckpointError> {
        todo!()
    }
}

/// The pages of one database. A handle: clones share the store.
#[derive(Debug, Clone)]
pub struct PageStore {
    #[expect(dead_code, reason = "not used yet")]
    shared: Arc<Shared>,
}

impl PageStore {
    /// Opens the store in `dir`, or makes an empty one there. Blocks on disk. The second value is the last checkpoint, from
    /// which the log is to be replayed; `None` means from its beginning.
    pub fn open(_dir: &Path, _options: PageStoreOptions) -> Result<(Self, Option<CheckpointMeta>), OpenError> {
        todo!()
    }
    /// The version that Raft has applied here.
    pub fn committed(&self) -> Version {
        todo!()
    }
    /// The newest version: what a writer of this node builds upon.
    pub fn head(&self) -> Version {
        todo!()
    }
    /// The size of the committed database, in pages.
    pub fn pages(&self) -> u32 {
        todo!()
    }
    /// Keeps the committed version for reading. Never blocks the writer or a checkpoint.
    pub fn pin_committed(&self) -> View {
        todo!()
    }
    /// Pages that are newer than the file, in bytes: what the next checkpoint writes.
    pub fn overlay_bytes(&self) -> u64 {
        todo!()
    }
    /// Sizes.
    pub fn stats(&self) -> Stats {
        todo!()
    }
    /// From now on connections of this node may write. To be called when Raft has applied the first entry of the term.
    pub fn lead(&self, _term: Term) {
        todo!()
    }
    /// No connection of this node may write from now on. What was not committed is dropped, and the connections that depended
    /// on it fail with `LeadershipLost`.
    pub fn resign(&self) -> Resigned {
        todo!()
    }
    /// All commits that were not taken yet, as one record with an empty `extra`; `None` if there are none. Records may be
    /// taken while earlier ones are in flight; each one's base is the version of the one before.
    pub fn next_record(&self) -> Option<Record> {
        todo!()
    }
    /// Takes a record into the committed version. Memory only.
    pub fn apply(&self, _record: &Record, _entry_term: Term) -> Applied {
        todo!()
    }
    /// Decodes and applies; on the leader that made the record its pages are not decoded, as they are in memory already.
    /// The second value is the record's `extra`, a slice of `bytes`.
    pub fn apply_encoded(&self, _bytes: &Bytes, _entry_term: Term) -> Result<(Applied, Bytes), RecordError> {
        todo!()
    }
    /// Makes the version of `at` and `extra` durable in the file. Blocks on disk; readers and writers go on.
    pub fn checkpoint(&self, _extra: Bytes, _at: &View) -> Result<CheckpointMeta, CheckpointError> {
        todo!()
    }
    /// After a crash in the middle of a checkpoint: the version from which on every page can be read. Reads before that may
    /// fail with `Replaying`.
    pub fn replaying_until(&self) -> Option<Version> {
        todo!()
    }
}
