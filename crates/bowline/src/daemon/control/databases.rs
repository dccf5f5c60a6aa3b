//! What the control API asks of the databases.

use super::{Node, problem, witness};
use crate::daemon::node::incoming_dir;
use api::control::{
    ByteStream, Created, DatabaseCheck, DatabaseContents, DatabaseInfo, Dropped, Export, Problem, TableContents,
    Trouble, TroubleKind,
};
use base::{DbName, NodeId, PageNo};
use bytes::{Bytes, BytesMut};
use futures::StreamExt;
use raft::{Group, GroupState, MembershipView};
use sqlite::{PAGE_SIZE, View};
use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;
use store::{Command, Database, ReadLevel, Store, StoreError};

/// How many pages of an export travel in one piece.
const EXPORT_PAGES: u32 = 64;

pub(super) async fn list(node: &Node) -> Result<Vec<DatabaseInfo>, Problem> {
    let store = node.store()?;
    let mut databases = store.listed().await.map_err(|error| problem(&error))?;
    databases.sort_by_key(|database| (!database.name().is_sys(), database.name().clone()));
    let names = node.names().await;
    let witnesses = node.witnesses();
    let here = databases.iter().map(|database| info(database, &names, &witnesses));
    let mut all: Vec<DatabaseInfo> = here.chain(witness::listed(node, &store, &names, &witnesses).await).collect();
    all.sort_by_key(|database| (!database.name.is_sys(), database.name.clone()));
    Ok(all)
}

/// How many members hold a copy.
pub(super) fn copies(name: &DbName, membership: &MembershipView, witnesses: &BTreeSet<NodeId>) -> u64 {
    let members = membership.addresses.keys();
    members.filter(|member| name.is_sys() || !witnesses.contains(member)).count() as u64
}

fn info(database: &Database, names: &super::Names, witnesses: &BTreeSet<NodeId>) -> DatabaseInfo {
    let leader = database.leadership().borrow().leader;
    let membership = Arc::clone(&database.group().watch().borrow().membership);
    let view = database.pages().pin_committed();
    DatabaseInfo {
        name: database.name().clone(),
        bytes: u64::from(view.pages()) * PAGE_BYTES,
        version: view.version().0,
        is_here: true,
        leader: leader.map(|id| names.get(&id).cloned().unwrap_or_else(|| id.to_string())),
        copies: copies(database.name(), &membership, witnesses),
    }
}

/// What is wrong with the databases on this node.
pub(super) fn troubles(store: &Store) -> Vec<Trouble> {
    let sys = store.sys().group().status().membership;
    let (here, witnessed) = (store.databases(), store.witnessed());
    let groups = here.iter().map(|database| (database.name(), database.group()));
    let groups = groups.chain(witnessed.iter().map(|witnessed| (witnessed.name(), witnessed.group())));
    groups.filter_map(|(name, group)| trouble(name, group, &sys)).collect()
}

/// What is wrong with one of them, if anything is. Its voters should be those of `sys`: who may be lost is judged by them.
fn trouble(name: &DbName, group: &Group, sys: &MembershipView) -> Option<Trouble> {
    let status = group.status();
    // One that is being made has none yet.
    let differs = status.membership.since.is_some() && status.membership.voters != sys.voters;
    let (kind, why) = match &status.state {
        GroupState::Suspended(why) => (TroubleKind::Suspended, why.to_string()),
        GroupState::Failed(why) => (TroubleKind::Failed, why.to_string()),
        _ if status.is_quarantined => (TroubleKind::WithoutVote, "its Raft log was damaged".to_owned()),
        _ if status.membership.is_joint() || differs => {
            (TroubleKind::VotersChange, "a machine comes, goes or is replaced".to_owned())
        }
        _ => return None,
    };
    Some(Trouble { database: name.clone(), kind, why })
}

const PAGE_BYTES: u64 = PAGE_SIZE as u64;

