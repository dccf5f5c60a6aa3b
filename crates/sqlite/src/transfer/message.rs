//! The messages of a snapshot transfer. Format: docs/formats/page-store.md.

use crate::error::{RecordError, TransferError};
use crate::page::{PageHash, PageRef};
use crate::record::{decode_page, encode_page};
use base::{PageNo, Reader, Version};
use bytes::{BufMut, Bytes, BytesMut};

/// The most hashes in an answer: just under 1 MiB.
pub(super) const HASHES_MAX: u32 = 65_000;
/// The most pages in an answer: just under 1 MiB if none of them can be shortened.
pub(super) const PAGES_MAX: u32 = 250;

const MANIFEST: u8 = 1;
const HASHES: u8 = 2;
const PAGES: u8 = 3;

/// What a snapshot is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Manifest {
    /// The version.
    pub version: Version,
    /// The size of the database, in pages.
    pub pages: u32,
    /// What the layer above sends with it.
    pub extra: Bytes,
}

impl Manifest {
    /// From the answer to [`SnapshotRequest::manifest`]. Total.
    pub fn from_answer(answer: &Bytes) -> Result<Self, TransferError> {
        match Answer::decode(answer)? {
            Answer::Manifest(manifest) => Ok(manifest),
            Answer::Hashes { .. } => Err(TransferError::Unexpected(HASHES)),
            Answer::Pages(_) => Err(TransferError::Unexpected(PAGES)),
        }
    }
}

/// A request of the receiving side, to be carried to a [`SnapshotServer`](crate::SnapshotServer) as it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SnapshotRequest(pub Bytes);

impl SnapshotRequest {
    /// Asks what the snapshot is.
    pub fn manifest() -> Self {
        Self(Bytes::from_static(&[MANIFEST]))
    }
}

/// A request, decoded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Request {
    Manifest,
    Hashes { from: PageNo, count: u32 },
    Pages(Vec<PageNo>),
}

impl Request {
    pub(super) fn encode(&self) -> SnapshotRequest {
        let mut out = BytesMut::new();
        match self {
            Self::Manifest => out.put_u8(MANIFEST),
            Self::Hashes { from, count } => {
                out.put_u8(HASHES);
                out.put_u32_le(from.0);
                out.put_u32_le(*count);
            }
            Self::Pages(pages) => {
                out.put_u8(PAGES);
                out.put_u32_le(u32::try_from(pages.len()).unwrap_or(u32::MAX));
                for page in pages {
                    out.put_u32_le(page.0);
                }
            }
        }
        SnapshotRequest(out.freeze())
    }

    /// Total: any input gives a request that can be answered, or an error.
    pub(super) fn decode(bytes: &[u8]) -> Result<Self, TransferError> {
        let mut reader = Reader::new(bytes);
        let request = match reader.u8().map_err(RecordError::from)? {
            MANIFEST => Self::Manifest,
            HASHES => {
                let (from, count) = (PageNo(number(&mut reader)?), number(&mut reader)?);
                Self::Hashes { from, count: at_most(count, HASHES_MAX)? }
            }
            PAGES => {
                let count = at_most(number(&mut reader)?, PAGES_MAX)?;
                let pages: Result<_, _> = (0..count).map(|_| number(&mut reader).map(PageNo)).collect();
                Self::Pages(pages?)
            }
            other => return Err(TransferError::Unexpected(other)),
        };
        ended(&reader, request)
    }
}

/// An answer, decoded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Answer {
    Manifest(Manifest),
    Hashes { from: PageNo, hashes: Vec<PageHash> },
    Pages(Vec<(PageNo, PageRef)>),
}

impl Answer {
    pub(super) fn encode(&self) -> Bytes {
        let mut out = BytesMut::new();
        match self {
            Self::Manifest(manifest) => {
                out.put_u8(MANIFEST);
                out.put_u64_le(manifest.version.0);
                out.put_u32_le(manifest.pages);
                out.put_u32_le(u32::try_from(manifest.extra.len()).unwrap_or(u32::MAX));
                out.put_slice(&manifest.extra);
            }
            Self::Hashes { from, hashes } => {
                out.put_u8(HASHES);
                out.put_u32_le(from.0);
                out.put_u32_le(u32::try_from(hashes.len()).unwrap_or(u32::MAX));
                for hash in hashes {
                    out.put_slice(&hash.0);
                }
            }
            Self::Pages(pages) => {
                out.put_u8(PAGES);
                out.put_u32_le(u32::try_from(pages.len()).unwrap_or(u32::MAX));
                for (page, image) in pages {
                    out.put_u32_le(page.0);
                    encode_page(image, &mut out);
                }
            }
        }
        out.freeze()
    }

