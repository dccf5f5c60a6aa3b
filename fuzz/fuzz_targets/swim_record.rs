//! A record of a member from anybody: no panic, and what is accepted means the same when it is written again.
#![no_main]

use libfuzzer_sys::fuzz_target;
use swim::{PAYLOAD_LEN_MAX, decode_record, encode_record};

fuzz_target!(|bytes: &[u8]| {
    let Ok((record, len)) = decode_record(bytes) else { return };
    assert!(len <= bytes.len() && !record.id.is_nil());
    assert!(record.payload.is_none_or(|payload| payload.len() <= PAYLOAD_LEN_MAX));
    let mut again = [0; PAYLOAD_LEN_MAX + 100];
    let len = encode_record(&record, &mut again).expect("there is room for any record");
    assert_eq!(decode_record(&again[..len]).expect("our own record"), (record, len));
});
