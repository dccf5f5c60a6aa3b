//! What members see of each other.

use crate::kit::{PERIOD, SOON, id, member, member_with, status, until};
use gossip::{End, GossipError};
use lifecycle::Scope;
use rt::net::BoundUdp;
use std::sync::{Arc, Mutex};
use swim::{Changes, Codec, Mode, Reason, Status};

#[tokio::test]
async fn members_find_each_other_tell_their_payloads_and_hear_a_farewell() {
    let scope = Scope::new("test");
    let seen = Arc::new(Mutex::new(Vec::new()));
    let noted = Arc::clone(&seen);
    let on_event = Box::new(move |told: &gossip::Told| noted.lock().unwrap().push(told.clone()));
    let (a, _) = member(1, Some(on_event), &scope).await;
    let (b, at_b) = member(2, None, &scope).await;
    let (c, at_c) = member(3, None, &scope).await;
    a.probe(at_b).await.unwrap();
    b.probe(at_c).await.unwrap();
    for of in [&a, &b, &c] {
        until(of, "three are alive", |of| (1..=3).all(|n| status(of, n) == Some(Status::Alive))).await;
    }
    c.set_payload(b"rack 4".to_vec()).await.unwrap();
    until(&a, "the payload is there", |a| {
        a.member(&id(3)).is_some_and(|known| known.payload.as_deref() == Some(b"rack 4"))
    })
    .await;

    c.quit(SOON).await.unwrap();
    assert_eq!(c.ended(), Some(End::Quit { untold: 0 }));
    c.quit(SOON).await.unwrap();
    assert!(matches!(c.probe(at_b).await, Err(GossipError::Ended)));
    for of in [&a, &b] {
        until(of, "it left", |of| status(of, 3) == Some(Status::Left)).await;
    }
    let known = a.member(&id(3)).unwrap();
    assert!(matches!(known.why, Reason::Direct | Reason::Told { .. }), "{known:?}");

    let counters = a.counters();
    assert!(counters.sent > 0 && counters.received > 0 && counters.refused == 0, "{counters:?}");
    // By its end it has called back with all that it has noted.
    a.quit(SOON).await.unwrap();
    let told = a.events(0, 1000);
    assert_eq!(*seen.lock().unwrap(), told, "who is called back hears what is remembered, in the same order");
    assert!(told.iter().zip(1..).all(|(told, number)| told.number == number));
    let left = told.iter().rfind(|told| told.event.id == id(3)).unwrap();
    assert!(left.event.changes.has(Changes::STATUS) && left.event.status == Status::Left);
    assert_eq!(a.events(told.last().unwrap().number, 10), []);
}

#[tokio::test]
async fn one_whose_scope_is_cancelled_says_goodbye_and_one_that_is_dropped_does_not() {
    let (scope, going) = (Scope::new("test"), Scope::new("going"));
    let (a, _) = member(1, None, &scope).await;
    let (b, at_b) = member(2, None, &going).await;
    let (c, at_c) = member(3, None, &scope).await;
    for at in [at_b, at_c] {
        a.probe(at).await.unwrap();
    }
    until(&a, "three are alive", |a| (2..=3).all(|n| status(a, n) == Some(Status::Alive))).await;
    let report = going.stop(SOON).await;
    assert!(report.is_clean(), "{report:?}");
    assert_eq!(b.ended(), Some(End::Quit { untold: 0 }));
    until(&a, "it left", |a| status(a, 2) == Some(Status::Left)).await;

    let asked = rt::time::Instant::now();
    drop(c);
    until(&a, "it is dead", |a| status(a, 3) == Some(Status::Dead)).await;
    assert!(asked.elapsed() < PERIOD * 40, "{:?}", asked.elapsed());
    let why = a.member(&id(3)).unwrap().why;
    assert!(matches!(why, Reason::Unrefuted { ref accusers, .. } if *accusers == [id(1)]), "{why:?}");
}

#[tokio::test]
async fn a_group_that_encrypts_refuses_what_is_not_its_own() {
    let scope = Scope::new("test");
    let codec = |key: u8| Codec::new(&[key; 16], Mode::Cbc).unwrap();
    let with = |key| move |config| swim::Config { codec: Some(codec(key)), ..config };
    let (a, at_a) = member_with(1, None, &scope, with(1)).await;
    let (b, _) = member_with(2, None, &scope, with(1)).await;
    let (c, _) = member_with(3, None, &scope, with(2)).await;
    b.probe(at_a).await.unwrap();
    c.probe(at_a).await.unwrap();
    until(&b, "two are alive", |b| status(b, 1) == Some(Status::Alive)).await;
    let refused = async {
        while a.counters().refused == 0 {
            c.probe(at_a).await.unwrap();
            rt::time::sleep(PERIOD).await;
        }
    };
    assert!(rt::time::timeout(SOON, refused).await.is_ok());
    assert_eq!(status(&a, 3), None);
    // The third takes the key of the others.
    c.set_codec(Some(codec(1))).await.unwrap();
    c.probe(at_a).await.unwrap();
    until(&a, "it is one of them", |a| status(a, 3) == Some(Status::Alive)).await;
}

#[tokio::test]
async fn garbage_ends_nobody() {
    let scope = Scope::new("test");
    let (a, at_a) = member(1, None, &scope).await;
    let stranger = BoundUdp::bind("127.0.0.1:0").await.unwrap().open().await.unwrap();
    for len in [0, 1, 100, 1500, 9000] {
        stranger.send_to(&vec![0xc1; len], at_a).await.unwrap();
    }
    let counted = async {
        while a.counters().refused < 5 {
            rt::time::sleep(PERIOD / 10).await;
        }
    };
    assert!(rt::time::timeout(SOON, counted).await.is_ok(), "{:?}", a.counters());
    a.set_payload(vec![1; 1200]).await.unwrap();
    assert!(matches!(a.set_payload(vec![1; 1201]).await, Err(GossipError::Refused(_))));
}
