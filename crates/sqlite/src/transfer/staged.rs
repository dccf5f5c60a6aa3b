//! The file of fetched pages: each with its hash before it, found by hash, so that it does not matter for which snapshot, or
//! before which restart, a page was fetched.

use crate::page::{PAGE_SIZE, Page, PageHash};
use std::collections::BTreeMap;
use std::io;
use std::path::Path;

/// The length of an entry: hash and page.
const ENTRY: u64 = 16 + 4096;

/// Pages by hash, on disk.
#[derive(Debug)]
pub(super) struct Staged {
    file: rt::fs::File,
    places: BTreeMap<PageHash, u64>,
    end: u64,
}

impl Staged {
    /// Opens the file and keeps what is whole in it; entries that a crash has torn are never found.
    pub(super) fn open(path: &Path) -> io::Result<Self> {
        let file = rt::fs::File::create(path)?;
        let entries = file.len()? / ENTRY;
        let mut staged = Self { file, places: BTreeMap::new(), end: entries * ENTRY };
        for place in (0..entries).map(|n| n * ENTRY) {
            let (hash, page) = staged.entry(place)?;
            if PageHash::of(&page) == hash {
                staged.places.insert(hash, place);
            }
        }
        Ok(staged)
    }

    fn entry(&self, place: u64) -> io::Result<(PageHash, Page)> {
        let (mut hash, mut page) = ([0; 16], [0; PAGE_SIZE]);
        self.file.read_exact_at(&mut hash, place)?;
        self.file.read_exact_at(&mut page, place + 16)?;
        Ok((PageHash(hash), page))
    }

    pub(super) fn has(&self, hash: PageHash) -> bool {
        self.places.contains_key(&hash)
    }

    pub(super) fn len(&self) -> usize {
        self.places.len()
    }

    /// Keeps a page. Not durable before [`sync`](Self::sync).
    pub(super) fn add(&mut self, hash: PageHash, page: &Page) -> io::Result<()> {
        let mut entry = Vec::with_capacity(PAGE_SIZE + 16);
        entry.extend_from_slice(&hash.0);
        entry.extend_from_slice(page);
        self.file.write_all_at(&entry, self.end)?;
        self.places.insert(hash, self.end);
        self.end += ENTRY;
        Ok(())
    }

    /// A page that was kept, checked once more.
    pub(super) fn page(&self, hash: PageHash) -> io::Result<Page> {
        let place = self.places.get(&hash).ok_or_else(|| damaged("a page of the snapshot is not there"))?;
        let (_, page) = self.entry(*place)?;
        if PageHash::of(&page) == hash { Ok(page) } else { Err(damaged("a page of the snapshot is damaged")) }
    }

    pub(super) fn sync(&self) -> io::Result<()> {
        self.file.sync_data()
    }
}

fn damaged(why: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, why)
}