pub(super) async fn one(node: &Node, name: &DbName) -> Result<DatabaseInfo, Problem> {
    let (store, names, witnesses) = (node.store()?, node.names().await, node.witnesses());
    match store.opened(name).await {
        Ok(database) => Ok(info(&database, &names, &witnesses)),
        Err(error) => {
            let listed = witness::listed(node, &store, &names, &witnesses).await;
            listed.into_iter().find(|listed| listed.name == *name).ok_or_else(|| problem(&error))
        }
    }
}

/// A database whose copy is here.
async fn open(node: &Node, name: &DbName) -> Result<Arc<Database>, Problem> {
    match node.store()?.opened(name).await {
        Err(error @ StoreError::NoCopy { .. }) => Err(witness::elsewhere(node, &error).await),
        opened => opened.map_err(|error| problem(&error)),
    }
}

pub(super) async fn create(node: &Node, name: &DbName) -> Result<Created, Problem> {
    let created = match node.store()?.create(name).await {
        Ok(()) => true,
        Err(StoreError::DatabaseExists { .. }) => false,
        Err(error) => return Err(problem(&error)),
    };
    Ok(Created { database: one(node, name).await?, created })
}

pub(super) async fn contents(node: &Node, name: &DbName) -> Result<DatabaseContents, Problem> {
    let store = node.store()?;
    let bytes = match store.opened(name).await {
        Ok(database) => u64::from(database.pages().pin_committed().pages()) * PAGE_BYTES,
        Err(StoreError::NoCopy { .. }) => witness::size(&store, name).await.map_err(|e| problem(&e))?,
        Err(error) => return Err(problem(&error)),
    };
    let query = async |sql: String| store.query(name, ReadLevel::Linearizable, Command::new(sql, [])).await;
    let tables =
        "SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite\\_%' ESCAPE '\\' ORDER BY name";
    let names = match query(tables.to_owned()).await {
        Ok(names) => names.rows,
        // Nobody could read it yet. If who fills it is gone, dropping it is the way out.
        Err(StoreError::Importing { .. }) => Vec::new(),
        Err(error) => return Err(problem(&error)),
    };
    let mut tables = Vec::new();
    for name in names.iter().filter_map(|row| row.first()?.text()) {
        let sql = format!("SELECT count(*) FROM \"{}\"", name.replace('"', "\"\""));
        let count = query(sql).await.map_err(|e| problem(&e))?;
        let rows = count.rows.first().and_then(|row| row.first()?.integer()).unwrap_or_default();
        tables.push(TableContents { name: name.to_owned(), rows: u64::try_from(rows).unwrap_or_default() });
    }
    Ok(DatabaseContents { name: name.clone(), bytes, rows: tables.iter().map(|t| t.rows).sum(), tables })
}

/// Two looks, each at the newest state of its moment: every page as the disk gives it, then the whole through SQLite.
pub(super) async fn check(node: &Node, name: &DbName) -> Result<DatabaseCheck, Problem> {
    let store = node.store()?;
    let view = open(node, name).await?.pages().pin_committed();
    let (version, bytes) = (view.version().0, u64::from(view.pages()) * PAGE_BYTES);
    let hash = rt::blocking::run(move || view.database_hash()).await;
    let hash = hash.map_err(|end| problem(&StoreError::Internal(end.to_string())))?;
    let check = |hash: String, problems| DatabaseCheck { name: name.clone(), version, bytes, hash, problems };
    let hash = match hash {
        Ok(hash) => hash.to_string(),
        // That is a finding, not a failure of the check; SQLite could not read the page either.
        Err(error @ sqlite::ReadError::Corrupt { .. }) => return Ok(check(String::new(), vec![error.to_string()])),
        Err(error) => return Err(problem(&StoreError::Sql(sqlite::SqlError::from(error)))),
    };
    let verdict = store.query(name, ReadLevel::Local, Command::new("PRAGMA integrity_check", [])).await;
    let verdict = verdict.map_err(|e| problem(&e))?;
    let lines = verdict.rows.iter().filter_map(|row| row.first()?.text());
    Ok(check(hash, lines.filter(|line| *line != "ok").map(str::to_owned).collect()))
}

