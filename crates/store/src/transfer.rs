//! Snapshots of a database between members: the page store's messages in the Raft group's transport.
//!
//! A request is one byte and a body: `0` asks for the manifest, `1` carries the page store's own request.

use crate::core::CheckpointExtra;
use crate::machine::{bug, corrupt, encode_extra};
use bytes::{BufMut, Bytes, BytesMut};
use futures::future::BoxFuture;
use raft::{AppliedState, MachineError, SnapshotRemote, SnapshotSink, SnapshotSource};
use serde::{Deserialize, Serialize};
use sqlite::{Install, LocalPages, Manifest, PageStore, SnapshotServer, View};
use std::any::Any;
use std::sync::{Arc, Mutex, PoisonError};

const MANIFEST: u8 = 0;
const PAGES: u8 = 1;

#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct WireManifest {
    version: u64,
    pages: u32,
    extra: Bytes,
}

/// The sending side: one pinned version.
#[derive(Debug)]
pub(crate) struct Source(SnapshotServer);

impl Source {
    pub(crate) fn new(view: View, extra: Bytes) -> Self {
        Self(SnapshotServer::new(view, extra))
    }
}

impl SnapshotSource for Source {
    fn fetch(&self, request: Bytes) -> Result<Bytes, MachineError> {
        match request.split_first() {
            Some((&MANIFEST, [])) => {
                let Manifest { version, pages, extra } = self.0.manifest();
                encode(&WireManifest { version: version.0, pages, extra })
            }
            Some((&PAGES, body)) => self.0.answer(body).map_err(|e| MachineError::of(&e)),
            _ => Err(bug("a snapshot request of an unknown kind")),
        }
    }
}

fn encode(message: &impl Serialize) -> Result<Bytes, MachineError> {
    postcard::to_stdvec(message).map(Bytes::from).map_err(bug)
}

/// The receiving side. What was fetched stays staged on disk, so that a transfer that broke off goes on where it was.
#[derive(Debug)]
pub(crate) struct Receiver(PageStore);

impl Receiver {
    pub(crate) fn new(pages: PageStore) -> Self {
        Self(pages)
    }
}

/// A snapshot that is staged whole.
#[derive(Debug)]
pub(crate) struct Received {
    install: Install,
    extra: Bytes,
}

impl Received {
    /// What the sender's store kept with it.
    pub(crate) fn extra(&self) -> &[u8] {
        &self.extra
    }

    /// Makes it the database, durably. Blocks on disk.
    pub(crate) fn finish(self, extra: &CheckpointExtra) -> Result<(), MachineError> {
        let extra = encode_extra(extra)?;
        self.install.finish(extra).map(|_meta| ()).map_err(|e| MachineError::of(&e))
    }
}

impl SnapshotSink for Receiver {
    fn receive<'a>(
        &'a self,
        _state: &'a AppliedState,
        remote: &'a dyn SnapshotRemote,
    ) -> BoxFuture<'a, Result<Box<dyn Any + Send>, MachineError>> {
        Box::pin(async move {
            let manifest = remote.fetch(Bytes::from_static(&[MANIFEST])).await?;
            let WireManifest { version, pages, extra } = postcard::from_bytes(&manifest).map_err(corrupt)?;
            let manifest = Manifest { version: base::Version(version), pages, extra: extra.clone() };
            let store = self.0.clone();
            let begun = blocking(move || {
                Install::begin(&store, manifest, LocalPages::Trusted).map_err(|e| MachineError::of(&e))
            })
            .await?;
            // Shared with the blocking thread, so that a receive that is dropped half-way leaves what it staged in order.
            let install = Arc::new(Mutex::new(Some(begun)));
            while let Some(request) = with(&install, Install::want)? {
                let mut message = BytesMut::with_capacity(request.0.len() + 1);
                message.put_u8(PAGES);
                message.put_slice(&request.0);
                let answer = remote.fetch(message.freeze()).await?;
                let shared = Arc::clone(&install);
                blocking(move || match &mut *shared.lock().unwrap_or_else(PoisonError::into_inner) {
                    Some(install) => install.accept(&answer).map_err(|e| MachineError::of(&e)),
                    None => Err(bug("the transfer has ended")),
                })
                .await?;
                rt::sim_point!("snapshot.page_batch_staged");
            }
            let done = install.lock().unwrap_or_else(PoisonError::into_inner).take();
            let install = done.ok_or_else(|| bug("the transfer has ended"))?;
            Ok(Box::new(Received { install, extra }) as Box<dyn Any + Send>)
        })
    }
}

fn with<T>(install: &Mutex<Option<Install>>, look: impl FnOnce(&Install) -> T) -> Result<T, MachineError> {
    let guard = install.lock().unwrap_or_else(PoisonError::into_inner);
    guard.as_ref().map(look).ok_or_else(|| bug("the transfer has ended"))
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, MachineError> + Send + 'static,
) -> Result<T, MachineError> {
    rt::blocking::run(work).await.unwrap_or_else(|end| Err(bug(end)))
}
