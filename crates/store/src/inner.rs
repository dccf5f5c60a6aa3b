//! The state behind a [`Store`](crate::Store): which databases are open on this node, and how they are opened and closed.

use crate::catalog::{self, DatabaseRow};
use crate::core::Core;
use crate::database::{Database, Leadership, Phase};
use crate::forward::{self, Request};
use crate::machine::{Machine, decode_extra};
use crate::{StoreConfig, StoreError, Witnessed, mend, replicator};
use base::{DbName, GroupId, NodeId};
use lifecycle::Scope;
use raft::{GroupOptions, Part, RaftHost};
use rpc::Mesh;
use sqlite::PageStore;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::Notify;

/// How long a new database's other members are waited for before its group starts without them.
const INVITE_MAX: Duration = Duration::from_secs(2);
/// How long a closing database waits for the writers that are in its queue already, and then for their commits.
const WRITERS_MAX: Duration = Duration::from_secs(2);
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
    open: Mutex<Databases>,
    /// A database was opened here, or removed.
    moved: Notify,
    catalog: Scope,
}

/// What a file is called, after a database's directory, while this node's copy of it is given up.
const GIVEN_UP: &str = ".given-up";

#[derive(Debug)]
struct Databases {
    by_name: BTreeMap<DbName, Open>,
    /// On a witness: those that it votes for and does not hold.
    witnessed: BTreeMap<DbName, Witnessed>,
    /// On a spare: all that are on the list, which it does not hold.
    elsewhere: Option<BTreeMap<DbName, GroupId>>,
    /// No more are opened.
    closing: bool,
}

impl Inner {
    pub(crate) async fn open(
        config: StoreConfig,
        host: RaftHost,
        mesh: Arc<Mesh>,
        scope: Scope,
    ) -> Result<Arc<Self>, StoreError> {
        let name = DbName::sys();
        let sys = open(&config, &host, &mesh, &scope, name.clone(), GroupId::SYS).await?;
        let database = Arc::clone(&sys.database);
        let by_name = BTreeMap::from([(name, sys)]);
        let open = Mutex::new(Databases { by_name, witnessed: BTreeMap::new(), elsewhere: None, closing: false });
        let catalog = scope.child("catalog");
        Ok(Arc::new(Self { config, host, mesh, scope, sys: database, open, moved: Notify::new(), catalog }))
    }

    fn lock(&self) -> MutexGuard<'_, Databases> {
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

    /// Follows the list of databases from now on.
    pub(crate) fn follow_list(self: &Arc<Self>) {
        drop(self.catalog.spawn_droppable("list", catalog::run(Arc::clone(self))));
    }

    pub(crate) fn sys(&self) -> &Arc<Database> {
        &self.sys
    }

    pub(crate) fn database(&self, name: &DbName) -> Option<Arc<Database>> {
        self.lock().by_name.get(name).map(|open| Arc::clone(&open.database))
    }

    /// Whether this node keeps databases, or only votes.
    pub(crate) fn part(&self) -> Part {
        self.host.part()
    }

    /// Why a database is not found here. While the store closes that says nothing of whether there is one.
    pub(crate) fn not_found(&self, name: &DbName) -> StoreError {
        if self.lock().closing {
            StoreError::NotOpen { state: "closing" }
        } else if self.is_elsewhere(name) {
            self.no_copy(name)
        } else {
            StoreError::NoSuchDatabase { name: name.clone() }
        }
    }

    pub(crate) fn no_copy(&self, name: &DbName) -> StoreError {
        StoreError::NoCopy { name: name.clone(), leader: self.leader_elsewhere(name), spare: self.is_spare() }
    }

    /// Whether there is such a database, and no copy of it is for this node to hold.
    pub(crate) fn is_elsewhere(&self, name: &DbName) -> bool {
        let databases = self.lock();
        databases.witnessed.contains_key(name) || databases.elsewhere.as_ref().is_some_and(|all| all.contains_key(name))
    }

    /// Whether this node is a spare, as far as its own copy of `sys` says.
    pub(crate) fn is_spare(&self) -> bool {
        self.lock().elsewhere.is_some()
    }

