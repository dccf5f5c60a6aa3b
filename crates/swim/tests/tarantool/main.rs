//! Our members in one group with real Tarantools, of Debian's package `tarantool`. Without it each test says that it is skipped.
//!
//! All groups live on the loopback interface. The test that broadcasts makes a network of its own, where there is no other.

#![cfg(test)]
#![expect(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "real sockets, processes and clocks; and a skip is said aloud"
)]

mod ours;
mod peer;

use ours::{Ours, PERIOD, live, until};
use peer::{Cipher, Tarantool, is_here};
use std::process::Command;
use std::time::Duration;
use swim::{Codec, Config, MemberId, Mode, Reason, Status};

/// Ours and a Tarantool that know each other.
fn pair(cipher: Option<&Cipher>, mode: Mode) -> (Ours, Tarantool) {
    let mut theirs = Tarantool::start(0xa1, PERIOD, cipher);
    let codec = cipher.map(|cipher| Codec::new(&cipher.key, mode).unwrap());
    let mut ours = Ours::with(1, |config| Config { codec, ..config });
    ours.probe(theirs.addr);
    know_each_other(&mut [&mut ours], &mut [&mut theirs]);
    (ours, theirs)
}

#[track_caller]
fn know_each_other(ours: &mut [&mut Ours], theirs: &mut [&mut Tarantool]) {
    let ids: Vec<MemberId> = ours.iter().map(|node| node.id).chain(theirs.iter().map(|peer| peer.id)).collect();
    until(20, ours, "all know each other", |ours| {
        ids.iter().all(|id| ours.iter().all(|node| node.status(id) == Some(Status::Alive)))
            && ids.iter().all(|id| theirs.iter_mut().all(|peer| peer.status(id) == "alive"))
    });
}

#[test]
fn a_group_is_joined_by_probe_from_either_side_and_payloads_go_both_ways() {
    if !is_here() {
        return;
    }
    let (mut ours, mut theirs) = pair(None, Mode::Cbc);
    let mut second = Ours::start(2);
    theirs.run(&format!("s:probe_member('{}')", second.addr));
    know_each_other(&mut [&mut ours, &mut second], &mut [&mut theirs]);

    let (id, their_id) = (ours.id, theirs.id);
    ours.swim.set_payload(b"from bowline").unwrap();
    theirs.run("s:set_payload_raw('from tarantool')");
    until(10, &mut [&mut ours, &mut second], "payloads are there", |ours| {
        let ours_has = ours.iter().all(|node| node.payload(&their_id).as_deref() == Some(b"from tarantool"));
        ours_has && theirs.ask(&format!("payload('{id}')")) == "from bowline"
    });
    // The longest there is, and none.
    ours.swim.set_payload(&[b'x'; 1200]).unwrap();
    theirs.run("s:set_payload_raw('')");
    until(10, &mut [&mut ours, &mut second], "other payloads are there", |ours| {
        let ours_has = ours.iter().all(|node| node.payload(&their_id).as_deref() == Some(b""));
        ours_has && theirs.ask(&format!("#payload('{id}')")) == "1200"
    });
}

#[test]
fn a_group_is_joined_by_adding_a_member_on_either_side() {
    if !is_here() {
        return;
    }
    let mut theirs = Tarantool::start(0xa1, PERIOD, None);
    let (mut first, mut second) = (Ours::start(1), Ours::start(2));
    first.swim.add_member(theirs.id, theirs.addr).unwrap();
    theirs.run(&format!("s:add_member({{uri = '{}', uuid = '{}'}})", second.addr, second.id));
    know_each_other(&mut [&mut first, &mut second], &mut [&mut theirs]);
}

#[test]
fn a_group_is_joined_by_broadcast() {
    const NAME: &str = "a_group_is_joined_by_broadcast";
    if !is_here() {
        return;
    }
    // A broadcast goes to every interface there is: only in a network with nothing but loopback.
    if std::env::var_os("BOWLINE_TEST_IN_NETWORK_OF_ITS_OWN").is_none() {
        let script = "ip link set lo up && exec \"$0\" \"$@\"";
        let mut command = Command::new("unshare");
        command.args(["--net", "--map-root-user", "sh", "-c", script]).arg(std::env::current_exe().unwrap());
        let can = Command::new("unshare").args(["--net", "--map-root-user", "ip", "link", "set", "lo", "up"]).status();
        if !can.is_ok_and(|status| status.success()) {
            eprintln!("SKIPPED: no network of its own can be made; apt-get install util-linux iproute2, as root");
            return;
        }
        let status =
            command.args([NAME, "--exact", "--nocapture"]).env("BOWLINE_TEST_IN_NETWORK_OF_ITS_OWN", "1").status();
        assert!(status.unwrap().success());
        return;
    }
    let mut theirs = Tarantool::start(0xa1, PERIOD, None);
    let mut ours = Ours::start(1);
    theirs.run(&format!("s:broadcast({})", ours.addr.port()));
    know_each_other(&mut [&mut ours], &mut [&mut theirs]);
}

