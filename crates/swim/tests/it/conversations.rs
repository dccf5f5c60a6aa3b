//! What members of a group come to believe of each other, as conversations in virtual time.

use crate::kit::{Group, addr, id};
use swim::{Changes, Config, GroupKey, Incarnation, Label, Moment, Reason, Status, Trust};

#[test]
fn members_that_know_one_address_find_all_others() {
    let mut group = Group::new(20);
    let took = group.until(5.0, Group::is_whole);
    assert!(took < 2.0, "{took}");
    group.run(5.0);
    let before = group.sent.borrow().len();
    group.run(60.0);
    let sent = group.sent.borrow().len() - before;
    assert!(sent < 2460, "{sent} packets in a minute of 20 idle members: each sends two a second");
    assert!(group.is_whole());
    assert!(group.events.iter().all(|(_, event)| event.status == Status::Alive), "nobody was suspected");
}

#[test]
fn a_member_that_falls_silent_is_suspected_then_dead_and_it_is_said_why() {
    for count in [2, 3, 10, 50] {
        let mut group = Group::new(count);
        group.until(10.0, Group::is_whole);
        group.run(3.0);
        group.nodes.remove(&count);
        let took = group.until(10.0, |group| group.all_believe(count, Status::Dead));
        assert!(took < 4.0, "{took} s with {count} members");
        let is_told = |status: Status, is_so: fn(&Reason) -> bool| {
            group.events_of(count).any(|(_, event)| event.status == status && is_so(&event.reason))
        };
        assert!(is_told(Status::Suspected, |reason| matches!(reason, Reason::Silent { pings: 4, .. })));
        assert!(is_told(Status::Dead, |reason| {
            matches!(reason, Reason::Unrefuted { accusers, .. } if !accusers.is_empty())
        }));
        group.run(60.0);
        assert_eq!(group.status(count, 1), None, "it is forgotten");
    }
}

#[test]
fn a_member_that_one_other_does_not_hear_is_asked_through_others() {
    let mut group = Group::new(5);
    group.until(5.0, Group::is_whole);
    group.lets_through = Box::new(|from, to, _| {
        !matches!((from, to), (1, to) if to == addr(2)) && !matches!((from, to), (2, to) if to == addr(1))
    });
    group.run(60.0);
    assert!(group.events.iter().all(|(_, event)| event.status == Status::Alive));
}

#[test]
fn a_rumour_is_refuted_by_who_it_is_about() {
    let mut group = Group::new(4);
    group.until(5.0, Group::is_whole);
    // Member 2 is not heard by anybody for a moment, long enough to be suspected and too short to be dead.
    group.lets_through = Box::new(|from, to, _| from != 2 && to != addr(2));
    group.until(5.0, |group| group.status(2, 1) == Some(Status::Suspected));
    group.lets_through = Box::new(|_, _, _| true);
    group.until(2.0, Group::is_whole);
    let refuted = |group: &Group| {
        group.events.iter().any(|(by, event)| {
            *by == 2 && event.id == id(2) && event.reason == Reason::Refuted { rumour: Status::Suspected }
        })
    };
    group.until(3.0, refuted);
    group.run(30.0);
    assert!(group.is_whole());
    assert!(group.events.iter().all(|(_, event)| event.status != Status::Dead));
}

#[test]
fn a_node_that_was_stopped_blames_nobody_for_it() {
    let mut group = Group::new(8);
    group.until(5.0, Group::is_whole);
    group.run(5.3);
    // Node 1 is stopped for half a minute; then it runs again, and meanwhile nothing has come to it.
    let mut stopped = group.nodes.remove(&1).unwrap();
    group.run(2.0);
    let late = Moment(group.now.0 + std::time::Duration::from_secs(28));
    stopped.handle_timeout(late);
    let mut buf = [0; swim::DATAGRAM_LEN_MAX];
    while stopped.poll_transmit(&mut buf).is_some() {}
    while let Some(event) = stopped.poll_event() {
        assert_eq!(event.status, Status::Alive, "{event:?}");
    }
    assert!(stopped.health_score() > 0, "it knows that something is wrong with it");
    assert!(stopped.poll_timeout() > Some(late), "and goes on as if no time had passed");
}

#[test]
fn a_group_that_was_cut_in_two_becomes_one_again() {
    let mut group = Group::new(9);
    group.until(5.0, Group::is_whole);
    let side = |n: u8| n < 4;
    group.lets_through = Box::new(move |from, to, _| (1..=9).any(|n| addr(n) == to && side(n) == side(from)));
    group.run(3600.0);
    assert_eq!((group.nodes[&1].present(), group.nodes[&9].present()), (3, 6));
    assert_eq!(group.status(9, 1), None);
    group.lets_through = Box::new(|_, _, _| true);
    let took = group.until(60.0, Group::is_whole);
    assert!(took < 30.0, "{took}");
}

#[test]
fn a_member_that_quits_has_left_for_all_at_once() {
    let mut group = Group::new(6);
    group.until(5.0, Group::is_whole);
    group.command(3, |node, _| node.quit());
    group.until(0.01, |group| group.all_believe(3, Status::Left));
    assert_eq!(group.nodes[&3].poll_timeout(), None);
    group.command(3, |node, now| {
        node.quit();
        assert!(node.probe(now, addr(1)).is_err() && node.set_payload(b"x").is_err());
    });
    group.nodes.remove(&3);
    group.run(60.0);
    assert_eq!((group.status(3, 1), group.nodes[&1].len()), (None, 5));
}

