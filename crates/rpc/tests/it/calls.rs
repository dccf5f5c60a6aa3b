//! Calls: answers, refusals, deadlines, cancellation, limits, and what is known of a peer.

use crate::support::*;
use base::{Disposition, Fault, NodeId};
use bytes::Bytes;
use futures::future::join_all;
use rpc::{CallError, Class, Identity, Reach, Service};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

#[tokio::test]
async fn a_call_is_answered_and_the_caller_is_known_by_its_certificate() {
    let (a, b) = pair().await;
    assert_eq!(a.call(&b, ECHO, "hello").await.unwrap(), "hello");
    assert!(a.call(&b, WHO, "").await.unwrap().starts_with(b"Some(NodeId(1)) "));
}

#[tokio::test(flavor = "multi_thread")]
async fn many_calls_share_a_connection_and_each_gets_its_own_answer() {
    let (a, b) = pair().await;
    let bodies: Vec<Bytes> = (0..200_usize).map(|i| Bytes::from(vec![i.to_le_bytes()[0]; i * 700])).collect();
    let answers = join_all(bodies.iter().map(|body| a.call(&b, ECHO, body.clone()))).await;
    for (answer, body) in answers.into_iter().zip(&bodies) {
        assert_eq!(answer.unwrap(), body);
    }
    assert_eq!(b.mesh.watch(NodeId(1)).borrow().inbound, 1);
}

#[tokio::test]
async fn the_longest_body_passes_and_a_longer_one_is_refused_on_either_side() {
    let (a, b) = pair().await;
    let longest = Bytes::from(vec![1; rpc::frame::BODY_LEN_MAX]);
    assert_eq!(a.call(&b, ECHO, longest.clone()).await.unwrap(), longest);
    let mut longer = longest.to_vec();
    longer.push(1);
    assert!(matches!(a.call(&b, ECHO, longer).await, Err(CallError::TooLarge { .. })));
    assert_eq!(a.call(&b, LONG, "").await.unwrap_err().code().0, "BL-RPC-006");
    assert_eq!(a.call(&b, ECHO, "the connection lives").await.unwrap(), "the connection lives");
}

#[tokio::test]
async fn a_slow_bulk_answer_stands_in_nobodys_way() {
    let (a, b) = pair().await;
    a.mesh.set_address(NodeId(2), &b.address);
    let bulk = a.mesh.call(NodeId(2), Service::Raft, ECHO, vec![1; 30 << 20].into(), SOON, Class::Bulk);
    let small = async {
        for _ in 0..20 {
            a.call(&b, ECHO, "x").await.unwrap();
        }
    };
    let (bulk, ()) = tokio::join!(bulk, small);
    assert_eq!(bulk.unwrap().len(), 30 << 20);
    assert_eq!(b.mesh.watch(NodeId(1)).borrow().inbound, 2);
}

#[tokio::test]
async fn a_refusal_arrives_with_its_code_disposition_and_words() {
    let (a, b) = pair().await;
    let Err(CallError::Refused(refusal)) = a.call(&b, REFUSE, "").await else { panic!("a refusal was due") };
    assert_eq!(refusal.code, "BL-TEST-001");
    assert_eq!(refusal.disposition, Disposition::Retry { after: Duration::from_millis(7) });
    assert_eq!(refusal.message, "not today");
}

#[tokio::test]
async fn a_handler_that_panics_answers_with_a_bug_and_the_other_calls_go_on() {
    let (a, b) = pair().await;
    let other = a.call(&b, WAIT, "still here");
    let panics = async {
        b.handler.started.take().await;
        for method in [PANIC_AT_ONCE, PANIC_LATER] {
            let error = a.call(&b, method, "").await.unwrap_err();
            assert_eq!(error.code().0, "BL-RPC-011", "{error}");
            assert_eq!(error.disposition(), Disposition::Bug);
        }
        b.handler.go.add(1);
    };
    let (other, ()) = tokio::join!(other, panics);
    assert_eq!(other.unwrap(), "still here");
    assert_eq!(b.mesh.watch(NodeId(1)).borrow().lost, 0);
}

#[tokio::test]
async fn a_service_that_is_not_served_is_refused_for_the_time_being() {
    let (a, b) = pair().await;
    a.mesh.set_address(NodeId(2), &b.address);
    let error = a.mesh.call(NodeId(2), Service::Store, 1, Bytes::new(), SOON, Class::Control).await.unwrap_err();
    assert_eq!(error.code().0, "BL-RPC-009");
    assert!(matches!(error.disposition(), Disposition::Retry { .. }));
}

#[tokio::test]
async fn a_call_that_is_dropped_is_dropped_on_the_other_side_too() {
    let (a, b) = pair().await;
    tokio::select! {
        biased;
        _ = a.call(&b, WAIT, "") => panic!("nobody let it go on"),
        () = b.handler.started.take() => {}
    }
    b.handler.dropped.take().await;
    assert_eq!(a.call(&b, ECHO, "x").await.unwrap(), "x");
}

