//! One record of the log as bytes. docs/formats/raft-log.md has the layout to the byte.

use crate::{LogPos, Payload};
use base::{GroupId, LogIndex, NodeId, Reader, Term};
use bytes::Bytes;

/// Bytes before the body of a record.
pub(super) const PREFIX: usize = 32;
/// Records start at multiples of this.
pub(super) const ALIGN: usize = 8;
/// What the body of a segment's first record starts with.
const MAGIC: &[u8; 8] = b"BOWLOG01";
/// The longest record: an entry of the largest size, and some room.
pub(super) const RECORD_MAX: usize = 32 << 20;

/// A vote: for whom, and whether a majority gave it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Vote {
    /// The term.
    pub term: Term,
    /// The candidate or leader.
    pub node: NodeId,
    /// Whether it leads.
    pub committed: bool,
}

/// What the log knows of a group besides its entries.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Head {
    /// The vote of this node.
    pub vote: Option<Vote>,
    /// The last entry that is gone because a checkpoint holds it.
    pub purged: Option<LogPos>,
    /// The last entry, purged or not.
    pub last: Option<LogPos>,
    /// The last entry known to be committed. May be older than what was known.
    pub committed: Option<LogPos>,
    /// The log of this group was damaged: no vote until it is a learner again.
    pub quarantined: bool,
}

/// What one record says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Record {
    /// The first record of a segment.
    Segment(Segment),
    /// An entry. It replaces an entry of the same index and all after it.
    Append {
        /// Where it stands.
        pos: LogPos,
        /// What it carries.
        payload: Payload,
    },
    /// Entries after this one are gone; all of them if there is none.
    Truncate {
        /// The last one left.
        after: Option<LogPos>,
    },
    /// Entries up to and including this one are gone.
    Purge {
        /// The last one gone.
        upto: LogPos,
    },
    /// The node voted.
    Vote(Vote),
    /// Entries up to this one are committed.
    Committed {
        /// The last one.
        upto: LogPos,
    },
    /// The group is gone, its vote included.
    Drop,
    /// The group's log was damaged here, or is whole again.
    Quarantine {
        /// Whether it is damaged.
        on: bool,
    },
}

/// How a segment follows from those before it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Segment {
    /// Its number. Numbers grow and are never used twice.
    pub number: u64,
    /// The segment before it; zero if there is none.
    pub previous: u64,
    /// Where that one ends. What follows there was never acknowledged.
    pub previous_end: u64,
    /// The node whose log it is.
    pub node: NodeId,
    /// Every group, as of the start of this segment.
    pub heads: Vec<(GroupId, Head)>,
}

/// A record, where it was found, and what holds it in its chain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// Where it starts in the segment.
    pub offset: usize,
    /// Its length without padding.
    pub len: usize,
    /// Where the write that it was part of starts. All before that was durable when this was written.
    pub batch: usize,
    /// Its checksum, which the next record repeats.
    pub crc: u32,
    /// The checksum of the record before it.
    pub previous_crc: u32,
    /// The group; zero for [`Record::Segment`].
    pub group: GroupId,
    /// What it says.
    pub record: Record,
}

/// Rounds up to where the next record may start.
pub(super) fn aligned(len: usize) -> usize {
    len.next_multiple_of(ALIGN)
}

/// How many bytes a record takes, padding included.
pub(super) fn size_of(record: &Record) -> usize {
    let body = match record {
        Record::Segment(segment) => 36 + segment.heads.iter().map(|(_, head)| 8 + head_len(head)).sum::<usize>(),
        Record::Append { payload, .. } => 32 + payload_bytes(payload).len(),
        Record::Truncate { after } => 1 + after.map_or(0, |_| 24),
        Record::Purge { .. } | Record::Committed { .. } => 24,
        Record::Vote(_) => 17,
        Record::Drop => 0,
        Record::Quarantine { .. } => 1,
    };
    aligned(PREFIX + body)
}

pub(super) fn payload_bytes(payload: &Payload) -> &[u8] {
    match payload {
        Payload::Blank => &[],
        Payload::App(bytes) | Payload::Membership(bytes) => bytes,
    }
}

/// Appends a record to `out`, which is the part of the segment from `batch` on. Returns its length without padding and
/// its checksum.
pub(super) fn encode(
    out: &mut Vec<u8>,
    segment: u64,
    batch: usize,
    previous_crc: u32,
    group: GroupId,
    record: &Record,
) -> (usize, u32) {
    let start = out.len();
    out.extend_from_slice(&[0; 8]);
    out.extend_from_slice(&previous_crc.to_le_bytes());
    out.extend_from_slice(&narrow(batch).to_le_bytes());
    out.extend_from_slice(&group.0.to_le_bytes());
    out.push(kind(record));
    out.extend_from_slice(&[0; 7]);
    put_body(out, record);
    let len = out.len() - start;
    let sealed = out.get_mut(start..).unwrap_or_default();
    put_at(sealed, 4, narrow(len));
    let crc = checksum(segment, sealed.get(4..).unwrap_or_default());
    put_at(sealed, 0, crc);
    out.resize(start + aligned(len), 0);
    (len, crc)
}

