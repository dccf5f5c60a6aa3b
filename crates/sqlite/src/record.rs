//! What goes into the Raft log: the pages that took a database from one version to another. Format: docs/formats/record.md.

use crate::error::RecordError;
use crate::page::{PAGE_SIZE, Page, PageRef, zero_page};
use base::{PageNo, Reader, Term, Version};
use bytes::{BufMut, Bytes, BytesMut};
use std::sync::Arc;

/// The first byte of every record.
const FORMAT: u8 = 1;
/// The bytes before `extra`.
const HEADER_LEN: usize = 48;
/// A record of more pages is refused: 256 MiB.
pub(crate) const PAGES_MAX: u32 = 65_536;
const RAW: u8 = 0;
const ZERO_TRIMMED: u8 = 1;
/// A zero run shorter than this is not worth eliding.
const RUN_MIN: usize = 16;

/// A page of a [`Record`], as it is in the record's version. Bytes 24..32 and 92..96 of page 1 mean nothing here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PageImage {
    /// Which page.
    pub number: PageNo,
    /// Its contents.
    pub image: PageRef,
}

/// One or more SQL commits as the pages they changed, the unit of replication.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// The term in which its leader prepared it. It is void in an entry of any other term.
    pub term: Term,
    /// The version it changes. It is void on any other.
    pub base: Version,
    /// The version it makes.
    pub version: Version,
    /// A random number of the time that its leader led without a break: a leader that has lost a record and leads again
    /// tells by it whether what comes back from the log is what it holds. 0 if its pages are in no leader's memory.
    pub reign: u64,
    /// The size of the database in that version, in pages.
    pub db_pages: u32,
    /// The changed pages, by ascending number, each within `db_pages`. A page that came to the database with this record
    /// is always among them.
    pub pages: Vec<PageImage>,
    /// What the layer above adds: answers to clients.
    pub extra: Bytes,
}

impl Record {
    /// The most bytes that a page takes in a record.
    pub const PAGE_LEN_MAX: usize = PAGE_SIZE + 5;

    /// A record that is void everywhere: no entry has term 0. Who proposes it learns when everything before it is applied.
    pub fn void() -> Self {
        Self {
            term: Term(0),
            base: Version(0),
            version: Version(1),
            reign: 0,
            db_pages: 0,
            pages: Vec::new(),
            extra: Bytes::new(),
        }
    }

    /// As bytes.
    pub fn encode(&self) -> Bytes {
        let mut out = BytesMut::with_capacity(HEADER_LEN + self.extra.len() + self.pages.len() * (PAGE_SIZE + 8));
        out.put_u8(FORMAT);
        out.put_bytes(0, 3);
        out.put_u64_le(self.term.0);
        out.put_u64_le(self.base.0);
        out.put_u64_le(self.version.0);
        out.put_u32_le(self.db_pages);
        out.put_u32_le(u32::try_from(self.pages.len()).unwrap_or(u32::MAX));
        out.put_u32_le(u32::try_from(self.extra.len()).unwrap_or(u32::MAX));
        out.put_u64_le(self.reign);
        out.put_slice(&self.extra);
        for page in &self.pages {
            out.put_u32_le(page.number.0);
            encode_page(&page.image, &mut out);
        }
        out.freeze()
    }

    /// From bytes. Total: any input gives a record or an error, and memory use is bounded by 256 MiB of pages.
    pub fn decode(bytes: &Bytes) -> Result<Self, RecordError> {
        let (mut record, mut reader, count) = Self::decode_head(bytes)?;
        record.pages.reserve(usize::try_from(count).unwrap_or(0).min(reader.rest().len() / 5));
        let mut last = 0;
        for _ in 0..count {
            let number = reader.u32()?;
            if number <= last || number > record.db_pages {
                return Err(RecordError::PageNumber { number, after: last, db_pages: record.db_pages });
            }
            last = number;
            record.pages.push(PageImage { number: PageNo(number), image: decode_page(&mut reader)? });
        }
        if reader.is_empty() { Ok(record) } else { Err(RecordError::Trailing(reader.rest().len())) }
    }

    /// Everything but the pages, which costs nothing; then the reader at the first page and the number of pages.
    pub(crate) fn decode_head(bytes: &Bytes) -> Result<(Self, Reader<'_>, u32), RecordError> {
        let mut reader = Reader::new(bytes);
        let format = reader.u8()?;
        if format != FORMAT || reader.take(3)? != [0; 3] {
            return Err(RecordError::Format(format));
        }
        let (term, base, version) = (Term(reader.u64()?), Version(reader.u64()?), Version(reader.u64()?));
        let (db_pages, count, extra_len, reign) = (reader.u32()?, reader.u32()?, reader.u32()?, reader.u64()?);
        if version <= base {
            return Err(RecordError::Versions { base, version });
        }
        if count > PAGES_MAX || count > db_pages {
            return Err(RecordError::TooManyPages { count, db_pages });
        }
        let extra = bytes.slice_ref(reader.take(usize::try_from(extra_len).unwrap_or(usize::MAX))?);
        Ok((Self { term, base, version, reign, db_pages, pages: Vec::new(), extra }, reader, count))
    }
}

