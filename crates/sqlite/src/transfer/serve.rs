//! The sending side of a snapshot transfer.

use super::message::{Answer, Manifest, Request};
use crate::error::TransferError;
use crate::page::PAGE_SIZE;
use crate::page_store::View;
use base::PageNo;
use bytes::Bytes;
use std::sync::Arc;

/// The sending side: answers requests from one pinned version. Send and Sync, without state of its own: any request may come
/// at any time, in any order, from any number of receivers.
#[derive(Debug)]
pub struct SnapshotServer {
    view: View,
    extra: Bytes,
}

impl SnapshotServer {
    /// Serves this version, with what the layer above wants the receiver to know.
    pub fn new(view: View, extra: Bytes) -> Self {
        Self { view, extra }
    }

    /// What the snapshot is.
    pub fn manifest(&self) -> Manifest {
        Manifest { version: self.view.version(), pages: self.view.pages(), extra: self.extra.clone() }
    }

    /// Answers a request; at most 1 MiB, unless `extra` is larger. Blocks on disk.
    pub fn answer(&self, request: &[u8]) -> Result<Bytes, TransferError> {
        let answer = match Request::decode(request)? {
            Request::Manifest => Answer::Manifest(self.manifest()),
            Request::Hashes { from, count } => {
                let until = from.0.saturating_add(count).min(self.view.pages().saturating_add(1));
                let hashes = (from.0..until).map(|page| self.view.hash(PageNo(page))).collect::<Result<_, _>>();
                Answer::Hashes { from, hashes: hashes.map_err(TransferError::Read)? }
            }
            Request::Pages(pages) => {
                let mut images = Vec::with_capacity(pages.len());
                for page in pages {
                    let mut image = [0; PAGE_SIZE];
                    self.view.read(page, &mut image).map_err(TransferError::Read)?;
                    images.push((page, Arc::new(image)));
                }
                Answer::Pages(images)
            }
        };
        Ok(answer.encode())
    }
}