pub(super) async fn drop_database(node: &Node, name: &DbName) -> Result<Dropped, Problem> {
    let contents = contents(node, name).await?;
    node.store()?.drop_database(name).await.map_err(|e| problem(&e))?;
    Ok(Dropped { contents })
}

pub(super) async fn export(node: &Node, name: &DbName) -> Result<Export, Problem> {
    let options = store::SessionOptions::default();
    let database = open(node, name).await?;
    // What was acknowledged before the export began is in it, whatever member it runs on.
    database.fresh(ReadLevel::Linearizable, false, options.wait_max).await.map_err(|e| problem(&e))?;
    let view = Arc::new(database.pages().pin_committed());
    let bytes = u64::from(view.pages()) * PAGE_BYTES;
    let body = futures::stream::unfold((view, 1), |(view, first)| async move {
        let (view, piece) = piece(view, first).await?;
        Some((piece, (view, first + EXPORT_PAGES)))
    });
    Ok(Export { bytes, body: body.boxed() })
}

/// The pages from `first` on, as many as travel together; none after the last.
async fn piece(view: Arc<View>, first: u32) -> Option<(Arc<View>, Result<Bytes, Problem>)> {
    if first > view.pages() {
        return None;
    }
    let reader = Arc::clone(&view);
    let read = rt::blocking::run(move || {
        let last = (first + EXPORT_PAGES - 1).min(reader.pages());
        let mut bytes = BytesMut::with_capacity(PAGE_SIZE * EXPORT_PAGES as usize);
        let mut page = [0; PAGE_SIZE];
        for number in first..=last {
            reader.read(PageNo(number), &mut page)?;
            bytes.extend_from_slice(&page);
        }
        Ok::<_, sqlite::ReadError>(bytes.freeze())
    });
    let piece = match read.await {
        Ok(Ok(bytes)) => Ok(bytes),
        Ok(Err(error)) => Err(problem(&StoreError::Sql(sqlite::SqlError::from(error)))),
        Err(end) => Err(problem(&StoreError::Internal(end.to_string()))),
    };
    Some((view, piece))
}

pub(super) async fn import(node: &Node, name: &DbName, mut file: ByteStream) -> Result<DatabaseInfo, Problem> {
    let store = node.store()?;
    if store.database(name).is_some() {
        return Err(problem(&StoreError::DatabaseExists { name: name.clone() }));
    }
    if !store.holds_copies() {
        return Err(witness::elsewhere(node, &store.no_copy(name)).await);
    }
    let path = incoming_dir(node.config()).join(format!("{:016x}", rt::entropy::u64()));
    let imported = async {
        let mut offset = 0;
        write(&path, offset, Bytes::new()).await?;
        while let Some(piece) = file.next().await {
            let piece = piece?;
            let length = piece.len() as u64;
            write(&path, offset, piece).await?;
            offset += length;
        }
        store.import(name, &path).await.map_err(|e| problem(&e))
    };
    let imported = imported.await;
    let gone = path.clone();
    let removed = rt::blocking::run(move || rt::fs::remove_file(&gone)).await;
    if !matches!(removed, Ok(Ok(()))) {
        tracing::warn!(?removed, path = %path.display(), "the copy of an imported file could not be removed");
    }
    imported?;
    one(node, name).await
}

async fn write(path: &Path, offset: u64, bytes: Bytes) -> Result<(), Problem> {
    let file = path.to_owned();
    let written =
        rt::blocking::run(move || rt::fs::File::create(&file).and_then(|f| f.write_all_at(&bytes, offset))).await;
    match written {
        Ok(Ok(())) => Ok(()),
        Ok(Err(source)) => Err(problem(&StoreError::Io { what: format!("writing {}", path.display()), source })),
        Err(end) => Err(problem(&StoreError::Internal(end.to_string()))),
    }
}
