//! Opening the log: which segments count, what they say, and what to do when they do not fit together.

use super::files;
use super::memory::{GroupLog, Slot};
use super::record::{Found, Head, Record, aligned, size_of};
use super::segment::{Decoded, Tail, decode_segment, remains};
use super::writer::{Current, advance};
use crate::{OnCorruption, OpenError};
use base::GroupId;
use rt::fs::File;
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::Path;
use std::sync::Arc;

/// What is wiped at once.
const BLOCK: usize = 4096;

/// What was read at open.
pub(super) struct Replayed {
    pub(super) groups: BTreeMap<GroupId, GroupLog>,
    pub(super) heads: BTreeMap<GroupId, Head>,
    /// All segments that count, oldest first: number, file, capacity.
    pub(super) segments: Vec<(u64, Arc<File>, usize)>,
    /// The last of them, to be written on; none for a new log.
    pub(super) current: Option<Current>,
    /// Larger than any number in use.
    pub(super) next_number: u64,
    /// Where the damage was, if it was repaired.
    pub(super) repaired: Option<(u64, usize)>,
}

impl Replayed {
    fn new(next_number: u64) -> Self {
        Self {
            groups: BTreeMap::new(),
            heads: BTreeMap::new(),
            segments: Vec::new(),
            current: None,
            next_number,
            repaired: None,
        }
    }
}

/// One segment of the chain, read.
struct Link {
    number: u64,
    bytes: Vec<u8>,
    decoded: Decoded,
    /// What counts of it.
    end: usize,
}

struct Damage {
    segment: u64,
    offset: usize,
    what: &'static str,
}

pub(super) fn replay(dir: &Path, on_corruption: OnCorruption) -> Result<Replayed, OpenError> {
    let io = |error| OpenError::Io { path: dir.to_owned(), error };
    let numbers = files::list(dir).map_err(io)?;
    let next_number = numbers.last().map_or(1, |n| n + 1);
    let Chain { links: mut chain, mut beyond, whole, mut damage } = read_chain(dir, &numbers).map_err(io)?;
    let mut replayed = Replayed::new(next_number);
    if let Some(found) = &damage {
        let mut newest: Vec<Link> = beyond.drain(..whole).collect();
        newest.reverse();
        let mut without = Replayed::new(next_number);
        if !newest.is_empty() && apply(&newest, &mut without).is_none() {
            tracing::warn!(
                segment = found.segment,
                offset = found.offset,
                "a damaged segment of the Raft log is not needed any more"
            );
            (chain, replayed, damage) = (newest, without, None);
        } else {
            beyond.extend(newest);
        }
    } else {
        damage = apply(&chain, &mut replayed);
    }
    if let Some(damage) = damage {
        if on_corruption == OnCorruption::Refuse {
            let segment = files::segment_path(dir, damage.segment);
            return Err(OpenError::Corrupt { segment, offset: damage.offset as u64, what: damage.what });
        }
        repair(dir, &numbers, &mut chain, &beyond, &damage, &mut replayed).map_err(io)?;
    }
    let counted: BTreeSet<u64> = chain.iter().map(|link| link.number).collect();
    for number in numbers.iter().filter(|n| !counted.contains(n)) {
        // Prepared and never used, or an attempt on a failing disk that was never acknowledged.
        drop(files::remove(dir, *number));
    }
    for link in &chain {
        let file = Arc::new(File::open(&files::segment_path(dir, link.number)).map_err(io)?);
        replayed.segments.push((link.number, file, link.bytes.len()));
    }
    if let (Some(link), Some((_, file, _))) = (chain.last(), replayed.segments.last()) {
        // A killed process may have left what it wrote in the page cache only, or a failed sync may have made the kernel
        // believe that it is on the disk. Nothing is answered on the strength of it before it surely is.
        file.write_all_at(link.bytes.get(..link.end).unwrap_or_default(), 0).map_err(io)?;
        wipe(file, &link.bytes, link.end).map_err(io)?;
        file.sync_data().map_err(io)?;
        let crc = link.decoded.records.iter().rfind(|r| r.offset < link.end).map_or(0, |r| r.crc);
        replayed.current = Some(Current {
            number: link.number,
            file: Arc::clone(file),
            capacity: link.bytes.len(),
            end: link.end,
            crc,
        });
    }
    Ok(replayed)
}

