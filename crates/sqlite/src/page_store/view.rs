//! A version of the database that somebody reads.

use super::read::Shared;
use super::versions::{Found, Pin};
use crate::error::{IoFault, ReadError};
use crate::page::{PAGE_SIZE, Page, PageHash, PageRef, offset, stamp};
use base::{PageNo, Version};
use std::path::Path;
use std::sync::Arc;

/// One version of the database, kept for as long as this value lives. Never blocks the writer or a checkpoint.
///
/// If readers keep more old versions than the store's limit, the oldest ones lose theirs: their reads fail with `TooOld`.
#[derive(Debug)]
pub struct View {
    shared: Arc<Shared>,
    pin: Arc<Pin>,
}

impl View {
    pub(super) fn of(shared: Arc<Shared>, pin: Arc<Pin>) -> Self {
        Self { shared, pin }
    }

    pub(super) fn committed(shared: &Arc<Shared>) -> Self {
        let pin = shared.write_versions().pin_committed();
        Self { shared: Arc::clone(shared), pin }
    }

    pub(super) fn pin(&self) -> &Pin {
        &self.pin
    }

    pub(super) fn is_of(&self, shared: &Shared) -> bool {
        std::ptr::eq(Arc::as_ptr(&self.shared), shared)
    }

    /// Which version.
    pub fn version(&self) -> Version {
        self.pin.version
    }

    /// The size of the database in that version, in pages.
    pub fn pages(&self) -> u32 {
        self.pin.pages
    }

    /// Makes the view idle: it may be used again after [`resume`](Self::resume), and no longer once something was committed.
    pub(crate) fn rest(&self) -> bool {
        self.pin.rest()
    }

    /// Uses an idle view again. False: it has ended, or is not of that version.
    pub(crate) fn resume(&self, version: Version) -> bool {
        self.pin.version == version && self.pin.resume()
    }

    /// A page as it is stored: the version's fields of page 1 are not filled in.
    pub(crate) fn stored(&self, page: PageNo) -> Result<PageRef, ReadError> {
        if page.0 == 0 || page.0 > self.pin.pages {
            return Err(ReadError::PastEnd { page, pages: self.pin.pages });
        }
        self.shared.read_page(&self.pin, page)
    }

    /// A page as it is stored, if that needs no reading from disk.
    pub(crate) fn in_memory(&self, page: PageNo) -> Option<PageRef> {
        match self.shared.read_versions().find(page, self.pin.version) {
            Found::Memory(image) if self.pin.ended().is_none() => Some(image),
            _ => None,
        }
    }

    /// Copies a page. Blocks on disk if the page is not in memory.
    pub fn read(&self, page: PageNo, into: &mut Page) -> Result<(), ReadError> {
        into.copy_from_slice(self.stored(page)?.as_slice());
        if page.0 == 1 {
            stamp(into, self.pin.version, self.pin.pages);
        }
        Ok(())
    }

    /// The hash of a page. Blocks on disk for page 1 if it is not in memory; other pages' hashes are known.
    pub fn hash(&self, page: PageNo) -> Result<PageHash, ReadError> {
        if page.0 != 1
            && page.0 <= self.pin.pages
            && let Some(hash) = self.shared.known_hash(&self.pin, page)?
        {
            return Ok(hash);
        }
        let mut copy = [0; PAGE_SIZE];
        self.read(page, &mut copy)?;
        Ok(PageHash::of(&copy))
    }

    /// The hash of all pages' hashes: equal on two members if and only if their databases are. Reads every page as a reader
    /// would, rather than trust what was noted of it; blocks on disk.
    pub fn database_hash(&self) -> Result<PageHash, ReadError> {
        let mut all = blake3::Hasher::new();
        all.update(&self.pin.pages.to_le_bytes());
        let mut copy = [0; PAGE_SIZE];
        let mut damaged = None;
        for page in 1..=self.pin.pages {
            match self.read(PageNo(page), &mut copy) {
                // The others are looked at as well, so that all damage is known.
                Err(error @ ReadError::Corrupt { .. }) => damaged = damaged.or(Some(error)),
                other => other?,
            }
            all.update(&PageHash::of(&copy).0);
        }
        damaged.map_or(Ok(PageHash::cut(&all.finalize())), Err)
    }

    /// Writes the version as a plain SQLite file and makes it durable. An existing file is replaced. Blocks on disk.
    pub fn export(&self, path: &Path) -> Result<(), ReadError> {
        let io = |error: std::io::Error| ReadError::Io(IoFault::from(error));
        let mut temporary = path.as_os_str().to_owned();
        temporary.push(".new");
        let temporary = Path::new(&temporary);
        let file = rt::fs::File::create(temporary).map_err(io)?;
        file.set_len(0).map_err(io)?;
        let mut copy = [0; PAGE_SIZE];
        for number in 1..=self.pin.pages {
            self.read(PageNo(number), &mut copy)?;
            file.write_all_at(&copy, offset(PageNo(number))).map_err(io)?;
        }
        file.sync_data().map_err(io)?;
        rt::fs::rename(temporary, path).map_err(io)?;
        rt::fs::sync_dir(path.parent().filter(|dir| !dir.as_os_str().is_empty()).unwrap_or(Path::new("."))).map_err(io)
    }
}

impl Drop for View {
    fn drop(&mut self) {
        self.shared.write_versions().unpin(&self.pin);
    }
}