    /// Total; memory use is bounded by the limits of an answer.
    pub(super) fn decode(bytes: &Bytes) -> Result<Self, TransferError> {
        let mut reader = Reader::new(bytes);
        let answer = match reader.u8().map_err(RecordError::from)? {
            MANIFEST => {
                let version = Version(reader.u64().map_err(RecordError::from)?);
                let (pages, length) = (number(&mut reader)?, number(&mut reader)?);
                let extra = reader.take(usize::try_from(length).unwrap_or(usize::MAX)).map_err(RecordError::from)?;
                Self::Manifest(Manifest { version, pages, extra: bytes.slice_ref(extra) })
            }
            HASHES => {
                let from = PageNo(number(&mut reader)?);
                let count = at_most(number(&mut reader)?, HASHES_MAX)?;
                let hashes: Result<_, _> = (0..count).map(|_| reader.array().map(PageHash)).collect();
                Self::Hashes { from, hashes: hashes.map_err(RecordError::from)? }
            }
            PAGES => {
                let count = at_most(number(&mut reader)?, PAGES_MAX)?;
                let mut pages = Vec::new();
                for _ in 0..count {
                    pages.push((PageNo(number(&mut reader)?), decode_page(&mut reader)?));
                }
                Self::Pages(pages)
            }
            other => return Err(TransferError::Unexpected(other)),
        };
        ended(&reader, answer)
    }
}

/// Reads a request and writes what was read.
pub(crate) fn recode_request(bytes: &[u8]) -> Option<Bytes> {
    Request::decode(bytes).map(|request| request.encode().0).ok()
}

/// Reads an answer and writes what was read.
pub(crate) fn recode_answer(bytes: &Bytes) -> Option<Bytes> {
    Answer::decode(bytes).map(|answer| answer.encode()).ok()
}

fn number(reader: &mut Reader<'_>) -> Result<u32, TransferError> {
    reader.u32().map_err(|e| TransferError::Message(e.into()))
}

fn at_most(asked: u32, most: u32) -> Result<u32, TransferError> {
    if asked <= most { Ok(asked) } else { Err(TransferError::TooMuch { asked, most }) }
}

fn ended<T>(reader: &Reader<'_>, value: T) -> Result<T, TransferError> {
    if reader.is_empty() { Ok(value) } else { Err(RecordError::Trailing(reader.rest().len()).into()) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::page::PAGE_SIZE;
    use proptest::prelude::*;
    use std::sync::Arc;

    #[test]
    fn messages_come_back_from_their_bytes() {
        for request in [
            Request::Manifest,
            Request::Hashes { from: PageNo(7), count: HASHES_MAX },
            Request::Pages(vec![PageNo(1), PageNo(9)]),
        ] {
            assert_eq!(Request::decode(&request.encode().0), Ok(request));
        }
        let manifest = Manifest { version: Version(3), pages: 4, extra: Bytes::from_static(b"raft") };
        for answer in [
            Answer::Manifest(manifest),
            Answer::Hashes { from: PageNo(1), hashes: vec![PageHash([1; 16]); 3] },
            Answer::Pages(vec![(PageNo(2), Arc::new([5; PAGE_SIZE]))]),
        ] {
            assert_eq!(Answer::decode(&answer.encode()), Ok(answer));
        }
    }

    #[test]
    fn the_largest_answers_fit_a_mebibyte() {
        let hashes = vec![PageHash([1; 16]); HASHES_MAX as usize];
        assert!(Answer::Hashes { from: PageNo(1), hashes }.encode().len() <= 1 << 20);
        let page = (PageNo(2), Arc::new([5; PAGE_SIZE]));
        assert!(Answer::Pages(vec![page; PAGES_MAX as usize]).encode().len() <= 1 << 20);
    }

    #[test]
    fn more_than_fits_an_answer_is_refused() {
        let request = Request::Hashes { from: PageNo(1), count: HASHES_MAX + 1 };
        assert!(matches!(Request::decode(&request.encode().0), Err(TransferError::TooMuch { .. })));
        let request = Request::Pages(vec![PageNo(1); PAGES_MAX as usize + 1]);
        assert!(matches!(Request::decode(&request.encode().0), Err(TransferError::TooMuch { .. })));
    }

    proptest! {
        #[test]
        fn arbitrary_bytes_do_not_make_the_decoders_panic(kind in 0_u8..5, rest: Vec<u8>) {
            let bytes: Bytes = std::iter::once(kind).chain(rest).collect();
            let _outcomes = (Request::decode(&bytes), Answer::decode(&bytes));
        }
    }
}
