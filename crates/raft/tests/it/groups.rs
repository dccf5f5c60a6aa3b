//! Elections, proposals, restarts, members, snapshots, transfers and full disks.

use crate::world::{World, id};
use base::LogIndex;
use bytes::Bytes;
use raft::{ChangeError, GroupState, LogLimits, ProposeError, ReadError};
use rt::time::Instant;
use std::sync::atomic::Ordering;
use std::time::Duration;

fn soon() -> Instant {
    Instant::now() + Duration::from_secs(10)
}

#[tokio::test]
async fn one_node_leads_itself_at_once_and_keeps_what_it_took_over_a_restart() {
    let mut world = World::new(1).await;
    let start = Instant::now();
    world.initialize(&[1]).await;
    assert!(start.elapsed() < Duration::from_secs(2));
    for i in 0..20 {
        let proposed = world.propose(&format!("item {i}")).await;
        assert_eq!(proposed.answer, Bytes::from((i + 1).to_string()));
    }
    let node = &world.nodes[&id(1)];
    let lease = node.group.lease().unwrap();
    assert_eq!(lease.index, node.group.status().applied.unwrap().index);
    world.stop(id(1)).await;
    world.start(id(1)).await;
    let again = world.propose("after").await;
    assert_eq!(again.answer, Bytes::from("21"));
    world.end().await;
}

