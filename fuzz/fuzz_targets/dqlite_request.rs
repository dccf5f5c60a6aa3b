//! Any message is a request or is refused; what was read is written back to the same request.
#![no_main]

use bytes::BytesMut;
use dqlite::{BodyLimit, Frame, Request};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let mut input = BytesMut::from(data);
    while let Ok(Some(frame)) = Frame::take(&mut input, BodyLimit::DEFAULT) {
        let Ok(request) = Request::decode(&frame) else { continue };
        let mut out = BytesMut::new();
        request.encode(&mut out);
        let again = Frame::take(&mut out, BodyLimit::MAX).expect("a frame").expect("a whole frame");
        assert!(out.is_empty());
        // Compared as text: a NaN is not equal to itself.
        assert_eq!(format!("{:?}", Request::decode(&again).expect("what was encoded decodes")), format!("{request:?}"));
    }
});