    pub(crate) fn elsewhere(&self) -> Vec<DbName> {
        self.lock().elsewhere.iter().flat_map(BTreeMap::keys).cloned().collect()
    }

    /// What a spare does not hold; none if this node is none.
    pub(crate) fn set_elsewhere(&self, databases: Option<BTreeMap<DbName, GroupId>>) {
        self.lock().elsewhere = databases;
        self.moved.notify_waiters();
    }

    pub(crate) fn witnessed(&self, name: &DbName) -> Option<Witnessed> {
        self.lock().witnessed.get(name).cloned()
    }

    pub(crate) fn all_witnessed(&self) -> Vec<Witnessed> {
        self.lock().witnessed.values().cloned().collect()
    }

    /// Takes part in a database's group without its pages.
    pub(crate) async fn witness(&self, row: &DatabaseRow) -> Result<(), StoreError> {
        match self.witnessed(&row.name) {
            Some(witnessed) if witnessed.group_id() == row.group_id => return Ok(()),
            Some(_) => return Err(StoreError::DatabaseExists { name: row.name.clone() }),
            None => {}
        }
        let dir = directory(&self.config, &row.name, row.group_id);
        let opened = Witnessed::open(&self.host, dir, row.name.clone(), row.group_id).await?;
        let is_late = {
            let mut databases = self.lock();
            if !databases.closing {
                databases.witnessed.insert(row.name.clone(), opened.clone());
            }
            databases.closing
        };
        self.moved.notify_waiters();
        if is_late {
            opened.close().await;
            return Err(StoreError::NotOpen { state: "closing" });
        }
        Ok(())
    }

    /// Leaves the group of a database that was dropped, as [`close_and_remove`](Self::close_and_remove).
    pub(crate) async fn forget_witnessed(&self, witnessed: &Witnessed) -> Result<(), StoreError> {
        witnessed.group().stop().await;
        self.host.drop_group(witnessed.group_id()).await?;
        self.remove_files(format!("{}.{}", witnessed.name(), witnessed.group_id())).await?;
        self.lock().witnessed.remove(witnessed.name());
        self.moved.notify_waiters();
        Ok(())
    }

    /// Waits until this node takes part in a database's group, with its pages or without, or knows that it does not. Cancel-safe.
    pub(crate) async fn await_group(&self, name: &DbName, group: GroupId) {
        loop {
            let moved = self.moved.notified();
            let is_there = self.database(name).is_some_and(|database| database.group_id() == group)
                || self.witnessed(name).is_some_and(|witnessed| witnessed.group_id() == group)
                || self.lock().elsewhere.as_ref().is_some_and(|all| all.get(name) == Some(&group));
            if is_there {
                return;
            }
            moved.await;
        }
    }

    pub(crate) fn open_databases(&self) -> Vec<Arc<Database>> {
        self.lock().by_name.values().map(|open| Arc::clone(&open.database)).collect()
    }

    /// Waits until a database is open here. Cancel-safe.
    pub(crate) async fn await_open(&self, name: &DbName, group: GroupId) -> Arc<Database> {
        loop {
            let moved = self.moved.notified();
            if let Some(database) = self.database(name).filter(|database| database.group_id() == group) {
                return database;
            }
            moved.await;
        }
    }

    /// Waits until a database that was dropped is gone from here. Cancel-safe.
    pub(crate) async fn await_gone(&self, name: &DbName, group: GroupId) {
        loop {
            let moved = self.moved.notified();
            if self.database(name).is_none_or(|database| database.group_id() != group) {
                return;
            }
            moved.await;
        }
    }

    pub(crate) async fn open_database(&self, name: DbName, group: GroupId, phase: Phase) -> Result<(), StoreError> {
        let old = format!("{name}.{group}");
        let mark = self.mark(&old);
        if rt::blocking::run(move || rt::fs::exists(&mark))
            .await
            .map_err(|end| StoreError::Internal(end.to_string()))?
        {
            // The new copy must not be taken for the one that was given up.
            self.finish_one(&old, group).await?;
        }
        let open = open(&self.config, &self.host, &self.mesh, &self.scope, name.clone(), group).await?;
        open.database.set_phase(phase);
        let late = {
            let mut databases = self.lock();
            if databases.closing {
                Some(open)
            } else {
                databases.by_name.insert(name, open);
                None
            }
        };
        self.moved.notify_waiters();
        match late {
            Some(open) => {
                close(&open.database, &open.scope, Duration::ZERO).await;
                Err(StoreError::NotOpen { state: "closing" })
            }
            None => Ok(()),
        }
    }

