//! The file that SQLite believes to be the database: a pinned version, and what the open transaction has written.

use crate::error::SqlError;
use crate::page::{PAGE_BYTES, PAGE_SIZE, PageRef, stamp, unstamp, zero_page};
use crate::page_store::{Attachment, Shared, View};
use base::PageNo;
use libsqlite3_sys as sys;
use std::collections::BTreeMap;
use std::ffi::c_int;
use std::sync::Arc;

/// How much of page 1 holds fields that follow from the version.
const HEADER: usize = 100;

/// SQLite's lock levels that a caller can ask for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Lock {
    None,
    Shared,
    Reserved,
    Exclusive,
}

/// What a write transaction has written so far. Private until the commit.
#[derive(Debug)]
struct Writes {
    pages: BTreeMap<PageNo, PageRef>,
    /// The size of the file, in pages.
    size: u32,
    /// The smallest size the file has had in this transaction: pages past it that were not written are zeros.
    floor: u32,
}

/// What `read` found.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Read {
    Whole,
    /// The file ended before the end of the buffer; the rest was filled with zeros.
    Short,
}

#[derive(Debug)]
pub(super) struct MainFile {
    shared: Arc<Shared>,
    attachment: Arc<Attachment>,
    lock: Lock,
    view: Option<View>,
    /// The view of the last transaction.
    idle: Option<View>,
    writes: Option<Writes>,
}

impl MainFile {
    pub(super) fn new(shared: Arc<Shared>, attachment: Arc<Attachment>) -> Self {
        Self { shared, attachment, lock: Lock::None, view: None, idle: None, writes: None }
    }

    /// Keeps the reason of a failure for the connection, and gives the code that SQLite gets.
    pub(super) fn fail(&self, error: SqlError) -> c_int {
        let code = match &error {
            SqlError::WriterBusy => sys::SQLITE_BUSY,
            SqlError::SnapshotStale => sys::SQLITE_BUSY_SNAPSHOT,
            SqlError::TransactionTooLarge { .. } | SqlError::DatabaseFull { .. } => sys::SQLITE_FULL,
            SqlError::Corrupt { .. } => sys::SQLITE_CORRUPT,
            _ => sys::SQLITE_IOERR,
        };
        self.attachment.set_fault(error);
        code
    }

    pub(super) fn read(&self, buffer: &mut [u8], offset: u64) -> Result<Read, SqlError> {
        // SQLite reads the header before its first transaction.
        let temporary;
        let view = if let Some(view) = &self.view {
            view
        } else {
            temporary = self.shared.begin(&self.attachment)?;
            &temporary
        };
        let (mut outcome, mut at, mut rest) = (Read::Whole, offset, buffer);
        while !rest.is_empty() {
            let inside = usize::try_from(at % PAGE_BYTES).unwrap_or(0);
            let (now, later) = rest.split_at_mut(rest.len().min(PAGE_SIZE - inside));
            let page = PageNo(u32::try_from(at / PAGE_BYTES + 1).unwrap_or(u32::MAX));
            if page.0 > self.size(view) {
                now.fill(0);
                outcome = Read::Short;
            } else {
                self.read_page(view, page, inside, now)?;
            }
            at += u64::try_from(now.len()).unwrap_or(0);
            rest = later;
        }
        Ok(outcome)
    }

    fn size(&self, view: &View) -> u32 {
        self.writes.as_ref().map_or(view.pages(), |writes| writes.size)
    }

    /// Copies a part of a page.
    fn read_page(&self, view: &View, page: PageNo, inside: usize, into: &mut [u8]) -> Result<(), SqlError> {
        let until = inside + into.len();
        if let Some(writes) = &self.writes {
            let own = writes.pages.get(&page).map(Arc::clone);
            if let Some(image) = own.or_else(|| (page.0 > writes.floor).then(zero_page)) {
                into.copy_from_slice(image.get(inside..until).unwrap_or_default());
                return Ok(());
            }
        }
        let image = view.stored(page)?;
        into.copy_from_slice(image.get(inside..until).unwrap_or_default());
        if page.0 == 1
            && inside < HEADER
            && let Some(mut header) = image.first_chunk::<HEADER>().copied()
        {
            stamp(&mut header, view.version(), view.pages());
            let until = until.min(HEADER);
            if let (Some(to), Some(from)) = (into.get_mut(..until - inside), header.get(inside..until)) {
                to.copy_from_slice(from);
            }
        }
        Ok(())
    }

    pub(super) fn write(&mut self, page: &[u8], offset: u64) -> Result<(), SqlError> {
        let contents: Option<&[u8; PAGE_SIZE]> = page.try_into().ok();
        let (Some(contents), 0) = (contents, offset % PAGE_BYTES) else {
            return Err(SqlError::Internal("SQLite wrote something that is not a page"));
        };
        let options = &self.shared.options;
        let number = u32::try_from(offset / PAGE_BYTES + 1).unwrap_or(u32::MAX);
        if number > self.shared.pages_max() {
            return Err(SqlError::DatabaseFull { bytes_max: options.database_bytes_max });
        }
        let writes = self.writes.as_mut().ok_or(SqlError::Internal("SQLite wrote without a lock"))?;
        let held = u64::try_from(writes.pages.len()).unwrap_or(u64::MAX).saturating_mul(PAGE_BYTES);
        if held >= options.transaction_bytes_max {
            return Err(SqlError::TransactionTooLarge { bytes_max: options.transaction_bytes_max });
        }
        writes.pages.insert(PageNo(number), Arc::new(*contents));
        writes.size = writes.size.max(number);
        Ok(())
    }

