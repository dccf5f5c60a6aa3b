//! The log on a simulated disk: a reference model beside it, a power cut at each operation, full and failing disks, rot.

use super::{Log, NewEntry, Record, Tail, Vote, decode_segment};
use crate::{HostConfig, LogLimits, LogPos, OnCorruption, OpenError, Payload};
use base::{GroupId, LogIndex, NodeId, Term};
use bytes::Bytes;
use proptest::prelude::*;
use rt::sim::{Disk, Fault, block_on, every_cut, every_fault, run_blocking};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

const A: GroupId = GroupId(7);
const B: GroupId = GroupId(8);

fn config() -> HostConfig {
    let limits =
        LogLimits { segment_bytes: 2048, soft_bytes: 4096, hard_bytes: 1 << 20, cache_bytes: 300, keep_bytes: 0 };
    HostConfig { limits, ..HostConfig::new(NodeId(1), "/log") }
}

fn pos(term: u64, index: u64) -> LogPos {
    LogPos { term: Term(term), node: NodeId(1), index: LogIndex(index) }
}

fn entry(term: u64, index: u64, len: usize) -> NewEntry {
    let byte = u8::try_from((term * 31 + index) % 251).unwrap();
    NewEntry { pos: pos(term, index), payload: Payload::App(Bytes::from(vec![byte; len])) }
}

/// What was acknowledged, and what may be there besides.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
struct Model {
    votes: BTreeMap<GroupId, u64>,
    purged: BTreeMap<GroupId, u64>,
    entries: BTreeMap<GroupId, BTreeMap<u64, NewEntry>>,
}

#[derive(Default)]
struct Note {
    /// After each acknowledgement.
    acked: Model,
    /// What the log may hold at most: what was asked for.
    asked: Vec<Model>,
}

struct Bench<'a> {
    log: Log,
    now: Model,
    note: &'a mut Note,
}

impl Bench<'_> {
    fn ack(&mut self) {
        self.note.asked.push(self.now.clone());
        self.log.flush_now().unwrap();
        self.note.acked = self.now.clone();
    }

    fn append(&mut self, group: GroupId, term: u64, from: u64, count: u64, len: usize) {
        let entries: Vec<_> = (from..from + count).map(|i| entry(term, i, len)).collect();
        let mine = self.now.entries.entry(group).or_default();
        mine.retain(|i, _| *i < from);
        mine.extend(entries.iter().map(|e| (e.pos.index.0, e.clone())));
        self.log.append(group, entries, Box::new(|_| ())).unwrap();
    }

    fn vote(&mut self, group: GroupId, term: u64) {
        self.now.votes.insert(group, term);
        let vote = Vote { term: Term(term), node: NodeId(2), committed: false };
        self.log.save_vote(group, vote, Box::new(|_| ()));
    }

    fn purge(&mut self, group: GroupId, term: u64, upto: u64) {
        self.now.purged.insert(group, upto);
        if let Some(entries) = self.now.entries.get_mut(&group) {
            entries.retain(|i, _| *i > upto);
        }
        self.log.purge(group, pos(term, upto));
    }

    fn truncate(&mut self, group: GroupId, after: LogPos) {
        if let Some(entries) = self.now.entries.get_mut(&group) {
            entries.retain(|i, _| *i <= after.index.0);
        }
        self.log.truncate(group, Some(after));
    }
}

fn model_of(log: &Log) -> Model {
    let mut model = Model::default();
    for group in log.groups() {
        let head = log.head(group);
        if let Some(vote) = head.vote {
            model.votes.insert(group, vote.term.0);
        }
        if let Some(purged) = head.purged {
            model.purged.insert(group, purged.index.0);
        }
        let entries = log.read_now(group, 0, u64::MAX).unwrap();
        assert_eq!(entries.last().map(|e| e.pos).or(head.purged), head.last);
        model.entries.insert(group, entries.into_iter().map(|e| (e.pos.index.0, e)).collect());
    }
    model.entries.retain(|_, entries| !entries.is_empty());
    model
}