#[tokio::test]
async fn a_call_past_its_deadline_says_that_it_was_sent_and_is_dropped_on_the_other_side() {
    let (a, b) = pair().await;
    a.call(&b, ECHO, "").await.unwrap();
    let short = Duration::from_millis(30);
    let error = a.mesh.call(NodeId(2), Service::Raft, WAIT, Bytes::new(), short, Class::Control).await.unwrap_err();
    assert_eq!(error, CallError::Deadline { node: NodeId(2), deadline: short, sent: true });
    assert!(error.may_have_happened());
    b.handler.dropped.take().await;
}

#[tokio::test]
async fn a_node_known_to_be_down_fails_at_once_and_is_found_again_when_it_is_back() {
    let ca = Ca::new();
    let a = Node::start(ca.node(1)).await;
    let address = nobody().await;
    a.mesh.set_address(NodeId(2), &address);
    let call = || a.mesh.call(NodeId(2), Service::Raft, ECHO, Bytes::new(), SOON, Class::Control);
    let error = call().await.unwrap_err();
    assert!(matches!(&error, CallError::Down { why, .. } if why.contains("refused")), "{error}");
    assert!(!error.may_have_happened());
    let mut view = a.mesh.watch(NodeId(2));
    assert!(matches!(view.borrow_and_update().reach, Reach::Down(_)));

    let _b = Node::start_at(ca.node(2), &address).await;
    let back = async {
        while call().await.is_err() {
            rt::time::sleep(Duration::from_millis(5)).await;
        }
    };
    rt::time::timeout(SOON, back).await.expect("it is back");
    assert_eq!(view.borrow_and_update().reach, Reach::Up);
}

#[tokio::test]
async fn a_peer_that_connects_ends_the_wait_for_it() {
    let ca = Ca::new();
    let a = Node::start(ca.node(1)).await;
    let address = nobody().await;
    a.mesh.set_address(NodeId(2), &address);
    // Long enough for the back-off to reach its second.
    let until = rt::time::Instant::now() + Duration::from_millis(2_500);
    while rt::time::Instant::now() < until {
        a.mesh.call(NodeId(2), Service::Raft, ECHO, Bytes::new(), SOON, Class::Control).await.unwrap_err();
        rt::time::sleep(Duration::from_millis(2)).await;
    }
    let mut view = a.mesh.watch(NodeId(2));
    let b = Node::start_at(ca.node(2), &address).await;
    let started = rt::time::Instant::now();
    b.call(&a, ECHO, "").await.unwrap();
    rt::time::timeout(SOON, view.wait_for(|view| view.reach == Reach::Up)).await.unwrap().unwrap();
    assert!(started.elapsed() < Duration::from_millis(300), "{:?}", started.elapsed());
}

#[tokio::test]
async fn the_end_of_a_peer_is_noticed_on_both_sides_at_once_and_calls_under_way_are_lost() {
    let (a, b) = pair().await;
    a.call(&b, ECHO, "").await.unwrap();
    b.call(&a, ECHO, "").await.unwrap();
    let mut view = a.mesh.watch(NodeId(2));
    let lost = async {
        let error = a.call(&b, WAIT, "").await.unwrap_err();
        assert!(matches!(error, CallError::Lost { .. }), "{error:?}");
    };
    let end = async {
        b.handler.started.take().await;
        // The process dies: every socket closes, nothing is said.
        b.scope.stop(Duration::ZERO).await;
    };
    tokio::join!(lost, end);
    rt::time::timeout(SOON, view.wait_for(|view| view.lost == 2 && view.inbound == 0)).await.unwrap().unwrap();
}

#[tokio::test]
async fn too_many_calls_are_busy_and_not_sent() {
    let (a, b) = pair().await;
    a.mesh.set_address(NodeId(2), &b.address);
    let call = || a.mesh.call(NodeId(2), Service::Raft, WAIT, Bytes::new(), SOON, Class::Bulk);
    let mut calls = join_all((0..300).map(|_| call()));
    let release = async {
        for _ in 0..256 {
            b.handler.started.take().await;
        }
        b.handler.go.add(256);
    };
    let (answers, ()) = tokio::join!(&mut calls, release);
    let busy = answers.iter().filter(|answer| matches!(answer, Err(CallError::Busy { .. }))).count();
    assert_eq!((busy, answers.iter().filter(|answer| answer.is_ok()).count()), (44, 256));
    assert_eq!(b.handler.calls.load(Ordering::SeqCst), 256);
}

