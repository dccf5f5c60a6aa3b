//! Versions, records, leadership.

use crate::kit::{TERM, assert_whole, commit, connect, fill, follow, insert, integer, leader, open, writer};
use base::{PageNo, Term, Version};
use sqlite::{Applied, PAGE_SIZE, ReadError, Record, SqlError};

#[test]
fn readers_see_what_is_committed_and_the_writer_sees_the_head() {
    let (_dir, store) = leader();
    let mut db = fill(&store, 1);
    let mut other = connect(&store);
    assert_eq!(store.committed(), Version(0));
    assert!(other.query("SELECT * FROM t", &[]).is_err(), "nothing is committed yet");
    commit(&store);
    assert_eq!(integer(&mut other, "SELECT count(*) FROM t"), 1);
    let first = store.committed();
    other.execute("BEGIN").unwrap();
    assert_eq!(integer(&mut other, "SELECT count(*) FROM t"), 1);
    for id in 2..5 {
        insert(&mut db, id);
        assert_eq!(db.take_commit(), Some(Version(first.0 + u64::try_from(id).unwrap() - 1)));
        assert_eq!(db.take_commit(), None);
    }
    assert_eq!(integer(&mut db, "SELECT count(*) FROM t"), 4);
    assert_eq!(db.seen(), Version(first.0 + 3));
    commit(&store);
    assert_eq!(integer(&mut other, "SELECT count(*) FROM t"), 1, "a transaction stays on its version");
    other.execute("COMMIT").unwrap();
    assert_eq!(integer(&mut other, "SELECT count(*) FROM t"), 4);
    drop((db, other));
    assert_eq!((store.stats().pins, store.stats().old_versions_bytes), (0, 0), "nothing is kept for nobody");
}

#[test]
fn commits_that_wait_become_one_record_with_each_page_once() {
    let (_dir, store) = leader();
    let mut db = fill(&store, 1);
    commit(&store);
    let base = store.committed();
    (2..12).for_each(|id| insert(&mut db, id));
    let record = store.next_record().unwrap();
    assert_eq!((record.base, record.version), (base, Version(base.0 + 10)));
    assert_eq!(record.pages.len(), 1, "ten rows went to one page, and page 1 is not among them");
    assert_eq!(store.next_record(), None);

    insert(&mut db, 12);
    let second = store.next_record().unwrap();
    assert_eq!(second.base, record.version, "a record may be made while another is in flight");
    assert_eq!(store.apply(&second, TERM), Applied::Void, "but not be applied before it");
    assert_eq!(store.apply(&record, Term(2)), Applied::Void, "nor in another term than it was made in");
    assert_eq!(store.apply(&record, TERM), Applied::Confirmed(record.version));
    assert_eq!(store.apply(&second, TERM), Applied::Confirmed(second.version));
    assert_eq!(store.apply(&second, TERM), Applied::Void, "nor twice");
}

#[test]
fn followers_come_to_the_same_pages() {
    let (_dir, store) = leader();
    let followed_dir = tempfile::tempdir().unwrap();
    let followed = open(followed_dir.path());
    let mut db = fill(&store, 300);
    for sql in [
        "DELETE FROM t WHERE id % 3 = 0",
        "UPDATE t SET v = id",
        "CREATE INDEX i ON t(v)",
        "DROP INDEX i; VACUUM",
        "INSERT INTO t SELECT id + 1000, hex(zeroblob(300)) FROM t",
        "DELETE FROM t; VACUUM; INSERT INTO t VALUES(1, hex(zeroblob(9000)))",
    ] {
        db.execute(sql).unwrap();
        let bytes = commit(&store).unwrap();
        follow(&followed, &bytes);
        let (ours, theirs) = (store.pin_committed(), followed.pin_committed());
        assert_eq!((ours.version(), ours.pages()), (theirs.version(), theirs.pages()));
        assert_eq!(ours.database_hash(), theirs.database_hash(), "{sql}");
    }
    db.execute("UPDATE t SET v = v").unwrap();
    assert_eq!(commit(&store), None, "what changes nothing is not replicated");
    assert_whole(&followed);
    assert_eq!(integer(&mut connect(&followed), "SELECT length(v) FROM t"), 18_000);
}

