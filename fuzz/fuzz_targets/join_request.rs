//! What a stranger asks for, before anybody has checked who it is: it is refused, or means the same when it is passed on.
#![no_main]

use cluster::recode_join_request;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let Some(once) = recode_join_request(data) else { return };
    assert!(once.len() <= data.len());
    assert_eq!(recode_join_request(&once), Some(once));
});
