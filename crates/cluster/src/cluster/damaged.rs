//! A member whose log was damaged does not know any more for whom it voted and what it has acknowledged. It may not vote with
//! that. It asks for its vote to be taken away, follows as a learner until its log is whole, and is then given a vote again by the
//! role controller, as anybody who can take one.

use super::Inner;
use crate::ClusterError;
use crate::controller::leads;
use crate::messages::{DAMAGED, Damaged, FORM, Withdrawn, decode, encode};
use base::NodeId;
use futures::future::join_all;
use raft::{Group, LogPos};
use rpc::{Class, Service};
use std::sync::Arc;
use std::time::Duration;

/// How often a damaged member asks.
const ASK_EVERY: Duration = Duration::from_secs(1);
/// How long the others have to do something about it.
const ASK_MAX: Duration = Duration::from_secs(5);

/// Asks as long as groups here need it. Runs until it is dropped.
pub(super) async fn ask(inner: Arc<Inner>) {
    loop {
        rt::time::sleep(ASK_EVERY).await;
        let groups = inner.host.damaged_groups();
        if groups.is_empty() {
            continue;
        }
        let Ok(body) = encode(&Damaged { form: FORM, node: inner.node(), groups: groups.into_iter().collect() }) else {
            return;
        };
        // It hears no leader, so it cannot know who leads: all are told, and each does what it can.
        let peers = inner.mesh.peers().into_iter().filter(|peer| *peer != inner.node());
        let told = peers.map(|peer| {
            let (inner, body) = (&inner, body.clone());
            async move {
                let answer = inner.mesh.call(peer, Service::Cluster, DAMAGED, body, ASK_MAX, Class::Control).await;
                match answer.map_err(ClusterError::of_call).and_then(|answer| decode::<Withdrawn>(&answer)) {
                    Ok(withdrawn) => inner.come_back(&withdrawn),
                    Err(error) => tracing::debug!(%peer, %error, "a member was not told that logs are damaged here"),
                }
            }
        });
        join_all(told).await;
    }
}

impl Inner {
    /// Takes the vote of a member away in those groups whose log it has damaged and that are led here, and tells where that is done.
    pub(super) async fn withdraw_votes(&self, damaged: &Damaged) -> Withdrawn {
        let groups = self.groups().into_iter().filter(|group| damaged.groups.contains(&group.id()));
        let asked = groups.filter(|group| leads(&group.status())).map(|group| async move {
            let at = withdraw_vote(&group, damaged.node).await;
            at.inspect_err(|error| {
                tracing::debug!(group = %group.id(), node = %damaged.node, %error, "it keeps its vote for now");
            })
            .ok()
            .flatten()
            .map(|at| (group.id(), at))
        });
        Withdrawn { form: FORM, groups: join_all(asked).await.into_iter().flatten().collect() }
    }

    fn come_back(&self, withdrawn: &Withdrawn) {
        for (group, at) in &withdrawn.groups {
            if let Some(group) = self.host.group(*group) {
                group.come_back(*at);
            }
        }
    }
}

/// The last voter keeps its vote: nobody else has more than it has.
async fn withdraw_vote(group: &Group, node: NodeId) -> Result<Option<LogPos>, ClusterError> {
    let status = group.status();
    let mut voters = status.membership.all_voters();
    if !status.membership.is_joint() && voters.remove(&node) && !voters.is_empty() {
        tracing::warn!(group = %group.id(), %node, "its log was damaged: it has no vote until it has caught up");
        group.change_voters(voters).await?;
    }
    Ok(group.confirm_no_vote(node).await?)
}
