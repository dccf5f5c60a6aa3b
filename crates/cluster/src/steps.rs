//! From the roles that members should have to the changes that one Raft group needs.

use crate::node_rows::NodeRow;
use base::{NodeId, Role};
use raft::MembershipView;
use std::collections::{BTreeMap, BTreeSet};

/// Who should do what, and where each is. Spares are absent: no group knows them.
pub(crate) type Assignment = BTreeMap<NodeId, Place>;

/// What a member does in every group, and where it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) role: Role,
    pub(crate) address: String,
}

/// One change of a group's members.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Step {
    /// The member replicates from now on, or has a new address.
    Add(NodeId, String),
    /// Exactly these vote. All of them at once: going through an even number would make each step more fragile than either end.
    Voters(BTreeSet<NodeId>),
    /// The member is gone.
    Remove(NodeId),
}

/// The changes that bring a group from its members to the assignment, in order. Empty when they agree.
pub(crate) fn steps(wanted: &Assignment, now: &MembershipView) -> Vec<Step> {
    let mut steps = Vec::new();
    let known = known(now);
    for (node, place) in wanted {
        if !known.contains(node) || now.addresses.get(node) != Some(&place.address) {
            steps.push(Step::Add(*node, place.address.clone()));
        }
    }
    let voters: BTreeSet<NodeId> =
        wanted.iter().filter(|(_, place)| place.role == Role::Voter).map(|(node, _)| *node).collect();
    if now.voters != [voters.clone()] && !voters.is_empty() {
        steps.push(Step::Voters(voters));
    }
    steps.extend(known.iter().filter(|node| !wanted.contains_key(node)).map(|node| Step::Remove(*node)));
    steps
}

/// All whom a group knows.
pub(crate) fn known(members: &MembershipView) -> BTreeSet<NodeId> {
    members.all_voters().union(&members.learners).copied().collect()
}

/// What a member does, by `sys`: spares and witnesses without a vote follow that one as well.
pub(crate) fn role_of(row: &NodeRow, sys: &MembershipView, spares: &BTreeSet<NodeId>) -> Role {
    match role_in(sys, row.node) {
        Role::StandBy if row.witness || spares.contains(&row.node) => Role::Spare,
        role => role,
    }
}

/// What a node does in a group with these members.
pub(crate) fn role_in(members: &MembershipView, node: NodeId) -> Role {
    if members.all_voters().contains(&node) {
        Role::Voter
    } else if members.learners.contains(&node) {
        Role::StandBy
    } else {
        Role::Spare
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn view(voters: &[&[u64]], learners: &[u64]) -> MembershipView {
        let set = |ids: &[u64]| ids.iter().copied().map(NodeId).collect::<BTreeSet<_>>();
        let voters: Vec<_> = voters.iter().map(|ids| set(ids)).collect();
        let learners = set(learners);
        let addresses = voters.iter().flatten().chain(&learners).map(|node| (*node, format!("n{node}:1"))).collect();
        MembershipView { voters, learners, addresses, since: None }
    }

    fn wanted(voters: &[u64], stand_bys: &[u64]) -> Assignment {
        let place = |role| move |id: &u64| (NodeId(*id), Place { role, address: format!("n{id}:1") });
        voters.iter().map(place(Role::Voter)).chain(stand_bys.iter().map(place(Role::StandBy))).collect()
    }

    fn words(wanted: &Assignment, now: &MembershipView) -> String {
        let word = |step: &Step| match step {
            Step::Add(node, _) => format!("+{node}"),
            Step::Voters(set) => format!("={}", set.iter().map(NodeId::to_string).collect::<Vec<_>>().join(",")),
            Step::Remove(node) => format!("-{node}"),
        };
        steps(wanted, now).iter().map(word).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn members_are_added_then_voters_set_then_others_removed() {
        for (to, from, expected) in [
            (wanted(&[1], &[]), view(&[&[1]], &[]), ""),
            (wanted(&[1], &[2]), view(&[&[1]], &[]), "+2"),
            (wanted(&[1, 2, 3], &[]), view(&[&[1]], &[2]), "+3 =1,2,3"),
            (wanted(&[1, 2, 4], &[3]), view(&[&[1, 2, 3]], &[4]), "=1,2,4"),
            (wanted(&[1, 2, 4], &[]), view(&[&[1, 2, 3]], &[]), "+4 =1,2,4 -3"),
            (wanted(&[1], &[]), view(&[&[1]], &[2]), "-2"),
            // A change that a leader left half-way is finished.
            (wanted(&[1, 2, 3], &[]), view(&[&[1], &[1, 2, 3]], &[]), "=1,2,3"),
            // Never nobody.
            (wanted(&[], &[]), view(&[&[1]], &[]), "-1"),
        ] {
            assert_eq!(words(&to, &from), expected);
        }
    }

    #[test]
    fn a_member_that_moved_is_added_again_at_its_new_address() {
        let mut to = wanted(&[1], &[2]);
        to.get_mut(&NodeId(2)).unwrap().address = "elsewhere:1".to_owned();
        assert_eq!(steps(&to, &view(&[&[1]], &[2])), [Step::Add(NodeId(2), "elsewhere:1".to_owned())]);
    }

    #[test]
    fn in_a_joint_membership_whoever_votes_in_either_half_is_a_voter() {
        let joint = view(&[&[1], &[1, 2]], &[3]);
        let roles = [1, 2, 3, 4].map(|id| role_in(&joint, NodeId(id)));
        assert_eq!(roles, [Role::Voter, Role::Voter, Role::StandBy, Role::Spare]);
    }
}