/// A life of two groups over a dozen small segments.
fn live(note: &mut Note) {
    let log = Log::open(&config()).unwrap();
    let mut t = Bench { log, now: Model::default(), note };
    t.vote(A, 1);
    t.ack();
    t.append(A, 1, 0, 3, 100);
    t.append(B, 1, 0, 1, 50);
    t.ack();
    for i in 0..10 {
        t.append(A, 1, 3 + i, 1, 200);
        t.ack();
        t.log.housekeep();
    }
    t.vote(B, 4);
    t.truncate(A, pos(1, 9));
    t.append(A, 2, 10, 2, 300);
    t.ack();
    t.purge(A, 1, 8);
    t.ack();
    t.log.housekeep();
    t.append(B, 4, 1, 6, 400);
    t.ack();
    t.append(A, 2, 12, 1, 5000);
    t.ack();
    t.purge(B, 4, 5);
    t.purge(A, 2, 12);
    t.ack();
    t.log.housekeep();
    for i in 0..6 {
        t.append(A, 3, 13 + i, 1, 700);
        t.vote(A, 5 + i);
        t.ack();
        t.log.housekeep();
    }
}

fn holds_what_was_acknowledged(note: &Note) {
    let log = Log::open(&config()).expect("the log opens after a power cut");
    let found = model_of(&log);
    drop(log);
    // Either just what was acknowledged last, or that with some of what was asked for after it.
    let last = note.asked.last().cloned().unwrap_or_default();
    for (group, term) in &note.acked.votes {
        assert!(found.votes.get(group) >= Some(term), "vote of {group} lost: {found:?}");
    }
    for (group, upto) in &note.acked.purged {
        assert!(found.purged.get(group) >= Some(upto), "purge of {group} lost");
    }
    for (group, entries) in &note.acked.entries {
        let mine = found.entries.get(group);
        for (index, entry) in entries {
            let is_purged = found.purged.get(group).is_some_and(|p| p >= index);
            // The operation under way may have replaced it.
            let is_replaced = last.entries.get(group).and_then(|e| e.get(index)) != Some(entry);
            let is_there = mine.and_then(|m| m.get(index)) == Some(entry);
            assert!(is_there || is_purged || is_replaced, "entry {index} of {group} lost");
        }
    }
    for (group, entries) in &found.entries {
        for (index, entry) in entries {
            let was_asked =
                [&note.acked, &last].iter().any(|m| m.entries.get(group).and_then(|e| e.get(index)) == Some(entry));
            assert!(was_asked, "entry {index} of {group} came from nowhere");
        }
    }
    // And it goes on, and what it says is the same the next time.
    let log = Log::open(&config()).expect("the log opens again");
    assert_eq!(model_of(&log), found);
    let next = log.head(A).last.map_or(0, |p| p.index.0 + 1);
    log.append(A, vec![entry(90, next, 600)], Box::new(|_| ())).unwrap();
    log.flush_now().expect("the log can be written again");
    let after = model_of(&log);
    drop(log);
    assert_eq!(model_of(&Log::open(&config()).expect("and opens once more")), after);
}

#[test]
fn nothing_acknowledged_is_lost_by_a_power_cut_at_any_operation() {
    let cuts = every_cut(0..12, || (), live, |note: &Note, _| holds_what_was_acknowledged(note));
    assert!(cuts > 1000, "only {cuts} cuts");
}

#[test]
fn nothing_acknowledged_is_lost_when_any_operation_fails_and_the_power_goes_later() {
    for fault in [Fault::Eio, Fault::Enospc] {
        every_fault(0..6, fault, || (), live, |note: &Note, _| holds_what_was_acknowledged(note));
    }
}

/// Goes on after errors, as the host does.
fn live_stubbornly(note: &mut Note) {
    let log = loop {
        if let Ok(log) = Log::open(&config()) {
            break log;
        }
    };
    let mut t = Bench { log, now: Model::default(), note };
    for i in 0..14 {
        t.append(A, 1, i, 1, 150);
        t.vote(B, i);
        t.note.asked.push(t.now.clone());
        // Three attempts: one fault cannot fail more.
        let heard = Arc::new(Mutex::new(None));
        let hear = Arc::clone(&heard);
        t.log.append(B, vec![], Box::new(move |r| *hear.lock().unwrap() = Some(r.is_ok()))).unwrap();
        let ok = (0..3).any(|_| t.log.flush_now().is_ok());
        assert!(ok || t.log.failure().borrow().is_some());
        if ok {
            t.note.acked = t.now.clone();
            assert!(t.log.failure().borrow().is_none());
        }
        if i % 5 == 4 {
            t.purge(A, 1, i - 1);
        }
        t.log.housekeep();
        assert_eq!(model_of(&t.log).entries.get(&A), t.now.entries.get(&A));
    }
}

