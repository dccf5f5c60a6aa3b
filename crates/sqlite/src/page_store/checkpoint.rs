//! Checkpoints: moving committed pages from memory to the database file, behind the log.
//!
//! The file is overwritten in place. A crash in the middle leaves pages of two versions, perhaps torn; the log, which is
//! purged only after a checkpoint, holds an image of each of them and repairs them when it is replayed. Steps:
//!
//! 1. note in `checkpoint.begun` up to which version pages may be overwritten;
//! 2. for each batch of pages: put the old contents in memory if someone still reads them, then overwrite; sync;
//! 3. put `checkpoint.meta` in place: from here on the checkpoint counts;
//! 4. let the images in memory go, and bring `data.sums` up to date (until then `checkpoint.meta` holds its new blocks).

use super::meta::{BLOCK, BLOCK_SUMS, Begun, CheckpointMeta, MetaFile, sums_block, sums_hash};
use super::read::Shared;
use super::view::View;
use super::{Disk, PageStore};
use crate::error::{CheckpointError, ReadError};
use crate::page::{PAGE_BYTES, PAGE_SIZE, PageHash, PageRef, index, offset, stamp};
use base::{PageNo, Version};
use bytes::Bytes;
use std::collections::BTreeMap;
use std::io;
use std::sync::PoisonError;
use std::sync::atomic::Ordering;

/// Pages handled at a time: at most 1 MiB under way, and a short time under the lock.
const BATCH: usize = 256;
/// [`BATCH`] as a number of pages.
const BATCH_PAGES: u32 = 256;

/// The pages written, with their hashes.
type Written = BTreeMap<PageNo, PageHash>;

impl PageStore {
    /// Makes the version of `at`, with `extra`, durable in the database file, so that the log up to it is needed no more.
    /// Blocks on disk, for long; readers and the writer go on. One at a time: a second call waits for the first.
    ///
    /// After an error nothing is lost and nothing has changed for anyone; the next call starts over. After a crash in the
    /// middle of a checkpoint this fails with `Replaying` until the log was replayed so far.
    pub fn checkpoint(&self, extra: Bytes, at: &View) -> Result<CheckpointMeta, CheckpointError> {
        let shared = &self.shared;
        let mut disk = shared.disk.lock().unwrap_or_else(PoisonError::into_inner);
        let last = shared.checkpointed();
        if at.version() < last || !at.is_of(shared) {
            return Err(CheckpointError::Backwards { version: at.version(), last });
        }
        if disk.installing {
            return Err(CheckpointError::Installing);
        }
        // A checkpoint that a crash interrupted may have reached further than this one would: the file cannot go back.
        if let Some(until) = disk.unsettled.filter(|until| *until > at.version()) {
            return Err(CheckpointError::Read(ReadError::Replaying { until }));
        }
        if !shared.write_versions().hold(at.pin()) {
            return Err(CheckpointError::Read(ReadError::TooOld));
        }
        let outcome = shared.run_checkpoint(&mut disk, extra, at);
        shared.write_versions().let_go();
        outcome
    }
}

impl Shared {
    fn run_checkpoint(&self, disk: &mut Disk, extra: Bytes, at: &View) -> Result<CheckpointMeta, CheckpointError> {
        let version = at.version();
        if version > self.checkpointed() {
            let page1 = (at.pages() > 0).then(|| at.stored(PageNo(1))).transpose().map_err(CheckpointError::Read)?;
            Begun { version, page1 }.write(&self.dir).map_err(io_error)?;
            disk.unsettled = Some(version);
        }
        let written = self.write_dirty(disk, at)?;
        self.cut(disk, at)?;
        if !written.is_empty() {
            self.file.sync_data().map_err(io_error)?;
        }
        let meta = CheckpointMeta { version, pages: at.pages(), extra };
        let sums = self.sums_after(&written, at.pages());
        self.switch(disk, meta.clone(), &sums, written.keys().map(|page| index(*page)))?;
        self.settle(disk, &written, at);
        Ok(meta)
    }

