//! What a connection does, and what it refuses.

use crate::kit::{self, commit, connect, fill, insert, integer, leader, reader, text, writer};
use base::Fault;
use rt::time::Instant;
use sqlite::{
    Access, Connection, ConnectionOptions, PageStore, PageStoreOptions, SqlError, StatementId, Step, Value, ValueRef,
};
use std::time::Duration;

#[test]
fn what_was_inserted_is_selected_in_all_types() {
    let (_dir, store) = leader();
    let mut db = writer(&store);
    db.execute("CREATE TABLE t(a, b, c, d, e, f)").unwrap();
    let values = [
        ValueRef::Null,
        ValueRef::Integer(i64::MIN),
        ValueRef::Real(0.5),
        ValueRef::Text("née".as_bytes()),
        ValueRef::Blob(&[0, 255]),
        ValueRef::Blob(&[]),
    ];
    db.query("INSERT INTO t VALUES(?,?,?,?,?,?)", &values).unwrap();
    assert_eq!((db.last_insert_rowid(), db.changes()), (1, 1));
    let row: Vec<Value> = values.into_iter().map(ValueRef::to_owned).collect();
    assert_eq!(db.query("SELECT * FROM t", &[]).unwrap(), [row]);
    let columns = db.prepare("SELECT a AS x, 1 FROM t").unwrap().statement.unwrap();
    let names: Vec<_> = db.columns(columns).unwrap().into_iter().map(|column| column.name).collect();
    assert_eq!(names, ["x", "1"]);
}

#[test]
fn a_text_of_several_statements_is_prepared_one_by_one() {
    let (_dir, store) = leader();
    let mut db = writer(&store);
    let sql = "CREATE TABLE t(a);  INSERT INTO t VALUES(?); -- end";
    let first = db.prepare(sql).unwrap();
    assert_eq!(&sql[..first.tail], "CREATE TABLE t(a);");
    assert_eq!(db.step(first.statement.unwrap()).unwrap(), Step::Done);
    let second = db.prepare(&sql[first.tail..]).unwrap();
    assert_eq!(second.params, 1);
    let third = db.prepare(&sql[first.tail + second.tail..]).unwrap();
    assert_eq!(third.statement, None);
    db.execute("; ;; SELECT 1;").unwrap();
    assert_eq!(db.prepare("").unwrap().statement, None);
}

#[test]
fn a_failed_commit_or_statement_leaves_the_connection_usable() {
    let (_dir, store) = leader();
    let mut db = writer(&store);
    db.execute("CREATE TABLE p(id INTEGER PRIMARY KEY); CREATE TABLE c(p REFERENCES p DEFERRABLE INITIALLY DEFERRED)")
        .unwrap();
    db.execute("BEGIN; INSERT INTO c VALUES(7)").unwrap();
    let error = db.execute("COMMIT").unwrap_err();
    assert_eq!(error.extended(), 787, "{error}");
    db.execute("INSERT INTO p VALUES(7); COMMIT").unwrap();
    let error = db.execute("INSERT INTO p VALUES(7)").unwrap_err();
    assert_eq!((error.primary(), error.extended()), (19, 1555));
    let error = db.prepare("SELECT 1 FORM t").unwrap_err();
    assert_eq!((error.primary(), error.offset()), (1, Some(14)));
    assert_eq!(integer(&mut db, "SELECT count(*) FROM c"), 1);
    commit(&store);
    kit::assert_whole(&store);
}

#[test]
fn writing_takes_leadership_and_a_grant() {
    let (_dir, store) = leader();
    let mut first = fill(&store, 1);
    let mut second = connect(&store);
    commit(&store);
    assert_eq!(second.execute("INSERT INTO t VALUES(2, 'x')"), Err(SqlError::WriterBusy));
    second.grant_write();
    first.execute("BEGIN IMMEDIATE").unwrap();
    assert_eq!(second.execute("INSERT INTO t VALUES(2, 'x')"), Err(SqlError::WriterBusy));
    first.revoke_write();
    assert!(!first.in_transaction());
    second.execute("INSERT INTO t VALUES(2, 'x')").unwrap();
    second.take_commit().unwrap();
    commit(&store);
    store.resign();
    assert_eq!(second.execute("INSERT INTO t VALUES(3, 'x')"), Err(SqlError::NotLeader));
    assert_eq!(second.execute("DELETE FROM t").unwrap_err().extended(), 10250);
    assert_eq!(integer(&mut second, "SELECT count(*) FROM t"), 2, "reading goes on");
}

