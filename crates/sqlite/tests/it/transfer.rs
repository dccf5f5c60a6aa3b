//! Snapshot transfer between two stores.

use crate::kit::{assert_whole, checkpoint, commit, connect, fill, insert, integer, leader, open};
use bytes::Bytes;
use sqlite::{Install, InstallError, LocalPages, Manifest, PageStore, SnapshotRequest, SnapshotServer, TransferError};
use std::os::unix::fs::FileExt;

fn server(store: &PageStore) -> SnapshotServer {
    SnapshotServer::new(store.pin_committed(), Bytes::from_static(b"state"))
}

fn manifest(server: &SnapshotServer) -> Manifest {
    Manifest::from_answer(&server.answer(&SnapshotRequest::manifest().0).unwrap()).unwrap()
}

/// Fetches all that is wanted, at most `most` answers; gives how many bytes of pages were fetched.
fn fetch(install: &mut Install, server: &SnapshotServer, most: usize) -> u64 {
    for _ in 0..most {
        let Some(request) = install.want() else { break };
        install.accept(&server.answer(&request.0).unwrap()).unwrap();
    }
    install.progress().0
}

#[test]
fn an_empty_member_becomes_a_copy_and_survives_a_restart() {
    let (_dir, store) = leader();
    fill(&store, 3_000);
    commit(&store);
    let server = server(&store);
    let manifest = manifest(&server);
    assert_eq!(manifest.extra.as_ref(), b"state");
    let dir = tempfile::tempdir().unwrap();
    let member = open(dir.path());
    let mut install = Install::begin(&member, manifest, LocalPages::Trusted).unwrap();
    assert!(fetch(&mut install, &server, 100) > 0);
    let meta = install.finish(Bytes::from_static(b"position")).unwrap();
    assert_eq!(meta.version, store.committed());
    let expected = store.pin_committed().database_hash();
    assert_eq!(member.pin_committed().database_hash(), expected);
    assert_eq!(integer(&mut connect(&member), "SELECT count(*) FROM t"), 3_000);
    drop(member);
    let (member, found) = PageStore::open(dir.path(), sqlite::PageStoreOptions::default()).unwrap();
    assert_eq!(found, Some(meta));
    assert_eq!(member.pin_committed().database_hash(), expected);
    assert_whole(&member);
    let names: Vec<_> = std::fs::read_dir(dir.path()).unwrap().map(|e| e.unwrap().file_name()).collect();
    assert!(names.iter().all(|name| !name.to_string_lossy().starts_with("install")), "{names:?}");
}

#[test]
fn only_pages_that_differ_are_fetched_and_old_readers_end() {
    let (_dir, store) = leader();
    let mut db = fill(&store, 3_000);
    let first = commit(&store).unwrap();
    let dir = tempfile::tempdir().unwrap();
    let member = open(dir.path());
    crate::kit::follow(&member, &first);
    checkpoint(&member);
    let (old_view, mut old) = (member.pin_committed(), connect(&member));
    assert_eq!(integer(&mut old, "SELECT count(*) FROM t"), 3_000);
    db.execute("UPDATE t SET v = 'x' WHERE id = 1500; DELETE FROM t WHERE id = 1").unwrap();
    insert(&mut db, 5_000);
    commit(&store);
    let server = server(&store);
    let mut install = Install::begin(&member, server.manifest(), LocalPages::Trusted).unwrap();
    let fetched = fetch(&mut install, &server, 100);
    assert!(fetched > 0 && fetched <= 6 * 4096, "{fetched}");
    assert!(old_view.database_hash().is_ok(), "readers go on until the end");
    install.finish(Bytes::new()).unwrap();
    assert!(old_view.database_hash().is_err());
    assert_eq!(integer(&mut old, "SELECT count(*) FROM t WHERE v = 'x' OR id = 5000"), 2);
    assert_eq!(member.pin_committed().database_hash(), store.pin_committed().database_hash());
    assert_whole(&member);
    let next = {
        insert(&mut db, 6_000);
        commit(&store).unwrap()
    };
    crate::kit::follow(&member, &next);
    checkpoint(&member);
    assert_eq!(integer(&mut old, "SELECT count(*) FROM t"), 3_001);
}

#[test]
fn a_transfer_goes_on_where_it_was_after_a_restart_and_for_a_newer_snapshot() {
    let (_dir, store) = leader();
    let mut db = fill(&store, 20_000);
    commit(&store);
    let first = server(&store);
    let dir = tempfile::tempdir().unwrap();
    let member = open(dir.path());
    let mut install = Install::begin(&member, first.manifest(), LocalPages::Trusted).unwrap();
    let before = fetch(&mut install, &first, 2);
    assert!(before > 0 && install.want().is_some());
    assert!(matches!(install.finish(Bytes::new()), Err(InstallError::Incomplete { .. })));
    drop(member);
    insert(&mut db, 50_000);
    commit(&store);
    let second = server(&store);
    let member = open(dir.path());
    let mut install = Install::begin(&member, second.manifest(), LocalPages::Trusted).unwrap();
    let after = fetch(&mut install, &second, 100);
    assert!(before + after <= u64::from(store.pages() + 4) * 4096, "{before} and {after} of {}", store.pages());
    install.finish(Bytes::new()).unwrap();
    assert_eq!(member.pin_committed().database_hash(), store.pin_committed().database_hash());
}

#[test]
fn a_rotten_page_is_repaired_from_a_peer() {
    let (_dir, store) = leader();
    fill(&store, 1_000);
    let record = commit(&store).unwrap();
    let dir = tempfile::tempdir().unwrap();
    {
        let member = open(dir.path());
        crate::kit::follow(&member, &record);
        checkpoint(&member);
    }
    let file = std::fs::OpenOptions::new().write(true).open(dir.path().join("data.db")).unwrap();
    file.write_all_at(b"rot", 9 * 4096).unwrap();
    let member = open(dir.path());
    assert!(connect(&member).query("SELECT sum(length(v)) FROM t", &[]).is_err());
    let server = server(&store);
    let mut install = Install::begin(&member, server.manifest(), LocalPages::Checked).unwrap();
    assert_eq!(fetch(&mut install, &server, 100), 4096);
    install.finish(Bytes::new()).unwrap();
    assert_eq!(integer(&mut connect(&member), "SELECT sum(length(v)) FROM t"), 100_000);
}

#[test]
fn a_wrong_page_is_not_taken() {
    let (_dir, store) = leader();
    fill(&store, 100);
    commit(&store);
    let server = server(&store);
    let dir = tempfile::tempdir().unwrap();
    let member = open(dir.path());
    let mut install = Install::begin(&member, server.manifest(), LocalPages::Trusted).unwrap();
    fetch(&mut install, &server, 1);
    let request = install.want().unwrap();
    let good = server.answer(&request.0).unwrap();
    let mut bad = good.to_vec();
    *bad.last_mut().unwrap() ^= 1;
    let error = install.accept(&bad.into()).unwrap_err();
    assert!(matches!(error, InstallError::Transfer(TransferError::WrongHash { .. })), "{error}");
    assert!(install.want().is_some(), "the page is asked for again");
    install.accept(&good).unwrap();
    assert_eq!(install.want(), None);
    install.finish(Bytes::new()).unwrap();
}

#[test]
fn an_older_snapshot_is_refused() {
    let (_dir, store) = leader();
    let mut db = fill(&store, 10);
    commit(&store);
    let old = server(&store);
    insert(&mut db, 11);
    commit(&store);
    let error = Install::begin(&store, old.manifest(), LocalPages::Trusted).unwrap_err();
    assert!(matches!(error, InstallError::Old { .. }), "{error}");
}
