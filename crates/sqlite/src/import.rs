//! Reading a plain SQLite file page by page.

use crate::error::ImportError;
use crate::page_store::PageStore;
use crate::record::Record;
use base::Term;
use std::path::Path;

/// A SQLite file that was checked and can be taken over.
#[derive(Debug)]
pub struct SourceFile(());

impl SourceFile {
    /// Opens and checks a file: page size 4096, a sane header, whole in one file (no write-ahead log, no hot journal).
    pub fn open(_path: &Path) -> Result<Self, ImportError> {
        todo!()
    }
    /// The size, in pages.
    pub fn pages(&self) -> u32 {
        todo!()
    }
    /// Records that put the file's contents in place of what `store` has committed, each of some MiB. Each is to be applied
    /// before the next is proposed; nobody may write meanwhile. Only the last one makes a database that can be read.
    pub fn batches(self, _store: &PageStore, _term: Term) -> Batches {
        todo!()
    }
}

/// The records of an import.
#[derive(Debug)]
pub struct Batches(());

impl Iterator for Batches {
    type Item = Result<Record, ImportError>;
    fn next(&mut self) -> Option<Self::Item> {
        todo!()
    }
}
