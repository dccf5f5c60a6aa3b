//! The state behind a [`Store`](crate::Store): which databases are open on this node, and how they are opened and closed.

use crate::catalog::DatabaseRow;
use crate::core::Core;
use crate::database::Database;
use crate::forward::{self, Request};
use crate::machine::{Machine, decode_extra};
use crate::{StoreConfig, StoreError, replicator};
use base::{DbName, GroupId, NodeId};
use lifecycle::Scope;
use raft::{GroupOptions, RaftHost};
use rpc::Mesh;
use sqlite::PageStore;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::Notify;

/// How long a new database's other members are waited for before its group starts without them.
const INVITE_MAX: Duration = Duration::from_secs(2);
/// How long a closing database waits for its tasks.
const CLOSE_MAX: Duration = Duration::from_secs(5);

#[derive(Debug)]
struct Open {
    database: Arc<Database>,
    scope: Scope,
}

#[derive(Debug)]
pub(crate) struct Inner {
    config: StoreConfig,
    host: RaftHost,
    mesh: Arc<Mesh>,
    scope: Scope,
    sys: Arc<Database>,
    open: Mutex<BTreeMap<DbName, Open>>,
    opened: Notify,
}

impl Inner {
    pub(crate) async fn open(
        config: StoreConfig,
        host: RaftHost,
        mesh: Arc<Mesh>,
        scope: Scope,
    ) -> Result<Arc<Self>, StoreError> {
        let name = DbName::sys();
        let sys = open(&config, &host, &scope, name.clone(), GroupId::SYS).await?;
        let database = Arc::clone(&sys.database);
        let open = Mutex::new(BTreeMap::from([(name, sys)]));
        Ok(Arc::new(Self { config, host, mesh, scope, sys: database, open, opened: Notify::new() }))
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<DbName, Open>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn node(&self) -> NodeId {
        self.config.node
    }

    pub(crate) fn mesh(&self) -> &Arc<Mesh> {
        &self.mesh
    }

    /// The directory of the databases.
    pub(crate) fn dir(&self) -> &Path {
        &self.config.dir
    }

    pub(crate) fn scope(&self) -> &Scope {
        &self.scope
    }

    pub(crate) fn sys(&self) -> &Arc<Database> {
        &self.sys
    }

    pub(crate) fn database(&self, name: &DbName) -> Option<Arc<Database>> {
        self.lock().get(name).map(|open| Arc::clone(&open.database))
    }

    pub(crate) fn open_databases(&self) -> Vec<Arc<Database>> {
        self.lock().values().map(|open| Arc::clone(&open.database)).collect()
    }

    /// Waits until a database is open here. Cancel-safe.
    pub(crate) async fn await_open(&self, name: &DbName) -> Arc<Database> {
        loop {
            let opened = self.opened.notified();
            if let Some(database) = self.database(name) {
                return database;
            }
            opened.await;
        }
    }

    pub(crate) async fn open_database(&self, name: DbName, group: GroupId, available: bool) -> Result<(), StoreError> {
        let open = open(&self.config, &self.host, &self.scope, name.clone(), group).await?;
        open.database.set_available(available);
        self.lock().insert(name, open);
        self.opened.notify_waiters();
        Ok(())
    }

    /// Closes a database that was dropped, and removes its log and its files.
    pub(crate) async fn close_and_remove(&self, database: &Arc<Database>) -> Result<(), StoreError> {
        let open = self.lock().remove(database.name());
        if let Some(open) = open {
            close(&open).await;
        }
        self.host.drop_group(database.group_id()).await?;
        let dir = directory(&self.config, database.name(), database.group_id());
        let removed = rt::blocking::run({
            let dir = dir.clone();
            move || rt::fs::remove_dir_all(&dir)
        });
        match removed.await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(source)) if source.kind() == std::io::ErrorKind::NotFound => Ok(()),
            Ok(Err(source)) => Err(StoreError::Io { what: format!("removing {}", dir.display()), source }),
            Err(end) => Err(StoreError::Internal(end.to_string())),
        }
    }

    /// Refuses new writers everywhere, waits for the one at work, and makes everything applied durable in the files.
    pub(crate) async fn close_all(&self) {
        let all: Vec<Open> = std::mem::take(&mut *self.lock()).into_values().collect();
        for open in &all {
            close(open).await;
        }
    }

    /// Asks the members that start a group to open it, so that its first election finds them.
    pub(crate) async fn invite(&self, row: &DatabaseRow) {
        let others = row.voters.iter().filter(|id| **id != self.node());
        let asked = others.map(|id| async move {
            let request = Request::Opened { database: row.name.clone() };
            if let Err(error) = forward::call(self, *id, &request).await {
                tracing::info!(node = %id, database = %row.name, %error, "a member could not open the new database yet");
            }
        });
        if rt::time::timeout(INVITE_MAX, futures::future::join_all(asked)).await.is_err() {
            tracing::info!(database = %row.name, "not all members opened the new database in time; it starts without them");
        }
    }

    pub(crate) fn addresses(&self, nodes: &BTreeSet<NodeId>) -> BTreeMap<NodeId, String> {
        let known = self.sys.group().status().membership;
        nodes.iter().filter_map(|id| known.addresses.get(id).map(|address| (*id, address.clone()))).collect()
    }
}

fn directory(config: &StoreConfig, name: &DbName, group: GroupId) -> PathBuf {
    config.dir.join(format!("{name}.{group}"))
}

async fn open(
    config: &StoreConfig,
    host: &RaftHost,
    scope: &Scope,
    name: DbName,
    group_id: GroupId,
) -> Result<Open, StoreError> {
    let dir = directory(config, &name, group_id);
    let options = config.pages.clone();
    let (pages, meta) = rt::blocking::run(move || PageStore::open(&dir, options))
        .await
        .map_err(|end| StoreError::Internal(end.to_string()))?
        .map_err(|error| StoreError::Pages { name: name.clone(), error })?;
    let extra = match &meta {
        Some(meta) => decode_extra(&meta.extra).map_err(|e| StoreError::Internal(e.to_string()))?,
        None => crate::core::CheckpointExtra::default(),
    };
    let core = Arc::new(Core::new(pages, extra.answers));
    let machine = Machine::new(Arc::clone(&core), extra.applied);
    let follow = (group_id != GroupId::SYS).then_some(GroupId::SYS);
    let group = host.open_group(group_id, Box::new(machine), GroupOptions { follow }).await?;
    let database = Arc::new(Database::new(name, group_id, group, core));
    let scope = scope.child("database");
    scope.spawn_droppable("replicator", replicator::run(Arc::clone(&database)));
    Ok(Open { database, scope })
}

async fn close(open: &Open) {
    open.database.close_queue();
    // The writer at work keeps the queue's one permit; its commit is answered before the replicator stops.
    open.scope.stop(CLOSE_MAX).await;
    open.database.core().lose();
    if let Err(error) = open.database.group().checkpoint().await {
        tracing::warn!(database = %open.database.name(), %error, "no checkpoint at close; the log is replayed at the next start");
    }
    open.database.group().stop().await;
}
