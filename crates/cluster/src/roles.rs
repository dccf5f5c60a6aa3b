//! Who votes, who stands by, who is spare: dqlite's rules as a pure function.
//!
//! Below three members one votes and the others stand by: two voters are worse than one, because the loss of either stops
//! writes. From three on, as many vote as asked for (an odd number), then stand-bys, then spares. A role is moved only when
//! that is needed: away from a member that is gone for long, leaving, or too many.
//!
//! A witness votes where its vote lets the cluster survive one loss more: with two members that keep data, or any even number below the
//! voters that are asked for. One at most does, so that every majority has a member with data in it. It never stands by, and never leads
//! longer than it must (ADR-11).

use base::{NodeId, Role};
use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// A member as the rules see it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    /// The node.
    pub node: NodeId,
    /// What it does now. A member that has just joined is a spare.
    pub role: Role,
    /// It is on its way out and gets no role any more.
    pub leaving: bool,
    /// Members with the same number fail together (a room, a power line). Roles are spread over the numbers.
    pub failure_domain: u64,
    /// Between equals the lower weight gets the role.
    pub weight: u64,
    /// It keeps no data.
    pub witness: bool,
}

/// How many of each there should be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Targets {
    /// Voters from three members on; an even number counts as the odd one below.
    pub voters: usize,
    /// Stand-bys.
    pub stand_bys: usize,
    /// How long a member that is not heard may be away before its roles go to others: longer than a restart takes.
    pub dead_after: Duration,
}

impl Default for Targets {
    fn default() -> Self {
        Self { voters: 3, stand_bys: 3, dead_after: Duration::from_secs(10) }
    }
}

/// One step of a plan.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Change {
    /// Leadership moves to this voter; the next leader goes on with the plan.
    Transfer {
        /// The next leader.
        to: NodeId,
    },
    /// The member gets another role.
    Assign {
        /// The member.
        node: NodeId,
        /// Its role from then on.
        role: Role,
    },
    /// The member has no role any more and may go.
    Dismiss {
        /// The member.
        node: NodeId,
    },
}

/// What has to change, in order: members that gain a role, then members that lose one. Empty when all is as it should be.
/// Doing it and planning again gives an empty plan, as long as nobody comes, goes or dies meanwhile.
///
/// A witness that leads only hands over.
pub fn plan(members: &[Member], alive: &BTreeSet<NodeId>, leader: NodeId, targets: Targets) -> Vec<Change> {
    if members.iter().any(|member| member.node == leader && member.witness) {
        let able = |m: &&Member| !m.witness && !m.leaving && m.role == Role::Voter && alive.contains(&m.node);
        return members.iter().find(able).map(|heir| Change::Transfer { to: heir.node }).into_iter().collect();
    }
    let staying: Vec<&Member> = members.iter().filter(|member| !member.leaving).collect();
    let is_alive = |member: &Member| alive.contains(&member.node) || member.node == leader;
    let voters = choose_voters(&staying, &is_alive, leader, targets);
    let stand_bys = choose_stand_bys(&staying, &is_alive, &voters, targets);

    let mut changes = Vec::new();
    for member in &staying {
        let role = if voters.contains(&member.node) {
            Role::Voter
        } else if stand_bys.contains(&member.node) {
            Role::StandBy
        } else {
            Role::Spare
        };
        if role != member.role {
            changes.push(Change::Assign { node: member.node, role });
        }
    }
    let gains = |change: &Change| matches!(change, Change::Assign { role, .. } if *role != Role::Spare);
    changes.sort_by_key(|change| (!gains(change), *change));

    let leaving: Vec<&Member> = members.iter().filter(|member| member.leaving).collect();
    if leaving.iter().any(|member| member.node == leader) {
        // The leader cannot take its own vote away: first somebody else must have one, then lead.
        let can_lead = |m: &&&Member| m.role == Role::Voter && !m.witness && voters.contains(&m.node) && is_alive(m);
        let heir = staying.iter().find(can_lead);
        if let Some(heir) = heir {
            return vec![Change::Transfer { to: heir.node }];
        }
        changes.retain(|change| matches!(change, Change::Assign { role: Role::Voter, .. }));
        return changes;
    }
    changes.extend(leaving.iter().map(|member| Change::Dismiss { node: member.node }));
    changes
}

/// How many of `members` should vote.
fn voters_wanted(members: usize, targets: Targets) -> usize {
    if members < 3 {
        return members.min(1);
    }
    let wanted = targets.voters.clamp(1, members);
    if wanted.is_multiple_of(2) { wanted - 1 } else { wanted }
}