#[test]
fn a_transaction_that_read_an_old_version_cannot_write() {
    let (_dir, store) = leader();
    let mut first = fill(&store, 1);
    commit(&store);
    let mut second = connect(&store);
    second.execute("BEGIN").unwrap();
    assert_eq!(integer(&mut second, "SELECT count(*) FROM t"), 1);
    insert(&mut first, 2);
    first.revoke_write();
    second.grant_write();
    let error = second.execute("INSERT INTO t VALUES(3, 'x')").unwrap_err();
    assert_eq!((error.clone(), error.extended()), (SqlError::SnapshotStale, 517));
    second.execute("ROLLBACK; INSERT INTO t VALUES(3, 'x')").unwrap();
    assert_eq!(integer(&mut second, "SELECT count(*) FROM t"), 3);
}

#[test]
fn statements_that_do_not_fit_a_replicated_database_are_refused() {
    let (dir, store) = leader();
    let mut db = fill(&store, 1);
    let file = dir.path().join("other.db");
    for sql in [
        format!("ATTACH '{}' AS o", file.display()),
        "ATTACH 'x' || 'y' AS o".to_owned(),
        "PRAGMA journal_mode=WAL".to_owned(),
        "PRAGMA main.journal_mode=OFF".to_owned(),
        "PRAGMA synchronous=FULL".to_owned(),
        "PRAGMA page_size=8192".to_owned(),
        "PRAGMA wal_checkpoint".to_owned(),
        "PRAGMA writable_schema=ON".to_owned(),
        "SELECT load_extension('x')".to_owned(),
    ] {
        let error = db.execute(&sql).unwrap_err();
        assert_eq!((error.code().0, error.extended()), ("BL-SQL-002", 23), "{sql}: {error}");
        assert!(error.to_string().starts_with("not authorized"), "{error}");
    }
    let error = db.execute(&format!("VACUUM INTO '{}'", file.display())).unwrap_err();
    assert_eq!(error.extended(), 23, "{error}");
    assert!(!file.exists());
    db.execute("ATTACH ':memory:' AS m; CREATE TABLE m.t(a); INSERT INTO m.t SELECT id FROM t; DETACH m").unwrap();
    assert_eq!(text(&mut db, "PRAGMA journal_mode"), "memory");
    assert_eq!(integer(&mut db, "PRAGMA page_size"), 4096);
}

#[test]
fn a_read_only_connection_reads() {
    let (_dir, store) = leader();
    fill(&store, 3);
    commit(&store);
    let mut db = reader(&store);
    db.grant_write();
    assert_eq!(db.execute("DELETE FROM t").unwrap_err().primary(), 8);
    assert_eq!(integer(&mut db, "SELECT count(*) FROM t"), 3);
    db.execute("CREATE TEMP TABLE x AS SELECT * FROM t").unwrap();
}

#[test]
fn an_endless_statement_ends_by_deadline_budget_or_interrupt() {
    const ENDLESS: &str = "WITH RECURSIVE n(i) AS (VALUES(1) UNION ALL SELECT i+1 FROM n) SELECT max(i) FROM n";
    let (_dir, store) = leader();
    let mut db = connect(&store);
    db.set_deadline(Some(Instant::now() + Duration::from_millis(20)));
    assert_eq!(db.execute(ENDLESS), Err(SqlError::DeadlineExceeded));
    assert_eq!(db.execute("SELECT 1"), Err(SqlError::DeadlineExceeded));
    db.set_deadline(None);
    db.set_step_budget(Some(5_500));
    assert_eq!(db.execute(ENDLESS), Err(SqlError::BudgetExceeded { steps: 6_000 }));
    db.execute("SELECT 1").unwrap();
    db.set_step_budget(None);
    let rows = db.prepare("WITH RECURSIVE n(i) AS (VALUES(1) UNION ALL SELECT i+1 FROM n) SELECT i FROM n").unwrap();
    let rows = rows.statement.unwrap();
    let handle = db.interrupt_handle();
    handle.interrupt();
    assert_eq!(db.step(rows), Ok(Step::Row), "an interrupt hits only what is running");
    handle.interrupt();
    assert_eq!(db.step(rows), Err(SqlError::Interrupted));
    assert_eq!(db.step(rows), Ok(Step::Row), "and the statement can run again");
    drop(db);
    handle.interrupt();
}