    /// Step 2.
    fn write_dirty(&self, disk: &mut Disk, at: &View) -> Result<Written, CheckpointError> {
        let (version, mut written, mut unsynced) = (at.version(), Written::new(), 0);
        let mut from = PageNo(1);
        loop {
            let candidates = self.read_versions().dirty_from(from, BATCH);
            let Some(last) = candidates.last() else { break };
            from = PageNo(last.0 + 1);
            let mut batch: Vec<(PageNo, PageRef)> = Vec::with_capacity(candidates.len());
            {
                let versions = self.read_versions();
                for page in candidates.into_iter().filter(|page| page.0 <= at.pages()) {
                    batch.extend(versions.to_write(page, version).map(|(_, image)| (page, image)));
                }
            }
            self.overwrite(disk, at, batch, &mut written, &mut unsynced)?;
        }
        // Page 1 holds the version, so it is written even if nothing else in it has changed.
        let first = PageNo(1);
        if at.pages() > 0 && version > self.checkpointed() && !written.contains_key(&first) {
            let image = at.stored(first).map_err(CheckpointError::Read)?;
            self.write_versions().shadow(first, version, PageRef::clone(&image));
            self.overwrite(disk, at, vec![(first, image)], &mut written, &mut unsynced)?;
        }
        Ok(written)
    }

    fn overwrite(
        &self,
        disk: &mut Disk,
        at: &View,
        batch: Vec<(PageNo, PageRef)>,
        written: &mut Written,
        unsynced: &mut u64,
    ) -> Result<(), CheckpointError> {
        self.preserve(batch.iter().map(|(page, _)| *page), at.version())?;
        let mut run: Vec<u8> = Vec::new();
        let mut run_from = PageNo(0);
        for (page, image) in batch {
            let run_pages = u32::try_from(run.len() / PAGE_SIZE).unwrap_or(u32::MAX);
            if page.0 != run_from.0 + run_pages {
                if !run.is_empty() {
                    self.file.write_all_at(&run, offset(run_from)).map_err(io_error)?;
                    run.clear();
                }
                run_from = page;
            }
            let mut contents = *image;
            if page.0 == 1 {
                stamp(&mut contents, at.version(), at.pages());
            }
            written.insert(page, PageHash::of(&contents));
            run.extend_from_slice(&contents);
            disk.file_pages = disk.file_pages.max(page.0);
            *unsynced += PAGE_BYTES;
        }
        if !run.is_empty() {
            self.file.write_all_at(&run, offset(run_from)).map_err(io_error)?;
        }
        if *unsynced >= self.options.checkpoint_sync_bytes {
            self.file.sync_data().map_err(io_error)?;
            *unsynced = 0;
        }
        Ok(())
    }

    /// Puts what the file holds of these pages in memory where older versions are still read, and counts an overwrite.
    fn preserve(&self, pages: impl Iterator<Item = PageNo> + Clone, version: Version) -> Result<(), CheckpointError> {
        let wanted: Vec<_> = {
            let versions = self.read_versions();
            // Past the hashes there may be something in the file too, from an attempt that failed; nobody reads it.
            let in_file = pages.filter(|page| index(*page) < versions.sums.len());
            in_file.filter_map(|page| versions.to_preserve(page, version).map(|span| (page, span))).collect()
        };
        let mut kept = Vec::with_capacity(wanted.len());
        for (page, span) in wanted {
            match self.read_file(page) {
                Ok(contents) => kept.push((page, span, Some(contents))),
                Err(ReadError::Corrupt { .. }) => kept.push((page, span, None)),
                Err(error) => return Err(CheckpointError::Read(error)),
            }
        }
        let mut versions = self.write_versions();
        for (page, span, contents) in kept {
            match contents {
                Some(contents) => versions.preserve(page, span, contents),
                // It cannot be kept, so nobody may go on reading it.
                None => versions.end_readers_before(span.1),
            }
        }
        self.overwrites.fetch_add(1, Ordering::AcqRel);
        Ok(())
    }

    /// A page as the file holds it, checked.
    fn read_file(&self, page: PageNo) -> Result<PageRef, ReadError> {
        let expected = self.read_versions().sums.get(index(page)).copied().unwrap_or_default();
        let mut contents = [0; PAGE_SIZE];
        match self.file.read_exact_at(&mut contents, offset(page)) {
            Err(error) if error.kind() != io::ErrorKind::UnexpectedEof => Err(ReadError::Io(Self::io_fault(error))),
            Ok(()) if PageHash::of(&contents) == expected => Ok(PageRef::new(contents)),
            _ => Err(ReadError::Corrupt { page }),
        }
    }