/// The witness whose vote helps, if there is one.
fn choose_witness<'a>(
    staying: &[&'a Member],
    is_alive: &dyn Fn(&Member) -> bool,
    targets: Targets,
) -> Option<&'a Member> {
    let (witnesses, data): (Vec<&Member>, Vec<&Member>) = staying.iter().copied().partition(|member| member.witness);
    let rank = |m: &&Member| (!is_alive(m), m.role != Role::Voter, m.weight, m.node);
    let witness = witnesses.into_iter().min_by_key(rank)?;
    let able = data.iter().filter(|member| is_alive(member)).count();
    let is_one_more = able >= 2 && able.is_multiple_of(2) && able < targets.voters;
    // While the other one is away nobody can take the witness's place.
    let is_away = |member: &&Member| member.role == Role::Voter && !is_alive(member);
    let is_needed_still = able == 1 && witness.role == Role::Voter && data.iter().any(is_away);
    (is_one_more || is_needed_still).then_some(witness)
}

fn choose_voters(
    staying: &[&Member],
    is_alive: &dyn Fn(&Member) -> bool,
    leader: NodeId,
    targets: Targets,
) -> BTreeSet<NodeId> {
    let witness = choose_witness(staying, is_alive, targets).map(|witness| witness.node);
    let staying: Vec<&Member> =
        staying.iter().copied().filter(|member| !member.witness || Some(member.node) == witness).collect();
    let wanted = voters_wanted(staying.len(), targets);
    let (mut chosen, gone): (Vec<&Member>, Vec<&Member>) =
        staying.iter().copied().filter(|member| member.role == Role::Voter).partition(|member| is_alive(member));
    // Too many: whoever shares a failure domain goes first, then the heavier; the leader never does.
    while chosen.len() > wanted {
        let domains = count_domains(&chosen);
        let out = (0..chosen.len())
            .filter(|i| chosen.get(*i).is_some_and(|member| member.node != leader))
            .max_by_key(|i| chosen.get(*i).map(|m| (domains.get(&m.failure_domain).copied(), m.weight, m.node)));
        let Some(out) = out else { break };
        chosen.remove(out);
    }
    // Too few: stand-bys before spares, but another failure domain before either.
    let mut candidates: Vec<&Member> =
        staying.iter().copied().filter(|member| member.role != Role::Voter && is_alive(member)).collect();
    let mut promoted = 0_usize;
    while chosen.len() < wanted && !candidates.is_empty() {
        let next = best(&candidates, &count_domains(&chosen));
        chosen.push(candidates.remove(next));
        promoted += 1;
    }
    // A voter that is gone keeps its vote as long as nobody can take its place.
    let kept: Vec<&Member> = gone.into_iter().take(wanted.saturating_sub(chosen.len())).collect();
    // An even number tolerates no more losses than the odd one below it, and is lost more easily.
    if (chosen.len() + kept.len()).is_multiple_of(2) && promoted > 0 {
        chosen.pop();
    }
    chosen.iter().chain(&kept).map(|member| member.node).collect()
}

fn choose_stand_bys(
    staying: &[&Member],
    is_alive: &dyn Fn(&Member) -> bool,
    voters: &BTreeSet<NodeId>,
    targets: Targets,
) -> BTreeSet<NodeId> {
    let can_stand_by = |member: &&Member| !voters.contains(&member.node) && !member.witness;
    let mut pool: Vec<&Member> = staying.iter().copied().filter(can_stand_by).collect();
    // Those who answer before those who do not; those who are stand-bys already before the others; a former voter next.
    let rank = |member: &Member| match member.role {
        Role::StandBy => 0,
        Role::Voter => 1,
        Role::Spare => 2,
    };
    pool.sort_by_key(|member| (Reverse(is_alive(member)), rank(member), member.weight, member.node));
    pool.into_iter().take(targets.stand_bys).map(|member| member.node).collect()
}

fn count_domains(members: &[&Member]) -> BTreeMap<u64, usize> {
    members.iter().fold(BTreeMap::new(), |mut domains, member| {
        *domains.entry(member.failure_domain).or_default() += 1;
        domains
    })
}

/// The candidate to promote next. The list is not empty.
fn best(candidates: &[&Member], domains: &BTreeMap<u64, usize>) -> usize {
    let key = |member: &Member| {
        let used = domains.get(&member.failure_domain).copied().unwrap_or(0);
        (used, member.role == Role::Spare, member.weight, member.node)
    };
    candidates.iter().enumerate().min_by_key(|(_, member)| key(member)).map_or(0, |(i, _)| i)
}

#[cfg(test)]
#[path = "roles_tests.rs"]
mod tests;
