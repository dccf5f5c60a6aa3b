//! The receiving side of a snapshot transfer.

use super::message::{Answer, HASHES_MAX, Manifest, PAGES_MAX, Request, SnapshotRequest};
use super::staged::Staged;
use crate::error::{InstallError, ReadError, TransferError};
use crate::files;
use crate::page::{PAGE_BYTES, PAGE_SIZE, PageHash, index, offset};
use crate::page_store::{CheckpointMeta, Disk, MetaFile, PageStore, Shared, names, sums_hash, write_all_sums};
use base::{PageNo, Reader, Truncated, Version};
use bytes::{BufMut, Bytes, BytesMut};
use std::collections::BTreeMap;
use std::io;
use std::path::Path;
use std::sync::{Arc, PoisonError};

const MAGIC: [u8; 8] = *b"BLINST01";

/// What the receiving side makes of the pages it has already.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LocalPages {
    /// A page whose recorded hash is equal is not fetched.
    Trusted,
    /// A page is read and hashed before it is called equal: for the repair of a damaged file.
    Checked,
}

/// The receiving side of a snapshot. What was fetched stays on disk until it is installed: a new `Install`, also after a
/// restart and also of a newer snapshot, goes on with it. The store can be read meanwhile, until [`finish`](Self::finish).
#[derive(Debug)]
pub struct Install {
    shared: Arc<Shared>,
    manifest: Manifest,
    local: LocalPages,
    /// The hashes of the snapshot, as far as they are known.
    hashes: Vec<PageHash>,
    staged: Staged,
    /// What is to be fetched, one page for each hash. Known once all hashes are.
    missing: BTreeMap<PageHash, PageNo>,
    fetched_bytes: u64,
}

impl Install {
    /// Begins, or goes on with what is staged. Blocks on disk.
    pub fn begin(store: &PageStore, manifest: Manifest, local: LocalPages) -> Result<Self, InstallError> {
        let shared = Arc::clone(&store.shared);
        let committed = store.committed();
        if manifest.version < committed {
            return Err(InstallError::Old { version: manifest.version, committed });
        }
        let staged = Staged::open(&shared.dir.join(names::STAGED)).map_err(io_error)?;
        if staged.len() > 0 {
            rt::sometimes!("a snapshot transfer went on with staged pages");
        }
        let (hashes, missing) = (Vec::new(), BTreeMap::new());
        Ok(Self { shared, manifest, local, hashes, staged, missing, fetched_bytes: 0 })
    }

    /// What to ask next; `None` when everything is here. Asking again before an answer came gives the same.
    pub fn want(&self) -> Option<SnapshotRequest> {
        let known = u32::try_from(self.hashes.len()).unwrap_or(u32::MAX);
        if known < self.manifest.pages {
            let count = (self.manifest.pages - known).min(HASHES_MAX);
            return Some(Request::Hashes { from: PageNo(known + 1), count }.encode());
        }
        let most = usize::try_from(PAGES_MAX).unwrap_or(1);
        let pages: Vec<_> = self.missing.values().take(most).copied().collect();
        (!pages.is_empty()).then(|| Request::Pages(pages).encode())
    }

    /// Takes the answer to the last [`want`](Self::want). After an error nothing was taken that is wrong. Blocks on disk.
    pub fn accept(&mut self, answer: &Bytes) -> Result<(), InstallError> {
        match Answer::decode(answer)? {
            Answer::Manifest(_) => return Err(TransferError::Unexpected(1).into()),
            Answer::Hashes { from, hashes } => {
                let room = index(PageNo(self.manifest.pages.saturating_add(1))) - self.hashes.len();
                if index(from) != self.hashes.len() || hashes.is_empty() || hashes.len() > room {
                    return Err(TransferError::Unexpected(2).into());
                }
                self.hashes.extend(hashes);
                if self.hashes.len() == index(PageNo(self.manifest.pages.saturating_add(1))) {
                    let disk = self.shared.disk.lock().unwrap_or_else(PoisonError::into_inner);
                    let differing = self.differing(&disk)?;
                    drop(disk);
                    let unstaged = differing.into_iter().filter(|(_, hash)| !self.staged.has(*hash));
                    self.missing = unstaged.map(|(page, hash)| (hash, page)).collect();
                }
            }
            Answer::Pages(pages) => {
                for (page, image) in pages {
                    let hash = PageHash::of(&image);
                    if self.hashes.get(index(page)) != Some(&hash) {
                        return Err(TransferError::WrongHash { page }.into());
                    }
                    if self.missing.remove(&hash).is_some() {
                        self.staged.add(hash, &image).map_err(io_error)?;
                        self.fetched_bytes += PAGE_BYTES;
                    }
                }
            }
        }
        Ok(())
    }

