//! What a connection and the page store know of each other, and the transactions of connections.

use super::read::Shared;
use super::versions::Pin;
use super::view::View;
use crate::error::SqlError;
use crate::page::{PAGE_BYTES, PageRef};
use base::{PageNo, Version};
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

/// A record of more pages could not be read back.
const RECORD_PAGES_MAX: usize = crate::record::PAGES_MAX as usize;

/// Why a connection is of no more use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Poison {
    /// It saw, or made, versions that were dropped.
    LeadershipLost,
}

/// A connection as the page store sees it. Shared by the connection, its VFS file and the store.
#[derive(Debug)]
pub(crate) struct Attachment {
    id: u64,
    /// The reign in which it may write; 0 for none.
    granted: AtomicU64,
    poisoned: AtomicU8,
    /// The version of the current or last transaction.
    seen: AtomicU64,
    /// The newest version ever seen or made: SQLite's caches may hold something of it.
    newest_seen: AtomicU64,
    /// The version of a commit that was not asked for yet; 0 for none.
    commit: AtomicU64,
    /// Whether its commits are not to be taken into a record before they are let go.
    holds: AtomicBool,
    /// Why the last call by SQLite failed, in our own terms.
    fault: Mutex<Option<SqlError>>,
}

impl Attachment {
    pub(super) fn new(id: u64) -> Self {
        Self {
            id,
            granted: AtomicU64::new(0),
            poisoned: AtomicU8::new(0),
            seen: AtomicU64::new(0),
            newest_seen: AtomicU64::new(0),
            commit: AtomicU64::new(0),
            holds: AtomicBool::new(false),
            fault: Mutex::new(None),
        }
    }

    pub(super) fn id(&self) -> u64 {
        self.id
    }

    /// Gives what it was.
    pub(crate) fn set_holds(&self, holds: bool) -> bool {
        self.holds.swap(holds, Ordering::AcqRel)
    }

    pub(super) fn holds(&self) -> bool {
        self.holds.load(Ordering::Acquire)
    }

    pub(crate) fn revoke(&self) {
        self.granted.store(0, Ordering::Release);
    }

    pub(crate) fn poison(&self, Poison::LeadershipLost: Poison) {
        self.poisoned.store(1, Ordering::Release);
    }

    pub(crate) fn poisoned(&self) -> Option<Poison> {
        (self.poisoned.load(Ordering::Acquire) != 0).then_some(Poison::LeadershipLost)
    }

    pub(crate) fn check(&self) -> Result<(), SqlError> {
        match self.poisoned() {
            None => Ok(()),
            Some(Poison::LeadershipLost) => Err(SqlError::LeadershipLost),
        }
    }

    pub(crate) fn seen(&self) -> Version {
        Version(self.seen.load(Ordering::Acquire))
    }

    pub(super) fn newest_seen(&self) -> Version {
        Version(self.newest_seen.load(Ordering::Acquire))
    }

    fn see(&self, version: Version) {
        self.seen.store(version.0, Ordering::Release);
        self.newest_seen.fetch_max(version.0, Ordering::AcqRel);
    }

    pub(crate) fn take_commit(&self) -> Option<Version> {
        let version = self.commit.swap(0, Ordering::AcqRel);
        (version != 0).then_some(Version(version))
    }

    pub(crate) fn set_fault(&self, fault: SqlError) {
        *self.fault.lock().unwrap_or_else(PoisonError::into_inner) = Some(fault);
    }