#[tokio::test]
async fn a_node_calls_itself_without_a_network() {
    let ca = Ca::new();
    let a = Node::start(ca.node(1)).await;
    let myself = |method| a.mesh.call(NodeId(1), Service::Raft, method, Bytes::from("me"), SOON, Class::Control);
    assert_eq!(myself(ECHO).await.unwrap(), "me");
    assert_eq!(myself(PANIC_LATER).await.unwrap_err().code().0, "BL-RPC-011");
    assert_eq!(a.mesh.watch(NodeId(1)).borrow().inbound, 0);
}

#[tokio::test]
async fn a_node_whose_address_is_not_known_is_unknown_and_a_forgotten_one_too() {
    let (a, b) = pair().await;
    let call = || a.mesh.call(NodeId(2), Service::Raft, ECHO, Bytes::new(), SOON, Class::Control);
    assert_eq!(call().await, Err(CallError::Unknown { node: NodeId(2) }));
    a.call(&b, ECHO, "").await.unwrap();
    let mut view = a.mesh.watch(NodeId(2));
    a.mesh.forget(NodeId(2));
    assert_eq!(call().await, Err(CallError::Unknown { node: NodeId(2) }));
    rt::time::timeout(SOON, view.wait_for(|view| view.lost == 1)).await.unwrap().unwrap();
}

#[tokio::test]
async fn another_node_at_the_address_is_not_mistaken_for_the_one_wanted() {
    let (a, b) = pair().await;
    a.mesh.set_address(NodeId(3), &b.address);
    let call = a.mesh.call(NodeId(3), Service::Raft, ECHO, Bytes::new(), SOON, Class::Control);
    let why = call.await.unwrap_err().to_string();
    assert!(why.contains("another node answers there") && why.contains("node-2.bowline"), "{why}");

    let plain = |node| Identity::Plain { node: NodeId(node) };
    let (a, b) = (Node::start(plain(1)).await, Node::start(plain(2)).await);
    assert_eq!(a.call(&b, ECHO, "plain").await.unwrap(), "plain");
    a.mesh.set_address(NodeId(3), &b.address);
    let call = a.mesh.call(NodeId(3), Service::Raft, ECHO, Bytes::new(), SOON, Class::Control);
    assert!(call.await.unwrap_err().to_string().contains("this is node 2"));
}

#[tokio::test]
async fn a_banished_node_loses_its_connections_and_gets_no_new_one() {
    let (a, b) = pair().await;
    let mut view = a.mesh.watch(NodeId(2));
    let under_way = async {
        let error = a.call(&b, WAIT, "").await.unwrap_err();
        assert!(matches!(error, CallError::Lost { .. }), "{error:?}");
    };
    let banish = async {
        b.handler.started.take().await;
        b.mesh.set_banished([NodeId(1)].into());
    };
    tokio::join!(under_way, banish);
    rt::time::timeout(SOON, view.wait_for(|view| view.lost == 1)).await.unwrap().unwrap();
    let refused = async {
        loop {
            let error = a.call(&b, ECHO, "").await.unwrap_err();
            if error.to_string().contains("no longer a member") {
                break;
            }
            rt::time::sleep(Duration::from_millis(5)).await;
        }
    };
    rt::time::timeout(SOON, refused).await.unwrap();
    b.mesh.set_banished([].into());
    let again = async {
        while a.call(&b, ECHO, "").await.is_err() {
            rt::time::sleep(Duration::from_millis(5)).await;
        }
    };
    rt::time::timeout(SOON, again).await.unwrap();
    drop(Arc::clone(&a.mesh));
}

#[tokio::test]
async fn a_peer_that_falls_silent_is_taken_for_dead_and_its_calls_are_lost() {
    let listener = rt::net::Listener::bind("127.0.0.1:0").await.unwrap();
    let scope = lifecycle::Scope::new("test");
    let mesh = rpc::Mesh::new(Identity::Plain { node: NodeId(1) }, &scope).unwrap();
    mesh.set_address(NodeId(2), listener.local_addr().unwrap().to_string());
    let silent = async {
        // Says welcome and then nothing, as a machine does whose network was cut.
        let mut stream = listener.accept().await.unwrap();
        let mut welcome = bytes::BytesMut::new();
        rpc::frame::Frame::Welcome { version: rpc::frame::VERSION, node: NodeId(2) }.encode(0, &mut welcome);
        tokio::io::AsyncWriteExt::write_all(&mut stream, &welcome).await.unwrap();
        std::future::pending::<()>().await;
    };
    let started = rt::time::Instant::now();
    let patient = Duration::from_secs(20);
    let error = tokio::select! {
        biased;
        () = silent => panic!("it stays"),
        answer = mesh.call(NodeId(2), Service::Raft, ECHO, Bytes::new(), patient, Class::Control) => answer.unwrap_err(),
    };
    assert!(matches!(&error, CallError::Lost { why, .. } if why.contains("nothing heard")), "{error:?}");
    assert!(started.elapsed() < Duration::from_secs(6), "{:?}", started.elapsed());
}
