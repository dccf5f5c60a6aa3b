//! Mending: pages of a database that this machine's disk has changed come back from the other members.

use crate::StoreError;
use crate::database::Database;
use crate::forward::{self, Reply, Request, Wanted};
use base::NodeId;
use raft::RaftHost;
use rpc::Mesh;
use sqlite::{PageHash, WantedPage};
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

/// The pause before members are asked again that could not help.
const ASK_AGAIN: Duration = Duration::from_secs(2);

/// Runs until it is dropped.
pub(crate) async fn run(database: Arc<Database>, host: RaftHost, mesh: Arc<Mesh>) {
    let mut damaged = database.pages().damaged();
    loop {
        let pages = damaged.borrow_and_update().clone();
        let mut is_left = false;
        for page in pages {
            is_left |= mend(&database, &host, &mesh, page).await.unwrap_or_else(|error| {
                tracing::info!(database = %database.name(), %page, %error, "a damaged page could not be mended yet");
                true
            });
        }
        tokio::select! {
            biased;
            changed = damaged.changed() => if changed.is_err() { return },
            () = rt::time::sleep(ASK_AGAIN), if is_left => {}
        }
    }
}

/// Asks one member after the other for the page, the leader first. Whether it is still damaged.
async fn mend(database: &Arc<Database>, host: &RaftHost, mesh: &Mesh, page: base::PageNo) -> Result<bool, StoreError> {
    let pages = database.pages().clone();
    let Some(wanted) = blocking(move || pages.wanted_or_forget(page)).await? else { return Ok(false) };
    for node in others(database, host) {
        let request =
            Request::Page { database: database.name().clone(), group: database.group_id(), wanted: wanted.into() };
        let Ok(Reply::Page(Some(image))) = forward::ask(mesh, node, &request).await else { continue };
        let Ok(image) = image.as_ref().try_into().map(Box::<sqlite::Page>::new) else { continue };
        let pages = database.pages().clone();
        let is_mended = blocking(move || pages.mend(page, &image)).await?.unwrap_or_else(|fault| {
            tracing::info!(database = %database.name(), %page, %fault, "a damaged page cannot be written");
            false
        });
        if is_mended {
            rt::sometimes!("a page that the disk had changed was mended");
            tracing::warn!(database = %database.name(), %page, from = %node, "a damaged page was replaced by another member's");
            return Ok(false);
        }
    }
    Ok(true)
}

/// Of the cluster's own database a witness has pages as well.
fn others(database: &Database, host: &RaftHost) -> Vec<NodeId> {
    let status = database.group().status();
    let witnesses = if database.name().is_sys() { BTreeSet::new() } else { host.witnesses() };
    let has_pages = |node: &NodeId| *node != host.node() && !witnesses.contains(node);
    let mut others: Vec<NodeId> = status.membership.addresses.keys().copied().filter(has_pages).collect();
    others.sort_by_key(|node| Some(*node) != status.leader);
    others
}

/// This member's answer to another one's wish.
pub(crate) async fn page(database: &Database, wanted: Wanted) -> Result<Option<bytes::Bytes>, StoreError> {
    let pages = database.pages().clone();
    let image = blocking(move || pages.page_for(&wanted.into())).await?;
    Ok(image.map(|image| bytes::Bytes::copy_from_slice(image.as_slice())))
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, StoreError> {
    rt::blocking::run(work).await.map_err(|end| StoreError::Internal(end.to_string()))
}

impl From<WantedPage> for Wanted {
    fn from(wanted: WantedPage) -> Self {
        Self { page: wanted.page, hash: wanted.hash.0, checkpoint: wanted.checkpoint }
    }
}

impl From<Wanted> for WantedPage {
    fn from(wanted: Wanted) -> Self {
        Self { page: wanted.page, hash: PageHash(wanted.hash), checkpoint: wanted.checkpoint }
    }
}