    pub(crate) fn take_fault(&self) -> Option<SqlError> {
        self.fault.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

impl Shared {
    pub(crate) fn attach(&self) -> Arc<Attachment> {
        self.write_versions().attach()
    }

    pub(crate) fn detach(&self, attachment: &Attachment) {
        self.write_versions().detach(attachment);
    }

    /// Lets a connection write until it is revoked or leadership ends, even if it comes back.
    pub(crate) fn grant(&self, attachment: &Attachment) {
        let versions = self.write_versions();
        attachment.granted.store(versions.reign(), Ordering::Release);
    }

    /// A commit that was held may be taken into a record.
    pub(crate) fn let_go_of(&self, version: Version) {
        self.write_versions().let_go_of(version);
    }

    /// Makes a version in which nothing has changed, for a commit whose record carries only what the layer above adds.
    pub(crate) fn publish_nothing(&self, attachment: &Attachment) -> Result<Version, SqlError> {
        let mut versions = self.write_versions();
        attachment.check()?;
        if !versions.leading() || attachment.granted.load(Ordering::Acquire) != versions.reign() {
            return Err(SqlError::NotLeader);
        }
        if versions.writer().is_some() {
            return Err(SqlError::WriterBusy);
        }
        let pages = versions.head_pages();
        let version = versions.publish(Vec::new(), pages, attachment.holds());
        attachment.see(version);
        Ok(version)
    }

    /// Begins a transaction: on the head if the connection may write, else on what is committed.
    pub(crate) fn begin(self: &Arc<Self>, attachment: &Attachment) -> Result<View, SqlError> {
        let mut versions = self.write_versions();
        attachment.check()?;
        let granted = versions.leading() && attachment.granted.load(Ordering::Acquire) == versions.reign();
        let pin = if granted { versions.pin_head() } else { versions.pin_committed() };
        attachment.see(pin.version);
        drop(versions);
        Ok(View::of(Arc::clone(self), pin))
    }

    /// Begins a transaction of a connection that may not write on the view of its last one, if that is still the newest.
    pub(crate) fn begin_again(&self, attachment: &Attachment, idle: View) -> Option<View> {
        let committed = Version(self.committed.load(Ordering::Acquire));
        let fits =
            attachment.check().is_ok() && attachment.granted.load(Ordering::Acquire) == 0 && idle.resume(committed);
        if fits {
            attachment.see(committed);
        }
        fits.then_some(idle)
    }

    /// Takes SQLite's RESERVED lock.
    pub(crate) fn reserve(&self, attachment: &Attachment, view: &View) -> Result<(), SqlError> {
        let mut versions = self.write_versions();
        attachment.check()?;
        if !versions.leading() {
            return Err(SqlError::NotLeader);
        }
        let granted = attachment.granted.load(Ordering::Acquire);
        if granted != 0 && granted != versions.reign() {
            // Leadership went and came back: what was granted then does not count any more.
            return Err(SqlError::NotLeader);
        }
        if granted == 0 || versions.writer().is_some_and(|id| id != attachment.id) {
            return Err(SqlError::WriterBusy);
        }
        if view.version() != versions.head() {
            return Err(SqlError::SnapshotStale);
        }
        versions.take_writer(attachment);
        Ok(())
    }

    /// Gives the RESERVED lock back.
    pub(crate) fn release(&self, attachment: &Attachment) {
        self.write_versions().release_writer(attachment);
    }

    /// Makes a commit that was built upon `base` the new head and gives a view of it. `changes` must hold every page that is new to the database.
    pub(crate) fn publish(
        self: &Arc<Self>,
        attachment: &Attachment,
        base: Version,
        changes: Vec<(PageNo, PageRef)>,
        pages: u32,
    ) -> Result<View, SqlError> {
        let mut versions = self.write_versions();
        attachment.check()?;
        if !versions.leading() || versions.writer() != Some(attachment.id) || versions.head() != base {
            // Leadership went, and perhaps came back, between RESERVED and here: the writer's base is gone.
            attachment.poison(Poison::LeadershipLost);
            return Err(SqlError::LeadershipLost);
        }
        if changes.len() > RECORD_PAGES_MAX {
            return Err(SqlError::TransactionTooLarge { bytes_max: self.options.transaction_bytes_max });
        }
        let version = versions.publish(changes, pages, attachment.holds());
        attachment.see(version);
        attachment.commit.store(version.0, Ordering::Release);
        let pin: Arc<Pin> = versions.pin_head();
        drop(versions);
        Ok(View::of(Arc::clone(self), pin))
    }

    /// The most pages a database may have.
    pub(crate) fn pages_max(&self) -> u32 {
        u32::try_from(self.options.database_bytes_max / PAGE_BYTES).unwrap_or(u32::MAX - 1)
    }
}
