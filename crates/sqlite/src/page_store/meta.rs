//! The files that say what the database file is: `checkpoint.meta`, `checkpoint.begun` and the hashes in `data.sums`.
//! Format: docs/formats/page-store.md.

use super::disk::names;
use crate::files;
use crate::page::{PageHash, PageRef};
use base::{Reader, Truncated, Version};
use bytes::{BufMut, Bytes, BytesMut};
use std::collections::BTreeMap;
use std::io;
use std::path::Path;

const META_MAGIC: [u8; 8] = *b"BLCKPT01";
const BEGUN_MAGIC: [u8; 8] = *b"BLBEGUN1";
/// `data.sums` is written in blocks of so many bytes.
pub(crate) const BLOCK: usize = 4096;
/// The hashes in a block.
pub(crate) const BLOCK_SUMS: usize = BLOCK / PageHash::LEN;

/// What the last checkpoint left on disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CheckpointMeta {
    /// The version in the file.
    pub version: Version,
    /// The size of the database in that version, in pages.
    pub pages: u32,
    /// What the layer above keeps with it: the position in the Raft log, the membership, the answers to clients.
    pub extra: Bytes,
}

/// `checkpoint.meta`: the meta, and those blocks of `data.sums` that may not be there yet.
#[derive(Debug)]
pub(crate) struct MetaFile {
    pub(crate) meta: CheckpointMeta,
    pub(crate) sums_hash: PageHash,
    pub(crate) blocks: BTreeMap<u32, Vec<u8>>,
}

impl MetaFile {
    /// Puts the meta in place: from this moment on the checkpoint counts.
    pub(crate) fn write(&self, dir: &Path) -> io::Result<()> {
        let mut file = files::begin(META_MAGIC);
        self.put(&mut file);
        files::write(&dir.join(names::META), file)
    }

    fn put(&self, file: &mut BytesMut) {
        file.put_u64_le(self.meta.version.0);
        file.put_u32_le(self.meta.pages);
        file.put_slice(&self.sums_hash.0);
        file.put_u32_le(u32::try_from(self.meta.extra.len()).unwrap_or(u32::MAX));
        file.put_u32_le(u32::try_from(self.blocks.len()).unwrap_or(u32::MAX));
        file.put_slice(&self.meta.extra);
        for (number, block) in &self.blocks {
            file.put_u32_le(*number);
            file.put_u16_le(u16::try_from(block.len()).unwrap_or(0));
            file.put_slice(block);
        }
    }

    /// Reads a body and writes what was read.
    pub(crate) fn recode(body: &[u8]) -> Option<Bytes> {
        let mut out = BytesMut::new();
        Self::parse(body).ok()?.put(&mut out);
        Some(out.freeze())
    }

    pub(crate) fn read(dir: &Path) -> io::Result<Option<Self>> {
        let Some(body) = files::read(&dir.join(names::META), META_MAGIC)? else { return Ok(None) };
        Self::parse(&body).map(Some).map_err(|e| io::Error::new(io::ErrorKind::InvalidData, e))
    }

    fn parse(body: &[u8]) -> Result<Self, Truncated> {
        let mut reader = Reader::new(body);
        let (version, pages) = (Version(reader.u64()?), reader.u32()?);
        let sums_hash = PageHash(reader.array()?);
        let (extra_len, count) = (reader.u32()?, reader.u32()?);
        let extra = Bytes::copy_from_slice(reader.take(usize::try_from(extra_len).unwrap_or(usize::MAX))?);
        let mut blocks = BTreeMap::new();
        for _ in 0..count {
            let (number, length) = (reader.u32()?, usize::from(reader.u16()?));
            blocks.insert(number, reader.take(length)?.to_vec());
        }
        Ok(Self { meta: CheckpointMeta { version, pages, extra }, sums_hash, blocks })
    }
}

/// `checkpoint.begun`: pages of the file are about to be overwritten, or were, with those of a version.
///
/// Page 1 is overwritten even if no record has changed it, so the log may hold no image of it to repair it from. It is here.
#[derive(Debug)]
pub(crate) struct Begun {
    pub(crate) version: Version,
    /// Page 1 as of that version.
    pub(crate) page1: Option<PageRef>,
}

impl Begun {
    pub(crate) fn write(&self, dir: &Path) -> io::Result<()> {
        let mut file = files::begin(BEGUN_MAGIC);
        file.put_u64_le(self.version.0);
        if let Some(page1) = &self.page1 {
            file.put_slice(page1.as_slice());
        }
        files::write(&dir.join(names::BEGUN), file)
    }

    pub(crate) fn read(dir: &Path) -> io::Result<Option<Self>> {
        let Some(body) = files::read(&dir.join(names::BEGUN), BEGUN_MAGIC)? else { return Ok(None) };
        let mut reader = Reader::new(&body);
        let version = reader.u64().map_err(|e| io::Error::new(io::ErrorKind::InvalidData, e))?;
        Ok(Some(Self { version: Version(version), page1: reader.array().ok().map(PageRef::new) }))
    }
}

/// One hash over all hashes.
pub(crate) fn sums_hash(sums: &[PageHash]) -> PageHash {
    let mut all = blake3::Hasher::new();
    for block in 0..sums.len().div_ceil(BLOCK_SUMS) {
        all.update(&sums_block(sums, block));
    }
    PageHash::cut(&all.finalize())
}

/// A block of `data.sums`; the last one is shorter.
pub(crate) fn sums_block(sums: &[PageHash], block: usize) -> Vec<u8> {
    sums.iter().skip(block * BLOCK_SUMS).take(BLOCK_SUMS).flat_map(|sum| sum.0).collect()
}

/// The hashes of `pages` pages from the bytes of `data.sums`.
pub(crate) fn parse_sums(bytes: &[u8], pages: u32) -> Option<Vec<PageHash>> {
    let pages = usize::try_from(pages).ok()?;
    let all = bytes.get(..pages.checked_mul(PageHash::LEN)?)?;
    Some(all.chunks_exact(PageHash::LEN).filter_map(|sum| sum.try_into().ok().map(PageHash)).collect())
}
