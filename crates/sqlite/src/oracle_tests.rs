//! Random SQL on a connection of ours and on SQLite in memory: the same answers, the same contents, and the same pages on a
//! member that only applied the records, whatever was checkpointed, rolled back, or lost with the leadership in between.

use crate::ffi::{Database, OpenAs, Statement};
use crate::{Connection, ConnectionOptions, PageStore, PageStoreOptions, Record, SqlError, Value};
use base::Term;
use bytes::Bytes;
use libsqlite3_sys as sys;
use proptest::prelude::*;
use std::path::Path;

/// SQLite as it comes, in memory.
struct Plain(Database);

impl Plain {
    fn new() -> Self {
        let mut plain = Self(Database::open(c":memory:", OpenAs::ReadWrite).unwrap());
        plain.run("PRAGMA foreign_keys=ON").unwrap();
        plain
    }

    /// The rows of all statements, or SQLite's extended code.
    fn run(&mut self, sql: &str) -> Result<Vec<Vec<Value>>, i32> {
        let (mut rest, mut rows) = (sql, Vec::new());
        while !rest.is_empty() {
            let (statement, tail) = self.0.prepare(rest).map_err(|failure| failure.extended)?;
            if let Some(statement) = statement {
                self.rows(statement, &mut rows)?;
            }
            rest = rest.get(tail.max(1)..).unwrap_or_default();
        }
        Ok(rows)
    }

    fn rows(&self, mut statement: Statement, rows: &mut Vec<Vec<Value>>) -> Result<(), i32> {
        loop {
            match statement.step() {
                sys::SQLITE_ROW => {
                    rows.push((0..statement.data_count()).map(|at| statement.value(at).to_owned()).collect());
                }
                sys::SQLITE_DONE => return Ok(()),
                code => return Err(self.0.failure(code).extended),
            }
        }
    }
}

fn run(connection: &mut Connection, sql: &str) -> Result<Vec<Vec<Value>>, i32> {
    let (mut rest, mut rows) = (sql, Vec::new());
    while !rest.is_empty() {
        let tail = connection.prepare(rest).map_err(|error| error.extended())?;
        if let Some(id) = tail.statement {
            let now = rest.get(..tail.tail).unwrap();
            connection.finalize(id);
            rows.extend(connection.query(now, &[]).map_err(|error| error.extended())?);
        }
        rest = rest.get(tail.tail.max(1)..).unwrap_or_default();
    }
    Ok(rows)
}

#[derive(Debug, Clone)]
enum Act {
    Sql(String),
    /// The pending commits become a record, and it is applied.
    Commit,
    /// The pending commits become a record, which is applied later.
    Take,
    Checkpoint,
    /// A reader looks, and keeps its version.
    Pin,
    Unpin,
    /// All that was not committed is dropped.
    Resign,
    Restart,
}

