//! The head of a packet from anybody: no panic, and it takes no more than there is.
#![no_main]

use libfuzzer_sys::fuzz_target;
use swim::decode_meta;

fuzz_target!(|bytes: &[u8]| {
    if let Ok((meta, len)) = decode_meta(bytes) {
        assert!(len <= bytes.len());
        assert!(meta.version != 0 && meta.source.port() != 0 && !meta.source.ip().is_unspecified());
        assert_eq!(decode_meta(&bytes[..len]).expect("the same bytes"), (meta, len));
        assert!(decode_meta(&bytes[..len - 1]).is_err(), "a part of it is none");
    }
});