#[test]
fn after_an_error_the_log_goes_on_in_another_segment_and_still_loses_nothing() {
    for fault in [Fault::Eio, Fault::Enospc] {
        every_fault(0..6, fault, || (), live_stubbornly, |note: &Note, _| holds_what_was_acknowledged(note));
    }
}

#[test]
fn those_who_wait_hear_of_the_error_once_and_what_they_waited_for_is_written_later() {
    let disk = Disk::new(1);
    run_blocking(1, &disk, || {
        let log = Log::open(&config()).unwrap();
        let heard: Arc<Mutex<Vec<bool>>> = Arc::default();
        let hear = Arc::clone(&heard);
        disk.fail_at(disk.operations() + 1, Fault::Eio);
        log.append(A, vec![entry(1, 0, 10)], Box::new(move |r| hear.lock().unwrap().push(r.is_ok()))).unwrap();
        log.flush_now().unwrap_err();
        assert_eq!(*heard.lock().unwrap(), [false]);
        assert!(log.failure().borrow().is_some());
        log.flush_now().unwrap();
        assert!(log.failure().borrow().is_none());
        assert_eq!(*heard.lock().unwrap(), [false]);
    });
    disk.power_cut();
    disk.power_on();
    run_blocking(2, &disk, || {
        let log = Log::open(&config()).unwrap();
        assert_eq!(log.read_now(A, 0, 9).unwrap(), [entry(1, 0, 10)]);
    });
}

fn segment_files(disk: &Disk) -> Vec<(PathBuf, u64)> {
    disk.files().into_iter().filter(|(path, _)| path.extension().is_some_and(|e| e == "log")).collect()
}

/// A log of two acknowledged writes in its segment, then one bit flipped at `offset`.
fn rotten(offset: u64) -> Disk {
    let disk = Disk::new(3);
    run_blocking(3, &disk, || {
        let log = Log::open(&config()).unwrap();
        for i in 0..3 {
            log.append(A, vec![entry(1, i, 100)], Box::new(|_| ())).unwrap();
            log.save_vote(B, Vote { term: Term(i), node: NodeId(2), committed: true }, Box::new(|_| ()));
            log.flush_now().unwrap();
        }
    });
    let (path, _) = segment_files(&disk).remove(0);
    assert!(disk.rot(&path, offset, 3));
    disk.process_died();
    disk
}

#[test]
fn damage_in_the_middle_is_refused_with_its_place() {
    for offset in [0, 9, 40, 66, 130, 200] {
        let disk = rotten(offset);
        let error = run_blocking(4, &disk, || Log::open(&config()).unwrap_err());
        let OpenError::Corrupt { segment, offset: at, .. } = error else { panic!("{error}") };
        assert_eq!(segment, Path::new("/log/0000000000000001.log"));
        assert!(at <= offset, "damage at {offset} reported at {at}");
    }
}

#[test]
fn repair_keeps_what_is_whole_and_takes_the_vote_from_every_group() {
    for offset in [9, 130, 260] {
        let disk = rotten(offset);
        run_blocking(5, &disk, || {
            let repair = HostConfig { on_corruption: OnCorruption::Repair, ..config() };
            let log = Log::open(&repair).unwrap();
            assert_eq!(log.quarantined(), [A, B].into());
            let kept = log.read_now(A, 0, 9).unwrap();
            assert_eq!(kept, (0..kept.len() as u64).map(|i| entry(1, i, 100)).collect::<Vec<_>>());
            assert!(kept.len() < 3);
            drop(log);
            // The next start needs no repair, and the groups are still marked.
            let log = Log::open(&config()).unwrap();
            assert_eq!(log.quarantined(), [A, B].into());
            log.set_quarantined(A, false, Box::new(|_| ()));
            log.flush_now().unwrap();
            drop(log);
            assert_eq!(Log::open(&config()).unwrap().quarantined(), [B].into());
        });
    }
}

