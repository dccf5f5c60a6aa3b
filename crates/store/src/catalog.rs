//! The list of databases, kept in `sys`, and the task that makes this node hold what the list says.
//!
//! Level-triggered: each pass compares the whole list with what is open, so that a missed change costs nothing.

use crate::database::{Database, Phase};
use crate::inner::Inner;
use crate::rows::Command;
use crate::session::{Session, SessionOptions};
use crate::{ReadLevel, StoreError, Value};
use base::{DbName, GroupId, NodeId};
use raft::Part;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

/// How soon a pass that failed is tried again.
const RETRY_AFTER: Duration = Duration::from_millis(200);
/// How long the list must have rested before databases whose maker is gone are taken for ready.
const FINISH_AFTER: Duration = Duration::from_secs(15);
/// How long a look for what dropped databases have left waits for the newest list.
const SWEEP_READ_MAX: Duration = Duration::from_secs(1);

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

/// A group as it stands in the list.
pub(crate) fn group_value(group: GroupId) -> Value {
    Value::Integer(group.0.cast_signed())
}

fn split_ids(text: &str) -> BTreeSet<NodeId> {
    text.split(',').filter_map(|id| u64::from_str_radix(id, 16).ok()).map(NodeId).collect()
}

/// Who holds this database alone. Written by whoever gives nodes their roles, see `cluster`: a node is put here before it follows this
/// database, or after it has left all others, and taken out before it comes into any.
pub(crate) const SPARES: &str = "CREATE TABLE IF NOT EXISTS spares (
    node INTEGER PRIMARY KEY                        -- its id
) STRICT";

/// What the list says.
#[derive(Debug, Default)]
pub(crate) struct List {
    /// Whether this node is a spare, which holds none of them.
    pub(crate) is_spare: bool,
    /// The databases.
    pub(crate) rows: Vec<DatabaseRow>,
    /// Groups of rows that this version does not understand: nothing is done with them.
    pub(crate) unread: BTreeSet<GroupId>,
}

impl List {
    fn wants(&self, group: GroupId) -> bool {
        self.unread.contains(&group) || self.rows.iter().any(|row| row.group_id == group)
    }
}

/// Reads the list from a node's own copy of `sys`; none if there is no list yet.
pub(crate) async fn read(sys: &Arc<Database>, node: NodeId) -> Result<Option<List>, StoreError> {
    let options = SessionOptions { read: ReadLevel::Local, ..SessionOptions::default() };
    let mut session = Session::open_kept(Arc::clone(sys), options)?;
    let exists = "SELECT 1 FROM sqlite_schema WHERE name IN ('databases', 'spares')";
    if session.rows(exists, &[]).await?.rows.len() < 2 {
        return Ok(None);
    }
    let rows = session.rows("SELECT name, group_id, voters, state FROM databases", &[]).await?.rows;
    let spare = "SELECT 1 FROM spares WHERE node = ?1";
    let spare = session.rows(spare, &[Value::Integer(node.0.cast_signed())]).await?.rows;
    session.give_back();
    let list = understand(rows)?;
    Ok(Some(List { is_spare: !spare.is_empty(), ..list }))
}

fn understand(rows: Vec<Vec<Value>>) -> Result<List, StoreError> {
    let mut list = List::default();
    for row in rows {
        let [name, group, voters, state] = row.as_slice() else {
            return Err(StoreError::Internal(format!("a row of sys.databases is not of its form: {row:?}")));
        };
        let group_id = group.integer().and_then(|group| u64::try_from(group).ok()).map(GroupId);
        let Some(group_id) = group_id else {
            return Err(StoreError::Internal(format!("a row of sys.databases names no group: {row:?}")));
        };
        let name = name.text().and_then(|name| DbName::new(name).ok());
        let state = state.text().and_then(DatabaseState::from_str);
        if let (Some(name), Some(state), Some(voters)) = (name, state, voters.text()) {
            list.rows.push(DatabaseRow { name, group_id, voters: split_ids(voters), state });
        } else {
            tracing::error!(?row, "a row of sys.databases is not understood; what it names is left alone");
            list.unread.insert(group_id);
        }
    }
    Ok(list)
}

