//! What the page store costs: selects by key and single-row commits through the VFS, beside SQLite's own in-memory database.
//!
//! `cargo run --release -p sqlite --example cost`

#![expect(clippy::unwrap_used, clippy::print_stdout, reason = "a measurement for the terminal")]

use base::Term;
use bytes::Bytes;
use rt::time::Instant;
use sqlite::{
    Access, Connection, ConnectionOptions, PAGE_SIZE, PageStore, PageStoreOptions, StatementId, Step, ValueRef,
    VerifyReads,
};
use std::path::Path;

const ROWS: i64 = 100_000;
const STRETCH: u32 = 512;
const TABLE: &str = "(id INTEGER PRIMARY KEY, v TEXT)";

/// Prints nanoseconds per round: the best of many short stretches, so that a busy machine disturbs little.
fn measure(what: &str, rounds: u32, mut round: impl FnMut(i64)) -> f64 {
    let mut best = f64::MAX;
    for stretch in 0..rounds / STRETCH {
        let begin = Instant::now();
        (0..STRETCH).for_each(|n| round(i64::from(stretch * STRETCH + n)));
        best = best.min(begin.elapsed().as_secs_f64() * 1e9 / f64::from(STRETCH));
    }
    println!("{what:<58} {best:>9.0} ns");
    best
}

fn select(db: &mut Connection, id: StatementId, key: i64) {
    db.bind(id, 1, ValueRef::Integer(key * 7919 % ROWS)).unwrap();
    assert_eq!(db.step(id).unwrap(), Step::Row);
    assert!(matches!(db.value(id, 0).unwrap(), ValueRef::Text(_)));
    db.reset(id).unwrap();
}

fn prepared(db: &mut Connection, sql: &str) -> StatementId {
    db.prepare(sql).unwrap().statement.unwrap()
}

fn commit(store: &PageStore) -> usize {
    let Some(record) = store.next_record() else { return 0 };
    let bytes = record.encode();
    store.apply_encoded(&bytes, record.term).unwrap();
    bytes.len()
}

fn open(dir: &Path, verify_reads: VerifyReads, cache_bytes_max: u64) -> PageStore {
    let options = PageStoreOptions { verify_reads, cache_bytes_max, ..PageStoreOptions::default() };
    let (store, _) = PageStore::open(dir, options).unwrap();
    store.lead(Term(1));
    store
}

fn connect(store: &PageStore, cache_kib: u32) -> Connection {
    let options = ConnectionOptions { access: Access::Internal, cache_kib, ..ConnectionOptions::default() };
    let mut db = Connection::open(store, options).unwrap();
    db.grant_write();
    db
}

fn main() {
    let dir = std::env::temp_dir().join(format!("bowline-cost-{:x}", rt::entropy::u64()));
    let store = open(&dir, VerifyReads::On, 64 << 20);
    let mut db = connect(&store, 64 << 10);
    let text = "x".repeat(100);
    for schema in ["main", "plain"] {
        if schema == "plain" {
            db.execute("ATTACH ':memory:' AS plain").unwrap();
        }
        db.execute(&format!("BEGIN; CREATE TABLE {schema}.t{TABLE}")).unwrap();
        let insert = prepared(&mut db, &format!("INSERT INTO {schema}.t VALUES(?, ?)"));
        for id in 0..ROWS {
            db.bind_all(insert, &[ValueRef::Integer(id), ValueRef::Text(text.as_bytes())]).unwrap();
            db.step(insert).unwrap();
        }
        db.finalize(insert);
        db.execute("COMMIT").unwrap();
    }
    commit(&store);
    println!("{ROWS} rows of 100 bytes, {} pages", store.pages());

    let plain = prepared(&mut db, "SELECT v FROM plain.t WHERE id = ?");
    let ours = prepared(&mut db, "SELECT v FROM main.t WHERE id = ?");
    let base = measure("select by key, plain SQLite in memory", 200_000, |n| select(&mut db, plain, n));
    let warm = measure("select by key, SQLite's cache warm", 200_000, |n| select(&mut db, ours, n));
    println!("  ratio {:.2}", warm / base);
    let mut cold = connect(&store, 0);
    let id = prepared(&mut cold, "SELECT v FROM t WHERE id = ?");
    measure("select by key, from the store's memory", 100_000, |n| select(&mut cold, id, n));

    let insert = prepared(&mut db, "INSERT INTO plain.t VALUES(?, ?)");
    let mut next = ROWS;
    measure("insert and commit, plain SQLite in memory", 20_000, |_| {
        next += 1;
        db.bind_all(insert, &[ValueRef::Integer(next), ValueRef::Text(text.as_bytes())]).unwrap();
        db.step(insert).unwrap();
    });
    let insert = prepared(&mut db, "INSERT INTO main.t VALUES(?, ?)");
    let (mut bytes, mut commits) = (0, 0);
    for per_record in [1, 16, 64] {
        measure(&format!("insert and commit, {per_record} a record, encoded and applied"), 20_000, |n| {
            next += 1;
            db.bind_all(insert, &[ValueRef::Integer(next), ValueRef::Text(text.as_bytes())]).unwrap();
            db.step(insert).unwrap();
            if n % per_record == 0 {
                bytes += commit(&store);
                commits += 1;
            }
        });
        println!("  {} bytes a record", bytes / commits);
        (bytes, commits) = (0, 0);
    }
    commit(&store);

    let begin = Instant::now();
    let written = store.overlay_bytes() >> 20;
    store.checkpoint(Bytes::new(), &store.pin_committed()).unwrap();
    println!("checkpoint of {written} MiB: {:?}", begin.elapsed());
    drop((db, cold, store));
    for verify in [VerifyReads::On, VerifyReads::Off] {
        let begin = Instant::now();
        let store = open(&dir, verify, 0);
        println!("open: {:?}", begin.elapsed());
        let view = store.pin_committed();
        let mut page = [0; PAGE_SIZE];
        measure(&format!("read a page from the file, verify {verify:?}"), 2_000, |n| {
            view.read(base::PageNo(u32::try_from(n + 2).unwrap()), &mut page).unwrap();
        });
    }
    rt::fs::remove_dir_all(&dir).unwrap();
}
