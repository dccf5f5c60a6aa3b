//! Whatever others send: bounded answers, bounded memory, and none of the original's defects.

use crate::kit::{Group, addr, id};
use swim::{Config, Incarnation, Limits, MemberId, Record, Status, encode_record};

/// A packet of a stranger at `addr(200)`, with `sections` behind its sender: `(key, bytes)`.
fn packet(source: &MemberId, sections: &[&[u8]]) -> Vec<u8> {
    let mut bytes = vec![0x83, 0, 0xce, 0, 2, 6, 0, 1, 0xce, 10, 0, 0, 200, 2, 0xcd, 0x0c, 0xe5];
    bytes.push(0x81 + u8::try_from(sections.len()).unwrap());
    bytes.extend([0, 0xc4, 16]);
    bytes.extend(source.0);
    for section in sections {
        bytes.extend(*section);
    }
    bytes
}

const PING: &[u8] = &[2, 0x83, 0, 0, 1, 5, 2, 0];

pub(crate) fn ping(more: &[&[u8]]) -> Vec<u8> {
    packet(&id(200), &[&[PING], more].concat())
}

fn news(records: &[Record<'_>]) -> Vec<u8> {
    let mut bytes = vec![3, 0xdc, 0, u8::try_from(records.len()).unwrap()];
    for record in records {
        let mut buf = [0; 1400];
        let len = encode_record(record, &mut buf).unwrap();
        bytes.extend(&buf[..len]);
    }
    bytes
}

fn record(n: u8, status: Status, version: u64) -> Record<'static> {
    Record { id: id(n), status, addr: addr(n), incarnation: Incarnation { generation: 1, version }, payload: None }
}

#[test]
fn nothing_that_is_sent_to_a_stranger_is_longer_than_three_times_what_it_sent() {
    let mut group = Group::new(30);
    group.until(5.0, Group::is_whole);
    group.run(10.0);
    group.sent.borrow_mut().clear();
    let datagram = ping(&[]);
    group.deliver(1, &datagram).unwrap();
    group.run(20.0);
    let sent = group.sent.borrow();
    let to_stranger: Vec<_> = sent.iter().filter(|(_, to, _)| *to == addr(200)).collect();
    assert!(!to_stranger.is_empty());
    for (from, _, len) in &to_stranger {
        assert!(*len <= 3 * datagram.len(), "{from} sent {len} bytes");
    }
    assert!(to_stranger.iter().filter(|(from, ..)| *from == 1).count() < 10, "{}", to_stranger.len());
}

#[test]
fn names_in_gossip_cause_one_short_ping_to_each_address() {
    let mut group = Group::new(3);
    group.until(5.0, Group::is_whole);
    group.sent.borrow_mut().clear();
    let target = addr(77);
    let records: Vec<Record<'_>> = (100..120).map(|n| Record { addr: target, ..record(n, Status::Alive, 0) }).collect();
    let datagram = packet(&id(200), &[&news(&records)]);
    for _ in 0..5 {
        group.deliver(1, &datagram).unwrap();
    }
    let sent: Vec<usize> =
        group.sent.borrow().iter().filter(|(_, to, _)| *to == target).map(|(_, _, len)| *len).collect();
    assert!(matches!(sent[..], [len] if len < 200), "{sent:?}");
    assert_eq!(group.nodes[&1].len(), 3, "nobody enters on hearsay");
}

#[test]
fn the_table_has_a_bound() {
    let limits = Limits { members: 20, ..Limits::default() };
    let mut group = Group::with(1, |_, config| Config { limits, ..config });
    for n in 0..10_000_u32 {
        let mut source = id(0);
        source.0[..4].copy_from_slice(&(n + 1).to_le_bytes());
        group.deliver(1, &packet(&source, &[PING])).unwrap();
    }
    assert_eq!(group.nodes[&1].len(), 20);
    group.run(60.0);
    assert_eq!(group.nodes[&1].len(), 1, "those who never answered are gone without a trace");
}

#[test]
fn nobody_can_drive_an_incarnation_to_its_end() {
    let mut group = Group::new(2);
    group.until(5.0, Group::is_whole);
    for generation in [u64::MAX, u64::MAX - 1, Incarnation::GENERATION_MAX + 1] {
        for version in [0, u64::MAX] {
            let incarnation = Incarnation { generation, version };
            for n in [1, 2] {
                let claims = [Record { incarnation, ..record(n, Status::Dead, 0) }];
                group.deliver(1, &packet(&id(200), &[&news(&claims)])).unwrap();
            }
        }
    }
    assert!(group.is_whole());
    // The greatest that is believed can still be contradicted, again and again.
    for _ in 0..5 {
        let mine = group.nodes[&1].member(&id(1)).unwrap().incarnation;
        let claim = Incarnation { generation: mine.generation.max(1 << 62), version: u64::MAX };
        let claims = [Record { incarnation: claim, ..record(1, Status::Dead, 0) }];
        group.deliver(1, &packet(&id(200), &[&news(&claims)])).unwrap();
        assert!(group.nodes[&1].member(&id(1)).unwrap().incarnation > claim);
    }
    group.until(3.0, |group| group.is_whole() && group.nodes[&2].member(&id(1)) == group.nodes[&1].member(&id(1)));
}

