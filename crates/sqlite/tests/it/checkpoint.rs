//! Checkpoints: what they leave on disk, and what they do not disturb.

use crate::kit::{
    TERM, assert_whole, checkpoint, commit, connect, fill, follow, insert, integer, leader, open, writer,
};
use base::{Disposition, Fault, PageNo, Version};
use bytes::Bytes;
use sqlite::{CheckpointError, OpenError, PAGE_SIZE, PageStore, PageStoreOptions, ReadError, SqlError};
use std::os::unix::fs::FileExt;

#[test]
fn a_store_comes_back_from_its_checkpoint_and_the_log_after_it() {
    let (dir, store) = leader();
    let mut db = fill(&store, 500);
    commit(&store);
    let meta = store.checkpoint(Bytes::from_static(b"raft position"), &store.pin_committed()).unwrap();
    assert_eq!(meta.version, store.committed());
    assert_eq!(store.overlay_bytes(), 0);
    insert(&mut db, 501);
    let after = commit(&store).unwrap();
    let expected = store.pin_committed().database_hash().unwrap();
    drop((db, store));

    let (store, found) = PageStore::open(dir.path(), PageStoreOptions::default()).unwrap();
    assert_eq!(found, Some(meta));
    assert_eq!(integer(&mut connect(&store), "SELECT count(*) FROM t"), 500);
    follow(&store, &after);
    assert_eq!(store.pin_committed().database_hash().unwrap(), expected);
    assert_eq!(integer(&mut connect(&store), "SELECT count(*) FROM t"), 501);
    assert_whole(&store);
}

#[test]
fn pinned_readers_keep_their_versions_through_checkpoints() {
    let (_dir, store) = leader();
    let mut db = fill(&store, 400);
    let mut views = Vec::new();
    for round in 0..6 {
        commit(&store);
        let view = store.pin_committed();
        views.push((view.database_hash().unwrap(), view));
        if round % 2 == 1 {
            checkpoint(&store);
        }
        db.execute(&format!("UPDATE t SET v = v || '{round}' WHERE id % 7 = {round}")).unwrap();
        if round == 3 {
            db.execute("DELETE FROM t WHERE id > 100; VACUUM").unwrap();
        }
    }
    commit(&store);
    checkpoint(&store);
    for (hash, view) in &views {
        assert_eq!(view.database_hash().as_ref(), Ok(hash), "version {}", view.version());
    }
    while !views.is_empty() {
        views.remove(views.len() / 2);
        for (hash, view) in &views {
            assert_eq!(view.database_hash().as_ref(), Ok(hash), "version {}", view.version());
        }
    }
    drop(db);
    assert_eq!(store.stats().old_versions_bytes, 0);
    assert_whole(&store);
}

#[test]
fn a_checkpoint_of_an_older_version_leaves_the_newer_ones_in_memory() {
    let (dir, store) = leader();
    let mut db = fill(&store, 100);
    commit(&store);
    let old = store.pin_committed();
    let old_hash = old.database_hash().unwrap();
    insert(&mut db, 101);
    let newer = commit(&store).unwrap();
    insert(&mut db, 102);
    assert_eq!(store.checkpoint(Bytes::new(), &old).unwrap().version, old.version());
    assert_eq!(integer(&mut db, "SELECT count(*) FROM t"), 102);
    assert_eq!(integer(&mut connect(&store), "SELECT count(*) FROM t"), 101);
    assert!(store.overlay_bytes() > 0);
    commit(&store);
    checkpoint(&store);
    assert_eq!(old.database_hash().unwrap(), old_hash);
    assert!(matches!(store.checkpoint(Bytes::new(), &old), Err(CheckpointError::Backwards { .. })));
    drop((db, old, store));
    let store = open(dir.path());
    assert_eq!(integer(&mut connect(&store), "SELECT count(*) FROM t"), 102);
    let record = sqlite::Record::decode(&newer).unwrap();
    assert_eq!(store.apply(&record, TERM), sqlite::Applied::Void, "the log before the checkpoint is skipped");
}

#[test]
fn bit_rot_is_found_and_never_returned() {
    let (dir, store) = leader();
    fill(&store, 1_000);
    commit(&store);
    checkpoint(&store);
    drop(store);
    let file = std::fs::OpenOptions::new().write(true).open(dir.path().join("data.db")).unwrap();
    file.write_all_at(b"x", 5 * 4096 + 1000).unwrap();
    let store = open(dir.path());
    let error = connect(&store).query("SELECT count(*) FROM t WHERE v > ''", &[]).unwrap_err();
    assert_eq!((error.clone(), error.disposition()), (SqlError::Corrupt { page: PageNo(6) }, Disposition::Corrupt));
    assert_eq!(error.primary(), 11);
    assert_eq!(store.stats().corrupt_pages, 1);
    let view = store.pin_committed();
    assert_eq!(view.read(PageNo(6), &mut [0; PAGE_SIZE]), Err(ReadError::Corrupt { page: PageNo(6) }));
    view.read(PageNo(7), &mut [0; PAGE_SIZE]).unwrap();
    assert_eq!(view.database_hash(), Err(ReadError::Corrupt { page: PageNo(6) }), "what was noted of it is not enough");
}

