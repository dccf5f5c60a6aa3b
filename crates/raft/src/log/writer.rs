//! The one who writes: takes all that is pending, of all groups, writes it once, and syncs it once.
//!
//! ```text
//!            +--------- write and sync succeed ----------+
//!            v                                           |
//!        Steady --any write or sync fails--> Broken --next attempt, in a new segment--+
//!                                              ^                                      |
//!                                              +------------- fails again ------------+
//! ```
//!
//! After a failed sync nobody knows what is on the disk, and asking again proves nothing (Linux forgets the pages). So
//! whatever was not synced is kept in memory and written again into another segment, whose first record says where the old one
//! ends. Nothing behind that end was acknowledged.

use super::files::{self, Prepared};
use super::memory::Place;
use super::record::{Found, Head, PREFIX, Record, Segment, encode, size_of};
use super::shared::{Queued, Shared};
use crate::{LogPos, Payload};
use base::{GroupId, NodeId};
use rt::fs::File;
use rt::time::Instant;
use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::path::PathBuf;
use std::sync::Arc;

/// How much of the buffer of a write is kept for the next one.
const BUFFER_KEPT: usize = 1 << 20;

/// The segment that is being written.
#[derive(Debug)]
pub(super) struct Current {
    pub(super) number: u64,
    pub(super) file: Arc<File>,
    pub(super) capacity: usize,
    /// Everything before it is durable.
    pub(super) end: usize,
    /// The checksum of the last record before `end`.
    pub(super) crc: u32,
}

#[derive(Debug)]
pub(super) struct Writer {
    pub(super) dir: PathBuf,
    pub(super) node: NodeId,
    pub(super) segment_bytes: usize,
    pub(super) current: Current,
    /// The last segment with something durable in it, and where that ends.
    pub(super) anchor: (u64, usize),
    /// Every group as of `anchor`.
    pub(super) heads: BTreeMap<GroupId, Head>,
    /// Taken from the queue and not durable yet.
    pub(super) unsynced: VecDeque<Queued>,
    pub(super) is_broken: bool,
    pub(super) buffer: Vec<u8>,
}

impl Writer {
    /// Writes and syncs everything that is pending, and tells those who wait. An error has been told to them as well; what
    /// is unsynced stays and is written first next time.
    pub(super) fn flush(&mut self, shared: &Shared) -> io::Result<()> {
        loop {
            shared.take_pending(&mut self.unsynced);
            if self.unsynced.is_empty() && !self.is_broken {
                return Ok(());
            }
            let written = self.write_some(shared);
            match written {
                Ok(count) => self.synced(shared, count),
                Err(error) => {
                    self.is_broken = true;
                    shared.broke(self.current.number, &error, &mut self.unsynced);
                    return Err(error);
                }
            }
        }
    }

    /// Writes the first record of a new segment, before anything else: a new log, or one that was repaired.
    pub(super) fn start(&mut self, shared: &Shared) -> io::Result<()> {
        let placed = self.write_some(shared)?;
        self.synced(shared, placed);
        Ok(())
    }

    /// Writes as many records as fit the current segment, in one write and one sync. Returns their number.
    fn write_some(&mut self, shared: &Shared) -> io::Result<Vec<(Option<Place>, u32)>> {
        let first = self.unsynced.front().map_or(0, |q| size_of(&q.record));
        if self.is_broken || self.current.capacity - self.current.end < first {
            self.roll(shared, first)?;
        }
        self.buffer.clear();
        // A large record is seldom; what it took is not kept for the next one.
        self.buffer.shrink_to(BUFFER_KEPT);
        let batch = self.current.end;
        let mut crc = self.current.crc;
        if batch == 0 {
            let header = self.header();
            (_, crc) = encode(&mut self.buffer, self.current.number, 0, 0, GroupId(0), &Record::Segment(header));
        }
        let mut placed = Vec::with_capacity(self.unsynced.len());
        for queued in &self.unsynced {
            let offset = batch + self.buffer.len();
            if self.current.capacity - offset < size_of(&queued.record) {
                break;
            }
            let (len, sum) = encode(&mut self.buffer, self.current.number, batch, crc, queued.group, &queued.record);
            crc = sum;
            let place = Place { segment: self.current.number, offset, len };
            placed.push((matches!(queued.record, Record::Append { .. }).then_some(place), sum));
        }
        self.current.file.write_all_at(&self.buffer, batch as u64)?;
        rt::sim_point!("raft.log.before_sync");
        if !rt::mutant!("raft.acknowledge-before-sync") {
            let began = Instant::now();
            self.current.file.sync_data()?;
            shared.wrote(self.buffer.len(), began.elapsed());
        }
        self.current.end = batch + self.buffer.len();
        self.current.crc = crc;
        Ok(placed)
    }