/// Writes records as the whole of a segment, in one write: what [`decode_segment`](super::decode_segment) reads. The first of
/// them should be a [`Record::Segment`].
pub fn encode_segment(number: u64, records: &[(GroupId, Record)]) -> Vec<u8> {
    let (mut out, mut crc) = (Vec::new(), 0);
    for (group, record) in records {
        (_, crc) = encode(&mut out, number, 0, crc, *group, record);
    }
    out
}

fn put_at(bytes: &mut [u8], at: usize, value: u32) {
    if let Some(place) = bytes.get_mut(at..at + 4) {
        place.copy_from_slice(&value.to_le_bytes());
    }
}

/// Segments are far below 4 GiB.
fn narrow(n: usize) -> u32 {
    u32::try_from(n).unwrap_or(u32::MAX)
}

fn checksum(segment: u64, bytes: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&segment.to_le_bytes());
    hasher.update(bytes);
    hasher.finalize()
}

fn kind(record: &Record) -> u8 {
    match record {
        Record::Segment(_) => 1,
        Record::Append { .. } => 2,
        Record::Truncate { .. } => 3,
        Record::Purge { .. } => 4,
        Record::Vote(_) => 5,
        Record::Committed { .. } => 6,
        Record::Drop => 7,
        Record::Quarantine { .. } => 8,
    }
}

fn put_body(out: &mut Vec<u8>, record: &Record) {
    match record {
        Record::Segment(segment) => {
            out.extend_from_slice(MAGIC);
            out.extend_from_slice(&segment.previous.to_le_bytes());
            out.extend_from_slice(&segment.previous_end.to_le_bytes());
            out.extend_from_slice(&segment.node.0.to_le_bytes());
            out.extend_from_slice(&narrow(segment.heads.len()).to_le_bytes());
            for (group, head) in &segment.heads {
                out.extend_from_slice(&group.0.to_le_bytes());
                put_head(out, head);
            }
        }
        Record::Append { pos, payload } => {
            put_pos(out, *pos);
            let kind = match payload {
                Payload::Blank => 0,
                Payload::App(_) => 1,
                Payload::Membership(_) => 2,
            };
            out.extend_from_slice(&[kind, 0, 0, 0, 0, 0, 0, 0]);
            out.extend_from_slice(payload_bytes(payload));
        }
        Record::Truncate { after } => {
            out.push(u8::from(after.is_some()));
            if let Some(pos) = after {
                put_pos(out, *pos);
            }
        }
        Record::Purge { upto } | Record::Committed { upto } => put_pos(out, *upto),
        Record::Vote(vote) => put_vote(out, vote),
        Record::Drop => {}
        Record::Quarantine { on } => out.push(u8::from(*on)),
    }
}

fn put_pos(out: &mut Vec<u8>, pos: LogPos) {
    out.extend_from_slice(&pos.term.0.to_le_bytes());
    out.extend_from_slice(&pos.node.0.to_le_bytes());
    out.extend_from_slice(&pos.index.0.to_le_bytes());
}

fn put_vote(out: &mut Vec<u8>, vote: &Vote) {
    out.extend_from_slice(&vote.term.0.to_le_bytes());
    out.extend_from_slice(&vote.node.0.to_le_bytes());
    out.push(u8::from(vote.committed));
}

const HAS_VOTE: u8 = 1;
const HAS_PURGED: u8 = 2;
const HAS_LAST: u8 = 4;
const HAS_COMMITTED: u8 = 8;
const QUARANTINED: u8 = 16;

fn put_head(out: &mut Vec<u8>, head: &Head) {
    let flags = [
        (HAS_VOTE, head.vote.is_some()),
        (HAS_PURGED, head.purged.is_some()),
        (HAS_LAST, head.last.is_some()),
        (HAS_COMMITTED, head.committed.is_some()),
        (QUARANTINED, head.quarantined),
    ];
    out.push(flags.iter().filter(|(_, on)| *on).fold(0, |all, (flag, _)| all | flag));
    if let Some(vote) = &head.vote {
        put_vote(out, vote);
    }
    for pos in [head.purged, head.last, head.committed].into_iter().flatten() {
        put_pos(out, pos);
    }
}

fn head_len(head: &Head) -> usize {
    1 + head.vote.map_or(0, |_| 17) + [head.purged, head.last, head.committed].iter().flatten().count() * 24
}