/// Overwrites what a torn write left behind the end. If the same record were written there again, what followed it
/// before the crash would follow it once more.
fn wipe(file: &File, bytes: &[u8], end: usize) -> io::Result<()> {
    let mut at = end;
    while at < bytes.len() {
        let block = bytes.get(at..bytes.len().min(at + BLOCK)).unwrap_or_default();
        let zeros = vec![0; block.len()];
        if block != zeros {
            file.write_all_at(&zeros, at as u64)?;
        }
        at += block.len();
    }
    Ok(())
}

/// What was found on disk: the segments that count, oldest first, and what is behind a damage.
struct Chain {
    links: Vec<Link>,
    beyond: Vec<Link>,
    /// How many of those are behind all damage: they come first, the newest before the others.
    whole: usize,
    damage: Option<Damage>,
}

/// Reads the segments that count: the last one that has begun, and back from there as far as there are any.
fn read_chain(dir: &Path, numbers: &[u64]) -> io::Result<Chain> {
    let mut chain = Chain { links: Vec::new(), beyond: Vec::new(), whole: 0, damage: None };
    for number in numbers.iter().rev() {
        // The segment that is wanted next and where it ends, according to the one after it.
        let wanted = chain.links.last().and_then(|link| match link.decoded.records.first().map(|f| &f.record) {
            Some(Record::Segment(segment)) => Some((segment.previous, segment.previous_end)),
            _ => None,
        });
        if wanted.is_some_and(|(previous, _)| previous != *number) {
            continue;
        }
        let bytes = files::read(dir, *number)?;
        let decoded = decode_segment(*number, &bytes);
        let end = wanted.map_or(decoded.end, |(_, end)| usize::try_from(end).unwrap_or(usize::MAX));
        let what = if decoded.end < end {
            Some("a record that was durable fails its checksum")
        } else if wanted.is_none() && chain.damage.is_none() && decoded.tail != Tail::Free {
            Some("whole records follow one that fails its checksum")
        } else {
            None
        };
        let link = Link { number: *number, end: end.min(decoded.end), bytes, decoded };
        if let Some(what) = what {
            if chain.damage.is_none() {
                chain.whole = chain.links.len();
            }
            chain.damage = Some(Damage { segment: *number, offset: link.decoded.end, what });
            chain.beyond.append(&mut chain.links);
        }
        if !link.decoded.records.is_empty() {
            chain.links.push(link);
        } else if what.is_some() {
            // Without its first record nobody knows what came before it: the next one by number is taken.
            chain.beyond.push(link);
        }
    }
    chain.links.reverse();
    Ok(chain)
}

/// Applies the records of the chain. Returns what does not fit, if anything.
fn apply(chain: &[Link], into: &mut Replayed) -> Option<Damage> {
    for (i, link) in chain.iter().enumerate() {
        for found in link.decoded.records.iter().take_while(|f| f.offset < link.end) {
            let fits = match &found.record {
                Record::Segment(segment) if i == 0 => {
                    into.groups = segment.heads.iter().map(|(g, head)| (*g, GroupLog::from_head(*head))).collect();
                    true
                }
                Record::Segment(segment) => reconcile(&mut into.groups, &segment.heads),
                _ => apply_record(link.number, found, into),
            };
            if let Record::Segment(segment) = &found.record {
                into.heads = segment.heads.iter().copied().collect();
            }
            if !fits {
                let what = "an entry does not follow the one before it";
                return Some(Damage { segment: link.number, offset: found.offset, what });
            }
        }
    }
    let first = chain.first()?;
    let is_missing = into.groups.values().any(GroupLog::has_missing);
    is_missing.then_some(Damage { segment: first.number, offset: 0, what: "a segment before it is missing" })
}

