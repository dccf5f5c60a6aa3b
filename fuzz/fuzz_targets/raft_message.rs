//! What a member says of a group: it is refused, or what was read of it is written to bytes that mean the same.
#![no_main]

use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use raft::recode_message;

fuzz_target!(|data: &[u8]| {
    let Some((method, body)) = data.split_first() else { return };
    let body = Bytes::copy_from_slice(body);
    let Some(once) = recode_message(*method, &body) else { return };
    // Repeated members make it shorter. Longer it gets only by the position of members that came without theirs: 24 bytes for
    // an entry of at least 34.
    assert!(once.len() <= 2 * body.len());
    assert_eq!(recode_message(*method, &once), Some(once));
});