#[test]
fn released_statements_are_used_again_without_their_values() {
    let (_dir, store) = leader();
    let options = ConnectionOptions { statements_cached_max: 2, ..ConnectionOptions::default() };
    let mut db = Connection::open(&store, options).unwrap();
    let id = db.prepare_cached("SELECT ?").unwrap().statement.unwrap();
    db.bind_all(id, &[ValueRef::Integer(4)]).unwrap();
    assert_eq!(db.step(id), Ok(Step::Row));
    db.release(id);
    assert_eq!(db.step(id), Err(SqlError::UnknownStatement(id.0)));
    let again = db.prepare_cached("SELECT ?").unwrap();
    assert_eq!(again.params, 1);
    let again = again.statement.unwrap();
    assert_eq!(db.step(again), Ok(Step::Row));
    assert_eq!(db.value(again, 0), Ok(ValueRef::Null));
    assert!(db.vm_steps(again).unwrap() > 6, "it is the same one: it remembers its steps");
    let wrong = db.bind_all(again, &[ValueRef::Null, ValueRef::Null]);
    assert_eq!(wrong, Err(SqlError::ParameterCount { wanted: 1, given: 2 }));
    assert!(matches!(db.bind(StatementId(999), 1, ValueRef::Null), Err(SqlError::UnknownStatement(999))));
    for n in 0..10 {
        db.query(&format!("SELECT {n}"), &[]).unwrap();
    }
}

#[test]
fn limits_on_size_fail_the_transaction_and_nothing_else() {
    let dir = tempfile::tempdir().unwrap();
    let options = PageStoreOptions {
        transaction_bytes_max: 64 * 4096,
        database_bytes_max: 256 * 4096,
        ..PageStoreOptions::default()
    };
    let (store, _) = PageStore::open(dir.path(), options).unwrap();
    store.lead(kit::TERM);
    let mut db = writer(&store);
    db.execute("CREATE TABLE b(v BLOB)").unwrap();
    let error = db.execute("INSERT INTO b VALUES(zeroblob(400000))").unwrap_err();
    assert_eq!((error.clone(), error.primary()), (SqlError::TransactionTooLarge { bytes_max: 64 * 4096 }, 13));
    let mut inserted = 0;
    let error = loop {
        match db.execute("INSERT INTO b VALUES(zeroblob(100000))") {
            Ok(()) => inserted += 1,
            Err(error) => break error,
        }
    };
    assert_eq!(error, SqlError::DatabaseFull { bytes_max: 256 * 4096 });
    assert_eq!(integer(&mut db, "SELECT count(*) FROM b"), inserted);
    assert!(inserted >= 9, "{inserted}");
    db.execute("DELETE FROM b WHERE rowid = 1; INSERT INTO b VALUES(zeroblob(90000))").unwrap();
    commit(&store);
    kit::assert_whole(&store);
}

#[test]
fn a_vacuum_shrinks_the_database_and_keeps_its_contents() {
    let (_dir, store) = leader();
    let mut db = fill(&store, 2_000);
    commit(&store);
    let before = store.pages();
    db.execute("DELETE FROM t WHERE id % 10; VACUUM").unwrap();
    commit(&store);
    assert!(store.pages() < before / 2, "{} of {before}", store.pages());
    assert_eq!(integer(&mut db, "SELECT count(*) FROM t"), 200);
    db.execute("PRAGMA auto_vacuum=FULL; VACUUM; DELETE FROM t WHERE id > 100").unwrap();
    commit(&store);
    assert_eq!(integer(&mut db, "PRAGMA freelist_count"), 0);
    kit::assert_whole(&store);
}

#[test]
fn a_transaction_larger_than_the_cache_spills_and_can_be_rolled_back() {
    let (_dir, store) = leader();
    fill(&store, 500);
    commit(&store);
    let options = ConnectionOptions { cache_kib: 40, access: Access::ReadWrite, ..ConnectionOptions::default() };
    let mut db = Connection::open(&store, options).unwrap();
    let before = store.pin_committed().database_hash().unwrap();
    db.grant_write();
    db.execute("BEGIN; UPDATE t SET v = v || 'x'; SAVEPOINT s; DELETE FROM t WHERE id > 10").unwrap();
    assert_eq!(store.head(), store.committed(), "what spills stays private");
    db.execute("ROLLBACK TO s").unwrap();
    assert_eq!(integer(&mut db, "SELECT count(*) FROM t WHERE v LIKE '%x'"), 500);
    db.execute("ROLLBACK").unwrap();
    assert_eq!(integer(&mut db, "SELECT count(*) FROM t WHERE v LIKE '%x'"), 0);
    assert_eq!(commit(&store), None);
    db.execute("UPDATE t SET v = 'y'").unwrap();
    commit(&store).unwrap();
    assert_ne!(store.pin_committed().database_hash().unwrap(), before);
    kit::assert_whole(&store);
}
