//! Filling a new database from a plain SQLite file, page by page, on the node that leads it.
//!
//! A file that arrives at another member is first carried to the leader in pieces. The database is listed as
//! `importing` until it is whole, so that nobody sees a part of it; if anything fails it is dropped again.

use crate::StoreError;
use crate::core::RecordExtra;
use crate::database::{Database, Phase};
use crate::forward::{self, Reply, Request};
use crate::inner::Inner;
use crate::machine::DONE;
use base::{DbName, GroupId, NodeId, Term, Version};
use bytes::Bytes;
use sqlite::SourceFile;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

/// How large the pieces are in which a file is carried to the leader.
const PIECE_BYTES: usize = 1 << 20;
/// How long an import waits until the one who is to fill the database may write.
const LEAD_MAX: Duration = Duration::from_secs(5);
/// How the names of carried files begin.
const PREFIX: &str = ".import-";

/// Puts the file's pages in place of the empty database. Runs on the leader; nobody else may write meanwhile. A database that is
/// open to sessions, or holds anything, is refused.
pub(crate) async fn fill(database: &Arc<Database>, file: PathBuf) -> Result<(), StoreError> {
    if database.phase() != Phase::Importing || database.pages().committed() != Version(0) {
        return Err(StoreError::DatabaseExists { name: database.name().clone() });
    }
    let _only_writer =
        database.slot_queue().acquire_owned().await.map_err(|_closed| StoreError::NotOpen { state: "closing" })?;
    let term = leading_term(database).await?;
    let source = blocking(move || SourceFile::open(&file).map_err(StoreError::from)).await?;
    let mut batches = source.batches(database.pages(), term);
    let extra = Bytes::from(postcard::to_stdvec(&RecordExtra::default())?);
    loop {
        let next = blocking(move || {
            let record = batches.next();
            Ok((batches, record))
        });
        let record = next.await?;
        batches = record.0;
        let Some(record) = record.1 else { return Ok(()) };
        let mut record = record?;
        record.extra = extra.clone();
        let proposed = database.group().propose(record.encode()).await.map_err(|error| match error {
            raft::ProposeError::NotLeader { leader } => StoreError::NotLeader { leader },
            _ => StoreError::OutcomeUnknown,
        })?;
        if proposed.answer.as_ref() != DONE {
            return Err(StoreError::OutcomeUnknown);
        }
    }
}

/// The term in which this node leads. Raft may have made it the leader a moment before it may write.
async fn leading_term(database: &Database) -> Result<Term, StoreError> {
    let mut leadership = database.leadership();
    let leading = leadership.wait_for(|now| now.leading.is_some());
    match rt::time::timeout(LEAD_MAX, leading).await {
        Ok(Ok(now)) => now.leading.ok_or(StoreError::NotLeader { leader: now.leader }),
        Ok(Err(_closed)) => Err(StoreError::NotOpen { state: "closing" }),
        Err(_elapsed) => Err(StoreError::NotLeader { leader: None }),
    }
}

/// Carries a file to the leader; the leader keeps it under the id that is returned.
pub(crate) async fn carry(store: &Inner, leader: NodeId, file: PathBuf) -> Result<u64, StoreError> {
    let id = rt::entropy::u64();
    let mut offset = 0;
    loop {
        let path = file.clone();
        let piece = blocking(move || read_piece(&path, offset)).await?;
        let length = piece.len();
        let request = Request::Piece { id, offset, bytes: piece };
        match forward::call_bulk(store, leader, &request).await? {
            Reply::Done if length < PIECE_BYTES => return Ok(id),
            Reply::Done => offset += u64::try_from(length).unwrap_or(u64::MAX),
            other => return Err(StoreError::Internal(format!("an answer of another kind: {other:?}"))),
        }
    }
}

fn read_piece(path: &Path, offset: u64) -> Result<Bytes, StoreError> {
    let what = || format!("reading {}", path.display());
    let file = rt::fs::File::open(path).map_err(|source| StoreError::Io { what: what(), source })?;
    let total = file.len().map_err(|source| StoreError::Io { what: what(), source })?;
    let left = usize::try_from(total.saturating_sub(offset)).unwrap_or(usize::MAX);
    let mut piece = vec![0; left.min(PIECE_BYTES)];
    file.read_exact_at(&mut piece, offset).map_err(|source| StoreError::Io { what: what(), source })?;
    Ok(piece.into())
}

/// Where a carried file is kept.
pub(crate) fn carried(store: &Inner, id: u64) -> PathBuf {
    store.dir().join(format!("{PREFIX}{id:016x}"))
}

/// Keeps a piece of a carried file.
pub(crate) async fn keep(store: &Inner, id: u64, offset: u64, bytes: Bytes) -> Result<(), StoreError> {
    let path = carried(store, id);
    blocking(move || {
        let kept = rt::fs::File::create(&path).and_then(|file| file.write_all_at(&bytes, offset));
        kept.map_err(|source| StoreError::Io { what: format!("writing {}", path.display()), source })
    })
    .await
}

/// Removes what an earlier process has left of carried files.
pub(crate) async fn sweep(dir: &Path) -> Result<(), StoreError> {
    let dir = dir.to_owned();
    blocking(move || {
        for name in rt::fs::list(&dir).unwrap_or_default().iter().filter(|name| name.starts_with(PREFIX)) {
            let path = dir.join(name);
            rt::fs::remove_file(&path)
                .map_err(|source| StoreError::Io { what: format!("removing {}", path.display()), source })?;
        }
        Ok(())
    })
    .await
}

/// Removes a carried file.
pub(crate) async fn forget(store: &Inner, id: u64) {
    let path = carried(store, id);
    let removed = rt::blocking::run(move || rt::fs::remove_file(&path)).await;
    if !matches!(removed, Ok(Ok(()))) {
        tracing::warn!(?removed, "the copy of an imported file could not be removed");
    }
}

/// Like [`fill`], by name and group.
pub(crate) async fn fill_named(store: &Inner, name: &DbName, group: GroupId, file: PathBuf) -> Result<(), StoreError> {
    let database = store.database(name).filter(|database| database.group_id() == group);
    let database = database.ok_or_else(|| store.not_found(name))?;
    fill(&database, file).await
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, StoreError> + Send + 'static,
) -> Result<T, StoreError> {
    rt::blocking::run(work).await.unwrap_or_else(|end| Err(StoreError::Internal(end.to_string())))
}
