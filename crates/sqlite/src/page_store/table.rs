//! A table by page number: chunks that exist only where something is, so that a lookup is two steps at any size.

use crate::page;
use base::PageNo;

const CHUNK: usize = 256;

/// A growing array of `T` by page number, with holes.
#[derive(Debug)]
pub(super) struct PageTable<T> {
    chunks: Vec<Option<Box<[T]>>>,
}

impl<T: Default> PageTable<T> {
    pub(super) fn new() -> Self {
        Self { chunks: Vec::new() }
    }

    pub(super) fn get(&self, page: PageNo) -> Option<&T> {
        let at = page::index(page);
        self.chunks.get(at / CHUNK)?.as_ref()?.get(at % CHUNK)
    }

    pub(super) fn get_mut(&mut self, page: PageNo) -> Option<&mut T> {
        let at = page::index(page);
        self.chunks.get_mut(at / CHUNK)?.as_mut()?.get_mut(at % CHUNK)
    }

    /// The place of a page, made if it is not there. Page 0 has none.
    pub(super) fn entry(&mut self, page: PageNo) -> Option<&mut T> {
        if page.0 == 0 {
            return None;
        }
        let at = page::index(page);
        if at / CHUNK >= self.chunks.len() {
            self.chunks.resize_with(at / CHUNK + 1, || None);
        }
        let chunk = self.chunks.get_mut(at / CHUNK)?;
        chunk.get_or_insert_with(|| std::iter::repeat_with(T::default).take(CHUNK).collect()).get_mut(at % CHUNK)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hole_is_nothing_and_a_place_stays() {
        let mut table = PageTable::<u32>::new();
        assert_eq!(table.get(PageNo(70_000)), None);
        *table.entry(PageNo(70_000)).unwrap() = 7;
        assert_eq!(table.get(PageNo(70_000)), Some(&7));
        assert_eq!(table.get(PageNo(1)), None);
        assert_eq!(table.entry(PageNo(0)), None);
    }
}
