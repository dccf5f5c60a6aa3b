//! Pages that the disk has changed: which they are, and how they are put right with another member's help.
//!
//! A page that does not match its hash is never returned. It is noted, and whoever follows the notes fetches a page with that
//! hash from a member that has one and gives it to [`PageStore::mend`].

use super::PageStore;
use super::read::Shared;
use super::versions::Found;
use crate::error::IoFault;
use crate::page::{Page, PageHash, PageRef, offset, stamp};
use base::{PageNo, Version};
use rt::sync::watch;
use std::collections::BTreeSet;
use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};

/// What the file should hold in the place of a damaged page.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WantedPage {
    /// Which page.
    pub page: PageNo,
    /// Its hash.
    pub hash: PageHash,
    /// The version and the size of the database that page 1 names: those of the last checkpoint.
    pub checkpoint: (Version, u32),
}

impl PageStore {
    /// The pages of the file that were found damaged and are not mended yet, now and as that changes.
    pub fn damaged(&self) -> watch::Receiver<BTreeSet<PageNo>> {
        self.shared.damaged.subscribe()
    }

    /// What a damaged page should be. None, and the note of it is dropped: a newer page in memory, or an install, will replace it.
    /// Waits for a checkpoint that is under way.
    pub fn wanted_or_forget(&self, page: PageNo) -> Option<WantedPage> {
        let checkpoint = {
            let disk = self.shared.disk.lock().unwrap_or_else(PoisonError::into_inner);
            disk.meta.as_ref().filter(|_| !disk.installing).map(|meta| (meta.version, meta.pages))
        };
        let wanted = self.shared.stored_hash(page).zip(checkpoint);
        if wanted.is_none() {
            self.shared.is_whole(page);
        }
        wanted.map(|(hash, checkpoint)| WantedPage { page, hash, checkpoint })
    }

    /// The page that another member wants, if the committed version has it here. Blocks on disk.
    pub fn page_for(&self, wanted: &WantedPage) -> Option<PageRef> {
        let mut image = self.pin_committed().stored(wanted.page).ok()?;
        if wanted.page == PageNo(1) {
            let contents: &mut Page = Arc::make_mut(&mut image);
            stamp(contents, wanted.checkpoint.0, wanted.checkpoint.1);
        }
        (PageHash::of(&image) == wanted.hash).then_some(image)
    }

    /// Writes a damaged page anew, durably. False if `image` is not what the file should hold: then nothing is written. Blocks on
    /// disk, and waits for a checkpoint that is under way.
    pub fn mend(&self, page: PageNo, image: &Page) -> Result<bool, IoFault> {
        let shared = &self.shared;
        let disk = shared.disk.lock().unwrap_or_else(PoisonError::into_inner);
        if disk.installing || shared.stored_hash(page) != Some(PageHash::of(image)) {
            return Ok(false);
        }
        let written =
            shared.file.write_all_at(image, offset(page)).and_then(|()| shared.file.sync_data()).map_err(IoFault::from);
        // Who has read the page half-written looks again.
        shared.overwrites.fetch_add(1, Ordering::AcqRel);
        written?;
        shared.is_whole(page);
        Ok(true)
    }
}

impl Shared {
    /// A page of the file does not match its hash.
    pub(super) fn is_damaged(&self, page: PageNo) {
        self.corrupt.fetch_add(1, Ordering::Relaxed);
        self.damaged.send_if_modified(|pages| pages.insert(page));
    }

    fn is_whole(&self, page: PageNo) {
        self.damaged.send_if_modified(|pages| pages.remove(&page));
    }

    /// The hash of a page of the committed version, if it is in the file.
    fn stored_hash(&self, page: PageNo) -> Option<PageHash> {
        let versions = self.read_versions();
        match versions.find_stored(page, versions.committed()) {
            Found::File(hash) if page.0 <= versions.committed_pages() => Some(hash),
            _ => None,
        }
    }
}