    fn header(&self) -> Segment {
        Segment {
            number: self.current.number,
            previous: self.anchor.0,
            previous_end: self.anchor.1 as u64,
            node: self.node,
            heads: self.heads.iter().map(|(group, head)| (*group, *head)).collect(),
        }
    }

    /// Moves on to another segment with room for its header and a record of `first` bytes.
    fn roll(&mut self, shared: &Shared, first: usize) -> io::Result<()> {
        let header = size_of(&Record::Segment(self.header()));
        let wanted = self.segment_bytes.max(header + first);
        let prepared = match shared.take_prepared(self.current.number) {
            Some(mut prepared) => {
                if prepared.capacity < wanted {
                    files::grow(&mut prepared, wanted)?;
                }
                prepared
            }
            None => files::create(&self.dir, shared.next_number(), wanted)?,
        };
        let Prepared { number, file, capacity } = prepared;
        let file = Arc::new(file);
        shared.opened(number, Arc::clone(&file), capacity);
        self.current = Current { number, file, capacity, end: 0, crc: 0 };
        Ok(())
    }

    /// The first `placed` of what is unsynced is durable.
    fn synced(&mut self, shared: &Shared, placed: Vec<(Option<Place>, u32)>) {
        self.is_broken = false;
        self.anchor = (self.current.number, self.current.end);
        let done: Vec<Queued> = self.unsynced.drain(..placed.len()).collect();
        for queued in &done {
            advance(&mut self.heads, queued.group, &queued.record);
        }
        shared.synced(done, placed.into_iter().map(|(place, _)| place));
    }
}

/// What a record makes of the head of its group.
pub(super) fn advance(heads: &mut BTreeMap<GroupId, Head>, group: GroupId, record: &Record) {
    if matches!(record, Record::Drop) {
        heads.remove(&group);
        return;
    }
    let head = heads.entry(group).or_default();
    match record {
        Record::Append { pos, .. } => head.last = Some(*pos),
        Record::Truncate { after } => head.last = after.or(head.purged),
        Record::Segment(_) | Record::Drop => {}
        Record::Purge { upto } => {
            head.purged = Some(*upto);
            head.last = head.last.max(Some(*upto));
        }
        Record::Vote(vote) => head.vote = Some(*vote),
        Record::Committed { upto } => head.committed = Some(*upto),
        Record::Quarantine { on } => head.quarantined = *on,
    }
}

/// Reads one entry back from its place, and checks it.
pub(super) fn read_entry(file: &File, place: Place, group: GroupId, pos: LogPos) -> io::Result<Payload> {
    let mut bytes = vec![0; place.len];
    file.read_exact_at(&mut bytes, place.offset as u64)?;
    super::record::decode(place.segment, &bytes, place.offset)
        .and_then(|Found { group: of, record, .. }| match record {
            Record::Append { pos: at, payload } if of == group && at == pos => Some(payload),
            _ => None,
        })
        .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "an entry of the Raft log fails its checksum"))
}

const _: () = assert!(PREFIX == 32, "docs/formats/raft-log.md says so");
