//! Properties of the format, and of a node that is sent anything.

use crate::kit::{Group, addr, id};
use proptest::prelude::*;
use std::net::SocketAddr;
use swim::{
    Incarnation, MemberId, PACKET_LEN_MAX, Packet, Record, Status, Trailer, decode_meta, decode_record, encode_record,
};

fn records() -> impl Strategy<Value = (Record<'static>, Option<Vec<u8>>)> {
    let addr = prop_oneof![
        (1..u32::MAX, 1..u16::MAX).prop_map(|(ip, port)| SocketAddr::from((ip.to_be_bytes(), port))),
        (1..u128::MAX, 1..u16::MAX).prop_map(|(ip, port)| SocketAddr::from((ip.to_be_bytes(), port))),
    ];
    let payload = proptest::option::of(proptest::collection::vec(any::<u8>(), 0..=1200));
    (any::<[u8; 16]>(), 0..4_usize, addr, any::<(u64, u64)>(), payload).prop_filter_map(
        "nil",
        |(id, status, addr, inc, payload)| {
            let record = Record {
                id: Some(MemberId(id)).filter(|id| !id.is_nil())?,
                status: Status::ALL[status],
                addr,
                incarnation: Incarnation { generation: inc.0, version: inc.1 },
                payload: None,
            };
            Some((record, payload))
        },
    )
}

/// Bytes that are a packet of a member but for a few changes.
fn damaged() -> impl Strategy<Value = Vec<u8>> {
    let changes = proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..6);
    (any::<bool>(), changes, any::<prop::sample::Index>()).prop_map(|(is_cut, changes, cut)| {
        let mut bytes = crate::limits::ping(&[]);
        for (at, byte) in changes {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        if is_cut {
            bytes.truncate(cut.index(bytes.len()));
        }
        bytes
    })
}

proptest! {
    #[test]
    fn a_record_is_read_as_it_was_written((record, payload) in records()) {
        let record = Record { payload: payload.as_deref(), ..record };
        let mut buf = [0; 2000];
        let len = encode_record(&record, &mut buf).unwrap();
        prop_assert_eq!(decode_record(&buf[..len]), Ok((record, len)));
        prop_assert_eq!(encode_record(&record, &mut buf[..len - 1]), None);
    }

    #[test]
    fn no_bytes_make_a_reader_panic(bytes: Vec<u8>) {
        prop_assert!(decode_meta(&bytes).map_or(0, |(_, len)| len) <= bytes.len());
        prop_assert!(decode_record(&bytes).map_or(0, |(_, len)| len) <= bytes.len());
        drop(Packet::decode(&bytes));
        if let Some(trailer) = Trailer::decode(&bytes) {
            prop_assert!(trailer.accusations().count() <= 4);
        }
    }

    #[test]
    fn what_is_read_is_written_and_read_again(bytes in damaged()) {
        if let Ok(packet) = Packet::decode(&bytes) {
            let mut buf = [0; PACKET_LEN_MAX];
            let len = packet.encode(&mut buf).unwrap();
            let again = Packet::decode(&buf[..len]).unwrap();
            prop_assert_eq!((packet.meta, packet.body.source, packet.trailer), (again.meta, again.body.source, again.trailer));
            prop_assert_eq!(packet.body.sections().count(), again.body.sections().count());
        }
    }

    #[test]
    fn a_node_lives_through_anything_and_never_goes_back(datagrams in proptest::collection::vec(damaged(), 1..40)) {
        let mut group = Group::new(3);
        group.until(5.0, Group::is_whole);
        for datagram in &datagrams {
            let before: Vec<_> = group.nodes[&1].members().map(|member| (member.id, member.incarnation)).collect();
            let is_packet = Packet::decode(datagram).is_ok();
            prop_assert_eq!(group.deliver(1, datagram).is_ok(), is_packet);
            for (id, incarnation) in before {
                let after = group.nodes[&1].member(&id).unwrap().incarnation;
                prop_assert!(after >= incarnation);
            }
            group.run(0.1);
        }
        prop_assert!(group.sent.borrow().iter().all(|(_, _, len)| *len <= PACKET_LEN_MAX));
        group.run(90.0);
        prop_assert!(group.is_whole());
        prop_assert_eq!(group.nodes[&1].member(&id(1)).unwrap().addr, addr(1));
    }
}