#[test]
fn the_id_of_nobody_is_no_member() {
    let mut group = Group::new(1);
    assert!(group.deliver(1, &packet(&MemberId::NIL, &[PING])).is_err());
    assert!(
        group
            .deliver(1, &packet(&id(9), &[&news(&[Record { id: MemberId::NIL, ..record(1, Status::Alive, 0) }])]))
            .is_err()
    );
    assert_eq!(group.nodes[&1].len(), 1);
}

#[test]
fn a_member_of_the_other_family_is_not_learned_by_any_way() {
    let mut group = Group::new(2);
    group.until(5.0, Group::is_whole);
    let elsewhere = std::net::SocketAddr::from(([0xfd00, 0, 0, 0, 0, 0, 0, 9], 3301));
    // By its own word: the same ping with another address in its head.
    let mut direct = vec![0x83, 0, 0xce, 0, 2, 6, 0, 1, 0xc4, 16];
    direct.extend([0xfd, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 9, 2, 0xcd, 0x0c, 0xe5]);
    direct.extend(&ping(&[])[17..]);
    assert!(swim::Packet::decode(&direct).is_ok_and(|packet| packet.meta.source == elsewhere));
    group.deliver(1, &direct).unwrap();
    // By the word of others, as a stranger and as the new address of a member.
    let claims = [3, 2].map(|n| Record { addr: elsewhere, ..record(n, Status::Alive, 9) });
    group.deliver(1, &packet(&id(200), &[&news(&claims)])).unwrap();
    group.run(1.0);
    assert_eq!((group.nodes[&1].len(), group.nodes[&1].member(&id(2)).unwrap().addr), (2, addr(2)));
    assert!(group.sent.borrow().iter().all(|(_, to, _)| to.is_ipv4()));
}

#[test]
fn a_packet_that_is_wrong_in_its_last_section_changes_nothing() {
    let mut group = Group::new(2);
    group.until(5.0, Group::is_whole);
    let claims = news(&[record(2, Status::Dead, 9)]);
    assert!(group.deliver(1, &packet(&id(200), &[&claims, &[9, 0]])).is_err());
    assert_eq!(group.status(2, 1), Some(Status::Alive));
    assert!(group.deliver(1, &packet(&id(200), &[&claims])).is_ok());
    assert_eq!(group.status(2, 1), Some(Status::Dead));
}

/// A ping of member 2 to `to`, through the node that it is given to.
fn routed(to: u8, pad: usize) -> Vec<u8> {
    let mut bytes = vec![0x84, 0, 0xce, 0, 2, 6, 0, 1, 0xce, 10, 0, 0, 2, 2, 0xcd, 0x0c, 0xe5];
    bytes.extend([3, 0x84, 0, 0xce, 10, 0, 0, 2, 1, 0xcd, 0x0c, 0xe5, 2, 0xce, 10, 0, 0, to, 3, 0xcd, 0x0c, 0xe5]);
    bytes.extend([0x82, 0, 0xc4, 16]);
    bytes.extend(id(2).0);
    bytes.extend(PING);
    bytes.resize(bytes.len() + pad, 0);
    bytes
}

#[test]
fn packets_are_passed_on_between_members_only() {
    let mut group = Group::new(3);
    group.until(5.0, Group::is_whole);
    let passed = |group: &mut Group, bytes: &[u8]| {
        group.sent.borrow_mut().clear();
        group.deliver(1, bytes).unwrap();
        group.sent.take()
    };
    assert_eq!(passed(&mut group, &routed(3, 0)), [(1, addr(3), routed(3, 0).len())]);
    assert_eq!(passed(&mut group, &routed(99, 0)), [], "not to strangers");
    assert_eq!(passed(&mut group, &routed(3, 1390)), [], "not what would kill the next one");
    let mut stranger = routed(3, 0);
    stranger[12] = 99;
    assert_eq!(passed(&mut group, &stranger), [], "not from strangers");
}

#[test]
fn a_storm_of_claims_leaves_memory_as_it_was() {
    let mut group = Group::new(5);
    group.until(5.0, Group::is_whole);
    group.lets_through = Box::new(|_, _, _| false);
    for version in 0..20_000 {
        let status = [Status::Suspected, Status::Dead, Status::Left][usize::try_from(version % 3).unwrap()];
        let claims: Vec<Record<'_>> = (2..6).map(|n| record(n, status, version)).collect();
        group.deliver(1, &packet(&id(200), &[&news(&claims)])).unwrap();
    }
    let debug = format!("{:?}", group.nodes[&1]);
    assert!(debug.len() < 200_000, "{} characters tell all that the node keeps", debug.len());
}