#[tokio::test]
async fn a_stopped_group_and_one_whose_opening_was_given_up_can_be_opened_again_on_the_same_host() {
    let mut world = World::new(1).await;
    world.initialize(&[1]).await;
    world.propose("before").await;
    let node = &world.nodes[&id(1)];
    node.group.stop().await;
    assert!(node.host.groups().is_empty());
    // Given up after each number of turns, from none to as many as it takes.
    let mut turns = 0;
    let group = loop {
        match node.open_for(turns).await {
            Some(group) => break group,
            None => turns += 1,
        }
    };
    assert!(turns > 0, "it takes more than no turn");
    world.nodes.get_mut(&id(1)).unwrap().group = group;
    let again = world.propose("after").await;
    assert_eq!(again.answer, Bytes::from("2"));
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn three_nodes_elect_propose_and_agree() {
    let world = World::three().await;
    let mut last = LogIndex(0);
    for i in 0..50 {
        last = world.propose(&format!("{i}")).await.pos.index;
    }
    world.agree_on(last).await;
    for node in world.nodes.values() {
        let index = node.group.read_index(soon()).await.unwrap();
        assert!(index >= last, "node {} reads at {index}", node.id);
        node.group.wait_applied(index, soon()).await.unwrap();
    }
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn only_the_leader_has_a_lease_and_takes_proposals() {
    let world = World::three().await;
    world.agree_on(world.propose("x").await.pos.index).await;
    let leader = world.leader().await.id;
    for node in world.nodes.values() {
        if node.id == leader {
            node.group.lease().unwrap();
        } else {
            assert_eq!(node.group.lease(), Err(ReadError::NotLeader { leader: Some(leader) }));
            let refused = node.group.propose(Bytes::from("y")).await;
            assert_eq!(refused, Err(ProposeError::NotLeader { leader: Some(leader) }));
        }
    }
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_others_go_on_within_a_second_when_the_leader_dies_and_it_comes_back() {
    let mut world = World::three().await;
    for round in 0..3 {
        world.agree_on(world.propose(&format!("before {round}")).await.pos.index).await;
        let dead = world.leader().await.id;
        let start = Instant::now();
        world.kill(dead).await;
        world.propose(&format!("after {round}")).await;
        let gap = start.elapsed();
        println!("round {round}: {gap:?}");
        assert!(gap < Duration::from_secs(2), "{gap:?} without a leader");
        world.start(dead).await;
        world.agree_on(world.propose(&format!("back {round}")).await.pos.index).await;
    }
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn all_nodes_restart_together_and_nothing_is_lost() {
    let mut world = World::three().await;
    for i in 0..30 {
        world.propose(&format!("{i}")).await;
    }
    world.leader().await.group.checkpoint().await.unwrap();
    for i in 30..40 {
        world.propose(&format!("{i}")).await;
    }
    for n in 1..=3 {
        world.kill(id(n)).await;
    }
    for n in 1..=3 {
        world.start(id(n)).await;
    }
    world.agree_on(world.propose("end").await.pos.index).await;
    let items = world.nodes[&id(2)].peek.items.lock().unwrap().len();
    assert_eq!(items, 41);
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_learner_joins_by_log_becomes_a_voter_and_is_removed() {
    let world = World::new(4).await;
    world.initialize(&[1, 2, 3]).await;
    world.propose("x").await;
    let leader = world.leader().await;
    leader.group.add_learner(id(4), world.address(id(4))).await.unwrap();
    world.agree_on(world.propose("y").await.pos.index).await;
    assert_eq!(world.nodes[&id(4)].group.status().state, GroupState::Learner);
    assert_eq!(world.nodes[&id(4)].peek.installs.load(Ordering::SeqCst), 0);
    leader.group.change_voters([1, 2, 3, 4].map(id).into()).await.unwrap();
    world.until(4, "four votes", |s| s.state == GroupState::Follower && !s.membership.is_joint()).await;
    let status = leader.group.status();
    assert_eq!(status.membership.voters, [[1, 2, 3, 4].map(id).into()]);
    assert_eq!(status.membership.addresses.len(), 4);
    leader.group.remove(id(4)).await.unwrap();
    let members = leader.group.status().membership;
    assert!(!members.addresses.contains_key(&id(4)), "{members:?}");
    leader.group.remove(id(4)).await.unwrap();
    let error = leader.group.change_voters([1, 2, 9].map(id).into()).await.unwrap_err();
    assert!(matches!(error, ChangeError::Refused { .. }), "{error}");
    world.end().await;
}

fn small() -> LogLimits {
    LogLimits {
        segment_bytes: 1 << 16,
        soft_bytes: 1 << 17,
        hard_bytes: 1 << 20,
        cache_bytes: 1 << 15,
        keep_bytes: 1 << 13,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_learner_that_is_far_behind_pulls_a_snapshot_and_then_follows() {
    let world = World::with_limits(4, small()).await;
    world.initialize(&[1, 2, 3]).await;
    for i in 0..200 {
        world.propose(&format!("{i} {}", "x".repeat(2000))).await;
    }
    let leader = world.leader().await;
    leader.group.checkpoint().await.unwrap();
    leader.group.add_learner(id(4), world.address(id(4))).await.unwrap();
    world.agree_on(world.propose("end").await.pos.index).await;
    assert!(world.nodes[&id(4)].peek.installs.load(Ordering::SeqCst) >= 1);
    assert!(leader.peek.fetches.load(Ordering::SeqCst) >= 20, "it is pulled in pieces");
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_log_stays_small_because_groups_are_asked_for_checkpoints() {
    let mut world = World::with_limits(3, small()).await;
    world.initialize(&[1, 2, 3]).await;
    let mut last = LogIndex(0);
    for i in 0..600 {
        last = world.propose(&format!("{i} {}", "x".repeat(3000))).await.pos.index;
    }
    world.agree_on(last).await;
    for node in world.nodes.values() {
        let bytes = node.host.log_stats().bytes;
        assert!(bytes < 1 << 20, "node {}: {bytes} bytes", node.id);
    }
    world.kill(id(2)).await;
    world.start(id(2)).await;
    world.agree_on(world.propose("end").await.pos.index).await;
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn leadership_is_handed_over_fast_and_the_old_leader_has_no_lease_from_then_on() {
    let world = World::three().await;
    world.agree_on(world.propose("x").await.pos.index).await;
    for _ in 0..5 {
        let old = world.leader().await;
        let to = world.nodes.keys().copied().find(|n| *n != old.id).unwrap();
        let start = Instant::now();
        old.group.transfer_leadership(Some(to)).await.unwrap();
        assert!(start.elapsed() < Duration::from_secs(1), "{:?}", start.elapsed());
        assert!(old.group.lease().is_err());
        world.until(to.0, "the new leader leads", |s| s.state == GroupState::Leader).await;
        world.agree_on(world.propose("y").await.pos.index).await;
    }
    let leader = world.leader().await;
    leader.group.transfer_leadership(None).await.unwrap();
    let error = leader.group.transfer_leadership(None).await.unwrap_err();
    assert!(matches!(error, ChangeError::NotLeader { .. }), "{error}");
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_leader_without_a_majority_loses_its_lease_and_confirms_no_read() {
    let mut world = World::three().await;
    world.agree_on(world.propose("x").await.pos.index).await;
    let leader = world.leader().await.id;
    let others: Vec<_> = world.nodes.keys().copied().filter(|n| *n != leader).collect();
    for other in others {
        world.kill(other).await;
    }
    rt::time::sleep(Duration::from_millis(400)).await;
    let group = &world.nodes[&leader].group;
    assert!(group.lease().is_err());
    let read = group.read_index(Instant::now() + Duration::from_millis(500)).await;
    assert!(matches!(read, Err(ReadError::NoLeader { .. })), "{read:?}");
    world.stop(leader).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn many_proposals_at_once_share_their_syncs() {
    let world = World::three().await;
    let leader = world.leader().await;
    let proposals = (0..500).map(|i| leader.group.propose(Bytes::from(format!("{i}"))));
    let all = futures::future::join_all(proposals).await;
    let last = all.into_iter().map(|p| p.unwrap().pos.index).max().unwrap();
    world.agree_on(last).await;
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dropped_group_leaves_nothing_in_the_log() {
    let world = World::new(1).await;
    world.initialize(&[1]).await;
    world.propose("x").await;
    let node = &world.nodes[&id(1)];
    node.host.drop_group(node.group.id()).await.unwrap();
    assert_eq!(node.host.known_groups(), []);
    assert_eq!(node.group.propose(Bytes::new()).await, Err(ProposeError::Stopped));
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_member_goes_on_alone_when_the_majority_is_lost_and_others_start_again_from_it() {
    let mut world = World::new(4).await;
    world.initialize(&[1, 2, 3]).await;
    for i in 0..20 {
        world.propose(&format!("{i}")).await;
    }
    let last = world.propose("all have this").await.pos;
    for node in [1, 2, 3].map(id) {
        world.nodes[&node].group.wait_applied(last.index, soon()).await.unwrap();
    }
    let refused = world.leader().await.group.go_on_alone(last).await;
    assert!(matches!(refused, Err(ChangeError::Refused { .. })), "a majority is there: {refused:?}");
    // One is left, with an entry that nobody acknowledged.
    let leader = world.leader().await.id;
    let fallen: Vec<_> = [1, 2, 3].map(id).into_iter().filter(|node| *node != leader).collect();
    for node in &fallen {
        world.kill(*node).await;
    }
    let survivor = world.nodes[&leader].group.clone();
    let alone = survivor.propose(Bytes::from("nobody else has this"));
    assert!(rt::time::timeout(Duration::from_millis(200), alone).await.is_err(), "no majority has it");
    let last = survivor.last_position().unwrap();
    let other = raft::LogPos { index: LogIndex(last.index.0 + 1), ..last };
    let deadline = soon();
    while survivor.lease().is_ok() {
        assert!(Instant::now() < deadline, "it still has its lease");
        rt::time::sleep(Duration::from_millis(10)).await;
    }
    assert!(matches!(survivor.go_on_alone(other).await, Err(ChangeError::Refused { .. })));
    let at = survivor.go_on_alone(last).await.unwrap();
    assert_eq!((at.index.0, at.node), (last.index.0 + 1, leader));
    let after = world.propose("after").await;
    assert_eq!(after.answer, Bytes::from("23"), "all entries of its log count");
    assert_eq!(survivor.status().membership.all_voters(), [leader].into());
    // A machine that was there before, and one that was not, start again from it.
    let back = fallen[0];
    world.start(back).await;
    for node in [back, id(4)] {
        survivor.add_learner(node, world.address(node)).await.unwrap();
    }
    survivor.change_voters([leader, back, id(4)].into()).await.unwrap();
    let last = world.propose("three again").await.pos.index;
    for node in [leader, back, id(4)] {
        world.nodes[&node].group.wait_applied(last, soon()).await.unwrap();
    }
    world.end().await;
}
