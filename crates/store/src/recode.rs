//! The way in for tests of decoders from outside: bytes are read, and what was read is written again.

use crate::core::{CheckpointExtra, RecordExtra};
use crate::forward::{Reply, Request};
use crate::transfer::WireManifest;
use serde::Serialize;
use serde::de::DeserializeOwned;

/// What bytes are taken for; all are in postcard.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// What a member asks the leader for.
    Request,
    /// The answer to it.
    Reply,
    /// What a record carries beside its pages.
    RecordExtra,
    /// What a checkpoint keeps beside the pages.
    CheckpointExtra,
    /// The head of a snapshot.
    Manifest,
}

impl Form {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::Request, Self::Reply, Self::RecordExtra, Self::CheckpointExtra, Self::Manifest];

    /// Reads `bytes` and writes what was read: none if they have another form.
    pub fn recode(self, bytes: &[u8]) -> Option<Vec<u8>> {
        match self {
            Self::Request => again::<Request>(bytes),
            Self::Reply => again::<Reply>(bytes),
            Self::RecordExtra => again::<RecordExtra>(bytes),
            Self::CheckpointExtra => again::<CheckpointExtra>(bytes),
            Self::Manifest => again::<WireManifest>(bytes),
        }
    }
}

fn again<T: Serialize + DeserializeOwned>(bytes: &[u8]) -> Option<Vec<u8>> {
    postcard::to_stdvec(&postcard::from_bytes::<T>(bytes).ok()?).ok()
}
