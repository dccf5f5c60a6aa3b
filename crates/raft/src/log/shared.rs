//! What the groups and the writer share: the queue, the entries in memory, which segment is needed by whom.

use super::files::Prepared;
use super::memory::{GroupLog, Place, Slot};
use super::record::{Head, Record, Vote, payload_bytes, size_of};
use crate::{LogPos, Payload};
use base::{GroupId, LogIndex};
use rt::fs::File;
use rt::sync::watch;
use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::Notify;

/// Told once a record is durable, or that it will not be for now.
pub(crate) type Done = Box<dyn FnOnce(io::Result<()>) + Send>;

/// An entry to append.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct NewEntry {
    pub(crate) pos: LogPos,
    pub(crate) payload: Payload,
}

/// A record on its way to the disk.
pub(super) struct Queued {
    pub(super) group: GroupId,
    pub(super) record: Record,
    /// Places that nobody needs once this is durable.
    pub(super) freed: Vec<Place>,
    pub(super) done: Option<Done>,
}

impl std::fmt::Debug for Queued {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Queued({}, {:?})", self.group, self.record)
    }
}

#[derive(Debug)]
struct SegmentInfo {
    file: Arc<File>,
    capacity: usize,
    /// Entries in it that are needed.
    live: u64,
    /// A write or sync of it failed, or what was read is not what was written: nobody knows what the disk will make of it, and it is
    /// not used again.
    is_suspect: bool,
    /// What was read is not what was written: it goes as soon as checkpoints have taken its place.
    is_damaged: bool,
}

#[derive(Debug, Default)]
struct State {
    groups: BTreeMap<GroupId, GroupLog>,
    queue: VecDeque<Queued>,
    /// Commit positions that go along with the next write.
    committed: BTreeMap<GroupId, LogPos>,
    segments: BTreeMap<u64, SegmentInfo>,
    prepared: Option<Prepared>,
    next_number: u64,
    /// Entries in memory that could be read from disk as well, oldest first.
    cached: VecDeque<(GroupId, LogPos, u64)>,
    /// The newest entry of each group that was not read as it was written, until somebody asks.
    damaged: BTreeMap<GroupId, LogPos>,
    cached_bytes: u64,
}

/// A segment that nobody needs.
#[derive(Debug)]
pub(super) struct Dead {
    pub(super) number: u64,
    pub(super) capacity: usize,
    pub(super) is_suspect: bool,
}

/// How full the log is.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Usage {
    /// Bytes of segments in use, the prepared one not counted.
    pub(crate) bytes: u64,
    /// The groups that need the oldest segment.
    pub(crate) oldest: Vec<GroupId>,
    /// Some segment is damaged.
    pub(crate) is_damaged: bool,
}

/// What the log of a node holds, and what its writer has done since it was opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct LogStats {
    /// Bytes on disk, preallocated segments included.
    pub bytes: u64,
    /// Bytes that were written.
    pub written_bytes: u64,
    /// How often the disk was told to keep what was written.
    pub syncs: u64,
    /// How long that took, taken together.
    pub sync_time: Duration,
}

pub(super) struct Shared {
    state: Mutex<State>,
    pub(super) wake: Notify,
    cache_bytes: u64,
    usage: watch::Sender<Usage>,
    failure: watch::Sender<Option<Arc<str>>>,
    written: Written,
}

/// What the writer has done since the log was opened.
#[derive(Debug, Default)]
struct Written {
    bytes: AtomicU64,
    syncs: AtomicU64,
    sync_nanos: AtomicU64,
}

/// One entry of a read: in memory, or where it is.
#[derive(Debug)]
pub(super) enum Read {
    Here(NewEntry),
    OnDisk { pos: LogPos, place: Place, file: Arc<File> },
}

