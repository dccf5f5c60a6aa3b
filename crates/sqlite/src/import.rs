//! Taking over a plain SQLite file page by page.

use crate::error::{ImportError, SqlError};
use crate::page::{PAGE_BYTES, PAGE_SIZE, Page, PageRef, offset};
use crate::page_store::{Attachment, PageStore};
use base::{PageNo, Version};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// A SQLite file that was checked and can be taken over.
#[derive(Debug)]
pub struct SourceFile {
    path: PathBuf,
    file: rt::fs::File,
    pages: u32,
}

impl SourceFile {
    /// Opens and checks a file: pages of 4096 bytes, a sane header, whole in one file (no write-ahead log with content, no
    /// rollback journal). It must not be written by anyone until the import has ended. Blocks on disk.
    pub fn open(path: &Path) -> Result<Self, ImportError> {
        let io = |error: io::Error| ImportError::Io { file: path.to_owned(), fault: error.into() };
        let refused = |why| Err(ImportError::Refused { file: path.to_owned(), why });
        if !rt::fs::exists(path) {
            return Err(io(io::ErrorKind::NotFound.into()));
        }
        let file = rt::fs::File::open(path).map_err(io)?;
        let length = file.len().map_err(io)?;
        let mut first = [0; PAGE_SIZE];
        if length < PAGE_BYTES || length % PAGE_BYTES != 0 {
            return refused("its length is not a multiple of 4096 bytes");
        }
        file.read_exact_at(&mut first, 0).map_err(io)?;
        if let Some(why) = header_fault(&first, length) {
            return refused(why);
        }
        for (suffix, why) in [
            ("-wal", "it has a write-ahead log; run PRAGMA wal_checkpoint(TRUNCATE) and close it first"),
            ("-journal", "it has a rollback journal; open and close it with sqlite3 first"),
        ] {
            let mut name = path.as_os_str().to_owned();
            name.push(suffix);
            let there = rt::fs::exists(Path::new(&name)) && !rt::fs::read(Path::new(&name)).map_err(io)?.is_empty();
            if there {
                return refused(why);
            }
        }
        let pages = u32::try_from(length / PAGE_BYTES).unwrap_or(u32::MAX);
        Ok(Self { path: path.to_owned(), file, pages })
    }

    /// The size, in pages.
    pub fn pages(&self) -> u32 {
        self.pages
    }

    /// Begins to put the file's contents in place of the store's. This node must lead and nobody else may be writing.
    pub fn import_into(self, store: &PageStore) -> Result<Import, SqlError> {
        let attachment = store.shared.attach();
        attachment.grant(true);
        let begun = store.shared.begin(&attachment).and_then(|view| store.shared.reserve(&attachment, &view));
        let import = Import { store: store.clone(), source: self, attachment, next: 2 };
        begun.map(|()| import)
    }

    fn page(&self, number: u32) -> Result<PageRef, ImportError> {
        let mut page = [0; PAGE_SIZE];
        let read = self.file.read_exact_at(&mut page, offset(PageNo(number)));
        read.map_err(|error| ImportError::Io { file: self.path.clone(), fault: error.into() })?;
        if number == 1 {
            // A file that was in write-ahead mode is an ordinary one here.
            if let Some(modes) = page.get_mut(18..20) {
                modes.copy_from_slice(&[1, 1]);
            }
        }
        Ok(Arc::new(page))
    }
}

/// What is wrong with the header of a database file.
fn header_fault(page: &Page, length: u64) -> Option<&'static str> {
    let at = |range: std::ops::Range<usize>| page.get(range).unwrap_or_default();
    let number = |from: usize| at(from..from + 4).try_into().map_or(0, u32::from_be_bytes);
    if at(0..16) != b"SQLite format 3\0" {
        Some("it is not a SQLite database")
    } else if at(16..18) != [0x10, 0x00] {
        Some("its page size is not 4096")
    } else if at(20..21) != [0] {
        Some("it reserves bytes at the end of each page")
    } else if at(18..20).iter().any(|mode| !matches!(mode, 1 | 2)) || at(21..24) != [64, 32, 32] {
        Some("its header is of an unknown format")
    } else if number(24) == number(92) && u64::from(number(28)) * PAGE_BYTES != length {
        Some("its header says another size than it has")
    } else {
        None
    }
}

/// An import under way. It holds the right to write; dropping it before the end leaves a database that cannot be opened,
/// which is to be dropped or imported again.
#[derive(Debug)]
pub struct Import {
    store: PageStore,
    source: SourceFile,
    attachment: Arc<Attachment>,
    /// The next page. Page 1 comes last: without it SQLite opens nothing.
    next: u32,
}

/// What a step of an import gave.
#[derive(Debug)]
pub enum ImportStep {
    /// A commit was made. The next step should wait until it is committed, for what is in flight is in memory.
    Committed(Version),
    /// All is imported.
    Done,
}

/// Why a step of an import failed.
#[derive(Debug, thiserror::Error)]
pub enum ImportFailure {
    /// The file.
    #[error(transparent)]
    Source(#[from] ImportError),
    /// The store.
    #[error(transparent)]
    Store(#[from] SqlError),
}

impl Import {
    /// Makes the next commit, of at most `pages_max` pages, to be replicated like any other. Blocks on disk.
    pub fn step(&mut self, pages_max: u32) -> Result<ImportStep, ImportFailure> {
        let total = self.source.pages;
        if self.next > total + 1 {
            return Ok(ImportStep::Done);
        }
        let until = self.next.saturating_add(pages_max.max(1)).min(total + 1);
        let mut changes = Vec::new();
        if self.next == 2 {
            changes.push((PageNo(1), crate::page::zero_page()));
        }
        for number in self.next..until {
            changes.push((PageNo(number), self.source.page(number)?));
        }
        let last = until > total;
        let size = if last { total } else { until - 1 };
        if last {
            changes.retain(|(page, _)| page.0 != 1);
            changes.insert(0, (PageNo(1), self.source.page(1)?));
        }
        let view = self.store.shared.publish(&self.attachment, changes, size)?;
        self.next = if last { total + 2 } else { until };
        Ok(ImportStep::Committed(view.version()))
    }
}

impl Drop for Import {
    fn drop(&mut self) {
        self.store.shared.detach(&self.attachment);
    }
}
