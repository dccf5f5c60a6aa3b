//! What members and strangers say about membership, some of it before anybody has checked who they are: it is refused, or means
//! the same when it is passed on.
#![no_main]

use cluster::MessageKind;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let Some((choice, bytes)) = data.split_first() else { return };
    let kind = MessageKind::ALL[usize::from(*choice) % MessageKind::ALL.len()];
    let Some(once) = kind.recode(bytes) else { return };
    assert!(once.len() <= bytes.len());
    assert_eq!(kind.recode(&once), Some(once));
});