#[test]
fn losing_leadership_drops_the_tail_and_those_who_saw_it() {
    let (_dir, store) = leader();
    let mut db = fill(&store, 1);
    commit(&store);
    let mut bystander = connect(&store);
    let committed = store.committed();
    let count = "SELECT count(*) FROM t";
    assert_eq!(integer(&mut bystander, count), 1);
    insert(&mut db, 2);
    let in_flight = store.next_record().unwrap();
    insert(&mut db, 3);
    let resigned = store.resign();
    assert_eq!((resigned.committed, resigned.dropped, resigned.poisoned), (committed, 2, 1));
    assert_eq!(store.head(), committed);
    assert!(db.poisoned());
    assert_eq!(db.query(count, &[]).unwrap_err(), SqlError::LeadershipLost);
    assert_eq!(db.execute("COMMIT").unwrap_err().extended(), 10506);
    assert_eq!(integer(&mut bystander, count), 1);

    // The record in flight may still come back from the log.
    assert_eq!(store.apply(&in_flight, TERM), Applied::Done(in_flight.version));
    assert_eq!(integer(&mut bystander, count), 2);
    store.lead(Term(5));
    let mut next = writer(&store);
    insert(&mut next, 9);
    assert_eq!(store.next_record().unwrap().term, Term(5));
    assert_whole(&store);
}

#[test]
fn a_dropped_version_is_never_taken_for_another_of_the_same_number() {
    let (_dir, store) = leader();
    let other_dir = tempfile::tempdir().unwrap();
    let other = open(other_dir.path());
    let mut db = fill(&store, 1);
    follow(&other, &commit(&store).unwrap());
    let mut reads = connect(&store);
    reads.grant_write();
    insert(&mut db, 2);
    assert_eq!(integer(&mut reads, "SELECT sum(id) FROM t"), 3, "a granted connection reads the head");
    store.resign();
    // Another leader makes a version of the same number, with other contents.
    other.lead(Term(2));
    let mut there = writer(&other);
    insert(&mut there, 70);
    let bytes = commit(&other).unwrap();
    assert_eq!(follow(&store, &bytes), reads.seen());
    assert_eq!(reads.query("SELECT sum(id) FROM t", &[]).unwrap_err(), SqlError::LeadershipLost);
    assert_eq!(integer(&mut connect(&store), "SELECT sum(id) FROM t"), 71);
}

#[test]
fn a_transaction_open_while_leadership_goes_and_comes_back_cannot_commit() {
    let (_dir, store) = leader();
    let mut db = fill(&store, 1);
    commit(&store);
    db.execute("BEGIN; INSERT INTO t VALUES(2, 'x')").unwrap();
    store.resign();
    store.lead(Term(3));
    assert_eq!(db.execute("COMMIT").unwrap_err(), SqlError::LeadershipLost);
    assert!(db.poisoned());
    assert_eq!(integer(&mut connect(&store), "SELECT count(*) FROM t"), 1);
    let mut next = writer(&store);
    insert(&mut next, 2);
    commit(&store).unwrap();
}

#[test]
fn a_reader_past_the_limit_loses_its_version_and_says_so() {
    let dir = tempfile::tempdir().unwrap();
    let options = sqlite::PageStoreOptions { old_versions_bytes_max: 20 * 4096, ..sqlite::PageStoreOptions::default() };
    let (store, _) = sqlite::PageStore::open(dir.path(), options).unwrap();
    store.lead(TERM);
    let mut db = fill(&store, 2_000);
    commit(&store);
    let mut slow = connect(&store);
    slow.execute("BEGIN").unwrap();
    assert_eq!(integer(&mut slow, "SELECT count(*) FROM t WHERE id < 10"), 9);
    let view = store.pin_committed();
    db.execute("UPDATE t SET v = 'new'").unwrap();
    commit(&store);
    assert_eq!(slow.query("SELECT count(*) FROM t WHERE v > ''", &[]).unwrap_err(), SqlError::ReaderTooOld);
    assert_eq!(view.read(PageNo(2), &mut [0; PAGE_SIZE]), Err(ReadError::TooOld));
    assert!(!slow.in_transaction(), "SQLite has rolled it back");
    assert_eq!(integer(&mut slow, "SELECT count(*) FROM t WHERE v = 'new'"), 2_000);
    assert_eq!(store.stats().old_versions_bytes, 0);
}

#[test]
fn a_record_carries_what_the_layer_above_adds() {
    let (_dir, store) = leader();
    fill(&store, 1);
    let mut record = store.next_record().unwrap();
    record.extra = bytes::Bytes::from_static(b"answers");
    let bytes = record.encode();
    assert_eq!(Record::decode(&bytes).unwrap(), record);
    let (applied, extra) = store.apply_encoded(&bytes, TERM).unwrap();
    assert_eq!((applied, extra.as_ref()), (Applied::Confirmed(record.version), b"answers".as_slice()));
}