fn sql() -> impl Strategy<Value = String> {
    let id = 0..400_i64;
    prop_oneof![
        8 => (id.clone(), 0..6_usize).prop_map(|(id, n)| format!(
            "INSERT INTO a VALUES({id}, '{}')", "x".repeat([3, 100, 300, 900, 4000, 20_000][n]))),
        4 => (id.clone(), 1..80_i64).prop_map(|(id, n)| format!(
            "INSERT OR REPLACE INTO a SELECT {id} + value, hex(zeroblob(value * 3)) FROM (
             WITH RECURSIVE c(value) AS (VALUES(1) UNION ALL SELECT value + 1 FROM c WHERE value < {n}) SELECT value FROM c)")),
        4 => (id.clone(), id.clone()).prop_map(|(a, b)| format!("UPDATE a SET v = v || 'u{b}' WHERE id % 50 = {a} % 50")),
        4 => (id.clone(), id.clone()).prop_map(|(a, b)| format!("DELETE FROM a WHERE id BETWEEN {a} AND {b}")),
        3 => id.clone().prop_map(|id| format!("INSERT INTO b VALUES({id}, {id} * 0.5)")),
        1 => Just("DELETE FROM a".to_owned()),
        2 => Just("BEGIN".to_owned()),
        3 => Just("COMMIT".to_owned()),
        2 => Just("ROLLBACK".to_owned()),
        2 => (0..3).prop_map(|n| format!("SAVEPOINT s{n}")),
        2 => (0..3).prop_map(|n| format!("ROLLBACK TO s{n}")),
        2 => (0..3).prop_map(|n| format!("RELEASE s{n}")),
        1 => Just("CREATE INDEX IF NOT EXISTS i ON a(v)".to_owned()),
        1 => Just("DROP INDEX IF EXISTS i".to_owned()),
        1 => Just("VACUUM".to_owned()),
        1 => Just("PRAGMA auto_vacuum=FULL; VACUUM".to_owned()),
        1 => (1..9).prop_map(|n| format!("PRAGMA user_version={n}")),
        1 => Just("ALTER TABLE b ADD COLUMN more TEXT DEFAULT 'm'".to_owned()),
        1 => Just("CREATE TABLE IF NOT EXISTS c AS SELECT id, v FROM a LIMIT 20".to_owned()),
        1 => Just("DROP TABLE IF EXISTS c".to_owned()),
        2 => Just("SELECT count(*), sum(length(v)), max(id) FROM a".to_owned()),
        2 => Just("SELECT * FROM b ORDER BY 1, 2".to_owned()),
    ]
}

fn act() -> impl Strategy<Value = Act> {
    prop_oneof![
        20 => sql().prop_map(Act::Sql),
        4 => Just(Act::Commit),
        2 => Just(Act::Take),
        2 => Just(Act::Checkpoint),
        2 => Just(Act::Pin),
        1 => Just(Act::Unpin),
        1 => Just(Act::Resign),
        1 => Just(Act::Restart),
    ]
}

const SCHEMA: &str = "CREATE TABLE a(id INTEGER PRIMARY KEY, v TEXT); CREATE TABLE b(a REFERENCES a, f REAL)";
const CONTENTS: &str = "SELECT * FROM a; SELECT * FROM b ORDER BY 1, 2; SELECT type, name, sql FROM sqlite_schema; \
                        PRAGMA user_version; PRAGMA integrity_check";

/// The world of one case.
struct World {
    store: PageStore,
    follower: PageStore,
    connection: Connection,
    /// SQL that is committed in our sense, and SQL since then that is not.
    committed: Vec<String>,
    pending: Vec<String>,
    /// How much of `pending` lies outside of the open transaction.
    ended: usize,
    plain: Plain,
    term: Term,
    in_flight: Vec<Record>,
    log: Vec<Bytes>,
    checkpointed: usize,
}

fn options() -> ConnectionOptions {
    // So small that transactions spill.
    ConnectionOptions { cache_kib: 40, ..ConnectionOptions::default() }
}

impl World {
    fn new() -> Self {
        let (store, _) = PageStore::open(
            Path::new("/leader"),
            PageStoreOptions { cache_bytes_max: 20 * 4096, ..Default::default() },
        )
        .unwrap();
        let (follower, _) = PageStore::open(Path::new("/follower"), PageStoreOptions::default()).unwrap();
        store.lead(Term(1));
        let mut connection = Connection::open(&store, options()).unwrap();
        connection.grant_write();
        let mut world = Self {
            store,
            follower,
            connection,
            committed: Vec::new(),
            pending: Vec::new(),
            ended: 0,
            plain: Plain::new(),
            term: Term(1),
            in_flight: Vec::new(),
            log: Vec::new(),
            checkpointed: 0,
        };
        world.sql(SCHEMA);
        world.commit();
        world
    }

    fn sql(&mut self, sql: &str) {
        let ours = run(&mut self.connection, sql);
        let theirs = self.plain.run(sql);
        assert_eq!(ours, theirs, "{sql}");
        self.pending.push(sql.to_owned());
        assert_eq!(self.connection.in_transaction(), !self.plain.0.is_autocommit(), "{sql}");
        if !self.connection.in_transaction() {
            self.ended = self.pending.len();
        }
    }

    fn take(&mut self) {
        if let Some(record) = self.store.next_record() {
            self.in_flight.push(record);
        }
    }

    fn commit(&mut self) {
        self.take();
        for record in std::mem::take(&mut self.in_flight) {
            let bytes = record.encode();
            assert_eq!(
                self.store.apply_encoded(&bytes, self.term).unwrap().0,
                crate::Applied::Confirmed(record.version)
            );
            let copy = Record::decode(&bytes).unwrap();
            assert_eq!(self.follower.apply(&copy, self.term), crate::Applied::Done(record.version));
            self.log.push(bytes);
        }
        self.committed.extend(self.pending.drain(..std::mem::take(&mut self.ended)));
        let (ours, theirs) = (self.store.pin_committed(), self.follower.pin_committed());
        assert_eq!(ours.database_hash().unwrap(), theirs.database_hash().unwrap());
    }

    fn checkpoint(&mut self) {
        self.store.checkpoint(Bytes::new(), &self.store.pin_committed()).unwrap();
        self.checkpointed = self.log.len();
    }

    /// Everything not committed is gone; SQLite in memory starts over from what was committed.
    fn start_over(&mut self) {
        self.in_flight.clear();
        self.pending.clear();
        self.ended = 0;
        self.term = Term(self.term.0 + 1);
        self.store.lead(self.term);
        self.connection = Connection::open(&self.store, options()).unwrap();
        self.connection.grant_write();
        self.plain = Plain::new();
        for sql in &self.committed {
            drop(self.plain.run(sql));
        }
        self.compare();
    }

    fn resign(&mut self) {
        if self.connection.in_transaction() {
            self.sql("ROLLBACK");
            self.commit();
        }
        self.take();
        if !self.pending.is_empty() && self.store.head() != self.store.committed() {
            self.store.resign();
            assert_eq!(self.connection.query("SELECT 1", &[]).unwrap_err(), SqlError::LeadershipLost);
        } else {
            self.store.resign();
        }
        self.start_over();
    }

    fn restart(&mut self) {
        if self.connection.in_transaction() {
            self.sql("ROLLBACK");
        }
        self.commit();
        let other = PageStore::open(Path::new("/elsewhere"), PageStoreOptions::default()).unwrap().0;
        self.connection = Connection::open(&other, options()).unwrap();
        self.store = other;
        let (store, meta) = PageStore::open(Path::new("/leader"), PageStoreOptions::default()).unwrap();
        assert_eq!(meta.is_some(), self.checkpointed > 0);
        for bytes in &self.log[self.checkpointed..] {
            let record = Record::decode(bytes).unwrap();
            assert_eq!(store.apply(&record, record.term), crate::Applied::Done(record.version));
        }
        self.store = store;
        self.start_over();
    }

    fn compare(&mut self) {
        assert_eq!(run(&mut self.connection, CONTENTS), self.plain.run(CONTENTS));
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 100, max_shrink_iters: 4_000, ..ProptestConfig::default() })]

    #[test]
    fn a_connection_answers_as_sqlite_and_members_agree(acts in prop::collection::vec(act(), 1..60)) {
        rt::sim::run_blocking(1, &rt::sim::Disk::new(1), || play(acts));
    }
}

fn play(acts: Vec<Act>) {
    let mut world = World::new();
    let mut pinned = Vec::new();
    for act in acts {
        match act {
            Act::Sql(sql) => world.sql(&sql),
            Act::Commit => world.commit(),
            Act::Take => world.take(),
            Act::Checkpoint => world.checkpoint(),
            Act::Pin => {
                let view = world.store.pin_committed();
                pinned.push((view.database_hash().unwrap(), view));
            }
            Act::Unpin => drop((!pinned.is_empty()).then(|| pinned.remove(pinned.len() / 2))),
            Act::Resign => world.resign(),
            Act::Restart => {
                pinned.clear();
                world.restart();
            }
        }
        for (hash, view) in &pinned {
            assert_eq!(view.database_hash().unwrap(), *hash);
        }
    }
    if world.connection.in_transaction() {
        world.sql("COMMIT; SELECT 1");
    }
    world.compare();
    world.commit();
    world.checkpoint();
    world.compare();
    drop(pinned);
    let World { store, connection, .. } = world;
    drop(connection);
    assert_eq!((store.stats().pins, store.stats().old_versions_bytes, store.overlay_bytes()), (0, 0, 0));
}
