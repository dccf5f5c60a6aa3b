//! The segmented log: every group's entries and votes of one node, in one stream of records, with one sync for all that is
//! pending.
//!
//! ```text
//!   groups --append, vote, purge--> queue (memory) --all that is pending--> one write, one sync --> those who wait
//!
//!   0000000000000007.log  0000000000000008.log  0000000000000009.log   000000000000000a.log
//!   [head|rec|rec|rec...] [head|rec|rec|rec...] [head|rec|rec|  free ] [    prepared       ]
//!    oldest: goes when                           current
//!    nobody needs it
//! ```
//!
//! A segment starts with a record that tells every group's vote and positions, so that nothing before the oldest needed segment
//! is needed. Files are preallocated and used again under a new number, which is part of every checksum. The layout is in
//! docs/formats/raft-log.md, the reasons are in ADR-2.

mod files;
mod memory;
mod record;
mod replay;
mod segment;
mod shared;
#[cfg(test)]
mod tests;
mod writer;

pub use record::{Found, Head, Record, Segment, Vote, encode_segment};
pub use segment::{Decoded, Tail, decode_segment};
pub use shared::LogStats;
pub(crate) use shared::{Done, NewEntry, Usage};

use crate::{HostConfig, LogLimits, LogPos, OpenError};
use base::{GroupId, LogIndex};
use memory::Place;
use rt::fs::{self, File};
use rt::sync::watch;
use shared::{Dead, Read, Shared};
use std::collections::BTreeSet;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use writer::{Current, Writer};

/// How often a log that cannot be written is tried again.
const PROBE_EVERY: Duration = Duration::from_millis(500);

/// The log of a node. Clones are the same log. Whoever opened it drives it with [`run`](Self::run).
#[derive(Clone)]
pub(crate) struct Log(Arc<Inner>);

struct Inner {
    shared: Shared,
    /// Held while something is written; never waited for on an async thread.
    writer: Mutex<Writer>,
    limits: LogLimits,
    /// Holds the directory for this process.
    _lock: File,
}

impl Log {
    /// Opens the log, reads all of it, and makes sure that what was read is durable. Blocks.
    pub(crate) fn open(config: &HostConfig) -> Result<Self, OpenError> {
        let dir = &config.dir;
        let io = |error| OpenError::Io { path: dir.clone(), error };
        fs::create_dir_all(dir).map_err(io)?;
        let lock = File::create(&dir.join("lock")).map_err(io)?;
        lock.try_lock().map_err(|error| match error.kind() {
            io::ErrorKind::WouldBlock => OpenError::InUse { path: dir.clone() },
            _ => io(error),
        })?;
        let replayed = replay::replay(dir, config.on_corruption)?;
        let shared = Shared::new(config.limits.cache_bytes);
        for (number, file, capacity) in &replayed.segments {
            shared.opened(*number, Arc::clone(file), *capacity);
        }
        shared.restore(replayed.groups, replayed.next_number);
        let segment_bytes = usize::try_from(config.limits.segment_bytes).unwrap_or(usize::MAX);
        let is_new = replayed.current.is_none();
        let current = match replayed.current {
            Some(current) => current,
            None => first_segment(config, &shared, segment_bytes).map_err(io)?,
        };
        let anchor = if is_new { (0, 0) } else { (current.number, current.end) };
        let mut writer = Writer {
            dir: dir.clone(),
            node: config.node,
            segment_bytes,
            current,
            anchor,
            heads: replayed.heads,
            unsynced: std::collections::VecDeque::new(),
            // The first record of a new log, and what a repair made of the old one, are written before anything else.
            is_broken: replayed.repaired.is_some(),
            buffer: Vec::new(),
        };
        if replayed.repaired.is_some() || is_new {
            writer.start(&shared).map_err(io)?;
        }
        Ok(Self(Arc::new(Inner { shared, writer: Mutex::new(writer), limits: config.limits, _lock: lock })))
    }

    /// Writes what is pending until `end` is done, and once more then. The one writer of the log: it blocks its thread while
    /// it writes, and so runs on one of its own (see [`rt::blocking::on_own_thread`]).
    pub(crate) async fn run(self, end: impl Future<Output = ()>) {
        let mut end = std::pin::pin!(end);
        let mut housekeeping: Option<rt::task::Task<bool>> = None;
        loop {
            let (is_last, may_housekeep) = tokio::select! {
                biased;
                () = self.0.shared.wake.notified() => (false, true),
                // What was freed while it ran is looked at now: if all proposals wait for room, no write will come.
                did_something = finished(&mut housekeeping) => (false, did_something),
                () = &mut end => (true, false),
            };
            let result = rt::blocking::in_place(|| self.flush_now()).await;
            if is_last {
                break;
            }
            if let Err(error) = result {
                tracing::warn!(%error, "the Raft log cannot be written; trying again");
                tokio::select! {
                    biased;
                    () = &mut end => break,
                    () = rt::time::sleep(PROBE_EVERY) => {}
                }
                self.0.shared.wake.notify_one();
            } else if may_housekeep && housekeeping.is_none() && self.wants_housekeeping() {
                let log = self.clone();
                // Beside the writes, not before them; it ends by itself and is waited for below.
                housekeeping = Some(rt::task::spawn("raft log housekeeping", async move {
                    rt::blocking::run(move || log.housekeep()).await.unwrap_or(false)
                }));
            }
        }
        if let Some(task) = housekeeping {
            drop(task.await);
        }
    }