    /// Closes a database that was dropped, and removes its log and its files. It is forgotten last: if anything fails, this is
    /// done again.
    pub(crate) async fn close_and_remove(&self, database: &Arc<Database>) -> Result<(), StoreError> {
        database.set_phase(Phase::Closing);
        let scope = self.lock().by_name.get(database.name()).map(|open| open.scope.clone());
        if let Some(scope) = scope {
            close(database, &scope, Duration::ZERO).await;
        }
        self.host.drop_group(database.group_id()).await?;
        self.remove_files(format!("{}.{}", database.name(), database.group_id())).await?;
        self.lock().by_name.remove(database.name());
        self.moved.notify_waiters();
        Ok(())
    }

    /// Gives up this node's copy for good, whatever happens meanwhile: a log without its files, or files without their log, would be taken
    /// for damage when the node gets a copy again.
    pub(crate) async fn give_up(&self, database: &Arc<Database>) -> Result<(), StoreError> {
        let name = format!("{}.{}", database.name(), database.group_id());
        let mark = self.mark(&name);
        on_disk("noting what is given up", move || rt::fs::write_atomic(&mark, b"")).await?;
        self.close_and_remove(database).await?;
        self.forget_mark(&name).await
    }

    /// Finishes what a stop has cut off.
    pub(crate) async fn finish_giving_up(&self) -> Result<(), StoreError> {
        let dir = self.config.dir.clone();
        let names = rt::blocking::run(move || rt::fs::list(&dir)).await;
        let names = names.map_err(|end| StoreError::Internal(end.to_string()))?.unwrap_or_default();
        for name in names.iter().filter_map(|name| name.strip_suffix(GIVEN_UP)) {
            let group = name.rsplit_once('.').and_then(|(_, group)| group.parse().ok()).map(GroupId);
            let Some(group) = group.filter(|group| *group != GroupId::SYS) else { continue };
            self.finish_one(name, group).await?;
        }
        Ok(())
    }

    async fn finish_one(&self, name: &str, group: GroupId) -> Result<(), StoreError> {
        rt::sometimes!("store: a copy that was half given up was removed");
        tracing::info!(database = name, "a copy that was half given up is removed");
        self.host.drop_group(group).await?;
        self.remove_files(name.to_owned()).await?;
        self.forget_mark(name).await
    }

    fn mark(&self, name: &str) -> PathBuf {
        self.config.dir.join(format!("{name}{GIVEN_UP}"))
    }

    /// The files are gone, durably; then the mark goes.
    async fn forget_mark(&self, name: &str) -> Result<(), StoreError> {
        let (dir, mark) = (self.config.dir.clone(), self.mark(name));
        let gone = move || {
            rt::fs::sync_dir(&dir)?;
            rt::fs::remove_file(&mark)?;
            rt::fs::sync_dir(&dir)
        };
        on_disk("removing a copy that was given up", gone).await
    }

    /// Removes what is left of databases that are not on the list: a node that stopped while it dropped one has no more than its log
    /// and its files. To be called with a list that is known to be the newest.
    pub(crate) async fn sweep(&self, wanted: &BTreeSet<GroupId>) -> Result<(), StoreError> {
        let is_wanted = |group: &GroupId| *group == GroupId::SYS || wanted.contains(group);
        for group in self.host.known_groups().into_iter().filter(|group| !is_wanted(group)) {
            tracing::info!(%group, "the log of a database that was dropped is removed");
            self.host.drop_group(group).await?;
        }
        let dir = self.config.dir.clone();
        let names = rt::blocking::run(move || rt::fs::list(&dir)).await;
        let names = names.map_err(|end| StoreError::Internal(end.to_string()))?.unwrap_or_default();
        for name in names {
            let group = name.rsplit_once('.').and_then(|(_, group)| group.parse().ok()).map(GroupId);
            if group.is_some_and(|group| !is_wanted(&group)) {
                tracing::info!(directory = %name, "the files of a database that was dropped are removed");
                self.remove_files(name).await?;
            }
        }
        Ok(())
    }

