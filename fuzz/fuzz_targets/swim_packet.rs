//! A packet from anybody: no panic, and what is accepted means the same when it is written again.
#![no_main]

use libfuzzer_sys::fuzz_target;
use swim::{DATAGRAM_LEN_MAX, Packet, Section, Trailer};

/// All that a packet says, in order.
fn meaning(packet: &Packet<'_>) -> String {
    let mut text = format!("{:?} {} {:?}", packet.meta, packet.body.source, packet.trailer);
    for section in packet.body.sections() {
        match section {
            Section::AntiEntropy(records) => text += &format!(" known {:?}", records.collect::<Vec<_>>()),
            Section::Dissemination(records) => text += &format!(" news {:?}", records.collect::<Vec<_>>()),
            other => text += &format!(" {other:?}"),
        }
    }
    text
}

fuzz_target!(|bytes: &[u8]| {
    let Ok(packet) = Packet::decode(bytes) else { return };
    if let Some(trailer) = Trailer::decode(packet.trailer) {
        assert!(trailer.accusations().count() <= 4);
    }
    // Written with wide numbers it may be too long: then it is not written at all.
    let mut again = [0; DATAGRAM_LEN_MAX];
    if let Some(len) = packet.encode(&mut again) {
        assert_eq!(meaning(&Packet::decode(&again[..len]).expect("our own packet")), meaning(&packet));
    }
});