    /// Writes all that is pending. Blocks.
    pub(crate) fn flush_now(&self) -> io::Result<()> {
        self.0.writer.lock().unwrap_or_else(PoisonError::into_inner).flush(&self.0.shared)
    }

    fn wants_housekeeping(&self) -> bool {
        self.0.shared.wants_housekeeping()
    }

    /// Prepares the segment after this one, from one that nobody needs if there is one, and removes the others. Says whether it
    /// changed anything. Blocks.
    pub(crate) fn housekeep(&self) -> bool {
        let shared = &self.0.shared;
        let (dir, segment_bytes, current) = {
            let writer = self.0.writer.lock().unwrap_or_else(PoisonError::into_inner);
            (writer.dir.clone(), writer.segment_bytes, writer.anchor.0)
        };
        let (mut is_removed, mut has_changed) = (false, false);
        for Dead { number, capacity, is_suspect } in shared.take_dead(current) {
            has_changed = true;
            let made = if shared.wants_prepared() && capacity == segment_bytes && !is_suspect {
                files::recycle(&dir, number, shared.next_number(), capacity).map(|p| shared.put_prepared(p))
            } else {
                is_removed = true;
                files::remove(&dir, number)
            };
            if let Err(error) = made {
                tracing::warn!(%error, number, "a segment of the Raft log that nobody needs stays");
            }
        }
        if is_removed && let Err(error) = fs::sync_dir(&dir) {
            tracing::warn!(%error, "removed segments of the Raft log may come back; they are removed again then");
        }
        if shared.wants_prepared() {
            match files::create(&dir, shared.next_number(), segment_bytes) {
                Ok(prepared) => {
                    shared.put_prepared(prepared);
                    has_changed = true;
                }
                // The writer tries again when it needs one, and says so if that fails as well.
                Err(error) => tracing::debug!(%error, "no segment of the Raft log could be prepared"),
            }
        }
        has_changed
    }

    // ---- what groups do ----

    /// Groups that the log knows.
    pub(crate) fn groups(&self) -> Vec<GroupId> {
        self.0.shared.groups()
    }

    /// Votes and positions of a group, including what is not durable yet.
    pub(crate) fn head(&self, group: GroupId) -> Head {
        self.0.shared.head(group)
    }

    /// Bytes of a group's entries.
    pub(crate) fn bytes_of(&self, group: GroupId) -> u64 {
        self.0.shared.bytes_of(group)
    }

    /// Appends entries; they can be read at once. `done` hears when they are durable.
    pub(crate) fn append(&self, group: GroupId, entries: Vec<NewEntry>, done: Done) -> io::Result<()> {
        self.0.shared.append(group, entries, done)
    }

    /// Saves a vote. `done` hears when it is durable: no sooner may it be answered.
    pub(crate) fn save_vote(&self, group: GroupId, vote: Vote, done: Done) {
        self.0.shared.save_vote(group, vote, done);
    }

    /// Waits until everything of the group that was asked for before is durable.
    pub(crate) async fn barrier(&self, group: GroupId) -> io::Result<()> {
        let (done, passed) = tokio::sync::oneshot::channel();
        self.0.shared.barrier(group, Box::new(move |result| drop(done.send(result))));
        passed.await.unwrap_or_else(|_| Err(io::Error::other("the log has stopped")))
    }

    /// Marks a group as damaged or whole.
    pub(crate) fn set_quarantined(&self, group: GroupId, on: bool, done: Done) {
        self.0.shared.set_quarantined(group, on, done);
    }

    /// Removes the entries after `after`.
    pub(crate) fn truncate(&self, group: GroupId, after: Option<LogPos>) {
        self.0.shared.truncate(group, after);
    }

    /// Removes the entries up to `upto`, which a durable checkpoint holds.
    pub(crate) fn purge(&self, group: GroupId, upto: LogPos) {
        self.0.shared.purge(group, upto);
    }

    /// Notes how far a group is committed; written along with the next write.
    pub(crate) fn committed(&self, group: GroupId, upto: LogPos) {
        self.0.shared.committed(group, upto);
    }

    /// Forgets a group and its vote.
    pub(crate) fn drop_group(&self, group: GroupId, done: Done) {
        self.0.shared.drop_group(group, done);
    }