    async fn remove_files(&self, name: String) -> Result<(), StoreError> {
        let dir = self.config.dir.join(name);
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

    /// Lets the writers that wait already finish and refuses new ones, everywhere, and makes everything applied durable in the
    /// files.
    pub(crate) async fn close_all(&self) {
        let all: Vec<(Arc<Database>, Scope)> = {
            let mut databases = self.lock();
            databases.closing = true;
            databases.by_name.values().map(|open| (Arc::clone(&open.database), open.scope.clone())).collect()
        };
        let witnessed = self.all_witnessed();
        self.catalog.stop(CLOSE_MAX).await;
        futures::future::join_all(witnessed.iter().map(Witnessed::close)).await;
        let closing = all.iter().map(|(database, scope)| close(database, scope, WRITERS_MAX));
        futures::future::join_all(closing).await;
        self.lock().by_name.clear();
        self.lock().witnessed.clear();
    }

    /// Asks the members that start a group to open it, so that its first election finds them.
    pub(crate) async fn invite(&self, row: &DatabaseRow) {
        let others = row.voters.iter().filter(|id| **id != self.node());
        let asked = others.map(|id| async move {
            let request = Request::Opened { database: row.name.clone(), group: row.group_id };
            if let Err(error) = forward::call(self, *id, &request).await {
                tracing::info!(node = %id, database = %row.name, %error, "a member could not open the new database yet");
            }
        });
        if rt::time::timeout(INVITE_MAX, futures::future::join_all(asked)).await.is_err() {
            tracing::info!(database = %row.name, "not all members opened the new database in time; it starts without them");
        }
    }

    /// Where these nodes are. None if any of them is no member (yet) as far as this node knows.
    pub(crate) fn addresses(&self, nodes: &BTreeSet<NodeId>) -> Option<BTreeMap<NodeId, String>> {
        let known = self.sys.group().status().membership;
        nodes.iter().map(|id| known.addresses.get(id).map(|address| (*id, address.clone()))).collect()
    }
}

fn directory(config: &StoreConfig, name: &DbName, group: GroupId) -> PathBuf {
    config.dir.join(format!("{name}.{group}"))
}

async fn open(
    config: &StoreConfig,
    host: &RaftHost,
    mesh: &Arc<Mesh>,
    scope: &Scope,
    name: DbName,
    group_id: GroupId,
) -> Result<Open, StoreError> {
    let dir = directory(config, &name, group_id);
    let options = config.pages;
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
    scope.spawn_droppable("replicator", replicator::run(Arc::clone(&database), host.part()));
    scope.spawn_droppable("mender", mend::run(Arc::clone(&database), host.clone(), Arc::clone(mesh)));
    Ok(Open { database, scope })
}

async fn close(database: &Database, scope: &Scope, writers_max: Duration) {
    // Who waits in the queue already is served; who comes after this waits for nothing and is refused with the next line.
    let turn = rt::time::timeout(writers_max, database.slot_queue().acquire_owned()).await;
    database.close_queue();
    if rt::time::timeout(writers_max, database.settled()).await.is_err() || turn.is_err() {
        tracing::info!(database = %database.name(), "it closes before its writers are done; they learn that it did");
    }
    scope.stop(CLOSE_MAX).await;
    database.kept().close();
    database.set_leadership(Leadership::default());
    database.core().lose();
    if let Err(error) = database.group().checkpoint().await {
        tracing::warn!(database = %database.name(), %error, "no checkpoint at close; the log is replayed at the next start");
    }
    database.group().stop().await;
}

async fn on_disk(
    what: &'static str,
    work: impl FnOnce() -> std::io::Result<()> + Send + 'static,
) -> Result<(), StoreError> {
    let done = rt::blocking::run(work).await.map_err(|end| StoreError::Internal(end.to_string()))?;
    done.map_err(|source| StoreError::Io { what: what.to_owned(), source })
}
