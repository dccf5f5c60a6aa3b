//! Moving a snapshot from one member to another: who asks, what is answered, and how the answer becomes the database.

use crate::error::{InstallError, TransferError};
use crate::page_store::{CheckpointMeta, PageStore, View};
use base::Version;
use bytes::Bytes;

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

/// A request of the receiving side, to be carried to a [`SnapshotServer`] as it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SnapshotRequest(pub Bytes);

/// The sending side: answers requests from one version. Send and Sync, no state of its own.
#[derive(Debug)]
pub struct SnapshotServer(#[expect(dead_code, reason = "not used yet")] View);

impl SnapshotServer {
    /// Serves this version.
    pub fn new(view: View, _extra: Bytes) -> Self {
        Self(view)
    }
    /// What the snapshot is.
    pub fn manifest(&self) -> Manifest {
        todo!()
    }
    /// Answers a request; at most 1 MiB. Blocks on disk.
    pub fn answer(&self, _request: &[u8]) -> Result<Bytes, TransferError> {
        todo!()
    }
}

/// What the receiving side makes of the pages it has already.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LocalPages {
    /// A page whose recorded hash is equal is not fetched.
    Trusted,
    /// A page is read and hashed before it is called equal: for the repair of a damaged file.
    Checked,
}

/// The receiving side. Resumable: what was fetched stays on disk until it is installed, also over a restart.
#[derive(Debug)]
pub struct Install(());

impl Install {
    /// Begins, or goes on with what is staged. Blocks on disk.
    pub fn begin(_store: &PageStore, _manifest: Manifest, _local: LocalPages) -> Result<Self, InstallError> {
        todo!()
    }
    /// What to ask next; `None` when everything is here. The same request again until it is answered.
    pub fn want(&self) -> Option<SnapshotRequest> {
        todo!()
    }
    /// Takes the answer to the last [`want`](Self::want). Blocks on disk.
    pub fn accept(&mut self, _answer: &Bytes) -> Result<(), InstallError> {
        todo!()
    }
    /// How many bytes were fetched, and how many are still wanted as far as is known.
    pub fn progress(&self) -> (u64, u64) {
        todo!()
    }
    /// Makes the snapshot the committed version, durably. Blocks on disk.
    pub fn finish(self, _extra: Bytes) -> Result<CheckpointMeta, InstallError> {
        todo!()
    }
}
