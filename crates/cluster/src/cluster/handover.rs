//! A leader that leaves hands over first.

use crate::controller::leads;
use base::GroupId;
use futures::future::join_all;
use raft::Group;
use std::time::Duration;

/// Hands over the leadership of those of `groups` that this node leads: `sys` first, because the others follow it, then those
/// that have not followed. A group with one voter has nobody to hand over to and is left alone.
///
/// Returns the groups that this node still leads and could have handed over: the next leader is then found by an election.
pub async fn hand_over(groups: &[Group], deadline: Duration) -> Vec<GroupId> {
    let led = || groups.iter().filter(|group| can_be_handed_over(group));
    let handing = async {
        for group in led().filter(|group| group.id() == GroupId::SYS) {
            transfer(group).await;
        }
        join_all(led().map(transfer)).await;
    };
    if rt::time::timeout(deadline, handing).await.is_err() {
        tracing::warn!(?deadline, "leadership was not handed over in time");
    }
    led().map(Group::id).collect()
}

fn can_be_handed_over(group: &Group) -> bool {
    let status = group.status();
    leads(&status) && status.membership.all_voters().len() > 1
}

async fn transfer(group: &Group) {
    if let Err(error) = group.transfer_leadership(None).await {
        tracing::info!(group = %group.id(), %error, "leadership could not be handed over");
    }
}
