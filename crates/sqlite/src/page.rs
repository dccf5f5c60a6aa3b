//! A page, its hash, and the fields of page 1 that belong to the version rather than to the page (ADR 0004).

use base::{PageNo, Version};
use std::fmt;
use std::sync::{Arc, LazyLock};

/// The size of every page, in bytes. It is the operating system's page size and the unit of replication.
pub const PAGE_SIZE: usize = 4096;
/// [`PAGE_SIZE`] as a file offset.
pub(crate) const PAGE_BYTES: u64 = 4096;

/// The bytes of a page.
pub type Page = [u8; PAGE_SIZE];

/// A page that many versions, readers and records may share.
pub type PageRef = Arc<Page>;

static ZERO: LazyLock<PageRef> = LazyLock::new(|| Arc::new([0; PAGE_SIZE]));

/// The page of zeros, shared.
pub(crate) fn zero_page() -> PageRef {
    Arc::clone(&ZERO)
}

/// The offset of a page in the database file.
pub(crate) fn offset(page: PageNo) -> u64 {
    u64::from(page.0.saturating_sub(1)) * PAGE_BYTES
}

/// A page number as an index counted from 0; page 0, which does not exist, gives the last index and so finds nothing.
pub(crate) fn index(page: PageNo) -> usize {
    usize::try_from(page.0.wrapping_sub(1)).unwrap_or(usize::MAX)
}

/// The BLAKE3 hash of a page, cut to 16 bytes.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct PageHash(pub [u8; 16]);

impl PageHash {
    /// The length in bytes.
    pub const LEN: usize = 16;

    /// Hashes a page.
    pub fn of(page: &Page) -> Self {
        Self::cut(&blake3::hash(page))
    }

    /// Cuts a full hash.
    pub(crate) fn cut(hash: &blake3::Hash) -> Self {
        let mut short = [0; 16];
        short.copy_from_slice(hash.as_bytes().first_chunk::<16>().unwrap_or(&[0; 16]));
        Self(short)
    }
}

impl fmt::Debug for PageHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|b| write!(f, "{b:02x}"))
    }
}

impl fmt::Display for PageHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}

/// Where page 1 holds what follows from the version: change counter, size in pages, and the counter for which the size
/// is valid.
const COUNTER: std::ops::Range<usize> = 24..28;
const SIZE: std::ops::Range<usize> = 28..32;
const VALID_FOR: std::ops::Range<usize> = 92..96;

/// Writes the fields of page 1, or of its first 100 bytes, that follow from the version.
pub(crate) fn stamp(first: &mut [u8], version: Version, pages: u32) {
    let [.., a, b, c, d] = version.0.to_be_bytes();
    put(first, COUNTER, [a, b, c, d]);
    put(first, SIZE, pages.to_be_bytes());
    put(first, VALID_FOR, [a, b, c, d]);
}

/// Clears the fields of page 1 that follow from the version, so that two images can be compared.
pub(crate) fn unstamp(page1: &mut [u8]) {
    put(page1, COUNTER, [0; 4]);
    put(page1, SIZE, [0; 4]);
    put(page1, VALID_FOR, [0; 4]);
}

fn put(page1: &mut [u8], field: std::ops::Range<usize>, value: [u8; 4]) {
    if let Some(bytes) = page1.get_mut(field) {
        bytes.copy_from_slice(&value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stamp_touches_only_its_three_fields() {
        let mut page = [0xAA; PAGE_SIZE];
        stamp(&mut page, Version(0x0102_0304_0506_0708), 9);
        assert_eq!(&page[24..32], &[5, 6, 7, 8, 0, 0, 0, 9]);
        assert_eq!(&page[92..96], &[5, 6, 7, 8]);
        unstamp(&mut page);
        let others = page.iter().enumerate().filter(|(i, _)| !(24..32).contains(i) && !(92..96).contains(i));
        assert!(others.into_iter().all(|(_, b)| *b == 0xAA));
    }

    #[test]
    fn pages_are_counted_from_one() {
        assert_eq!((offset(PageNo(1)), offset(PageNo(3))), (0, 8192));
        assert_eq!((index(PageNo(1)), index(PageNo(0))), (0, u32::MAX as usize));
    }
}
