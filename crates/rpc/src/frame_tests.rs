//! Frames there and back, and every wrong one.

use super::*;
use proptest::prelude::*;

fn refusal() -> impl Strategy<Value = Refusal> {
    let disposition = prop_oneof![
        any::<u32>().prop_map(|ms| Disposition::Retry { after: Duration::from_millis(u64::from(ms)) }),
        Just(Disposition::Refuse),
        Just(Disposition::Gone),
        Just(Disposition::Corrupt),
        Just(Disposition::Bug),
        Just(Disposition::Unknown),
    ];
    ("[A-Z0-9-]{0,40}", disposition, ".{0,60}").prop_map(|(code, disposition, message)| Refusal {
        code: Cow::Owned(code),
        disposition,
        message,
    })
}

fn hello() -> impl Strategy<Value = Hello> {
    (any::<u16>(), any::<bool>(), any::<u64>(), any::<u64>(), any::<[u8; 32]>()).prop_map(
        |(version, bulk, node, wanted, fingerprint)| Hello {
            version,
            class: if bulk { Class::Bulk } else { Class::Control },
            node: some_node(node),
            wanted: some_node(wanted),
            fingerprint: Fingerprint(fingerprint),
        },
    )
}

fn frame() -> impl Strategy<Value = Frame> {
    let body = || proptest::collection::vec(any::<u8>(), 0..300).prop_map(Bytes::from);
    prop_oneof![
        hello().prop_map(Frame::Hello),
        (any::<u16>(), any::<u64>()).prop_map(|(version, node)| Frame::Welcome { version, node: NodeId(node) }),
        (any::<u16>(), any::<u16>(), any::<u32>(), body())
            .prop_map(|(service, method, deadline_ms, body)| Frame::Call { service, method, deadline_ms, body }),
        body().prop_map(Frame::Answer),
        refusal().prop_map(Frame::Refused),
        Just(Frame::Cancel),
        ".{0,40}".prop_map(Frame::Goodbye),
        Just(Frame::Ping),
        Just(Frame::Pong),
    ]
}

proptest! {
    #[test]
    fn what_was_encoded_is_decoded_however_the_bytes_arrive(
        frames in proptest::collection::vec((any::<u64>(), frame()), 0..8),
        step in 1usize..50,
    ) {
        let mut wire = BytesMut::new();
        for (id, frame) in &frames {
            frame.encode(*id, &mut wire);
        }
        let mut input = BytesMut::new();
        let mut seen = Vec::new();
        for chunk in wire.chunks(step) {
            input.put_slice(chunk);
            while let Ok(payload) = split(&mut input, FRAME_LEN_MAX).unwrap() {
                seen.push(Frame::decode(&payload).unwrap());
            }
        }
        prop_assert!(input.is_empty());
        prop_assert_eq!(seen, frames);
    }

    #[test]
    fn no_bytes_make_the_decoder_panic_and_what_it_accepts_means_the_same_when_sent_on(bytes: Vec<u8>) {
        if let Ok((id, frame)) = Frame::decode(&Bytes::from(bytes)) {
            let mut again = BytesMut::new();
            frame.encode(id, &mut again);
            let payload = split(&mut again, FRAME_LEN_MAX).unwrap().unwrap();
            prop_assert_eq!(Frame::decode(&payload).unwrap(), (id, frame));
        }
    }
}

#[test]
fn a_length_over_the_limit_is_refused_before_anything_is_reserved_for_it() {
    let mut input = BytesMut::from(&[0xff, 0xff, 0xff, 0x7f, 3][..]);
    assert_eq!(split(&mut input, 1000), Err(FrameError::TooLong { len: 0x7fff_ffff, max: 1000 }));
}

#[test]
fn another_protocol_on_the_port_is_told_by_its_first_bytes() {
    let mut input = BytesMut::from(&b"GET / HTTP/1.1\r\n\r\n"[..]);
    assert!(matches!(split(&mut input, FRAME_LEN_MAX), Err(FrameError::TooLong { .. })));
    let mut hello = BytesMut::new();
    hello.put_u8(HELLO);
    hello.put_u64_le(0);
    hello.put_slice(&[0; 60]);
    assert_eq!(Frame::decode(&hello.freeze()), Err(FrameError::Magic));
}

#[test]
fn the_bytes_are_those_of_the_format_document() {
    let mut call = BytesMut::new();
    Frame::Call { service: 1, method: 2, deadline_ms: 500, body: Bytes::from_static(b"hi") }.encode(7, &mut call);
    assert_eq!(&call[..], b"\x13\0\0\0\x03\x07\0\0\0\0\0\0\0\x01\0\x02\0\xf4\x01\0\0hi");
    let mut refused = BytesMut::new();
    let refusal = Refusal {
        code: Cow::Borrowed("BL-X-1"),
        disposition: Disposition::Retry { after: Duration::from_millis(20) },
        message: "no".to_owned(),
    };
    Frame::Refused(refusal).encode(7, &mut refused);
    assert_eq!(&refused[..], b"\x17\0\0\0\x05\x07\0\0\0\0\0\0\0\0\x14\0\0\0\x06BL-X-1no");
}

#[test]
fn a_long_message_is_cut_between_characters() {
    let mut out = BytesMut::new();
    Frame::Goodbye("é".repeat(TEXT_LEN_MAX)).encode(0, &mut out);
    let payload = split(&mut out, FRAME_LEN_MAX).unwrap().unwrap();
    assert!(matches!(Frame::decode(&payload), Ok((0, Frame::Goodbye(why))) if why.len() == TEXT_LEN_MAX));
}