    /// Cuts the file to the database's size.
    fn cut(&self, disk: &mut Disk, at: &View) -> Result<(), CheckpointError> {
        let mut from = at.pages() + 1;
        while from <= disk.file_pages {
            let until = disk.file_pages.min(from.saturating_add(BATCH_PAGES - 1));
            self.preserve((from..=until).map(PageNo), at.version())?;
            from = until.saturating_add(1);
        }
        if disk.file_pages > at.pages() {
            self.file.set_len(u64::from(at.pages()) * PAGE_BYTES).map_err(io_error)?;
            self.file.sync_data().map_err(io_error)?;
            disk.file_pages = at.pages();
        }
        Ok(())
    }

    fn sums_after(&self, written: &Written, pages: u32) -> Vec<PageHash> {
        let mut sums = self.read_versions().sums.clone();
        sums.resize(usize::try_from(pages).unwrap_or(usize::MAX), PageHash::default());
        for (page, hash) in written {
            if let Some(sum) = sums.get_mut(index(*page)) {
                *sum = *hash;
            }
        }
        sums
    }

    /// Step 3. `changed` are the indices of changed hashes.
    fn switch(
        &self,
        disk: &mut Disk,
        meta: CheckpointMeta,
        sums: &[PageHash],
        changed: impl Iterator<Item = usize>,
    ) -> Result<(), CheckpointError> {
        let mut behind = disk.sums_behind.clone();
        behind.extend(changed.filter_map(|at| u32::try_from(at / BLOCK_SUMS).ok()));
        let blocks = behind
            .iter()
            .map(|number| (*number, sums_block(sums, usize::try_from(*number).unwrap_or(usize::MAX))))
            .filter(|(_, block)| !block.is_empty())
            .collect();
        let file = MetaFile { meta, sums_hash: sums_hash(sums), blocks };
        file.write(&self.dir).map_err(io_error)?;
        disk.sums_behind = behind;
        self.checkpointed.store(file.meta.version.0, Ordering::Release);
        disk.meta = Some(file.meta);
        match write_sums(&disk.sums_file, &file.blocks) {
            Ok(()) => disk.sums_behind.clear(),
            // The blocks are in the meta, and will be in the next one.
            Err(error) => {
                tracing::warn!(%error, "the page hashes could not be written; the next checkpoint tries again");
            }
        }
        Ok(())
    }

    /// Step 4.
    fn settle(&self, disk: &mut Disk, written: &Written, at: &View) {
        let written: Vec<_> = written.iter().collect();
        for batch in written.chunks(BATCH) {
            let mut versions = self.write_versions();
            for (page, hash) in batch {
                versions.settle(**page, at.version(), **hash);
            }
        }
        let mut from = PageNo(at.pages().saturating_add(1));
        loop {
            let mut versions = self.write_versions();
            let past_end = versions.dirty_from(from, BATCH);
            let Some(last) = past_end.last() else {
                versions.truncate_sums(at.pages());
                break;
            };
            from = PageNo(last.0 + 1);
            for page in past_end {
                versions.settle_past_end(page, at.version());
            }
        }
        disk.unsettled = None;
        self.write_versions().set_unsettled(None);
    }
}

/// Writes all of `data.sums` and makes it durable.
pub(crate) fn write_all_sums(file: &rt::fs::File, sums: &[PageHash]) -> io::Result<()> {
    let blocks = sums.len().div_ceil(BLOCK_SUMS);
    let numbered = (0..blocks).filter_map(|block| Some((u32::try_from(block).ok()?, sums_block(sums, block))));
    write_sums(file, &numbered.collect())
}

/// Writes blocks of `data.sums` and makes them durable.
fn write_sums(file: &rt::fs::File, blocks: &BTreeMap<u32, Vec<u8>>) -> io::Result<()> {
    for (number, block) in blocks {
        file.write_all_at(block, u64::from(*number) * BLOCK as u64)?;
    }
    file.sync_data()
}

fn io_error(error: io::Error) -> CheckpointError {
    CheckpointError::Io(error.into())
}
