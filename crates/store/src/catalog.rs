//! The list of databases, kept in `sys`, and the task that makes this node hold what the list says.
//!
//! Level-triggered: each pass compares the whole list with what is open, so that a missed change costs nothing.

use crate::database::Database;
use crate::inner::Inner;
use crate::session::{Session, SessionOptions};
use crate::{ReadLevel, StoreError, Value};
use base::{DbName, GroupId, NodeId};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

/// How soon a pass that failed is tried again.
const RETRY_AFTER: Duration = Duration::from_millis(200);

/// The tables of `sys` that belong to the store.
pub(crate) const SCHEMA: &str = "\
CREATE TABLE IF NOT EXISTS databases (
    group_id INTEGER PRIMARY KEY AUTOINCREMENT,   -- the Raft group; never used again
    name     TEXT NOT NULL UNIQUE,
    voters   TEXT NOT NULL,                       -- node ids in hex, separated by commas: who started the group
    state    TEXT NOT NULL DEFAULT 'new',         -- new: to be started; importing: being filled from a file; ready
    created  INTEGER NOT NULL                     -- seconds since the Unix epoch
) STRICT;
";

/// One row of the list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DatabaseRow {
    /// The name.
    pub name: DbName,
    /// The Raft group.
    pub group_id: GroupId,
    /// The members that start the group.
    pub voters: BTreeSet<NodeId>,
    /// How far its creation got.
    pub state: DatabaseState,
}

/// How far the creation of a database got.
///
/// ```text
///   New ───────────────▶ Ready
///   Importing ─────────▶ Ready      (or the row is removed, and nothing of it is left)
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DatabaseState {
    /// Its group is to be started.
    New,
    /// Its group is to be started, and it is filled from a file: no session may open it.
    Importing,
    /// It has had a leader.
    Ready,
}

impl DatabaseState {
    /// As it stands in the list.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::New => "new",
            Self::Importing => "importing",
            Self::Ready => "ready",
        }
    }

    fn from_str(text: &str) -> Option<Self> {
        [Self::New, Self::Importing, Self::Ready].into_iter().find(|state| state.as_str() == text)
    }
}

/// Node ids as they stand in the list.
pub(crate) fn join_ids(ids: &BTreeSet<NodeId>) -> String {
    ids.iter().map(|id| format!("{:016x}", id.0)).collect::<Vec<_>>().join(",")
}

fn split_ids(text: &str) -> BTreeSet<NodeId> {
    text.split(',').filter_map(|id| u64::from_str_radix(id, 16).ok()).map(NodeId).collect()
}

/// Reads the list from this node's own copy of `sys`.
pub(crate) async fn read(sys: &Arc<Database>) -> Result<Vec<DatabaseRow>, StoreError> {
    let options = SessionOptions { read: ReadLevel::Local, ..SessionOptions::default() };
    let mut session = Session::open(Arc::clone(sys), options)?;
    let exists = "SELECT 1 FROM sqlite_schema WHERE name = 'databases'";
    if session.rows(exists, &[]).await?.rows.is_empty() {
        return Ok(Vec::new());
    }
    let rows = session.rows("SELECT name, group_id, voters, state FROM databases", &[]).await?.rows;
    let mut list = Vec::with_capacity(rows.len());
    for row in rows {
        let [Value::Text(name), Value::Integer(group), Value::Text(voters), Value::Text(state)] = row.as_slice() else {
            tracing::error!(?row, "a row of sys.databases is not of its form");
            continue;
        };
        let parsed = (DbName::new(name.clone()), u64::try_from(*group), DatabaseState::from_str(state));
        let (Ok(name), Ok(group), Some(state)) = parsed else {
            tracing::error!(name, group, state, "a row of sys.databases names no database");
            continue;
        };
        list.push(DatabaseRow { name, group_id: GroupId(group), voters: split_ids(voters), state });
    }
    Ok(list)
}

/// Follows the list until the scope is cancelled.
pub(crate) async fn run(store: Arc<Inner>) {
    let mut changes = store.sys().core().changes();
    let mut leadership = store.sys().leadership();
    loop {
        changes.borrow_and_update();
        leadership.borrow_and_update();
        let done = pass(&store).await;
        if let Err(error) = &done {
            tracing::warn!(%error, "the list of databases could not be followed; it is tried again");
        }
        tokio::select! {
            biased;
            moved = changes.changed() => if moved.is_err() { return },
            moved = leadership.changed() => if moved.is_err() { return },
            () = rt::time::sleep(RETRY_AFTER), if done.is_err() => {}
        }
    }
}

async fn pass(store: &Arc<Inner>) -> Result<(), StoreError> {
    let list = read(store.sys()).await?;
    let wanted: BTreeMap<&DbName, &DatabaseRow> = list.iter().map(|row| (&row.name, row)).collect();
    for database in store.open_databases() {
        let row = wanted.get(database.name());
        if !database.name().is_sys() && row.is_none_or(|row| row.group_id != database.group_id()) {
            store.close_and_remove(&database).await?;
        }
    }
    for row in &list {
        let available = row.state != DatabaseState::Importing;
        match store.database(&row.name) {
            Some(database) => database.set_available(available),
            None => store.open_database(row.name.clone(), row.group_id, available).await?,
        }
    }
    if store.sys().check_leading().is_ok() {
        for row in list.iter().filter(|row| row.state != DatabaseState::Ready && row.voters.contains(&store.node())) {
            start(store, row).await?;
        }
    }
    Ok(())
}

/// Starts a new database's group. Done by the leader of `sys`; a successor that does it again does the same again,
/// because the list says who starts it.
async fn start(store: &Arc<Inner>, row: &DatabaseRow) -> Result<(), StoreError> {
    let Some(database) = store.database(&row.name) else { return Ok(()) };
    if database.group().status().membership.since.is_none() {
        store.invite(row).await;
        let addresses = store.addresses(&row.voters);
        database.group().initialize(addresses).await?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_survive_the_list() {
        let ids = BTreeSet::from([NodeId(1), NodeId(u64::MAX)]);
        assert_eq!(split_ids(&join_ids(&ids)), ids);
        assert_eq!(split_ids(""), BTreeSet::new());
    }
}