/// Follows the list until the scope is cancelled.
pub(crate) async fn run(store: Arc<Inner>) {
    let mut changes = store.sys().core().changes();
    let mut leadership = store.sys().leadership();
    // What an earlier process has left half removed is looked for once; later, what a removal here may have left.
    let mut sweep = Sweep::Due;
    loop {
        changes.borrow_and_update();
        leadership.borrow_and_update();
        let done = pass(&store, &mut sweep).await;
        if let Err(error) = &done {
            tracing::warn!(%error, "the list of databases could not be followed; it is tried again");
        }
        tokio::select! {
            biased;
            moved = changes.changed() => if moved.is_err() { return },
            moved = leadership.changed() => if moved.is_err() { return },
            () = rt::time::sleep(RETRY_AFTER), if done.is_err() => {}
            () = rt::time::sleep(FINISH_AFTER) => if let Err(error) = finish_created(&store).await {
                tracing::debug!(%error, "what was created half is finished later");
            },
        }
    }
}

/// Whether something may be left of databases that are not on the list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Sweep {
    Due,
    Done,
}

/// Brings this node in line with the list. One database that cannot be does not stop the others; the last error is told.
async fn pass(store: &Arc<Inner>, sweep: &mut Sweep) -> Result<(), StoreError> {
    let Some(list) = read(store.sys(), store.node()).await? else { return Ok(()) };
    let mut failed = None;
    for database in store.open_databases() {
        if database.name().is_sys() {
            continue;
        }
        if list.wants(database.group_id()) && database.phase() == Phase::Closing {
            // It was given up and could not be removed then.
            note(&mut failed, database.name(), store.give_up(&database).await);
        } else if !list.wants(database.group_id()) {
            *sweep = Sweep::Due;
            note(&mut failed, database.name(), store.close_and_remove(&database).await);
        }
    }
    for witnessed in store.all_witnessed().iter().filter(|witnessed| !list.wants(witnessed.group_id())) {
        *sweep = Sweep::Due;
        note(&mut failed, witnessed.name(), store.forget_witnessed(witnessed).await);
    }
    let holds = !(list.is_spare && store.part() == Part::Data);
    store.set_elsewhere((!holds).then(|| list.rows.iter().map(|row| (row.name.clone(), row.group_id)).collect()));
    if !holds {
        *sweep = Sweep::Due;
        return let_go(store).await;
    }
    for row in &list.rows {
        let followed = match store.part() {
            Part::Data => follow(store, row).await,
            Part::Witness => store.witness(row).await,
        };
        note(&mut failed, &row.name, followed);
    }
    if *sweep == Sweep::Due && failed.is_none() && store.sys().group().status().membership.since.is_some() {
        sweep_once(store, sweep).await;
    }
    failed.map_or(Ok(()), Err)
}

/// Removes the copies of a node that has become a spare. After a restart its own copy of `sys` may be from before it was something else.
async fn let_go(store: &Arc<Inner>) -> Result<(), StoreError> {
    let copies: Vec<_> = store.open_databases().into_iter().filter(|database| !database.name().is_sys()).collect();
    if copies.is_empty() {
        return Ok(());
    }
    store.sys().fresh(ReadLevel::Linearizable, false, SWEEP_READ_MAX).await?;
    if !read(store.sys(), store.node()).await?.is_some_and(|list| list.is_spare) {
        return Ok(());
    }
    for database in copies {
        store.give_up(&database).await?;
        rt::sometimes!("store: a spare has removed a copy");
        tracing::info!(database = %database.name(), "this node is a spare now: its copy is removed");
    }
    Ok(())
}

fn note(failed: &mut Option<StoreError>, name: &DbName, done: Result<(), StoreError>) {
    if let Err(error) = done {
        tracing::warn!(database = %name, %error, "a database is not as the list of databases has it");
        *failed = Some(error);
    }
}