#[test]
fn who_does_not_hear_one_member_hears_it_through_the_other_kind() {
    if !is_here() {
        return;
    }
    let mut theirs = Tarantool::start(0xa1, PERIOD, None);
    let (mut first, mut second) = (Ours::start(1), Ours::start(2));
    first.probe(theirs.addr);
    second.probe(theirs.addr);
    know_each_other(&mut [&mut first, &mut second], &mut [&mut theirs]);
    // The first does not hear the Tarantool any more, nor it the first: ours passes on for both.
    first.cut = vec![theirs.addr];
    let id = first.id;
    until(20, &mut [&mut first, &mut second], "the Tarantool suspects and is told better", |_| {
        theirs.has_believed(&id, "suspected") && theirs.status(&id) == "alive"
    });
    live(PERIOD * 30, &mut [&mut first, &mut second]);
    assert!(!theirs.has_believed(&id, "dead"));
    assert!(!first.has_believed(&theirs.id, Status::Dead));
    // Now the two of ours do not hear each other: the Tarantool passes on.
    (first.cut, second.cut) = (vec![second.addr], vec![first.addr]);
    let (before, at) = (first.events.len(), second.events.len());
    live(PERIOD * 40, &mut [&mut first, &mut second]);
    let is_dead = |event: &swim::Event| event.status == Status::Dead;
    assert!(!first.events[before..].iter().any(is_dead) && !second.events[at..].iter().any(is_dead));
    assert_eq!(first.status(&second.id), Some(Status::Alive));
}

#[test]
fn a_wrong_suspicion_is_refuted_by_either_kind() {
    if !is_here() {
        return;
    }
    let (mut first, mut theirs) = pair(None, Mode::Cbc);
    let mut second = Ours::start(2);
    second.probe(theirs.addr);
    know_each_other(&mut [&mut first, &mut second], &mut [&mut theirs]);
    let (id, their_id) = (first.id, theirs.id);
    // The Tarantool does not hear the first any more and says so to the second, from which the first hears it.
    first.cut = vec![theirs.addr];
    until(20, &mut [&mut first, &mut second], "ours contradicts", |ours| {
        ours[0].events.iter().any(|event| event.reason == Reason::Refuted { rumour: Status::Suspected })
    });
    until(20, &mut [&mut first, &mut second], "the Tarantool believes it", |ours| {
        let mine = ours[0].swim.member(&id).unwrap().incarnation.version;
        let told = theirs.ask(&format!("tostring(s:member_by_uuid('{id}'):incarnation().version)"));
        mine > 0 && told.trim_end_matches("ULL") == mine.to_string() && theirs.status(&id) == "alive"
    });
    // Nobody hears the Tarantool, and then all do again: who has suspected it tells it, and it contradicts.
    second.cut = vec![theirs.addr];
    until(20, &mut [&mut first, &mut second], "both suspect the Tarantool", |ours| {
        ours.iter().all(|node| node.has_believed(&their_id, Status::Suspected))
    });
    (first.cut, second.cut) = (Vec::new(), Vec::new());
    until(20, &mut [&mut first, &mut second], "the Tarantool contradicts", |ours| {
        ours.iter().all(|node| {
            let member = node.swim.member(&their_id).unwrap();
            member.status == Status::Alive && member.incarnation.version > 0
        })
    });
}

#[test]
fn a_member_that_is_killed_is_found_dead_by_the_other_kind() {
    if !is_here() {
        return;
    }
    let (mut first, mut theirs) = pair(None, Mode::Cbc);
    let mut other = Tarantool::start(0xa2, PERIOD, None);
    let mut second = Ours::start(2);
    other.run(&format!("s:probe_member('{}')", first.addr));
    second.probe(theirs.addr);
    know_each_other(&mut [&mut first, &mut second], &mut [&mut theirs, &mut other]);
    theirs.kill();
    until(20, &mut [&mut first, &mut second], "the Tarantool is dead", |ours| {
        ours.iter().all(|node| node.status(&theirs.id) == Some(Status::Dead))
    });
    let id = second.id;
    drop(second);
    until(30, &mut [&mut first], "ours is dead", |ours| {
        ours[0].has_believed(&id, Status::Dead) && other.has_believed(&id, "dead")
    });
    assert_eq!(first.status(&other.id), Some(Status::Alive));
}