#[test]
fn a_payload_reaches_all_and_an_empty_one_is_a_payload() {
    let mut group = Group::with(5, |n, config| Config { payload: vec![n; 1200], ..config });
    group.until(5.0, Group::is_whole);
    let all_have = |group: &Group, of: u8, payload: &[u8]| {
        group.nodes.values().all(|node| node.member(&id(of)).is_some_and(|member| member.payload == Some(payload)))
    };
    group.until(20.0, |group| (1..=5).all(|n| all_have(group, n, &[n; 1200])));
    group.command(2, |node, _| node.set_payload(b"role=storage").unwrap());
    group.until(3.0, |group| all_have(group, 2, b"role=storage"));
    group.command(2, |node, _| node.set_payload(b"").unwrap());
    group.until(3.0, |group| all_have(group, 2, b""));
    assert!(group.command(2, |node, _| node.set_payload(&[0; 1201])).is_err());
}

#[test]
fn another_address_and_another_id_are_told() {
    let mut group = Group::new(4);
    group.until(5.0, Group::is_whole);
    let elsewhere = ([10, 0, 1, 2], 9999).into();
    group.command(2, |node, _| node.set_addr(elsewhere).unwrap());
    group.until(3.0, |group| group.nodes.values().all(|node| node.member(&id(2)).unwrap().addr == elsewhere));
    group.command(3, |node, now| node.set_id(now, id(33)).unwrap());
    let is_other = |group: &Group| {
        group.nodes.values().all(|node| {
            let status = |n| node.member(&id(n)).map(|member| member.status);
            (status(3), status(33)) == (Some(Status::Left), Some(Status::Alive))
        })
    };
    group.until(3.0, is_other);
    group.run(20.0);
    assert!(is_other(&group));
    assert!(group.events.iter().all(|(_, event)| event.status != Status::Suspected));
}

#[test]
fn a_member_that_starts_again_is_the_same_in_its_next_life() {
    let mut group = Group::new(3);
    group.until(5.0, Group::is_whole);
    group.run(3.0);
    group.nodes.remove(&3);
    group.until(10.0, |group| group.all_believe(3, Status::Dead));
    // Its clock was set back: the generation is less than that of its last life.
    group.start(3, Config::new(id(3), addr(3), 0));
    group.command(3, |node, now| node.probe(now, addr(1)).unwrap());
    group.until(10.0, Group::is_whole);
    let incarnation = group.nodes[&1].member(&id(3)).unwrap().incarnation;
    assert!(incarnation > Incarnation { generation: 1, version: 0 }, "{incarnation}");
}

#[test]
fn a_group_that_signs_believes_its_own_alone_and_changes_its_key_without_a_gap() {
    let key = |n| GroupKey([n; 32]);
    let mut group = Group::with(4, |_, config| Config { trust: Trust::Signed(vec![key(1)]), ..config });
    group.until(5.0, Group::is_whole);
    let bytes = crate::limits::ping(&[]);
    assert_eq!(group.deliver(1, &bytes), Err(swim::PacketError::Unsigned));
    for keys in [vec![key(1), key(2)], vec![key(2), key(1)], vec![key(2)]] {
        for n in 1..=4 {
            group.command(n, |node, _| node.set_keys(keys.clone()).unwrap());
            group.run(3.0);
        }
    }
    assert!(group.is_whole());
    assert!(group.events.iter().all(|(_, event)| event.status == Status::Alive));
    // One falls silent and comes back: a signed group recovers by answers to its own questions.
    group.lets_through = Box::new(|from, _, _| from != 4);
    group.until(10.0, |group| group.status(4, 1) == Some(Status::Suspected));
    group.lets_through = Box::new(|_, _, _| true);
    group.until(5.0, Group::is_whole);
}

#[test]
fn groups_with_different_labels_stay_apart() {
    let mut group = Group::with(4, |n, config| {
        let label = Label::of(if n % 2 == 0 { "even" } else { "odd" });
        Config { label: Some(label), ..config }
    });
    group.command(4, |node, now| node.probe(now, addr(2)).unwrap());
    group.run(10.0);
    assert_eq!((group.nodes[&1].len(), group.nodes[&2].len()), (2, 2));
    assert!(group.refused.iter().all(|refused| *refused == swim::PacketError::OtherGroup));
    assert!(!group.refused.is_empty());
}

#[test]
fn what_is_added_and_not_there_is_found_dead() {
    let mut group = Group::new(1);
    group.command(1, |node, _| node.add_member(id(7), addr(7)).unwrap());
    assert_eq!(group.status(7, 1), Some(Status::Alive));
    assert!(group.command(1, |node, _| node.add_member(id(7), addr(8))).is_err());
    group.until(10.0, |group| group.status(7, 1) == Some(Status::Dead));
    group.command(1, |node, _| node.remove_member(&id(7)).unwrap());
    assert!(group.events.iter().any(|(_, event)| event.changes.has(Changes::DROP) && event.id == id(7)));
    assert!(group.command(1, |node, _| node.remove_member(&id(1))).is_err());
}

#[test]
fn a_group_of_ipv6_is_a_group() {
    let v6 = |n: u8| std::net::SocketAddr::from(([0xfd00, 0, 0, 0, 0, 0, 0, u16::from(n)], 3301));
    let mut group = Group::new(0);
    for n in 1..=4 {
        group.start(n, Config::new(id(n), v6(n), 1));
        if n > 1 {
            group.command(n, |node, now| node.probe(now, v6(1)).unwrap());
        }
    }
    group.until(5.0, Group::is_whole);
    assert!(group.command(1, |node, _| node.add_member(id(9), addr(9))).is_err(), "the other family is not learned");
}
