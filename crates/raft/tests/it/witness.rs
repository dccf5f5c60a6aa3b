//! A witness among the voters: what only it has left is not lost, and it leads no longer than it must.

use crate::world::{World, id};
use base::NodeId;
use bytes::Bytes;
use raft::{GroupState, GroupStatus, HostConfig, LogLimits, Part};
use rt::time::Instant;
use std::collections::BTreeSet;
use std::time::Duration;

const WITNESS: NodeId = NodeId(3);
/// Long enough for every election that could be.
const SEVERAL_ELECTIONS: Duration = Duration::from_secs(3);

impl World {
    fn witness_config(&self) -> HostConfig {
        HostConfig { part: Part::Witness, ..self.config(WITNESS) }
    }

    async fn restart(&mut self, node: NodeId) {
        if node == WITNESS {
            let config = self.witness_config();
            self.start_with(node, config).await;
        } else {
            self.start(node).await;
        }
        for node in self.nodes.values() {
            node.host.set_witnesses(BTreeSet::from([WITNESS]));
        }
    }
}

/// Two members and a witness, the first of which leads.
async fn two_and_a_witness(limits: LogLimits) -> World {
    let mut world = World::with_limits(2, limits).await;
    world.restart(WITNESS).await;
    world.initialize(&[1, 2, 3]).await;
    world.until(1, "somebody who keeps data leads", |s| s.leader.is_some_and(|l| l != WITNESS)).await;
    if world.leader().await.id != id(1) {
        world.nodes[&id(2)].group.transfer_leadership(Some(id(1))).await.unwrap();
    }
    world
}

fn items(world: &World, node: u64) -> Vec<Bytes> {
    world.nodes[&id(node)].peek.items.lock().unwrap().clone()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_only_the_witness_has_left_reaches_the_other_member_which_then_leads() {
    let mut world = two_and_a_witness(LogLimits::default()).await;
    world.propose("before").await;
    world.kill(id(2)).await;
    let last = world.propose("on the first and the witness").await;
    world.kill(id(1)).await;
    world.restart(id(2)).await;
    let led_here = |s: &GroupStatus| s.state == GroupState::Leader && s.applied >= Some(last.pos);
    world.until(2, "the member that keeps data leads, with all that was acknowledged", led_here).await;
    assert_eq!(items(&world, 2), ["before", "on the first and the witness"]);
    assert_ne!(world.nodes[&WITNESS].group.status().state, GroupState::Leader);

    world.propose("after").await;
    world.restart(id(1)).await;
    let after = world.propose("together").await;
    world.agree_on(after.pos.index).await;
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_witness_whose_log_does_not_reach_back_far_enough_waits_for_who_has_the_rest() {
    let limits = LogLimits { keep_bytes: 0, ..LogLimits::default() };
    let mut world = two_and_a_witness(limits).await;
    world.propose("before").await;
    world.kill(id(2)).await;
    for n in 0..3 {
        world.propose(&format!("without the second {n}")).await;
    }
    let last = world.nodes[&id(1)].group.status().last_log.unwrap();
    world.nodes[&WITNESS].group.wait_applied(last, Instant::now() + SEVERAL_ELECTIONS).await.unwrap();
    world.nodes[&WITNESS].group.checkpoint().await.unwrap();
    world.kill(id(1)).await;
    world.restart(id(2)).await;
    let led = |s: &GroupStatus| matches!(s.state, GroupState::Leader);
    for node in [id(2), WITNESS] {
        let mut status = world.nodes[&node].group.watch();
        let leads = rt::time::timeout(SEVERAL_ELECTIONS, status.wait_for(led)).await.is_ok();
        assert!(!leads, "{node} leads without what was acknowledged");
    }
    world.restart(id(1)).await;
    let after = world.propose("with the first again").await;
    world.agree_on(after.pos.index).await;
    assert_eq!(items(&world, 2).len(), 5);
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_hands_the_lead_over_to_a_witness() {
    let mut world = two_and_a_witness(LogLimits::default()).await;
    let refused = world.nodes[&id(1)].group.transfer_leadership(Some(WITNESS)).await;
    assert!(matches!(refused, Err(raft::ChangeError::Refused { .. })), "{refused:?}");
    world.nodes[&id(1)].group.transfer_leadership(None).await.unwrap();
    for node in [1, 2] {
        world.until(node, "the other member leads", |s| s.leader == Some(id(2))).await;
    }
    world.kill(id(1)).await;
    let began = Instant::now();
    let refused = world.nodes[&id(2)].group.transfer_leadership(None).await;
    assert!(matches!(refused, Err(raft::ChangeError::Refused { .. })), "{refused:?}");
    assert!(began.elapsed() < Duration::from_secs(2), "nobody is waited for");
    world.end().await;
}
