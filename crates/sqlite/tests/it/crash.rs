//! Power cuts and failing disks at every operation of checkpoints and installs.
//!
//! The log is a list of records that never fails here: what was applied can be applied again. So the promise is: the store
//! opens after every cut, says from which record on to replay, never less than what a finished checkpoint held, returns no
//! wrong page while it is replayed, and is equal to the leader's at the end.

use crate::kit::{assert_whole, commit, fill, follow, leader, open};
use base::PageNo;
use bytes::Bytes;
use rt::sim::{Fault, every_cut, every_fault};
use sqlite::{
    Install, LocalPages, PAGE_SIZE, PageHash, PageStore, PageStoreOptions, ReadError, SnapshotServer, VerifyReads, View,
};
use std::path::Path;
use std::sync::LazyLock;

const DIR: &str = "/state/db";

/// What the leader did: records, and what each page's hash was after each of them; before the first there is nothing.
struct History {
    records: Vec<Bytes>,
    pages: Vec<Vec<PageHash>>,
    leader: PageStore,
    _dir: tempfile::TempDir,
}

static HISTORY: LazyLock<History> = LazyLock::new(|| {
    let (dir, store) = leader();
    let mut db = fill(&store, 60);
    let (mut records, mut pages) = (Vec::new(), vec![Vec::new()]);
    for sql in [
        "SELECT 1",
        "UPDATE t SET v = 'first' WHERE id % 9 = 0",
        "INSERT INTO t SELECT id + 100, hex(zeroblob(200)) FROM t WHERE id < 30",
        "DELETE FROM t WHERE id BETWEEN 20 AND 150; VACUUM",
        "UPDATE t SET v = v || 'last'",
        "INSERT INTO t SELECT id + 1000, hex(zeroblob(500)) FROM t",
    ] {
        db.execute(sql).unwrap();
        records.push(commit(&store).unwrap());
        let view = store.pin_committed();
        pages.push((1..=view.pages()).map(|page| view.hash(PageNo(page)).unwrap()).collect());
        if sql == "SELECT 1" {
            db.execute("UPDATE t SET v = 'second' WHERE id = 1").unwrap();
        }
    }
    drop(db);
    History { records, pages, leader: store, _dir: dir }
});

impl History {
    /// Reads all pages and compares them with those after `applied` records. False: some cannot be read yet.
    fn check(&self, view: &View, applied: usize) -> bool {
        let (mut all, expected) = (true, &self.pages[applied]);
        assert_eq!(view.pages() as usize, expected.len(), "after {applied} records");
        for (page, expected) in (1..).map(PageNo).zip(expected) {
            let mut contents = [0; PAGE_SIZE];
            match view.read(page, &mut contents) {
                Ok(()) => assert_eq!(PageHash::of(&contents), *expected, "page {page} after {applied} records"),
                Err(ReadError::Replaying { .. }) => all = false,
                Err(error) => panic!("page {page} after {applied} records: {error}"),
            }
        }
        all
    }
}

fn position(extra: &Bytes) -> usize {
    usize::from(extra.first().copied().unwrap_or(0))
}

fn checkpoint_at(store: &PageStore, applied: usize) -> Result<(), sqlite::CheckpointError> {
    let extra = Bytes::copy_from_slice(&[u8::try_from(applied).unwrap()]);
    store.checkpoint(extra, &store.pin_committed()).map(drop)
}

fn follow_all(store: &PageStore, records: &[Bytes]) {
    for record in records {
        follow(store, record);
    }
}

fn open_again() -> (PageStore, usize) {
    let (store, meta) = PageStore::open(Path::new(DIR), PageStoreOptions::default()).unwrap();
    let applied = meta.map_or(0, |meta| position(&meta.extra));
    (store, applied)
}

/// Replays to the end, looking at each step, and checkpoints on the way.
fn replay(store: &PageStore, from: usize, checkpoint_after: usize) {
    let history = &*HISTORY;
    for (applied, record) in (1..).zip(&history.records).skip(from) {
        follow(store, record);
        history.check(&store.pin_committed(), applied);
        if applied >= checkpoint_after && store.replaying_until().is_none() {
            checkpoint_at(store, applied).unwrap();
            history.check(&store.pin_committed(), applied);
        }
    }
    assert!(history.check(&store.pin_committed(), history.records.len()), "all is there at the end");
    assert_eq!(store.pin_committed().database_hash(), history.leader.pin_committed().database_hash());
}

#[test]
fn a_power_cut_at_any_operation_of_a_checkpoint_loses_nothing() {
    let history = &*HISTORY;
    let prepare = || {
        let store = open(Path::new(DIR));
        follow_all(&store, &history.records[..2]);
        checkpoint_at(&store, 2).unwrap();
    };
    let work = |acknowledged: &mut usize| {
        *acknowledged = 2;
        let (store, applied) = open_again();
        let mut pinned = Vec::new();
        for (applied, record) in (1..).zip(&history.records).skip(applied) {
            pinned.push(store.pin_committed());
            follow(&store, record);
            if applied % 2 == 0 {
                checkpoint_at(&store, applied).unwrap();
                *acknowledged = applied;
            }
        }
    };
    let cuts = every_cut::<usize>(0..4, prepare, work, |acknowledged, operation| {
        let (store, applied) = open_again();
        assert!(applied >= *acknowledged, "{acknowledged} records were in a finished checkpoint, {applied} are found");
        let whole = history.check(&store.pin_committed(), applied);
        assert!(whole || store.replaying_until().is_some());
        // A second crash, after a checkpoint on the way that reaches less far than the one that was cut.
        let on_the_way = applied + 1 + usize::try_from(operation).unwrap() % 2;
        for (applied, record) in (1..=on_the_way).zip(&history.records).skip(applied) {
            follow(&store, record);
            if applied == on_the_way {
                let replaying = store.replaying_until().is_some();
                assert_eq!(checkpoint_at(&store, applied).is_ok(), !replaying);
            }
        }
        drop(store);
        let (store, applied) = open_again();
        history.check(&store.pin_committed(), applied);
        replay(&store, applied, 5);
        assert_whole(&store);
    });
    assert!(cuts > 100, "{cuts} cuts");
}

