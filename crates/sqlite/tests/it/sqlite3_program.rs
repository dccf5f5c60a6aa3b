//! The database file under Debian's sqlite3 program.

use crate::kit::{assert_whole, checkpoint, commit, connect, fill, insert, integer, leader, open};
use sqlite::{Applied, OpenError, PageStore, PageStoreOptions, SourceFile};
use std::path::Path;
use std::process::Command;

/// What sqlite3 prints; `None`, said aloud, if it is not installed.
#[expect(clippy::print_stderr, reason = "a skipped test says so, and how to run it")]
fn sqlite3(file: &Path, sql: &str) -> Option<String> {
    match Command::new("sqlite3").arg(file).arg(sql).output() {
        Ok(output) => {
            assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
            Some(String::from_utf8(output.stdout).unwrap().trim().to_owned())
        }
        Err(error) => {
            eprintln!("SKIPPED: sqlite3 cannot be run ({error}); apt install sqlite3");
            None
        }
    }
}

#[test]
fn the_checkpointed_file_is_a_plain_database() {
    let (dir, store) = leader();
    let mut db = fill(&store, 1_000);
    for id in 2_000..2_003 {
        insert(&mut db, id);
        commit(&store);
        let version = checkpoint(&store).version;
        let file = dir.path().join("data.db");
        let Some(answer) = sqlite3(&file, "PRAGMA integrity_check; SELECT count(*) FROM t") else { return };
        assert_eq!(answer, format!("ok\n{}", 1_000 + id - 1_999));
        let header = std::fs::read(&file).unwrap();
        assert_eq!(header[24..28], u32::try_from(version.0).unwrap().to_be_bytes());
        assert_eq!(header[24..28], header[92..96]);
        assert_eq!(header[28..32], store.pages().to_be_bytes());
    }
    let exported = dir.path().join("copy.db");
    store.pin_committed().export(&exported).unwrap();
    assert_eq!(sqlite3(&exported, "PRAGMA integrity_check").unwrap(), "ok");
}

#[test]
fn a_change_by_another_program_is_noticed() {
    let (dir, store) = leader();
    fill(&store, 10);
    commit(&store);
    checkpoint(&store);
    drop(store);
    if sqlite3(&dir.path().join("data.db"), "DELETE FROM t").is_none() {
        return;
    }
    let error = PageStore::open(dir.path(), PageStoreOptions::default()).unwrap_err();
    assert!(matches!(error, OpenError::Foreign { .. }), "{error}");
}

#[test]
fn a_file_of_sqlite3_is_imported_by_records() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("source.db");
    let sql = "PRAGMA journal_mode=WAL; CREATE TABLE t(id INTEGER PRIMARY KEY, v TEXT);
        WITH RECURSIVE n(i) AS (VALUES(1) UNION ALL SELECT i+1 FROM n WHERE i < 50000)
        INSERT INTO t SELECT i, hex(randomblob(50)) FROM n; CREATE INDEX i ON t(v)";
    if sqlite3(&file, sql).is_none() {
        return;
    }
    let (_dir, store) = leader();
    let follower_dir = tempfile::tempdir().unwrap();
    let follower = open(follower_dir.path());
    let mut old = fill(&store, 3_000);
    crate::kit::follow(&follower, &commit(&store).unwrap());
    old.revoke_write();
    let mut records = 0;
    for record in SourceFile::open(&file).unwrap().batches(&store, crate::kit::TERM) {
        let record = record.unwrap();
        assert_eq!(store.apply(&record, crate::kit::TERM), Applied::Done(record.version));
        crate::kit::follow(&follower, &record.encode());
        records += 1;
    }
    assert!(records > 1, "{records}");
    assert_eq!(store.pin_committed().database_hash(), follower.pin_committed().database_hash());
    assert_whole(&follower);
    assert_eq!(integer(&mut connect(&follower), "SELECT count(*) FROM t WHERE length(v) = 100"), 50_000);
    assert_eq!(integer(&mut old, "SELECT count(*) FROM t"), 50_000);
    let mut writer = crate::kit::writer(&store);
    insert(&mut writer, 99_999);
}

#[test]
fn what_cannot_be_imported_is_refused_with_the_reason() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("x.db");
    assert!(SourceFile::open(&path).is_err());
    std::fs::write(&path, "hello").unwrap();
    assert!(SourceFile::open(&path).is_err());
    std::fs::write(&path, vec![0; 8192]).unwrap();
    assert!(SourceFile::open(&path).unwrap_err().to_string().contains("not a SQLite database"));
    std::fs::remove_file(&path).unwrap();
    if sqlite3(&path, "PRAGMA page_size=8192; CREATE TABLE t(a)").is_some() {
        assert!(SourceFile::open(&path).unwrap_err().to_string().contains("page size"));
    }
}