/// Three full segments, of which the first is not needed any more but still there; one bit is flipped in `which`.
fn rotten_behind_a_purge(which: &str) -> Disk {
    let disk = Disk::new(4);
    run_blocking(4, &disk, || {
        let log = Log::open(&config()).unwrap();
        for i in 0..20 {
            log.append(A, vec![entry(1, i, 300)], Box::new(|_| ())).unwrap();
            log.flush_now().unwrap();
        }
        log.purge(A, pos(1, 8));
        log.flush_now().unwrap();
    });
    assert!(disk.rot(Path::new(which), 300, 3));
    disk.process_died();
    disk
}

#[test]
fn damage_in_a_segment_that_nobody_needs_is_no_damage() {
    let disk = rotten_behind_a_purge("/log/0000000000000001.log");
    run_blocking(5, &disk, || {
        let log = Log::open(&config()).unwrap();
        assert_eq!((log.head(A).purged, log.quarantined()), (Some(pos(1, 8)), [].into()));
        assert_eq!(log.read_now(A, 9, 99).unwrap(), (9..20).map(|i| entry(1, i, 300)).collect::<Vec<_>>());
    });
    assert!(disk.files().iter().all(|(path, _)| path != Path::new("/log/0000000000000001.log")));
    let disk = rotten_behind_a_purge("/log/0000000000000003.log");
    let error = run_blocking(5, &disk, || Log::open(&config()).unwrap_err());
    assert!(matches!(error, OpenError::Corrupt { .. }), "{error}");
}

#[test]
fn an_entry_that_is_not_read_as_it_was_written_is_noted_and_its_segment_goes() {
    let disk = Disk::new(5);
    run_blocking(5, &disk, || {
        let log = Log::open(&config()).unwrap();
        for i in 0..20 {
            log.append(A, vec![entry(1, i, 300)], Box::new(|_| ())).unwrap();
            log.flush_now().unwrap();
        }
        assert!(disk.rot(Path::new("/log/0000000000000001.log"), 300, 3));
        let read = block_on(log.read(A, 0, 99, usize::MAX));
        assert_eq!(read.unwrap_err().kind(), std::io::ErrorKind::InvalidData);
        let usage = log.usage().borrow().clone();
        assert!(usage.is_damaged && usage.oldest == [A], "{usage:?}");
        let damaged = log.take_damaged(A).unwrap();
        assert_eq!(log.take_damaged(A), None);
        log.purge(A, damaged.max(log.last_in_oldest(A).map(|last| pos(1, last.0)).unwrap()));
        log.flush_now().unwrap();
        log.housekeep();
        assert!(!log.usage().borrow().is_damaged);
        assert!(!rt::fs::exists(Path::new("/log/0000000000000001.log")));
    });
}

#[test]
fn a_process_that_was_killed_leaves_a_log_that_opens_and_locks_out_a_second_one() {
    let disk = Disk::new(6);
    run_blocking(6, &disk, || {
        let log = Log::open(&config()).unwrap();
        assert!(matches!(Log::open(&config()), Err(OpenError::InUse { .. })));
        log.append(A, vec![entry(1, 0, 10)], Box::new(|_| ())).unwrap();
        log.flush_now().unwrap();
        std::mem::drop(log);
    });
    disk.process_died();
    run_blocking(7, &disk, || assert_eq!(Log::open(&config()).unwrap().read_now(A, 0, 9).unwrap().len(), 1));
}

#[test]
fn a_dropped_group_is_gone_with_its_vote() {
    let disk = Disk::new(8);
    run_blocking(8, &disk, || {
        let log = Log::open(&config()).unwrap();
        log.append(A, vec![entry(1, 0, 10)], Box::new(|_| ())).unwrap();
        log.save_vote(A, Vote { term: Term(1), node: NodeId(2), committed: true }, Box::new(|_| ()));
        log.append(B, vec![entry(1, 0, 10)], Box::new(|_| ())).unwrap();
        log.drop_group(A, Box::new(|_| ()));
        log.flush_now().unwrap();
        drop(log);
        let log = Log::open(&config()).unwrap();
        assert_eq!(log.groups(), [B]);
        assert_eq!(log.head(A).vote, None);
    });
}

