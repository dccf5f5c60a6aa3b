//! Opening the files of a page store.

use super::PageStoreOptions;
use super::meta::{BLOCK, Begun, CheckpointMeta, MetaFile, parse_sums, sums_hash};
use super::read::Shared;
use super::versions::Versions;
use crate::error::OpenError;
use crate::page::{PAGE_BYTES, PAGE_SIZE, PageHash, stamp};
use crate::transfer::finish_interrupted;
use base::{PageNo, Version};
use std::collections::BTreeSet;
use std::io;
use std::path::Path;
use std::sync::atomic::AtomicU64;
use std::sync::{Mutex, RwLock};

/// The names of the files in a page store's directory.
pub(crate) mod names {
    /// The database: a plain SQLite file.
    pub(crate) const DATA: &str = "data.db";
    /// The hashes of its pages.
    pub(crate) const SUMS: &str = "data.sums";
    /// What the last checkpoint was.
    pub(crate) const META: &str = "checkpoint.meta";
    /// What the last checkpoint to begin was.
    pub(crate) const BEGUN: &str = "checkpoint.begun";
    /// A snapshot that is complete and is being put in place.
    pub(crate) const INSTALL: &str = "install.meta";
    /// Pages of a snapshot that is being fetched.
    pub(crate) const STAGED: &str = "install.pages";
}

/// What a checkpoint or an install needs, and must be alone with.
#[derive(Debug)]
pub(crate) struct Disk {
    pub(crate) sums_file: rt::fs::File,
    /// The last checkpoint.
    pub(crate) meta: Option<CheckpointMeta>,
    /// The size of `data.db` in pages.
    pub(crate) file_pages: u32,
    /// Blocks of `data.sums` that may not be in the file as they should.
    pub(crate) sums_behind: BTreeSet<u32>,
    /// Below this version, pages of `data.db` may be from the future.
    pub(crate) unsettled: Option<Version>,
    /// An install has failed half-way: `data.db` and `install.meta` belong together, and nobody else may write.
    pub(crate) installing: bool,
}

impl Shared {
    pub(super) fn open(dir: &Path, options: PageStoreOptions) -> Result<(Self, Option<CheckpointMeta>), OpenError> {
        let io = |error: io::Error| match error.kind() {
            io::ErrorKind::WouldBlock => OpenError::InUse { dir: dir.to_owned() },
            _ => OpenError::Io { dir: dir.to_owned(), fault: error.into() },
        };
        let damaged = |name: &str, why| OpenError::Damaged { file: dir.join(name), why };
        let sealed = |name: &'static str| {
            move |error: io::Error| match error.kind() {
                io::ErrorKind::InvalidData => damaged(name, "its checksum does not match"),
                _ => io(error),
            }
        };
        rt::fs::create_dir_all(dir).map_err(io)?;
        let file = rt::fs::File::create(&dir.join(names::DATA)).map_err(io)?;
        file.try_lock().map_err(io)?;
        let sums_file = rt::fs::File::create(&dir.join(names::SUMS)).map_err(io)?;
        rt::fs::sync_dir(dir).map_err(io)?;

        finish_interrupted(dir, &file, &sums_file).map_err(sealed(names::INSTALL))?;
        let on_disk = MetaFile::read(dir).map_err(sealed(names::META))?;
        let begun = Begun::read(dir).map_err(sealed(names::BEGUN))?;
        let version = on_disk.as_ref().map_or(Version(0), |found| found.meta.version);
        let pages = on_disk.as_ref().map_or(0, |found| found.meta.pages);
        let interrupted = begun.filter(|begun| begun.version > version);
        let unsettled = interrupted.as_ref().map(|begun| begun.version);

        let (sums, sums_behind) = match &on_disk {
            None => (Vec::new(), BTreeSet::new()),
            Some(found) => {
                let sums = read_sums(&sums_file, found).map_err(io)?;
                let sums =
                    sums.ok_or_else(|| damaged(names::SUMS, "its hash is not the one of the last checkpoint"))?;
                (sums, found.blocks.keys().copied().collect())
            }
        };
        let length = file.len().map_err(io)?;
        let wanted = u64::from(pages) * PAGE_BYTES;
        if unsettled.is_none() {
            foreign_change(&file, length, wanted, version, &sums)
                .map_err(io)?
                .map_or(Ok(()), |why| Err(OpenError::Foreign { file: dir.join(names::DATA), why }))?;
        } else if length < wanted {
            file.set_len(wanted).map_err(io)?;
        }
        let file_pages = u32::try_from(file.len().map_err(io)?.div_ceil(PAGE_BYTES)).unwrap_or(u32::MAX);

        let mut versions =
            Versions::new((version, pages), sums, options.old_versions_bytes_max, options.cache_bytes_max);
        versions.set_unsettled(unsettled);
        if let Some(page1) = interrupted.and_then(|begun| begun.page1) {
            // If no record has changed page 1, this is what it was; if one has, replaying brings it.
            let mut then = *page1;
            stamp(&mut then, version, pages);
            if versions.sums.first() == Some(&PageHash::of(&then)) {
                versions.shadow(PageNo(1), version, page1);
            }
        }
        let meta = on_disk.map(|found| found.meta);
        let shared = Self {
            options,
            dir: dir.to_owned(),
            file,
            versions: RwLock::new(versions),
            disk: Mutex::new(Disk {
                sums_file,
                meta: meta.clone(),
                file_pages,
                sums_behind,
                unsettled,
                installing: false,
            }),
            overwrites: AtomicU64::new(0),
            checkpointed: AtomicU64::new(version.0),
            committed: AtomicU64::new(version.0),
            corrupt: AtomicU64::new(0),
            damaged: rt::sync::watch::channel(BTreeSet::new()).0,
        };
        Ok((shared, meta))
    }
}

/// The hashes that belong to a checkpoint; `None` if they are damaged.
fn read_sums(file: &rt::fs::File, found: &MetaFile) -> io::Result<Option<Vec<PageHash>>> {
    let wanted = usize::try_from(found.meta.pages).unwrap_or(usize::MAX).saturating_mul(PageHash::LEN);
    let there = usize::try_from(file.len()?).unwrap_or(usize::MAX).min(wanted);
    let mut bytes = vec![0; there];
    file.read_exact_at(&mut bytes, 0)?;
    bytes.resize(wanted, 0);
    for (number, block) in &found.blocks {
        let at = usize::try_from(*number).unwrap_or(usize::MAX).saturating_mul(BLOCK);
        if let Some(place) = bytes.get_mut(at..).and_then(|rest| rest.get_mut(..block.len())) {
            place.copy_from_slice(block);
        }
    }
    Ok(parse_sums(&bytes, found.meta.pages).filter(|sums| sums_hash(sums) == found.sums_hash))
}

/// Whether a program other than this one has written the database file, and how it is known.
fn foreign_change(
    file: &rt::fs::File,
    length: u64,
    wanted: u64,
    version: Version,
    sums: &[PageHash],
) -> io::Result<Option<&'static str>> {
    if length != wanted {
        return Ok(Some("its length is not the one of the last checkpoint"));
    }
    let Some(expected) = sums.first() else { return Ok(None) };
    let mut page = [0; PAGE_SIZE];
    file.read_exact_at(&mut page, 0)?;
    let [.., a, b, c, d] = version.0.to_be_bytes();
    let counted = page.get(24..28) != Some([a, b, c, d].as_slice());
    Ok((PageHash::of(&page) != *expected && counted)
        .then_some("its change counter is not the one of the last checkpoint"))
}