/// Opens one database of the list, if it is not, and starts its group if that is this node's to do.
async fn follow(store: &Arc<Inner>, row: &DatabaseRow) -> Result<(), StoreError> {
    let phase = if row.state == DatabaseState::Importing { Phase::Importing } else { Phase::Open };
    match store.database(&row.name) {
        Some(database) if database.group_id() == row.group_id => database.set_phase(phase),
        Some(_) => return Err(StoreError::DatabaseExists { name: row.name.clone() }),
        None => store.open_database(row.name.clone(), row.group_id, phase).await?,
    }
    if row.state == DatabaseState::Ready || store.sys().check_leading().is_err() {
        return Ok(());
    }
    if row.voters.contains(&store.node()) {
        start(store, row).await?;
    }
    Ok(())
}

/// Takes the databases that have a leader for ready although nobody said so: who made them has died before it could. Done by the
/// leader of `sys`, and not at once, because it is done by who made them, as a rule.
async fn finish_created(store: &Arc<Inner>) -> Result<(), StoreError> {
    let Some(list) = read(store.sys(), store.node()).await? else { return Ok(()) };
    for row in list.rows.iter().filter(|row| row.state == DatabaseState::New) {
        let is_led = store.database(&row.name).is_some_and(|database| database.group().status().leader.is_some());
        if is_led && store.sys().check_leading().is_ok() {
            let sql = "UPDATE databases SET state = 'ready' WHERE group_id = ?1 AND state = 'new'";
            let mut session = Session::open(Arc::clone(store.sys()), SessionOptions::default())?;
            session.transact(&[Command::new(sql, [group_value(row.group_id)])]).await?;
            tracing::info!(database = %row.name, "a database whose maker is gone is ready");
        }
    }
    Ok(())
}

/// Looks for what is left of dropped databases, if this node can learn which those are.
async fn sweep_once(store: &Arc<Inner>, sweep: &mut Sweep) {
    let swept = async {
        store.sys().fresh(ReadLevel::Linearizable, false, SWEEP_READ_MAX).await?;
        let Some(list) = read(store.sys(), store.node()).await? else { return Ok(()) };
        let wanted = list.unread.iter().copied().chain(list.rows.iter().map(|row| row.group_id)).collect();
        store.sweep(&wanted).await
    };
    match swept.await {
        Ok(()) => *sweep = Sweep::Done,
        Err(error) => tracing::debug!(%error, "what dropped databases have left is looked for later"),
    }
}

/// Starts a new database's group. Done by the leader of `sys`; a successor that does it again does the same again,
/// because the list says who starts it.
async fn start(store: &Arc<Inner>, row: &DatabaseRow) -> Result<(), StoreError> {
    let Some(database) = store.database(&row.name) else { return Ok(()) };
    if database.group().status().membership.since.is_none() {
        store.invite(row).await;
        let addresses = store.addresses(&row.voters);
        let addresses = addresses.ok_or(StoreError::NotOpen { state: "waiting for the addresses of its members" })?;
        database.group().initialize(addresses).await?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_of_a_later_version_is_kept_and_one_without_a_group_stops_the_reading() {
        let row = |name: &str, group: Value, state: &str| vec![name.into(), group, "1".into(), state.into()];
        let rows =
            vec![row("shop", 2.into(), "ready"), row("next", 3.into(), "frozen"), row("../x", 4.into(), "ready")];
        let list = understand(rows).unwrap();
        assert_eq!(list.rows.len(), 1);
        assert!([2, 3, 4].into_iter().all(|group| list.wants(GroupId(group))) && !list.wants(GroupId(5)));
        assert!(understand(vec![row("shop", Value::Null, "ready")]).is_err());
    }

    #[test]
    fn ids_survive_the_list() {
        let ids = BTreeSet::from([NodeId(1), NodeId(u64::MAX)]);
        assert_eq!(split_ids(&join_ids(&ids)), ids);
        assert_eq!(split_ids(""), BTreeSet::new());
    }
}