impl Shared {
    pub(super) fn new(cache_bytes: u64) -> Self {
        Self {
            state: Mutex::default(),
            wake: Notify::new(),
            cache_bytes,
            usage: watch::channel(Usage::default()).0,
            failure: watch::channel(None).0,
            written: Written::default(),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes over what was read at open.
    pub(super) fn restore(&self, groups: BTreeMap<GroupId, GroupLog>, next_number: u64) {
        let mut state = self.state();
        state.next_number = next_number;
        for (group, log) in groups {
            for place in log.places() {
                if let Some(info) = state.segments.get_mut(&place.segment) {
                    info.live += 1;
                }
            }
            state.groups.insert(group, log);
        }
        self.publish(&state);
    }

    // ---- what groups do ----

    pub(super) fn groups(&self) -> Vec<GroupId> {
        self.state().groups.keys().copied().collect()
    }

    pub(super) fn head(&self, group: GroupId) -> Head {
        self.state().groups.get(&group).map(|g| g.head).unwrap_or_default()
    }

    pub(super) fn bytes_of(&self, group: GroupId) -> u64 {
        self.state().groups.get(&group).map_or(0, GroupLog::bytes)
    }

    /// Adds entries in memory and to the queue. `done` is told when all of them are durable.
    pub(super) fn append(&self, group: GroupId, entries: Vec<NewEntry>, done: Done) -> io::Result<()> {
        if entries.is_empty() {
            self.barrier(group, done);
            return Ok(());
        }
        let mut state = self.state();
        let State { groups, queue, .. } = &mut *state;
        let log = groups.entry(group).or_default();
        let mut done = Some(done);
        let count = entries.len();
        for (i, entry) in entries.into_iter().enumerate() {
            let record = Record::Append { pos: entry.pos, payload: entry.payload.clone() };
            let slot = Slot { pos: entry.pos, size: size_of(&record), place: None, payload: Some(entry.payload) };
            let freed = log
                .append(slot)
                .map_err(|_| io::Error::new(io::ErrorKind::InvalidInput, "an entry does not follow the log"))?;
            let done = if i + 1 == count { done.take() } else { None };
            queue.push_back(Queued { group, record, freed, done });
        }
        drop(state);
        self.wake.notify_one();
        Ok(())
    }

    pub(super) fn save_vote(&self, group: GroupId, vote: Vote, done: Done) {
        self.enqueue(group, Record::Vote(vote), Some(done), |log| {
            log.head.vote = Some(vote);
            Vec::new()
        });
        self.wake.notify_one();
    }

    pub(super) fn set_quarantined(&self, group: GroupId, on: bool, done: Done) {
        self.enqueue(group, Record::Quarantine { on }, Some(done), |log| {
            log.head.quarantined = on;
            Vec::new()
        });
        self.wake.notify_one();
    }

    /// Tells when everything of the group that was asked for before is durable.
    pub(super) fn barrier(&self, group: GroupId, done: Done) {
        let mut state = self.state();
        // A record that changes nothing: what is durable is durable in order.
        let on = state.groups.get(&group).is_some_and(|log| log.head.quarantined);
        let record = Record::Quarantine { on };
        state.queue.push_back(Queued { group, record, freed: Vec::new(), done: Some(done) });
        drop(state);
        self.wake.notify_one();
    }

    /// Goes along with the next append: until that is durable nobody was told that anything is gone.
    pub(super) fn truncate(&self, group: GroupId, after: Option<LogPos>) {
        self.enqueue(group, Record::Truncate { after }, None, |log| log.truncate(after.map(|p| p.index)));
    }

    /// Written at once, so that its segments can go.
    pub(super) fn purge(&self, group: GroupId, upto: LogPos) {
        self.enqueue(group, Record::Purge { upto }, None, |log| log.purge(upto));
        self.wake.notify_one();
    }

    /// Goes along with the next write.
    pub(super) fn committed(&self, group: GroupId, upto: LogPos) {
        self.state().committed.insert(group, upto);
    }

    pub(super) fn drop_group(&self, group: GroupId, done: Done) {
        let mut state = self.state();
        let freed = state.groups.remove(&group).map(|g| g.places().collect()).unwrap_or_default();
        state.committed.remove(&group);
        state.queue.push_back(Queued { group, record: Record::Drop, freed, done: Some(done) });
        drop(state);
        self.wake.notify_one();
    }

    fn enqueue(
        &self,
        group: GroupId,
        record: Record,
        done: Option<Done>,
        change: impl FnOnce(&mut GroupLog) -> Vec<Place>,
    ) {
        let mut state = self.state();
        let freed = change(state.groups.entry(group).or_default());
        state.queue.push_back(Queued { group, record, freed, done });
    }

    /// Entries from `start` to before `end` as far as there are any, at most about `bytes_max` of them, but at least one.
    pub(super) fn read(&self, group: GroupId, start: u64, end: u64, bytes_max: usize) -> Vec<Read> {
        let state = self.state();
        let Some(log) = state.groups.get(&group) else { return Vec::new() };
        let mut bytes = 0;
        let mut all = Vec::new();
        for index in start.max(log.first_index())..end.min(log.next_index()) {
            let Some(slot) = log.get(index) else { break };
            bytes += slot.size;
            if bytes > bytes_max && !all.is_empty() {
                break;
            }
            let read = match (&slot.payload, slot.place) {
                (Some(payload), _) => Read::Here(NewEntry { pos: slot.pos, payload: payload.clone() }),
                (None, Some(place)) => match state.segments.get(&place.segment) {
                    Some(info) => Read::OnDisk { pos: slot.pos, place, file: Arc::clone(&info.file) },
                    None => break,
                },
                (None, None) => break,
            };
            all.push(read);
        }
        all
    }

    /// The writer has written so many bytes, and waited so long for the disk to have them.
    pub(super) fn wrote(&self, bytes: usize, sync: Duration) {
        self.written.bytes.fetch_add(bytes as u64, Ordering::Relaxed);
        self.written.syncs.fetch_add(1, Ordering::Relaxed);
        let nanos = u64::try_from(sync.as_nanos()).unwrap_or(u64::MAX);
        self.written.sync_nanos.fetch_add(nanos, Ordering::Relaxed);
    }

    pub(super) fn stats(&self) -> LogStats {
        LogStats {
            bytes: self.usage.borrow().bytes + self.has_prepared_bytes(),
            written_bytes: self.written.bytes.load(Ordering::Relaxed),
            syncs: self.written.syncs.load(Ordering::Relaxed),
            sync_time: Duration::from_nanos(self.written.sync_nanos.load(Ordering::Relaxed)),
        }
    }

    /// An entry is not on the disk any more as it was written.
    pub(super) fn found_damage(&self, group: GroupId, pos: LogPos, segment: u64) {
        let mut state = self.state();
        if let Some(info) = state.segments.get_mut(&segment) {
            (info.is_suspect, info.is_damaged) = (true, true);
        }
        let newest = state.damaged.entry(group).or_insert(pos);
        *newest = pos.max(*newest);
        self.publish(&state);
    }

    pub(super) fn take_damaged(&self, group: GroupId) -> Option<LogPos> {
        self.state().damaged.remove(&group)
    }

    /// The last entry of each leader from `first` to `last`.
    pub(super) fn leaders(&self, group: GroupId, first: u64, last: u64) -> Vec<LogPos> {
        let state = self.state();
        let Some(log) = state.groups.get(&group) else { return Vec::new() };
        let mut all: Vec<LogPos> = Vec::new();
        for slot in (first.max(log.first_index())..=last).map_while(|index| log.get(index)) {
            match all.last_mut().filter(|p| (p.term, p.node) == (slot.pos.term, slot.pos.node)) {
                Some(newest) => *newest = slot.pos,
                None => all.push(slot.pos),
            }
        }
        all
    }

    /// The last entry of a group in the oldest segment that it needs, if that is the oldest of all.
    pub(super) fn last_in_oldest(&self, group: GroupId) -> Option<LogIndex> {
        let state = self.state();
        let (number, _) = state.segments.first_key_value()?;
        let log = state.groups.get(&group)?;
        let entries = (log.first_index()..log.next_index()).map_while(|index| log.get(index));
        entries.take_while(|s| s.place.is_some_and(|p| p.segment == *number)).last().map(|s| s.pos.index)
    }

    /// The highest index at or below `upto` such that at least `keep` bytes of entries follow it up to `upto`.
    pub(super) fn index_before(&self, group: GroupId, upto: LogIndex, keep: u64) -> Option<LogIndex> {
        let state = self.state();
        let log = state.groups.get(&group)?;
        let mut index = upto.0.min(log.next_index().checked_sub(1)?);
        let mut kept = 0;
        while let Some(slot) = log.get(index) {
            kept += slot.size as u64;
            if kept > keep {
                return Some(LogIndex(index));
            }
            index = index.checked_sub(1)?;
        }
        None
    }

    // ---- what the writer does ----

    /// Moves what is pending to the writer, and the commit positions with it.
    pub(super) fn take_pending(&self, unsynced: &mut VecDeque<Queued>) {
        let mut state = self.state();
        unsynced.append(&mut state.queue);
        if unsynced.is_empty() {
            return;
        }
        for (group, upto) in std::mem::take(&mut state.committed) {
            if let Some(log) = state.groups.get_mut(&group) {
                log.head.committed = Some(upto);
                unsynced.push_back(Queued { group, record: Record::Committed { upto }, freed: Vec::new(), done: None });
            }
        }
    }

    pub(super) fn next_number(&self) -> u64 {
        let mut state = self.state();
        state.next_number += 1;
        state.next_number - 1
    }

    /// The prepared segment, if it comes after `current`.
    pub(super) fn take_prepared(&self, current: u64) -> Option<Prepared> {
        self.state().prepared.take().filter(|p| p.number > current)
    }

    pub(super) fn put_prepared(&self, prepared: Prepared) {
        self.state().prepared = Some(prepared);
    }

    pub(super) fn wants_prepared(&self) -> bool {
        self.state().prepared.is_none()
    }

    /// Whether a segment should be prepared, or could be removed.
    pub(super) fn wants_housekeeping(&self) -> bool {
        let state = self.state();
        let oldest = state.segments.values().next();
        state.prepared.is_none() || (state.segments.len() > 1 && oldest.is_some_and(|s| s.live == 0))
    }

    pub(super) fn opened(&self, number: u64, file: Arc<File>, capacity: usize) {
        let mut state = self.state();
        state.segments.insert(number, SegmentInfo { file, capacity, live: 0, is_suspect: false, is_damaged: false });
        self.publish(&state);
    }

    pub(super) fn synced(&self, done: Vec<Queued>, places: impl Iterator<Item = Option<Place>>) {
        let mut told = Vec::new();
        let mut state = self.state();
        for (queued, place) in done.into_iter().zip(places) {
            for place in &queued.freed {
                if let Some(info) = state.segments.get_mut(&place.segment) {
                    info.live = info.live.saturating_sub(1);
                }
            }
            if let (Record::Append { pos, payload }, Some(place)) = (&queued.record, place) {
                Self::settle(&mut state, queued.group, *pos, payload, place);
            }
            told.extend(queued.done);
        }
        self.evict(&mut state);
        self.publish(&state);
        drop(state);
        self.failure.send_if_modified(|f| f.take().is_some());
        for done in told {
            done(Ok(()));
        }
    }

    /// An entry is durable at `place`, and still in the log or not.
    fn settle(state: &mut State, group: GroupId, pos: LogPos, payload: &Payload, place: Place) {
        let Some(slot) = state.groups.get_mut(&group).and_then(|log| log.get_mut(pos.index.0)) else { return };
        if slot.pos != pos || slot.place.is_some() {
            return;
        }
        slot.place = Some(place);
        if let Some(info) = state.segments.get_mut(&place.segment) {
            info.live += 1;
        }
        let len = payload_bytes(payload).len() as u64;
        state.cached.push_back((group, pos, len));
        state.cached_bytes += len;
    }

    /// Keeps what is in memory within its bound.
    fn evict(&self, state: &mut State) {
        while state.cached_bytes > self.cache_bytes {
            let Some((group, pos, len)) = state.cached.pop_front() else { return };
            state.cached_bytes = state.cached_bytes.saturating_sub(len);
            let slot = state.groups.get_mut(&group).and_then(|log| log.get_mut(pos.index.0));
            if let Some(slot) = slot.filter(|slot| slot.pos == pos) {
                slot.payload = None;
            }
        }
    }

    /// A write failed: those who wait are told, and what they wait for stays queued.
    pub(super) fn broke(&self, segment: u64, error: &io::Error, unsynced: &mut VecDeque<Queued>) {
        let why: Arc<str> = error.to_string().into();
        let mut state = self.state();
        if let Some(info) = state.segments.get_mut(&segment) {
            info.is_suspect = true;
        }
        let waiting: Vec<Done> =
            unsynced.iter_mut().chain(state.queue.iter_mut()).filter_map(|q| q.done.take()).collect();
        drop(state);
        self.failure.send_replace(Some(Arc::clone(&why)));
        for done in waiting {
            done(Err(io::Error::new(error.kind(), why.to_string())));
        }
    }

    /// Takes the oldest segments that nobody needs out of the books. `current` and what comes after stay.
    pub(super) fn take_dead(&self, current: u64) -> Vec<Dead> {
        let mut state = self.state();
        let mut dead = Vec::new();
        while let Some(entry) = state.segments.first_entry() {
            if *entry.key() >= current || entry.get().live > 0 {
                break;
            }
            let (number, info) = entry.remove_entry();
            dead.push(Dead { number, capacity: info.capacity, is_suspect: info.is_suspect });
        }
        if !dead.is_empty() {
            self.publish(&state);
        }
        dead
    }

    fn publish(&self, state: &State) {
        let bytes = state.segments.values().map(|s| s.capacity as u64).sum();
        let oldest = match state.segments.first_key_value() {
            Some((number, _)) if state.segments.len() > 1 => state
                .groups
                .iter()
                .filter(|(_, log)| log.oldest_segment() == Some(*number))
                .map(|(group, _)| *group)
                .collect(),
            _ => Vec::new(),
        };
        self.usage.send_if_modified(|usage| {
            let now = Usage { bytes, oldest, is_damaged: state.segments.values().any(|s| s.is_damaged) };
            let is_new = *usage != now;
            *usage = now;
            is_new
        });
    }

    pub(super) fn usage(&self) -> watch::Receiver<Usage> {
        self.usage.subscribe()
    }

    pub(super) fn bytes_used(&self) -> u64 {
        self.usage.borrow().bytes
    }

    /// Why nothing can be written now; none if all is well.
    pub(super) fn failure(&self) -> watch::Receiver<Option<Arc<str>>> {
        self.failure.subscribe()
    }

    pub(super) fn has_prepared_bytes(&self) -> u64 {
        self.state().prepared.as_ref().map_or(0, |p| p.capacity as u64)
    }
}