    /// The last entry of each leader from `first` to `last`.
    pub(crate) fn leaders(&self, group: GroupId, first: u64, last: u64) -> Vec<LogPos> {
        self.0.shared.leaders(group, first, last)
    }

    /// The last entry of a group in the oldest segment of all, if it needs that.
    pub(crate) fn last_in_oldest(&self, group: GroupId) -> Option<LogIndex> {
        self.0.shared.last_in_oldest(group)
    }

    /// The newest entry at or below `upto` with more than `keep` bytes of entries from it to `upto`.
    pub(crate) fn index_before(&self, group: GroupId, upto: LogIndex, keep: u64) -> Option<LogIndex> {
        self.0.shared.index_before(group, upto, keep)
    }

    /// Reads entries from `start` to before `end`, as far as there are any; about `bytes_max` of them, at least one. Those in
    /// memory cost no thread switch.
    pub(crate) async fn read(
        &self,
        group: GroupId,
        start: u64,
        end: u64,
        bytes_max: usize,
    ) -> io::Result<Vec<NewEntry>> {
        let reads = self.0.shared.read(group, start, end, bytes_max);
        if reads.iter().all(|read| matches!(read, Read::Here(_))) {
            return collect(group, reads).map_err(|unread| unread.error);
        }
        let result = rt::blocking::run(move || collect(group, reads)).await.map_err(io::Error::other)?;
        match result {
            // It was purged and its file used again while it was read.
            Err(_) if self.head(group).purged.is_some_and(|p| p.index.0 >= start) => Ok(Vec::new()),
            Err(unread) => {
                if unread.error.kind() == io::ErrorKind::InvalidData {
                    self.0.shared.found_damage(group, unread.pos, unread.place.segment);
                }
                Err(unread.error)
            }
            Ok(entries) => Ok(entries),
        }
    }

    /// Like [`read`](Self::read), on a thread that may block.
    #[cfg(test)]
    pub(crate) fn read_now(&self, group: GroupId, start: u64, end: u64) -> io::Result<Vec<NewEntry>> {
        collect(group, self.0.shared.read(group, start, end, usize::MAX)).map_err(|unread| unread.error)
    }

    /// The newest entry of a group that is not on the disk any more as it was written, if one was found since this was last asked.
    pub(crate) fn take_damaged(&self, group: GroupId) -> Option<LogPos> {
        self.0.shared.take_damaged(group)
    }

    /// How full the log is, and who could make room.
    pub(crate) fn usage(&self) -> watch::Receiver<Usage> {
        self.0.shared.usage()
    }

    /// Whether proposals should wait for a checkpoint.
    pub(crate) fn is_over_limit(&self) -> bool {
        self.0.shared.bytes_used() > self.0.limits.hard_bytes
    }

    /// Why nothing can be written now; none if all is well.
    pub(crate) fn failure(&self) -> watch::Receiver<Option<Arc<str>>> {
        self.0.shared.failure()
    }

    /// See [`LogStats`].
    pub(crate) fn stats(&self) -> LogStats {
        self.0.shared.stats()
    }

    /// The limits it was opened with.
    pub(crate) fn limits(&self) -> &LogLimits {
        &self.0.limits
    }

    /// The groups that came back damaged.
    pub(crate) fn quarantined(&self) -> BTreeSet<GroupId> {
        self.groups().into_iter().filter(|g| self.head(*g).quarantined).collect()
    }
}

/// Waits for the end of the housekeeping under way and says whether it changed anything. Never ends if there is none.
async fn finished(housekeeping: &mut Option<rt::task::Task<bool>>) -> bool {
    let Some(task) = housekeeping else { return std::future::pending().await };
    let did_something = task.await.unwrap_or(false);
    *housekeeping = None;
    did_something
}

fn first_segment(config: &HostConfig, shared: &Shared, segment_bytes: usize) -> io::Result<Current> {
    let prepared = files::create(&config.dir, shared.next_number(), segment_bytes)?;
    let file = Arc::new(prepared.file);
    shared.opened(prepared.number, Arc::clone(&file), prepared.capacity);
    Ok(Current { number: prepared.number, file, capacity: prepared.capacity, end: 0, crc: 0 })
}

/// An entry that could not be read.
struct Unread {
    pos: LogPos,
    place: Place,
    error: io::Error,
}

fn collect(group: GroupId, reads: Vec<Read>) -> Result<Vec<NewEntry>, Unread> {
    reads
        .into_iter()
        .map(|read| match read {
            Read::Here(entry) => Ok(entry),
            Read::OnDisk { pos, place, file } => match writer::read_entry(&file, place, group, pos) {
                Ok(payload) => Ok(NewEntry { pos, payload }),
                Err(error) => Err(Unread { pos, place, error }),
            },
        })
        .collect()
}

impl std::fmt::Debug for Log {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Log({} bytes)", self.stats().bytes)
    }
}