/// Reads the record at the front of `bytes`, which are what segment `number` holds from `offset` on. None if there is no
/// whole record of this segment there.
pub(super) fn decode(number: u64, bytes: &[u8], offset: usize) -> Option<Found> {
    let mut prefix = Reader::new(bytes);
    let crc = prefix.u32().ok()?;
    let len = usize::try_from(prefix.u32().ok()?).ok()?;
    let previous_crc = prefix.u32().ok()?;
    let batch = usize::try_from(prefix.u32().ok()?).ok()?;
    let group = GroupId(prefix.u64().ok()?);
    let kind = prefix.u8().ok()?;
    if !(PREFIX..=RECORD_MAX).contains(&len) || batch > offset || !(1..=8).contains(&kind) {
        return None;
    }
    let whole = bytes.get(..len)?;
    if checksum(number, whole.get(4..)?) != crc {
        return None;
    }
    let mut body = Reader::new(whole.get(PREFIX..)?);
    let record = take_body(number, kind, &mut body)?;
    body.is_empty().then_some(Found { offset, len, batch, crc, previous_crc, group, record })
}

/// The length of the record that could be at the front of `bytes`, which are what a segment holds from `offset` on: cheap,
/// before the checksum.
pub(super) fn plausible(bytes: &[u8], offset: usize) -> Option<usize> {
    let mut prefix = Reader::new(bytes);
    prefix.u32().ok()?;
    let len = usize::try_from(prefix.u32().ok()?).ok()?;
    prefix.u32().ok()?;
    let batch = usize::try_from(prefix.u32().ok()?).ok()?;
    ((PREFIX..=bytes.len()).contains(&len) && batch <= offset).then_some(len)
}

fn take_body(number: u64, kind: u8, from: &mut Reader<'_>) -> Option<Record> {
    Some(match kind {
        1 => Record::Segment(take_segment(number, from)?),
        2 => {
            let pos = take_pos(from)?;
            let [kind, zeros @ ..] = from.array::<8>().ok()?;
            if zeros != [0; 7] {
                return None;
            }
            let bytes = from.take(from.rest().len()).ok()?;
            let payload = match kind {
                0 if bytes.is_empty() => Payload::Blank,
                1 => Payload::App(Bytes::copy_from_slice(bytes)),
                2 => Payload::Membership(Bytes::copy_from_slice(bytes)),
                _ => return None,
            };
            Record::Append { pos, payload }
        }
        3 => {
            let after = if take_bool(from)? { Some(take_pos(from)?) } else { None };
            Record::Truncate { after }
        }
        4 => Record::Purge { upto: take_pos(from)? },
        5 => Record::Vote(take_vote(from)?),
        6 => Record::Committed { upto: take_pos(from)? },
        7 => Record::Drop,
        8 => Record::Quarantine { on: take_bool(from)? },
        _ => return None,
    })
}

fn take_segment(number: u64, from: &mut Reader<'_>) -> Option<Segment> {
    if from.array::<8>().ok()? != *MAGIC {
        return None;
    }
    let previous = from.u64().ok()?;
    let previous_end = from.u64().ok()?;
    let node = NodeId(from.u64().ok()?);
    let mut heads = Vec::new();
    for _ in 0..from.u32().ok()? {
        let group = GroupId(from.u64().ok()?);
        heads.push((group, take_head(from)?));
    }
    Some(Segment { number, previous, previous_end, node, heads })
}

fn take_head(from: &mut Reader<'_>) -> Option<Head> {
    let flags = from.u8().ok()?;
    let has = |flag| flags & flag != 0;
    let vote = if has(HAS_VOTE) { Some(take_vote(from)?) } else { None };
    let mut pos = |flag| if has(flag) { take_pos(from).map(Some) } else { Some(None) };
    let (purged, last, committed) = (pos(HAS_PURGED)?, pos(HAS_LAST)?, pos(HAS_COMMITTED)?);
    Some(Head { vote, purged, last, committed, quarantined: has(QUARANTINED) })
}

fn take_pos(from: &mut Reader<'_>) -> Option<LogPos> {
    Some(LogPos { term: Term(from.u64().ok()?), node: NodeId(from.u64().ok()?), index: LogIndex(from.u64().ok()?) })
}

fn take_vote(from: &mut Reader<'_>) -> Option<Vote> {
    Some(Vote { term: Term(from.u64().ok()?), node: NodeId(from.u64().ok()?), committed: take_bool(from)? })
}

fn take_bool(from: &mut Reader<'_>) -> Option<bool> {
    match from.u8().ok()? {
        0 => Some(false),
        1 => Some(true),
        _ => None,
    }
}
