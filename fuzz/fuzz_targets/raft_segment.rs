//! A segment of the Raft log with any damage: it reads in bounds and in order, and its records survive being written again.
#![no_main]

use libfuzzer_sys::fuzz_target;
use raft::log::{Tail, decode_segment, encode_segment};

const NUMBER: u64 = 7;
const PREFIX: usize = 32;
const ALIGN: usize = 8;

fuzz_target!(|data: &[u8]| {
    let Some((mode, bytes)) = data.split_first() else { return };
    let mut bytes = bytes.to_vec();
    if mode & 1 == 0 {
        seal(&mut bytes);
    }
    let decoded = decode_segment(NUMBER, &bytes);
    let mut end = 0;
    for found in &decoded.records {
        assert_eq!(found.offset, end);
        assert!(found.len >= PREFIX && found.offset + found.len <= bytes.len() && found.batch <= found.offset);
        end = (found.offset + found.len).next_multiple_of(ALIGN);
    }
    assert_eq!(decoded.end, end);
    if let Tail::Damaged { witness } = decoded.tail {
        assert!(witness >= end && witness + PREFIX <= bytes.len() && witness % ALIGN == 0);
    }

    let records: Vec<_> = decoded.records.iter().map(|found| (found.group, found.record.clone())).collect();
    let written = encode_segment(NUMBER, &records);
    let again = decode_segment(NUMBER, &written);
    assert_eq!(again.records.iter().map(|found| (found.group, found.record.clone())).collect::<Vec<_>>(), records);
    assert_eq!((again.end, again.tail), (written.len(), Tail::Free));

    // A shorter piece of the file holds fewer records, never others. Nor do they read under another number.
    let cut = bytes.len() * usize::from(*mode) / 256;
    let front = decode_segment(NUMBER, &bytes[..cut]);
    assert!(front.records.len() <= decoded.records.len());
    assert_eq!(front.records[..], decoded.records[..front.records.len()]);
    assert!(decode_segment(NUMBER + 1, &bytes).records.is_empty() || mode & 1 == 1);
});

/// Makes whatever lengths the bytes name into a chain with good checksums, as docs/formats/raft-log.md has it: no fuzzer
/// finds those by itself.
fn seal(bytes: &mut [u8]) {
    let (mut at, mut previous) = (0, 0_u32);
    while at + PREFIX <= bytes.len() {
        let rest = &mut bytes[at..];
        let len = u32::from_le_bytes(rest[4..8].try_into().expect("four bytes")) as usize;
        // Lengths out of reach are brought into it, but for some, which then break the chain.
        let len = if len > rest.len() && len % 16 != 0 { PREFIX + len % (rest.len() - PREFIX + 1) } else { len };
        if len < PREFIX || len > rest.len() {
            return;
        }
        rest[4..8].copy_from_slice(&u32::try_from(len).expect("short").to_le_bytes());
        if rest[24] != 0xff {
            rest[8..12].copy_from_slice(&previous.to_le_bytes());
        }
        let mut hasher = crc32fast::Hasher::new();
        hasher.update(&NUMBER.to_le_bytes());
        hasher.update(&rest[4..len]);
        previous = hasher.finalize();
        rest[..4].copy_from_slice(&previous.to_le_bytes());
        at += len.next_multiple_of(ALIGN);
    }
}