/// A segment's first record has the last word on what came before it: after a repair that is less than what the records say.
fn reconcile(groups: &mut BTreeMap<GroupId, GroupLog>, heads: &[(GroupId, Head)]) -> bool {
    let known: BTreeMap<GroupId, Head> = heads.iter().copied().collect();
    groups.retain(|group, _| known.contains_key(group));
    for (group, head) in known {
        let log = groups.entry(group).or_insert_with(|| GroupLog::from_head(head));
        if head.last.is_none() {
            drop(log.clear());
        }
        if let Some(upto) = head.purged {
            drop(log.purge(upto));
        }
        if head.last < log.head.last {
            drop(log.truncate(head.last.map(|p| p.index)));
        }
        if head.last > log.head.last && !log.has_missing() {
            return false;
        }
        log.head = head;
    }
    true
}

fn apply_record(segment: u64, found: &Found, into: &mut Replayed) -> bool {
    advance(&mut into.heads, found.group, &found.record);
    if matches!(found.record, Record::Drop) {
        into.groups.remove(&found.group);
        return true;
    }
    let log = into.groups.entry(found.group).or_default();
    match &found.record {
        Record::Append { pos, .. } => {
            let place = super::memory::Place { segment, offset: found.offset, len: found.len };
            let size = size_of(&found.record);
            // Payloads are read again when they are asked for: most never are.
            return log.append(Slot { pos: *pos, size, place: Some(place), payload: None }).is_ok();
        }
        Record::Truncate { after } => drop(log.truncate(after.map(|p| p.index))),
        Record::Purge { upto } => drop(log.purge(*upto)),
        Record::Vote(vote) => log.head.vote = Some(*vote),
        Record::Committed { upto } => log.head.committed = Some(*upto),
        Record::Quarantine { on } => log.head.quarantined = *on,
        Record::Drop | Record::Segment(_) => {}
    }
    true
}

/// Keeps what is whole before the damage, and marks every group that may have lost something.
fn repair(
    dir: &Path,
    numbers: &[u64],
    chain: &mut Vec<Link>,
    beyond: &[Link],
    damage: &Damage,
    into: &mut Replayed,
) -> io::Result<()> {
    tracing::warn!(segment = damage.segment, offset = damage.offset, what = damage.what, "repairing the Raft log");
    let mut touched: BTreeSet<GroupId> = BTreeSet::new();
    for link in chain.iter().chain(beyond) {
        let behind = remains(link.number, &link.bytes, link.decoded.end);
        for found in link.decoded.records.iter().cloned().chain(behind) {
            if let Record::Segment(segment) = &found.record {
                touched.extend(segment.heads.iter().map(|(group, _)| *group));
            } else {
                touched.insert(found.group);
            }
        }
    }
    chain.retain(|link| link.number <= damage.segment);
    if let Some(link) = chain.last_mut().filter(|link| link.number == damage.segment) {
        let end =
            link.decoded.records.iter().map(|f| aligned(f.offset + f.len)).take_while(|e| *e <= damage.offset).last();
        link.end = end.unwrap_or(0);
    }
    chain.retain(|link| link.end > 0);
    // The damaged segment stays in its place if its beginning counts; what follows it is kept for the curious.
    for number in numbers.iter().filter(|n| **n >= damage.segment && !chain.iter().any(|l| l.number == **n)) {
        files::set_aside(dir, *number)?;
    }
    (into.groups, into.heads) = (BTreeMap::new(), BTreeMap::new());
    // What does not fit is what is being repaired.
    apply(chain, into);
    for group in touched {
        let log = into.groups.entry(group).or_default();
        if log.has_missing() {
            drop(log.clear());
        }
        log.head.quarantined = true;
        into.heads.insert(group, log.head);
    }
    into.repaired = Some((damage.segment, damage.offset));
    Ok(())
}