#[test]
fn a_member_that_quits_has_left_also_if_its_process_ends_at_once() {
    if !is_here() {
        return;
    }
    let (mut ours, mut theirs) = pair(None, Mode::Cbc);
    let mut other = Tarantool::start(0xa2, PERIOD, None);
    other.run(&format!("s:probe_member('{}')", ours.addr));
    know_each_other(&mut [&mut ours], &mut [&mut theirs, &mut other]);
    other.run("s:quit()");
    until(5, &mut [&mut ours], "the Tarantool has left", |ours| ours[0].has_believed(&other.id, Status::Left));
    assert!(!ours.has_believed(&other.id, Status::Suspected));
    let id = ours.id;
    ours.swim.quit();
    ours.turn();
    drop(ours);
    until(5, &mut [], "ours has left", |_| theirs.has_believed(&id, "left"));
    assert!(!theirs.has_believed(&id, "suspected"));
}

#[test]
fn groups_are_encrypted_with_each_of_tarantools_ciphers() {
    if !is_here() {
        return;
    }
    let ciphers = [
        ("aes128", 16, "cbc", Mode::Cbc),
        ("aes256", 32, "cfb", Mode::Cfb),
        ("aes192", 24, "ofb", Mode::Ofb),
        ("aes128", 16, "ecb", Mode::Ecb),
    ];
    for (algo, len, name, mode) in ciphers {
        let cipher = Cipher { algo, mode: name, key: (0..len).collect() };
        let (mut ours, mut theirs) = pair(Some(&cipher), mode);
        ours.swim.set_payload(&[b'y'; 1200]).unwrap();
        let id = ours.id;
        until(10, &mut [&mut ours], "the payload is there", |_| theirs.ask(&format!("#payload('{id}')")) == "1200");
    }
}

#[test]
fn another_id_and_another_address_are_told_to_the_other_kind() {
    if !is_here() {
        return;
    }
    let (mut ours, mut theirs) = pair(None, Mode::Cbc);
    let (old, new) = (theirs.id, MemberId::from_text_order([0xb7; 16]));
    theirs.run(&format!("s:cfg({{uuid = '{new}'}})"));
    until(10, &mut [&mut ours], "the Tarantool is another", |ours| {
        ours[0].status(&new) == Some(Status::Alive) && ours[0].has_believed(&old, Status::Left)
    });
    theirs.run("s:cfg({uri = '127.0.0.1:0'})");
    let uri = theirs.ask("s:self():uri()");
    until(10, &mut [&mut ours], "the Tarantool is elsewhere", |ours| {
        ours[0].swim.member(&new).unwrap().addr.to_string() == uri
    });
    let old = ours.id;
    let now = ours.now();
    ours.id = MemberId::from_text_order([7; 16]);
    ours.swim.set_id(now, ours.id).unwrap();
    let id = ours.id;
    until(10, &mut [&mut ours], "ours is another", |_| {
        theirs.status(&id) == "alive" && theirs.has_believed(&old, "left")
    });
    ours.move_away();
    let addr = ours.addr.to_string();
    until(10, &mut [&mut ours], "ours is elsewhere", |_| theirs.ask(&format!("uri('{id}')")) == addr);
    assert!(!ours.has_believed(&new, Status::Suspected));
}

/// `BOWLINE_SWIM_MINUTES=5` makes it five minutes.
#[test]
fn ten_of_both_kinds_live_together_without_a_false_verdict() {
    if !is_here() {
        return;
    }
    let minutes = std::env::var("BOWLINE_SWIM_MINUTES").ok().and_then(|text| text.parse().ok());
    let wait = minutes.map_or(Duration::from_secs(10), |minutes: u64| Duration::from_secs(minutes * 60));
    let mut theirs: Vec<Tarantool> = (0..5).map(|n| Tarantool::start(0xa1 + n, PERIOD, None)).collect();
    let mut ours: Vec<Ours> = (0..5).map(|n| Ours::start(1 + n)).collect();
    let first = theirs[0].addr;
    for node in &mut ours {
        node.probe(first);
    }
    for peer in &mut theirs[1..] {
        peer.run(&format!("s:probe_member('{first}')"));
    }
    let mut ours: Vec<&mut Ours> = ours.iter_mut().collect();
    let mut theirs: Vec<&mut Tarantool> = theirs.iter_mut().collect();
    know_each_other(&mut ours, &mut theirs);
    live(wait, &mut ours);
    let ids: Vec<MemberId> = ours.iter().map(|node| node.id).chain(theirs.iter().map(|peer| peer.id)).collect();
    for id in &ids {
        assert!(ours.iter().all(|node| !node.has_believed(id, Status::Dead)), "{id}");
        assert!(theirs.iter_mut().all(|peer| !peer.has_believed(id, "dead")), "{id}");
    }
    know_each_other(&mut ours, &mut theirs);
}