#[test]
fn a_checkpoint_on_a_failing_disk_changes_nothing_and_works_later() {
    let history = &*HISTORY;
    for fault in [Fault::Eio, Fault::Enospc] {
        let prepare = || {
            let store = open(Path::new(DIR));
            follow_all(&store, &history.records[..2]);
            checkpoint_at(&store, 2).unwrap();
        };
        // (failed checkpoints, the work came to its end)
        let work = |(failures, done): &mut (usize, bool)| {
            let (store, applied) = open_again();
            let old = store.pin_committed();
            for (applied, record) in (1..).zip(&history.records).skip(applied) {
                follow(&store, record);
                while checkpoint_at(&store, applied).is_err() {
                    *failures += 1;
                    assert!(history.check(&old, 2) && history.check(&store.pin_committed(), applied));
                }
                assert!(history.check(&old, 2) && history.check(&store.pin_committed(), applied));
            }
            *done = true;
        };
        let faults = every_fault::<(usize, bool)>(0..2, fault, prepare, work, |(failures, done), _| {
            let (store, applied) = open_again();
            // The fault may also have hit the opening, or a write that can wait.
            assert!(*failures <= 1 && (*done || *failures == 0));
            assert!(!done || applied == history.records.len());
            history.check(&store.pin_committed(), applied);
            replay(&store, applied, 6);
        });
        assert!(faults > 50, "{faults} faults");
    }
}

fn transfer(store: &PageStore, server: &SnapshotServer, extra: u8) -> Result<(), sqlite::InstallError> {
    let mut install = Install::begin(store, server.manifest(), LocalPages::Trusted)?;
    while let Some(request) = install.want() {
        install.accept(&server.answer(&request.0).unwrap())?;
    }
    install.finish(Bytes::copy_from_slice(&[extra])).map(drop)
}

fn install_case(fault: Fault, seeds: std::ops::Range<u64>) -> u64 {
    let history = &*HISTORY;
    let last = history.records.len();
    let server = SnapshotServer::new(history.leader.pin_committed(), Bytes::new());
    let prepare = || {
        let store = open(Path::new(DIR));
        follow_all(&store, &history.records[..3]);
        checkpoint_at(&store, 3).unwrap();
    };
    let work = |acknowledged: &mut bool| {
        let (store, applied) = open_again();
        assert_eq!(applied, 3);
        // Something newer than the file is in memory as well.
        follow(&store, &history.records[3]);
        while let Err(error) = transfer(&store, &server, u8::try_from(last).unwrap()) {
            assert!(fault != Fault::PowerCut, "{error}");
        }
        assert!(history.check(&store.pin_committed(), last));
        *acknowledged = true;
    };
    every_fault::<bool>(seeds, fault, prepare, work, |acknowledged, _| {
        let (store, applied) = open_again();
        assert!(applied == last || (applied == 3 && !acknowledged), "{applied}");
        assert!(history.check(&store.pin_committed(), applied), "an install leaves nothing to replay");
        transfer(&store, &server, u8::try_from(last).unwrap()).unwrap();
        drop(store);
        let (store, applied) = open_again();
        assert_eq!(applied, last);
        assert!(history.check(&store.pin_committed(), last));
        assert_whole(&store);
    })
}

#[test]
fn a_power_cut_at_any_operation_of_an_install_leaves_the_old_or_the_new() {
    let cuts = install_case(Fault::PowerCut, 0..4);
    assert!(cuts > 100, "{cuts} cuts");
}

#[test]
fn an_install_on_a_failing_disk_can_be_repeated() {
    for fault in [Fault::Eio, Fault::Enospc] {
        let faults = install_case(fault, 0..1);
        assert!(faults > 20, "{faults} faults");
    }
}

#[test]
fn unverified_reads_are_still_verified_while_the_file_may_be_torn() {
    let history = &*HISTORY;
    let prepare = || {
        let store = open(Path::new(DIR));
        follow_all(&store, &history.records[..2]);
        checkpoint_at(&store, 2).unwrap();
    };
    let work = |(): &mut ()| {
        let (store, _) = open_again();
        follow_all(&store, &history.records[2..4]);
        checkpoint_at(&store, 4).unwrap();
    };
    every_cut::<()>(0..2, prepare, work, |(), _| {
        let options = PageStoreOptions { verify_reads: VerifyReads::Off, ..PageStoreOptions::default() };
        let (store, meta) = PageStore::open(Path::new(DIR), options).unwrap();
        history.check(&store.pin_committed(), meta.map_or(0, |meta| position(&meta.extra)));
    });
}
