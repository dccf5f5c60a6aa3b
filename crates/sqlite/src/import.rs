//! Taking over a plain SQLite file page by page.

use crate::error::ImportError;
use crate::page::{PAGE_BYTES, PAGE_SIZE, Page, PageRef, offset, zero_page};
use crate::page_store::PageStore;
use crate::record::{PageImage, Record};
use base::{PageNo, Term, Version};
use bytes::Bytes;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// The most pages of one record: 4 MiB.
const BATCH_PAGES: u32 = 1024;

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

    /// Records that put the file's contents in place of what `store` has committed, each of some MiB, with an empty `extra`.
    /// Each is to be applied before the next is made, and nobody else may write meanwhile: a record that something came before
    /// is void. Page 1 comes last: an import that stops half-way leaves a database that SQLite does not open.
    pub fn batches(self, store: &PageStore, term: Term) -> Batches {
        Batches { base: store.committed(), term, source: self, next: 2 }
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

/// The records of an import. Each blocks on disk while it is made; after an error the import is over.
#[derive(Debug)]
pub struct Batches {
    source: SourceFile,
    term: Term,
    base: Version,
    next: u32,
}

impl Iterator for Batches {
    type Item = Result<Record, ImportError>;

    fn next(&mut self) -> Option<Self::Item> {
        let total = self.source.pages;
        if self.next > total.saturating_add(1) {
            return None;
        }
        let first = self.next == 2;
        let until = self.next.saturating_add(BATCH_PAGES).min(total + 1);
        let last = until > total;
        let numbers = self.next..until;
        self.next = if last { u32::MAX } else { until };
        let read = |number| self.source.page(number).map(|image| PageImage { number: PageNo(number), image });
        let head = match (last, first) {
            (true, _) => Some(read(1)),
            (false, true) => Some(Ok(PageImage { number: PageNo(1), image: zero_page() })),
            (false, false) => None,
        };
        let pages = match head.into_iter().chain(numbers.map(read)).collect::<Result<_, _>>() {
            Ok(pages) => pages,
            Err(error) => {
                self.next = u32::MAX;
                return Some(Err(error));
            }
        };
        let (base, version) = (self.base, self.base.next());
        self.base = version;
        let db_pages = if last { total } else { until - 1 };
        Some(Ok(Record { term: self.term, base, version, reign: 0, db_pages, pages, extra: Bytes::new() }))
    }
}
