//! A member of a cluster without the cluster: a page store, its connections, and a log that commits at once.

use base::{Term, Version};
use bytes::Bytes;
use sqlite::{Access, Applied, Connection, ConnectionOptions, PageStore, PageStoreOptions, Record, Value, ValueRef};
use std::path::Path;

pub(crate) const TERM: Term = Term(1);

pub(crate) fn open(dir: &Path) -> PageStore {
    PageStore::open(dir, PageStoreOptions::default()).unwrap().0
}

/// A store that leads, in a directory of its own.
pub(crate) fn leader() -> (tempfile::TempDir, PageStore) {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    store.lead(TERM);
    (dir, store)
}

pub(crate) fn connect(store: &PageStore) -> Connection {
    Connection::open(store, ConnectionOptions::default()).unwrap()
}

pub(crate) fn reader(store: &PageStore) -> Connection {
    let options = ConnectionOptions { access: Access::ReadOnly, ..ConnectionOptions::default() };
    Connection::open(store, options).unwrap()
}

pub(crate) fn writer(store: &PageStore) -> Connection {
    let mut connection = connect(store);
    connection.grant_write();
    connection
}

/// Replicates what is pending as Raft would, and gives the bytes of the record.
pub(crate) fn commit(store: &PageStore) -> Option<Bytes> {
    let record = store.next_record()?;
    let bytes = record.encode();
    let (applied, _) = store.apply_encoded(&bytes, record.term).unwrap();
    assert_eq!(applied, Applied::Confirmed(record.version));
    Some(bytes)
}

/// Applies a record as a follower does.
pub(crate) fn follow(store: &PageStore, bytes: &Bytes) -> Version {
    let record = Record::decode(bytes).unwrap();
    assert_eq!(store.apply(&record, record.term), Applied::Done(record.version));
    record.version
}

pub(crate) fn integer(connection: &mut Connection, sql: &str) -> i64 {
    match connection.query(sql, &[]).unwrap().as_slice() {
        [row] => match row.as_slice() {
            [Value::Integer(value)] => *value,
            other => panic!("{sql}: {other:?}"),
        },
        rows => panic!("{sql}: {} rows", rows.len()),
    }
}

pub(crate) fn text(connection: &mut Connection, sql: &str) -> String {
    match connection.query(sql, &[]).unwrap().as_slice() {
        [row] => match row.as_slice() {
            [Value::Text(value)] => String::from_utf8(value.clone()).unwrap(),
            other => panic!("{sql}: {other:?}"),
        },
        rows => panic!("{sql}: {} rows", rows.len()),
    }
}

pub(crate) fn insert(connection: &mut Connection, id: i64) {
    let text = format!("{id:0>100}");
    connection.query("INSERT INTO t VALUES(?, ?)", &[ValueRef::Integer(id), ValueRef::Text(text.as_bytes())]).unwrap();
}

/// A table of `rows` rows of about 100 bytes.
pub(crate) fn fill(store: &PageStore, rows: i64) -> Connection {
    let mut connection = writer(store);
    connection.execute("CREATE TABLE t(id INTEGER PRIMARY KEY, v TEXT); BEGIN").unwrap();
    (1..=rows).for_each(|id| insert(&mut connection, id));
    connection.execute("COMMIT").unwrap();
    connection
}

pub(crate) fn checkpoint(store: &PageStore) -> sqlite::CheckpointMeta {
    store.checkpoint(Bytes::new(), &store.pin_committed()).unwrap()
}

pub(crate) fn assert_whole(store: &PageStore) {
    let options = ConnectionOptions { access: Access::Internal, ..ConnectionOptions::default() };
    let mut connection = Connection::open(store, options).unwrap();
    assert_eq!(text(&mut connection, "PRAGMA integrity_check"), "ok");
}
