//! Reading a whole segment: its records in their chain, and how it ends.

use super::record::{ALIGN, Found, Record, aligned, decode, plausible};

/// The bytes that the search behind the end may checksum, as a multiple of the segment: what a damaged or hostile segment
/// can cost is bounded.
const SEARCH_FACTOR: usize = 4;

/// Free space is skipped in blocks of so many bytes.
const BLOCK: usize = 512;
const ZEROS: [u8; BLOCK] = [0; BLOCK];

/// A segment as far as it can be trusted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Decoded {
    /// The records, the first of them a [`Record::Segment`]; none if even that is not there.
    pub records: Vec<Found>,
    /// Where the last of them ends, padding included.
    pub end: usize,
    /// What is behind the end.
    pub tail: Tail,
}

/// What is behind the last good record of a segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tail {
    /// Nothing that was ever acknowledged: zeros, an earlier life of the file, or a write that the power cut tore.
    Free,
    /// A record that was written when what should be here was durable already. Not a torn write: damage.
    Damaged {
        /// Where that later record starts.
        witness: usize,
    },
}

/// Reads the segment with that number. Total: any bytes give an answer, in time linear in their length.
pub fn decode_segment(number: u64, bytes: &[u8]) -> Decoded {
    let mut records = Vec::new();
    let mut end = 0;
    let mut previous_crc = 0;
    while let Some(found) = bytes.get(end..).and_then(|rest| decode(number, rest, end)) {
        let is_first = end == 0;
        let is_header = matches!(found.record, Record::Segment(_));
        if found.previous_crc != previous_crc || is_first != is_header {
            break;
        }
        end = aligned(found.offset + found.len);
        previous_crc = found.crc;
        records.push(found);
    }
    let tail = witness(number, bytes, end).map_or(Tail::Free, |witness| Tail::Damaged { witness });
    Decoded { records, end, tail }
}

/// Looks behind `end` for a record that proves that what is at `end` had been durable.
fn witness(number: u64, bytes: &[u8], end: usize) -> Option<usize> {
    search(number, bytes, end, |found| found.batch > end).next().map(|found| found.offset)
}

/// Whole records behind `end`, wherever they are. They cannot be trusted to be the log, but they tell who was in it.
pub(super) fn remains(number: u64, bytes: &[u8], end: usize) -> impl Iterator<Item = Found> {
    search(number, bytes, end, |_| true)
}

fn search(number: u64, bytes: &[u8], end: usize, wanted: impl Fn(&Found) -> bool) -> impl Iterator<Item = Found> {
    let mut budget = bytes.len().saturating_mul(SEARCH_FACTOR);
    let begin = end.next_multiple_of(ALIGN);
    let blocks = bytes.get(begin..).unwrap_or_default().chunks(BLOCK).enumerate();
    // Most of it is free space, which is zeros: a record begins with its checksum and its length, which is none.
    let written = blocks.filter(|(_, block)| ZEROS.get(..block.len()) != Some(*block));
    written
        .flat_map(move |(n, block)| (0..block.len()).step_by(ALIGN).map(move |at| begin + n * BLOCK + at))
        .filter_map(move |offset| {
            let rest = bytes.get(offset..)?;
            let len = plausible(rest, offset)?;
            // Only payloads made to look like records use the budget up; their author may hide damage from the search,
            // but not keep the node from starting.
            budget = budget.checked_sub(len)?;
            decode(number, rest, offset)
        })
        .filter(move |found| wanted(found))
}