    /// How many bytes of pages were fetched, and how many are still wanted as far as is known.
    pub fn progress(&self) -> (u64, u64) {
        (self.fetched_bytes, u64::try_from(self.missing.len()).unwrap_or(u64::MAX).saturating_mul(PAGE_BYTES))
    }

    /// The pages that the file does not hold as the snapshot does.
    fn differing(&self, disk: &Disk) -> Result<Vec<(PageNo, PageHash)>, InstallError> {
        let sums = self.shared.file_sums();
        // After a crash in the middle of a checkpoint the file may hold other pages than its hashes say.
        let check = self.local == LocalPages::Checked || disk.unsettled.is_some() || disk.installing;
        let mut differing = Vec::new();
        for (page, hash) in (1..).map(PageNo).zip(&self.hashes) {
            let same = page.0 <= disk.file_pages && sums.get(index(page)) == Some(hash);
            if !same || (check && !self.holds(page, *hash)?) {
                differing.push((page, *hash));
            }
        }
        Ok(differing)
    }

    fn holds(&self, page: PageNo, hash: PageHash) -> Result<bool, InstallError> {
        let mut contents = [0; PAGE_SIZE];
        match self.shared.file.read_exact_at(&mut contents, offset(page)) {
            Ok(()) => Ok(PageHash::of(&contents) == hash),
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(false),
            Err(error) => Err(InstallError::Read(ReadError::Io(error.into()))),
        }
    }

    /// Makes the snapshot, with `extra`, the committed version, durably. Connections and views of older versions end. A crash
    /// leaves either the old state or the new. After an error the old state is there, or, if the error came late, neither can
    /// be checkpointed until an `Install` succeeds or the store is opened again. Blocks on disk.
    pub fn finish(self, extra: Bytes) -> Result<CheckpointMeta, InstallError> {
        let shared = Arc::clone(&self.shared);
        let mut disk = shared.disk.lock().unwrap_or_else(PoisonError::into_inner);
        let committed = shared.read_versions().committed();
        if self.manifest.version < committed {
            return Err(InstallError::Old { version: self.manifest.version, committed });
        }
        let wanted = index(PageNo(self.manifest.pages.saturating_add(1)));
        let differing = self.differing(&disk)?;
        let open = differing.iter().filter(|(_, hash)| !self.staged.has(*hash)).count() + wanted - self.hashes.len();
        if open > 0 {
            return Err(InstallError::Incomplete { pages: u32::try_from(open).unwrap_or(u32::MAX) });
        }
        let meta = CheckpointMeta { version: self.manifest.version, pages: self.manifest.pages, extra };
        let plan = Plan { meta, sums: self.hashes, replace: differing.into_iter().map(|(page, _)| page).collect() };
        self.staged.sync().map_err(io_error)?;
        rt::fs::sync_dir(&shared.dir).map_err(io_error)?;
        disk.installing = true;
        plan.write(&shared.dir).map_err(io_error)?;
        shared.begin_jump(plan.meta.version);
        plan.put_in_place(&shared.dir, &shared.file, &disk.sums_file, &self.staged).map_err(io_error)?;
        disk.installing = false;
        disk.unsettled = None;
        disk.file_pages = plan.meta.pages;
        disk.sums_behind.clear();
        disk.meta = Some(plan.meta.clone());
        shared.end_jump(&plan.meta, plan.sums);
        Ok(plan.meta)
    }
}

