//! The shared state of a page store, and how a page of a pinned version is found.

use super::disk::Disk;
use super::versions::{Found, Pin, PinEnd, Versions};
use super::{CheckpointMeta, PageStoreOptions, VerifyReads};
use crate::error::{IoFault, ReadError};
use crate::page::{PAGE_SIZE, PageHash, PageRef, offset};
use base::{PageNo, Version};
use rt::sync::watch;
use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

/// What all handles of a page store share.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) options: PageStoreOptions,
    pub(crate) dir: PathBuf,
    /// `data.db`. Read by anyone, written under the lock of `disk`.
    pub(crate) file: rt::fs::File,
    /// The leaf lock of everything in memory. No IO happens under it.
    pub(super) versions: RwLock<Versions>,
    /// Held during a checkpoint or an install, IO included. Taken before `versions`.
    pub(crate) disk: Mutex<Disk>,
    /// Grows each time pages of the file are about to be overwritten.
    pub(super) overwrites: AtomicU64,
    pub(super) checkpointed: AtomicU64,
    /// The committed version, to be looked at without the lock: it may be newer by the time the lock is had.
    pub(super) committed: AtomicU64,
    pub(super) corrupt: AtomicU64,
    /// Pages of the file that do not match their hashes, until they are mended.
    pub(super) damaged: watch::Sender<BTreeSet<PageNo>>,
}

impl Shared {
    pub(crate) fn read_versions(&self) -> RwLockReadGuard<'_, Versions> {
        self.versions.read().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn write_versions(&self) -> RwLockWriteGuard<'_, Versions> {
        self.versions.write().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn checkpointed(&self) -> Version {
        Version(self.checkpointed.load(Ordering::Acquire))
    }

    pub(super) fn corrupt_pages(&self) -> u64 {
        self.corrupt.load(Ordering::Relaxed)
    }

    /// A page of a pinned version, from memory or from the file.
    ///
    /// A page in the file may be overwritten by a checkpoint between the moment it was looked up and the moment it is read;
    /// before the checkpoint does that, it puts the old contents where the second look finds them, and counts.
    pub(super) fn read_page(&self, pin: &Pin, page: PageNo) -> Result<PageRef, ReadError> {
        loop {
            let (hash, overwrites, unsettled) = {
                let versions = self.read_versions();
                check(pin)?;
                match versions.find(page, pin.version) {
                    Found::Memory(image) => return Ok(image),
                    Found::File(hash) => (hash, self.overwrites.load(Ordering::Acquire), versions.unsettled()),
                }
            };
            let mut image: PageRef = Arc::new([0; PAGE_SIZE]);
            let contents = Arc::get_mut(&mut image).map(|contents| self.file.read_exact_at(contents, offset(page)));
            let outcome = match contents {
                Some(Err(error)) if error.kind() != std::io::ErrorKind::UnexpectedEof => {
                    Err(ReadError::Io(error.into()))
                }
                Some(Ok(())) => Ok(()),
                _ => Err(ReadError::Corrupt { page }),
            };
            let unsettled = unsettled.filter(|until| pin.version < *until);
            let verify = (self.options.verify_reads == VerifyReads::On || unsettled.is_some())
                && !rt::mutant!("sqlite.trust-the-disk");
            let whole = outcome.is_ok() && (!verify || PageHash::of(&image) == hash);
            let mut versions = self.write_versions();
            if self.overwrites.load(Ordering::Acquire) != overwrites {
                continue;
            }
            if whole {
                versions.cache(page, Arc::clone(&image));
                return Ok(image);
            }
            drop(versions);
            return Err(match (outcome, unsettled) {
                (Err(ReadError::Io(fault)), _) => ReadError::Io(fault),
                (_, Some(until)) => ReadError::Replaying { until },
                _ => {
                    self.is_damaged(page);
                    tracing::error!(%page, file = %self.dir.join(super::names::DATA).display(), "corrupt page");
                    ReadError::Corrupt { page }
                }
            });
        }
    }

    /// The hash of a page of a pinned version if it is in the file as it is.
    pub(super) fn known_hash(&self, pin: &Pin, page: PageNo) -> Result<Option<PageHash>, ReadError> {
        let versions = self.read_versions();
        check(pin)?;
        Ok(match versions.find_stored(page, pin.version) {
            Found::File(hash) => Some(hash),
            Found::Memory(_) => None,
        })
    }

    /// Tells those who look without the lock.
    pub(super) fn publish_committed(&self, versions: &Versions) {
        self.committed.store(versions.committed().0, Ordering::Release);
    }

    /// The hashes of the pages in the file.
    pub(crate) fn file_sums(&self) -> Vec<PageHash> {
        self.read_versions().sums.clone()
    }

    /// The file is about to be overwritten with that version, outside of a checkpoint.
    pub(crate) fn begin_jump(&self, version: Version) {
        let mut versions = self.write_versions();
        versions.set_unsettled(Some(version));
        versions.end_readers_before(version);
        self.overwrites.fetch_add(1, Ordering::AcqRel);
    }

    /// The file holds that version, and nothing else is of use.
    pub(crate) fn end_jump(&self, meta: &CheckpointMeta, sums: Vec<PageHash>) {
        let mut versions = self.write_versions();
        versions.jump((meta.version, meta.pages), sums);
        versions.set_unsettled(None);
        self.publish_committed(&versions);
        self.overwrites.fetch_add(1, Ordering::AcqRel);
        self.checkpointed.store(meta.version.0, Ordering::Release);
    }

    pub(super) fn io_fault(error: std::io::Error) -> IoFault {
        IoFault::from(error)
    }
}

fn check(pin: &Pin) -> Result<(), ReadError> {
    match pin.ended() {
        None => Ok(()),
        Some(PinEnd::TooOld) => Err(ReadError::TooOld),
        Some(PinEnd::LeadershipLost) => Err(ReadError::LeadershipLost),
    }
}