    pub(super) fn truncate(&mut self, bytes: u64) -> Result<(), SqlError> {
        let writes = self.writes.as_mut().ok_or(SqlError::Internal("SQLite truncated without a lock"))?;
        let size = u32::try_from(bytes.div_ceil(PAGE_BYTES)).unwrap_or(u32::MAX);
        writes.size = size;
        writes.floor = writes.floor.min(size);
        writes.pages.retain(|page, _| page.0 <= size);
        Ok(())
    }

    pub(super) fn file_size(&self) -> Result<u64, SqlError> {
        let pages = match &self.view {
            Some(view) => self.size(view),
            None => self.shared.begin(&self.attachment)?.pages(),
        };
        Ok(u64::from(pages) * PAGE_BYTES)
    }

    pub(super) fn lock(&mut self, level: c_int) -> Result<(), SqlError> {
        let wanted = match level {
            sys::SQLITE_LOCK_NONE => Lock::None,
            sys::SQLITE_LOCK_SHARED => Lock::Shared,
            sys::SQLITE_LOCK_RESERVED => Lock::Reserved,
            _ => Lock::Exclusive,
        };
        if self.lock < Lock::Shared && wanted >= Lock::Shared {
            let again = self.idle.take().and_then(|idle| self.shared.begin_again(&self.attachment, idle));
            self.view = Some(match again {
                Some(view) => view,
                None => self.shared.begin(&self.attachment)?,
            });
            self.lock = Lock::Shared;
        }
        if self.lock < Lock::Reserved && wanted >= Lock::Reserved {
            let view = self.view.as_ref().ok_or(SqlError::Internal("SQLite took a write lock before a read lock"))?;
            self.shared.reserve(&self.attachment, view)?;
            let size = view.pages();
            self.writes = Some(Writes { pages: BTreeMap::new(), size, floor: size });
            self.lock = Lock::Reserved;
        }
        self.lock = self.lock.max(wanted);
        Ok(())
    }

    pub(super) fn unlock(&mut self, level: c_int) {
        if self.lock >= Lock::Reserved {
            self.writes = None;
            self.shared.release(&self.attachment);
            self.lock = Lock::Shared;
        }
        if level == sys::SQLITE_LOCK_NONE {
            self.idle = self.view.take().filter(View::rest);
            self.lock = Lock::None;
        }
    }

    pub(super) fn is_reserved(&self) -> bool {
        self.lock >= Lock::Reserved
    }

    /// Makes what was written the next version. A transaction that has written page 1 always makes one, even if no page
    /// differs: SQLite has counted the change and takes its own cache for that of the next version (ADR 0004).
    pub(super) fn publish(&mut self) -> Result<(), SqlError> {
        let Some(writes) = self.writes.take_if(|writes| !writes.pages.is_empty()) else { return Ok(()) };
        let view = self.view.as_ref().ok_or(SqlError::Internal("SQLite committed without a lock"))?;
        let old_pages = writes.floor.min(view.pages());
        let mut changes = Vec::with_capacity(writes.pages.len());
        for (page, image) in writes.pages {
            let same = page.0 <= old_pages && is_same(view, page, &image)?;
            if !same {
                changes.push((page, image));
            }
        }
        if writes.size > old_pages {
            let written = changes.partition_point(|(page, _)| page.0 <= old_pages);
            let mut new: BTreeMap<_, _> =
                (old_pages + 1..=writes.size).map(|page| (PageNo(page), zero_page())).collect();
            new.extend(changes.drain(written..));
            changes.extend(new);
        }
        self.view = Some(self.shared.publish(&self.attachment, view.version(), changes, writes.size)?);
        Ok(())
    }
}

/// Whether a page is as it was, apart from what follows from the version.
fn is_same(view: &View, page: PageNo, image: &PageRef) -> Result<bool, SqlError> {
    if page.0 != 1 {
        return Ok(view.in_memory(page).is_some_and(|old| old == *image));
    }
    let (mut old, mut new) = (*view.stored(page)?, **image);
    unstamp(&mut old);
    unstamp(&mut new);
    Ok(old == new)
}

impl Drop for MainFile {
    fn drop(&mut self) {
        self.unlock(sys::SQLITE_LOCK_NONE);
        self.shared.detach(&self.attachment);
    }
}

/// A temporary file: in memory only.
#[derive(Debug, Default)]
pub(super) struct MemoryFile {
    contents: Vec<u8>,
}

impl MemoryFile {
    pub(super) fn read(&self, buffer: &mut [u8], offset: u64) -> Read {
        let from = usize::try_from(offset).unwrap_or(usize::MAX).min(self.contents.len());
        let there = self.contents.get(from..).unwrap_or_default();
        let length = there.len().min(buffer.len());
        let (now, rest) = buffer.split_at_mut(length);
        now.copy_from_slice(there.get(..length).unwrap_or_default());
        rest.fill(0);
        if rest.is_empty() { Read::Whole } else { Read::Short }
    }

    /// Writes, and grows as needed. False: there is no memory for it.
    pub(super) fn write(&mut self, bytes: &[u8], offset: u64) -> bool {
        let Some(from) = usize::try_from(offset).ok() else { return false };
        let Some(until) = from.checked_add(bytes.len()) else { return false };
        if until > self.contents.len() {
            if self.contents.try_reserve(until - self.contents.len()).is_err() {
                return false;
            }
            self.contents.resize(until, 0);
        }
        if let Some(place) = self.contents.get_mut(from..until) {
            place.copy_from_slice(bytes);
        }
        true
    }

    pub(super) fn truncate(&mut self, bytes: u64) {
        self.contents.truncate(usize::try_from(bytes).unwrap_or(usize::MAX));
    }

    pub(super) fn size(&self) -> u64 {
        u64::try_from(self.contents.len()).unwrap_or(u64::MAX)
    }
}
