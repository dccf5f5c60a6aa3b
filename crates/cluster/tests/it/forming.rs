//! From one node to many, and back.

use crate::node::{Node, SOON};
use base::{DbName, Fault, Role};
use cluster::NodeIdentity;
use rt::time::Instant;
use std::time::Duration;
use store::{Command, ReadLevel};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn three_machines_become_a_cluster_of_three_voters_within_a_second_each() {
    let one = Node::found("one").await;
    let shop = DbName::new("shop").unwrap();
    one.store.create(&shop).await.unwrap();
    one.store.transact(&shop, vec![Command::new("CREATE TABLE t (x)", [])]).await.unwrap();

    let token = one.token().await;
    let started = Instant::now();
    let (two, placement) = Node::join("two", &token).await;
    let second = started.elapsed();
    assert_eq!((placement.role, placement.voters), (Role::StandBy, vec![one.id]));

    let token = one.token().await;
    let started = Instant::now();
    let (three, placement) = Node::join("three", &token).await;
    let third = started.elapsed();
    assert_eq!((placement.role, placement.voters.len()), (Role::Voter, 3));
    // A second on a machine with nothing else to do; tests share theirs.
    assert!(second < Duration::from_secs(5) && third < Duration::from_secs(5), "{second:?}, {third:?}");
    eprintln!("second join {second:?}, third join {third:?}");

    let voters = [("one", Role::Voter), ("two", Role::Voter), ("three", Role::Voter)];
    for node in [&one, &two, &three] {
        node.await_roles(&voters).await;
    }
    let shop_too = async {
        while one.voters_of(&shop) != 3 {
            rt::time::sleep(Duration::from_millis(20)).await;
        }
    };
    rt::time::timeout(SOON, shop_too).await.expect("every database gets the voters");
    three.store.transact(&shop, vec![Command::new("INSERT INTO t VALUES (7)", [])]).await.unwrap();
    let rows = two.store.query(&shop, ReadLevel::Linearizable, Command::new("SELECT x FROM t", [])).await.unwrap();
    assert_eq!(rows.rows.len(), 1);
    for node in [three, two, one] {
        node.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_leader_that_stops_hands_over_and_the_others_let_the_next_machine_in() {
    let one = Node::found("one").await;
    let (two, _) = Node::join("two", &one.token().await).await;
    let (three, _) = Node::join("three", &one.token().await).await;
    assert!(one.leads_sys());
    // It names all three; the first of them is about to be gone.
    let token = two.token().await;
    one.stop().await;
    let (four, placement) = Node::join("four", &token).await;
    assert_eq!(placement.role, Role::StandBy, "one is only restarting, for all they know");
    assert!(two.leads_sys() || three.leads_sys());
    for node in [four, three, two] {
        node.kill().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_voter_that_stays_dead_is_replaced_by_the_stand_by() {
    let one = Node::found("one").await;
    let (two, _) = Node::join("two", &one.token().await).await;
    let (three, _) = Node::join("three", &one.token().await).await;
    let (four, placement) = Node::join("four", &one.token().await).await;
    assert_eq!(placement.role, Role::StandBy);
    two.kill().await;
    let roles = [("one", Role::Voter), ("two", Role::StandBy), ("three", Role::Voter), ("four", Role::Voter)];
    one.await_roles(&roles).await;
    for node in [four, three, one] {
        node.kill().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_machine_that_joined_but_never_ran_counts_for_nothing() {
    let one = Node::found("one").await;
    let ghost = Node::join_quietly("ghost", &one.token().await).await.unwrap();
    let ghost_identity = NodeIdentity::load(&ghost.dir().join("identity"), cluster::Transport::Tls).unwrap().unwrap();
    ghost.kill().await;
    let (two, placement) = Node::join("two", &one.token().await).await;
    assert_eq!(placement.role, Role::StandBy, "the ghost is no third member");
    let status = one.store.sys().group().status();
    assert!(!status.membership.addresses.contains_key(&ghost_identity.record.node));
    for node in [two, one] {
        node.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_member_that_leaves_is_let_go_and_a_leader_that_leaves_hands_over_first() {
    let one = Node::found("one").await;
    let (two, _) = Node::join("two", &one.token().await).await;
    let (three, _) = Node::join("three", &one.token().await).await;
    let (four, _) = Node::join("four", &one.token().await).await;
    assert_eq!(one.cluster.remove("one", false, SOON).await.unwrap(), one.id);
    two.await_roles(&[("two", Role::Voter), ("three", Role::Voter), ("four", Role::Voter)]).await;
    assert!(!one.leads_sys());
    // What is left of it is not answered any more.
    let refused = async {
        while one
            .mesh
            .call(two.id, rpc::Service::Cluster, 99, bytes::Bytes::new(), SOON, rpc::Class::Control)
            .await
            .is_err_and(|error| error.code().0 == "BL-CLU-021")
        {
            rt::time::sleep(Duration::from_millis(20)).await;
        }
    };
    rt::time::timeout(SOON, refused).await.expect("it is banished");
    for node in [four, three, two, one] {
        node.kill().await;
    }
}
