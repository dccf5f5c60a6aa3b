//! Bytes from another node: no panic, and what is accepted means the same when it is sent on.
#![no_main]

use bytes::BytesMut;
use libfuzzer_sys::fuzz_target;
use rpc::frame::{FRAME_LEN_MAX, Frame, STRANGER_FRAME_LEN_MAX, split};

fuzz_target!(|bytes: &[u8]| {
    let mut input = BytesMut::from(bytes);
    while let Ok(Ok(payload)) = split(&mut input, STRANGER_FRAME_LEN_MAX) {
        let Ok((id, frame)) = Frame::decode(&payload) else { continue };
        let mut again = BytesMut::new();
        frame.encode(id, &mut again);
        let payload = split(&mut again, FRAME_LEN_MAX).expect("our own length").expect("our own frame is whole");
        assert!(again.is_empty());
        assert_eq!(Frame::decode(&payload).expect("our own frame"), (id, frame));
    }
});