#[test]
fn segments_that_nobody_needs_go_and_the_disk_stays_small() {
    let disk = Disk::new(9);
    run_blocking(9, &disk, || {
        let log = Log::open(&config()).unwrap();
        for i in 0..200 {
            log.append(A, vec![entry(1, i, 300)], Box::new(|_| ())).unwrap();
            log.flush_now().unwrap();
            if i % 4 == 3 {
                log.purge(A, pos(1, i - 1));
                log.flush_now().unwrap();
            }
            log.housekeep();
            assert!(log.stats().bytes <= 5 * 2048, "{} bytes", log.stats().bytes);
        }
    });
    assert!(segment_files(&disk).len() <= 5);
}

#[test]
fn what_is_freed_while_housekeeping_runs_goes_although_no_write_follows() {
    // The purge comes at another moment of the housekeeping each time, and is the last write.
    for after_us in (0..4000).step_by(50) {
        let disk = Disk::new(after_us);
        run_blocking(after_us, &disk, || {
            let log = Log::open(&config()).unwrap();
            block_on(async {
                let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
                let task = rt::task::spawn("log", log.clone().run(async move { drop(stopped.await) }));
                for i in 0..40 {
                    let (done, passed) = tokio::sync::oneshot::channel();
                    log.append(A, vec![entry(1, i, 300)], Box::new(move |r| drop(done.send(r)))).unwrap();
                    passed.await.unwrap().unwrap();
                }
                log.purge(A, pos(1, 20));
                rt::time::sleep(Duration::from_micros(after_us)).await;
                log.purge(A, pos(1, 39));
                rt::time::sleep(Duration::from_secs(1)).await;
                assert!(
                    log.stats().bytes <= 2 * 2048,
                    "{} bytes stay, the purge came after {after_us} us",
                    log.stats().bytes
                );
                drop(stop);
                task.await.unwrap();
            });
        });
    }
}

#[test]
fn the_group_that_holds_the_oldest_segment_is_named() {
    let disk = Disk::new(10);
    run_blocking(10, &disk, || {
        let log = Log::open(&config()).unwrap();
        log.append(B, vec![entry(1, 0, 10)], Box::new(|_| ())).unwrap();
        for i in 0..20 {
            log.append(A, vec![entry(1, i, 300)], Box::new(|_| ())).unwrap();
            log.flush_now().unwrap();
            log.purge(A, pos(1, i));
        }
        log.flush_now().unwrap();
        assert_eq!(log.usage().borrow().oldest, [B]);
        log.purge(B, pos(1, 0));
        log.flush_now().unwrap();
        log.housekeep();
        assert_eq!(log.usage().borrow().oldest, []);
    });
}

fn a_segment() -> Vec<u8> {
    let disk = Disk::new(11);
    run_blocking(11, &disk, || {
        let log = Log::open(&config()).unwrap();
        for i in 0..4 {
            log.append(A, vec![entry(1, i, 40), entry(1, i + 1, 3)], Box::new(|_| ())).unwrap();
            log.save_vote(B, Vote { term: Term(i), node: NodeId(2), committed: true }, Box::new(|_| ()));
            log.committed(A, pos(1, i));
            log.purge(B, pos(1, i));
            log.flush_now().unwrap();
        }
        rt::fs::read(Path::new("/log/0000000000000001.log")).unwrap()
    })
}

proptest! {
    #[test]
    fn decoding_any_bytes_ends_and_invents_nothing(bytes: Vec<u8>, number: u64) {
        let decoded = decode_segment(number, &bytes);
        prop_assert!(decoded.end <= bytes.len() + 7);
    }

    #[test]
    fn a_changed_segment_gives_a_prefix_of_what_was_written(at in 0..2048usize, bit in 0..8u8) {
        let whole = a_segment();
        let good = decode_segment(1, &whole);
        let mut bytes = whole;
        bytes[at] ^= 1 << bit;
        let decoded = decode_segment(1, &bytes);
        prop_assert!(decoded.records.len() <= good.records.len());
        for (found, was) in decoded.records.iter().zip(&good.records) {
            prop_assert_eq!(found, was);
        }
        let last_batch = good.records.last().unwrap().batch;
        if decoded.end < good.end && decoded.end < last_batch {
            let is_damaged = matches!(decoded.tail, Tail::Damaged { .. });
            prop_assert!(is_damaged, "a change at {} looks like a torn write", at);
        }
        prop_assert!(matches!(good.records[0].record, Record::Segment(_)));
    }
}