/// `install.meta`: a snapshot whose pages are all here, in the database file or staged.
#[derive(Debug)]
struct Plan {
    meta: CheckpointMeta,
    sums: Vec<PageHash>,
    /// The pages to take from the staged ones.
    replace: Vec<PageNo>,
}

impl Plan {
    /// From this moment on the snapshot will be installed, whatever happens.
    fn write(&self, dir: &Path) -> io::Result<()> {
        let mut file = files::begin(MAGIC);
        self.put(&mut file);
        files::write(&dir.join(names::INSTALL), file)
    }

    fn put(&self, file: &mut BytesMut) {
        file.put_u64_le(self.meta.version.0);
        file.put_u32_le(self.meta.pages);
        file.put_u32_le(u32::try_from(self.replace.len()).unwrap_or(u32::MAX));
        for sum in &self.sums {
            file.put_slice(&sum.0);
        }
        for page in &self.replace {
            file.put_u32_le(page.0);
        }
        file.put_slice(&self.meta.extra);
    }

    fn read(dir: &Path) -> io::Result<Option<Self>> {
        let Some(body) = files::read(&dir.join(names::INSTALL), MAGIC)? else { return Ok(None) };
        Self::parse(&body).map(Some).map_err(|e| io::Error::new(io::ErrorKind::InvalidData, e))
    }

    fn parse(body: &[u8]) -> Result<Self, Truncated> {
        let mut reader = Reader::new(body);
        let (version, pages, count) = (Version(reader.u64()?), reader.u32()?, reader.u32()?);
        let sums = (0..pages).map(|_| reader.array().map(PageHash)).collect::<Result<_, _>>()?;
        let replace = (0..count).map(|_| reader.u32().map(PageNo)).collect::<Result<_, _>>()?;
        let extra = Bytes::copy_from_slice(reader.rest());
        Ok(Self { meta: CheckpointMeta { version, pages, extra }, sums, replace })
    }

    /// Overwrites the database file; may be done any number of times. At the end the plan is gone.
    fn put_in_place(
        &self,
        dir: &Path,
        file: &rt::fs::File,
        sums_file: &rt::fs::File,
        staged: &Staged,
    ) -> io::Result<()> {
        for page in &self.replace {
            let hash = self.sums.get(index(*page)).copied().unwrap_or_default();
            file.write_all_at(&staged.page(hash)?, offset(*page))?;
        }
        file.set_len(u64::from(self.meta.pages) * PAGE_BYTES)?;
        file.sync_data()?;
        write_all_sums(sums_file, &self.sums)?;
        let meta = MetaFile { meta: self.meta.clone(), sums_hash: sums_hash(&self.sums), blocks: BTreeMap::new() };
        meta.write(dir)?;
        // What an older checkpoint had begun is over.
        files::remove(&dir.join(names::BEGUN))?;
        rt::fs::sync_dir(dir)?;
        files::remove(&dir.join(names::INSTALL))?;
        rt::fs::sync_dir(dir)?;
        files::remove(&dir.join(names::STAGED))
    }
}

/// Reads the body of an `install.meta` and writes what was read.
pub(crate) fn recode_plan(body: &[u8]) -> Option<Bytes> {
    let mut out = BytesMut::new();
    Plan::parse(body).ok()?.put(&mut out);
    Some(out.freeze())
}

/// Finishes an install that was interrupted after it was complete.
pub(crate) fn finish_interrupted(dir: &Path, file: &rt::fs::File, sums_file: &rt::fs::File) -> io::Result<()> {
    let Some(plan) = Plan::read(dir)? else { return Ok(()) };
    rt::sometimes!("an interrupted install was finished at the next start");
    let staged = Staged::open(&dir.join(names::STAGED))?;
    plan.put_in_place(dir, file, sums_file, &staged)
}

fn io_error(error: io::Error) -> InstallError {
    InstallError::Io(error.into())
}
