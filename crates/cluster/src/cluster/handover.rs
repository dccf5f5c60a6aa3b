//! A leader that leaves hands over first.

use crate::controller::leads;
use base::GroupId;
use futures::future::join_all;
use raft::Group;
use std::time::Duration;

/// A majority that did not answer for so long is taken to be gone.
const MAJORITY_SILENCE_MAX: Duration = Duration::from_secs(1);
/// How often that is looked at during a transfer.
const MAJORITY_LOOK: Duration = Duration::from_millis(100);

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
    leads(&status) && status.membership.all_voters().len() > 1 && has_majority(group)
}

/// Whether a majority answered of late. Without one nobody can take over.
fn has_majority(group: &Group) -> bool {
    group.status().quorum_acked.is_some_and(|at| at.elapsed() < MAJORITY_SILENCE_MAX)
}

async fn transfer(group: &Group) {
    let majority_lost = async {
        while has_majority(group) {
            rt::time::sleep(MAJORITY_LOOK).await;
        }
    };
    let error = tokio::select! {
        biased;
        transferred = group.transfer_leadership(None) => match transferred {
            Ok(()) => return,
            Err(error) => error.to_string(),
        },
        () = majority_lost => "no majority of the voters answers".to_owned(),
    };
    tracing::info!(group = %group.id(), error, "leadership could not be handed over");
}
