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

mod apply;
mod attach;
mod checkpoint;
mod disk;
mod lead;
mod mend;
mod meta;
mod read;
mod table;
mod versions;
mod view;

pub(crate) use attach::{Attachment, Poison};
pub(crate) use checkpoint::write_all_sums;
pub(crate) use disk::{Disk, names};
pub use mend::WantedPage;
pub use meta::CheckpointMeta;
pub(crate) use meta::{MetaFile, sums_hash};
pub(crate) use read::Shared;
pub use view::View;

use crate::error::OpenError;
use base::Version;
use std::path::Path;
use std::sync::{Arc, PoisonError};

/// Limits and habits of a page store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
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
            transaction_bytes_max: 20 << 20,
            database_bytes_max: 1 << 40,
            checkpoint_sync_bytes: 1 << 20,
        }
    }
}

/// What became of a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Applied {
    /// The committed version is now this one, with pages of another origin than what this node holds as the leader. If it
    /// held commits of its own, they were dropped.
    Done(Version),
    /// The committed version is now this one, which this node has made: its commits up to there are confirmed.
    Confirmed(Version),
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

/// The pages of one database. A handle: clones share the store.
#[derive(Debug, Clone)]
pub struct PageStore {
    pub(crate) shared: Arc<Shared>,
}

impl PageStore {
    /// Opens the store in `dir`, or makes an empty one there. Blocks on disk. The second value is the last checkpoint, from
    /// which the log is to be replayed; `None` means from its beginning.
    ///
    /// No page is read, so the time does not depend on the size but for the hashes: 16 bytes a page. An install that a
    /// crash interrupted is finished first.
    pub fn open(dir: &Path, options: PageStoreOptions) -> Result<(Self, Option<CheckpointMeta>), OpenError> {
        let (shared, meta) = Shared::open(dir, options)?;
        Ok((Self { shared: Arc::new(shared) }, meta))
    }

    /// The version that Raft has applied here.
    pub fn committed(&self) -> Version {
        self.shared.read_versions().committed()
    }

    /// The newest version: what a writer of this node builds upon.
    pub fn head(&self) -> Version {
        self.shared.read_versions().head()
    }

    /// The size of the committed database, in pages.
    pub fn pages(&self) -> u32 {
        self.shared.read_versions().committed_pages()
    }

    /// The term in which connections of this node may write; none while it does not lead, or since another's record came
    /// between.
    pub fn leads(&self) -> Option<base::Term> {
        self.shared.read_versions().leading_term()
    }

    /// Keeps the committed version for reading. Never blocks the writer or a checkpoint.
    pub fn pin_committed(&self) -> View {
        View::committed(&self.shared)
    }

    /// Pages that are newer than the file, in bytes: what the next checkpoint writes.
    pub fn overlay_bytes(&self) -> u64 {
        self.shared.read_versions().overlay_bytes()
    }

    /// Sizes.
    pub fn stats(&self) -> Stats {
        let checkpoint = self.shared.checkpointed();
        Stats { checkpoint, corrupt_pages: self.shared.corrupt_pages(), ..self.shared.read_versions().stats() }
    }

    /// After a crash in the middle of a checkpoint: the version from which on every page can be read. Reads before that may
    /// fail with `Replaying`.
    pub fn replaying_until(&self) -> Option<Version> {
        let until = self.shared.disk.lock().unwrap_or_else(PoisonError::into_inner).unsettled;
        until.filter(|until| *until > self.committed())
    }
}