/// Appends a page in the shorter of its encodings.
pub(crate) fn encode_page(page: &Page, out: &mut BytesMut) {
    let (start, end) = longest_zero_run(page);
    if end - start < RUN_MIN {
        out.put_u8(RAW);
        out.put_slice(page);
        return;
    }
    let (head, tail) = (page.get(..start).unwrap_or_default(), page.get(end..).unwrap_or_default());
    out.put_u8(ZERO_TRIMMED);
    out.put_u16_le(u16::try_from(head.len()).unwrap_or(0));
    out.put_u16_le(u16::try_from(tail.len()).unwrap_or(0));
    out.put_slice(head);
    out.put_slice(tail);
}

/// Reads what [`encode_page`] wrote.
pub(crate) fn decode_page(reader: &mut Reader<'_>) -> Result<PageRef, RecordError> {
    match reader.u8()? {
        RAW => Ok(Arc::new(reader.array::<PAGE_SIZE>()?)),
        ZERO_TRIMMED => {
            let (head_len, tail_len) = (usize::from(reader.u16()?), usize::from(reader.u16()?));
            if head_len + tail_len > PAGE_SIZE {
                return Err(RecordError::PageLength(head_len + tail_len));
            }
            if head_len + tail_len == 0 {
                return Ok(zero_page());
            }
            let (head, tail) = (reader.take(head_len)?, reader.take(tail_len)?);
            let mut page = [0; PAGE_SIZE];
            if let Some(to) = page.get_mut(..head_len) {
                to.copy_from_slice(head);
            }
            if let Some(to) = page.get_mut(PAGE_SIZE - tail_len..) {
                to.copy_from_slice(tail);
            }
            Ok(Arc::new(page))
        }
        other => Err(RecordError::Encoding(other)),
    }
}

/// The longest run of zero bytes, found in steps of eight: its ends may lie up to seven bytes inside the true run.
fn longest_zero_run(page: &Page) -> (usize, usize) {
    let (mut best, mut start, mut at) = ((0, 0), 0, 0);
    for word in page.chunks_exact(8) {
        at += 8;
        if word == [0; 8] {
            if at - start > best.1 - best.0 {
                best = (start, at);
            }
        } else {
            start = at;
        }
    }
    best
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn any_page() -> impl Strategy<Value = PageRef> {
        (prop::collection::vec(any::<u8>(), 0..200), 0..PAGE_SIZE, any::<bool>()).prop_map(|(bytes, at, full)| {
            let mut page = [if full { 7 } else { 0 }; PAGE_SIZE];
            for (to, from) in page[at..].iter_mut().zip(bytes) {
                *to = from;
            }
            Arc::new(page)
        })
    }

    fn any_record() -> impl Strategy<Value = Record> {
        let pages = prop::collection::btree_map(1_u32..1000, any_page(), 0..8);
        (any::<u64>(), any::<u32>(), 1..1000_u64, pages, prop::collection::vec(any::<u8>(), 0..50)).prop_map(
            |(term, base, step, pages, extra)| Record {
                term: Term(term),
                base: Version(base.into()),
                version: Version(u64::from(base) + step),
                reign: step,
                db_pages: 1000,
                pages: pages.into_iter().map(|(n, image)| PageImage { number: PageNo(n), image }).collect(),
                extra: extra.into(),
            },
        )
    }

    proptest! {
        #[test]
        fn a_record_comes_back_from_its_bytes(record in any_record()) {
            prop_assert_eq!(Record::decode(&record.encode()), Ok(record));
        }

        #[test]
        fn no_cut_or_changed_record_makes_the_decoder_panic(record in any_record(), cut: usize, at: usize, byte: u8) {
            let bytes = record.encode();
            let mut changed = bytes.to_vec();
            let at = at % changed.len();
            changed[at] = byte;
            let _outcome = Record::decode(&changed.into());
            prop_assert!(Record::decode(&bytes.slice(..cut % bytes.len())).is_err());
        }

        #[test]
        fn arbitrary_bytes_do_not_make_the_decoder_panic(bytes: Vec<u8>) {
            let _outcome = Record::decode(&bytes.into());
        }
    }

    #[test]
    fn a_page_of_zeros_takes_five_bytes_and_a_full_one_4097() {
        for (byte, length) in [(0_u8, 5), (1, 4097)] {
            let mut out = BytesMut::new();
            encode_page(&[byte; PAGE_SIZE], &mut out);
            assert_eq!(out.len(), length);
        }
    }

    #[test]
    fn pages_out_of_order_or_outside_the_database_are_refused() {
        let page = |n| PageImage { number: PageNo(n), image: zero_page() };
        let record = |pages| Record {
            term: Term(1),
            base: Version(1),
            version: Version(2),
            reign: 0,
            db_pages: 5,
            pages,
            extra: Bytes::new(),
        };
        for pages in [vec![page(2), page(2)], vec![page(3), page(1)], vec![page(6)], vec![page(0)]] {
            let bytes = record(pages).encode();
            assert!(matches!(Record::decode(&bytes), Err(RecordError::PageNumber { .. })));
        }
    }
}