#[test]
fn damaged_side_files_are_refused() {
    let (dir, store) = leader();
    fill(&store, 100);
    commit(&store);
    checkpoint(&store);
    drop(store);
    for name in ["checkpoint.meta", "checkpoint.begun"] {
        let path = dir.path().join(name);
        let good = std::fs::read(&path).unwrap();
        let mut bad = good.clone();
        bad[9] ^= 1;
        std::fs::write(&path, bad).unwrap();
        let error = PageStore::open(dir.path(), PageStoreOptions::default()).unwrap_err();
        assert!(matches!(&error, OpenError::Damaged { file, .. } if *file == path), "{error}");
        std::fs::write(&path, good).unwrap();
    }
    open(dir.path());
}

#[test]
fn damaged_hashes_are_refused() {
    let (dir, store) = leader();
    let mut db = fill(&store, 20_000);
    commit(&store);
    checkpoint(&store);
    insert(&mut db, 100_000);
    commit(&store);
    checkpoint(&store);
    drop((db, store));
    let sums = dir.path().join("data.sums");
    let good = std::fs::read(&sums).unwrap();
    // Page 300's hash lies in the second block, which the second checkpoint has not changed.
    assert!(good.len() > 2 * 4096, "{}", good.len());
    let mut bad = good.clone();
    bad[300 * 16] ^= 1;
    std::fs::write(&sums, &bad).unwrap();
    let error = PageStore::open(dir.path(), PageStoreOptions::default()).unwrap_err();
    assert!(matches!(&error, OpenError::Damaged { file, .. } if *file == sums), "{error}");
    // The first block is in checkpoint.meta as well: it may be torn.
    let mut torn = good;
    torn[0] ^= 1;
    std::fs::write(&sums, &torn).unwrap();
    assert_whole(&open(dir.path()));
}

#[test]
fn two_processes_cannot_open_one_store() {
    let (dir, _store) = leader();
    let error = PageStore::open(dir.path(), PageStoreOptions::default()).unwrap_err();
    assert!(matches!(error, OpenError::InUse { .. }), "{error}");
}

#[test]
fn an_empty_store_checkpoints_and_opens() {
    let (dir, store) = leader();
    let meta = store.checkpoint(Bytes::from_static(b"x"), &store.pin_committed()).unwrap();
    assert_eq!((meta.version, meta.pages), (Version(0), 0));
    drop(store);
    let (_, found) = PageStore::open(dir.path(), PageStoreOptions::default()).unwrap();
    assert_eq!(found, Some(meta));
}

#[test]
fn a_large_database_opens_without_reading_its_pages() {
    let dir = tempfile::tempdir().unwrap();
    let pages: u32 = 262_144;
    {
        let store = open(dir.path());
        // A record of a few pages in a database of 1 GiB, most of which was never written.
        store.lead(TERM);
        let mut db = writer(&store);
        db.execute("CREATE TABLE t(a)").unwrap();
        commit(&store);
        let (base, record) = (
            store.committed(),
            sqlite::Record {
                term: TERM,
                base: store.committed(),
                version: store.committed().next(),
                reign: 0,
                db_pages: pages,
                pages: Vec::new(),
                extra: Bytes::new(),
            },
        );
        drop(db);
        store.resign();
        follow(&store, &record.encode());
        assert_eq!(store.committed(), base.next());
        let file = std::fs::OpenOptions::new().write(true).open(dir.path().join("data.db")).unwrap();
        file.set_len(u64::from(pages) * 4096).unwrap();
        checkpoint(&store);
    }
    let store = open(dir.path());
    assert_eq!(store.pages(), pages);
    // No page of the file has the hash that is noted for it: had one been looked at, the store would not have opened.
    let read = store.pin_committed().read(PageNo(200_000), &mut [0; PAGE_SIZE]);
    assert_eq!(read, Err(ReadError::Corrupt { page: PageNo(200_000) }));
}

#[test]
fn damaged_pages_are_noted_and_mended_with_those_of_a_member_that_is_ahead() {
    let (_peer_dir, peer) = leader();
    let mut db = fill(&peer, 1_000);
    let record = commit(&peer).unwrap();
    let dir = tempfile::tempdir().unwrap();
    {
        let store = open(dir.path());
        follow(&store, &record);
        checkpoint(&store);
    }
    // Page 1 names another version there, and the last page has other rows.
    insert(&mut db, 2_000);
    commit(&peer);
    checkpoint(&peer);
    let file = std::fs::OpenOptions::new().write(true).open(dir.path().join("data.db")).unwrap();
    for at in [2_000, 5 * 4096 + 1000, u64::from(open(dir.path()).pages() - 1) * 4096 + 4000] {
        file.write_all_at(b"x", at).unwrap();
    }
    let store = open(dir.path());
    let last = PageNo(store.pages());
    assert!(store.damaged().borrow().is_empty());
    assert_eq!(store.pin_committed().database_hash(), Err(ReadError::Corrupt { page: PageNo(1) }));
    assert_eq!(*store.damaged().borrow(), [PageNo(1), PageNo(6), last].into());
    for page in [PageNo(1), PageNo(6)] {
        let wanted = store.wanted_or_forget(page).unwrap();
        let image = peer.page_for(&wanted).unwrap();
        let mut wrong = *image;
        wrong[100] ^= 1;
        assert_eq!(store.mend(page, &wrong), Ok(false));
        assert_eq!(store.mend(page, &image), Ok(true));
    }
    assert_eq!(*store.damaged().borrow(), [last].into());
    assert_eq!(store.pin_committed().database_hash(), Err(ReadError::Corrupt { page: last }));
    assert_eq!(peer.page_for(&store.wanted_or_forget(last).unwrap()), None, "it has another one by now");
}
