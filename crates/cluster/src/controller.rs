//! The role controller: makes the Raft groups agree with `sys.nodes` and the role rules, on whichever node leads `sys`.
//!
//! Groups follow the leadership of `sys`. One whose voters do not include that leader yet cannot: whoever leads such a group makes
//! it agree with the members of `sys` first. For that it has to hear of them: a node is taken out of `sys` after all other groups.
//!
//! Level-triggered: each pass reads the rows, the groups and who answers, decides with [`roles::plan`](crate::roles::plan), and acts.
//! It keeps nothing that a successor would need; a pass that failed half-way is done again from what is then true.

mod liveness;

use crate::ClusterError;
use crate::cluster::Inner;
use crate::kinds;
use crate::node_rows::{self, JOINING_MAX, NodeRow, NodeRowState};
use crate::roles::{self, Change, Member};
use crate::spares;
use crate::steps::{Assignment, Place, Step, known, role_in, role_of, steps};
use crate::sys::SysSql;
use crate::targets;
use base::{GroupId, NodeId, Role};
use futures::future::{join_all, select_all};
use liveness::Liveness;
use raft::{Group, GroupState, GroupStatus};
use rt::sync::watch;
use rt::time::Instant;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;
use store::resources::Severity;
use store::{ReadLevel, resources};

/// A pass that failed is done again after so long, unless something changes before.
const RETRY_AFTER: Duration = Duration::from_millis(200);
/// How long a member may take to copy a group's log before its promotion is put off to a later pass.
const CATCH_UP_MAX: Duration = Duration::from_secs(5);
/// How often its progress is looked at.
const CATCH_UP_LOOK: Duration = Duration::from_millis(5);
/// A node on which a group has failed gives its lead away this often at most: the others may be no better.
const GIVE_AWAY_EVERY: Duration = Duration::from_mins(1);
/// Joining rows that may have lapsed are looked for this often, on the leader.
const SWEEP_EVERY: Duration = Duration::from_mins(1);

/// The outcome of the controller's last pass on this node.
#[derive(Debug, Clone)]
pub(crate) struct Pass {
    /// When it began.
    pub(crate) began: Instant,
    /// The members that `sys` has now, if this node led it and they are as they should be.
    pub(crate) settled: Option<Arc<Assignment>>,
}

/// What of a group's status calls for another pass: not its heartbeats.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Key {
    leads: bool,
    leader: Option<NodeId>,
    membership: Arc<raft::MembershipView>,
}

impl Key {
    fn of(status: &GroupStatus) -> Self {
        Self { leads: leads(status), leader: status.leader, membership: Arc::clone(&status.membership) }
    }
}

/// Whether this node leads the group.
pub(crate) fn leads(status: &GroupStatus) -> bool {
    status.state == GroupState::Leader
}

/// Runs until it is dropped.
pub(crate) async fn run(inner: Arc<Inner>) {
    let mut liveness = Liveness::new(inner.gossiping.clone());
    let (mut swept, mut gave_away) = (None, None);
    // The rows are in `sys`: they change when it applies something, and matter here while it is led here.
    let mut rows = inner.sys_group.watch_applied();
    let mut opened = inner.watch_opened();
    loop {
        let began = Instant::now();
        opened.borrow_and_update();
        let mut watches: Vec<_> = inner.groups().iter().map(Group::watch).collect();
        let keys: Vec<Key> = watches.iter_mut().map(|watch| Key::of(&watch.borrow_and_update())).collect();
        rows.borrow_and_update();
        let done = pass(&inner, &mut liveness, &mut gave_away).await;
        let settled = match &done {
            Ok(Done { settled, .. }) => settled.clone(),
            Err(error) => {
                tracing::info!(%error, "the members' roles are not as they should be yet; it is tried again");
                None
            }
        };
        inner.passed.send_replace(Some(Pass { began, settled }));
        let leading = matches!(&done, Ok(Done { leading: true, .. }));
        if leading && swept.is_none_or(|at: Instant| at.elapsed() >= SWEEP_EVERY) {
            swept = Some(Instant::now());
            if let Err(error) = node_rows::sweep(inner.sys.as_ref()).await {
                tracing::info!(%error, "joining nodes that never came up could not be removed; it is tried again");
            }
            if let Err(error) = tell_overdue(inner.sys.as_ref()).await {
                tracing::info!(%error, "what is removed too slowly could not be told of; it is tried again");
            }
        }
        let again = match &done {
            Ok(Done { complete: true, .. }) => SWEEP_EVERY,
            _ => RETRY_AFTER,
        };
        let next = liveness.next_verdict().map_or(began + again, |at| at.min(began + again)).max(Instant::now());
        tokio::select! {
            biased;
            () = inner.nudge.notified() => {}
            () = any_changed(&mut watches, &keys) => {}
            changed = opened.changed() => if changed.is_err() { return },
            changed = rows.changed(), if leading => if changed.is_err() { return },
            () = liveness.changed() => {}
            () = rt::time::sleep_until(next) => {}
        }
    }
}

/// Tells of resources that are to be removed and wait longer than they should.
async fn tell_overdue(sys: &dyn SysSql) -> Result<(), ClusterError> {
    let late = resources::tell_overdue(&sys.query(ReadLevel::Local, resources::overdue()).await?);
    if !late.is_empty() {
        sys.transact(late).await?;
    }
    Ok(())
}

/// Waits until a group differs from its key in something that matters here.
async fn any_changed(watches: &mut [watch::Receiver<GroupStatus>], keys: &[Key]) {
    let changes = watches.iter_mut().zip(keys).map(|(watch, key)| {
        let differs = async move {
            // A stopped group changes no more; that it stopped was a change.
            while watch.changed().await.is_ok() {
                if Key::of(&watch.borrow_and_update()) != *key {
                    return;
                }
            }
            std::future::pending::<()>().await;
        };
        Box::pin(differs)
    });
    let changes: Vec<_> = changes.collect();
    if changes.is_empty() {
        std::future::pending::<()>().await;
    }
    select_all(changes).await;
}

/// What a pass came to.
struct Done {
    /// This node leads `sys`.
    leading: bool,
    /// What `sys` has, if that is as it should be.
    settled: Option<Arc<Assignment>>,
    /// And so has every other group.
    complete: bool,
}

async fn pass(inner: &Inner, liveness: &mut Liveness, gave_away: &mut Option<Instant>) -> Result<Done, ClusterError> {
    let status = inner.sys_group.status();
    if inner.is_witness() {
        // What it leads it hands over at once; whoever leads then does this.
        liveness.forget();
        return Ok(Done { leading: false, settled: None, complete: true });
    }
    if !leads(&status) {
        liveness.forget();
        let complete = let_follow(inner, &status).await?;
        return Ok(Done { leading: false, settled: None, complete });
    }
    let rows = node_rows::all(inner.sys.as_ref(), ReadLevel::Linearizable).await?;
    let spares = spares::all(inner.sys.as_ref(), ReadLevel::Linearizable).await?;
    let members: Vec<(&NodeRow, Member)> = rows
        .iter()
        .filter(|row| matches!(row.state, NodeRowState::Member | NodeRowState::Leaving))
        .map(|row| (row, member(row, &status, &spares)))
        .collect();
    if !members.iter().any(|(row, _)| row.node == inner.node()) {
        // The cluster is being founded: its first row is not there yet.
        return Ok(Done { leading: true, settled: None, complete: true });
    }
    let nodes: BTreeSet<NodeId> = members.iter().map(|(row, _)| row.node).collect();
    let targets = targets::read(inner.sys.as_ref(), ReadLevel::Linearizable).await?;
    let alive = liveness.alive(&inner.mesh, inner.node(), &nodes, targets.dead_after);
    if gave_away.is_none_or(|at| at.elapsed() >= GIVE_AWAY_EVERY)
        && let Some(failed) = failed_here(inner)
        && let Some(to) = heir(inner, &status, &alive)
    {
        rt::sometimes!("roles: a node with a failed group gave its lead away");
        tracing::warn!(group = %failed, %to, "a group has failed on this node: another one leads from now on");
        *gave_away = Some(Instant::now());
        inner.sys_group.transfer_leadership(Some(to)).await?;
        return Ok(Done { leading: false, settled: None, complete: false });
    }
    let as_ruled: Vec<Member> = members.iter().map(|(_, member)| member.clone()).collect();
    let plan = roles::plan(&as_ruled, &alive, inner.node(), targets);
    if let [Change::Transfer { to }] = plan.as_slice() {
        inner.sys_group.transfer_leadership(Some(*to)).await?;
        return Ok(Done { leading: false, settled: None, complete: false });
    }
    let assignment = assign(&members, &plan);
    let of_sys = with_followers(&assignment, &members);
    let idle = idle(&assignment, &members);
    // Who comes is a spare before it hears of any database; who gets another role is none before its first copy.
    let known = known(&status.membership);
    let come = idle.difference(&spares).filter(|node| !known.contains(node)).copied().collect();
    let gone = spares.iter().filter(|node| assignment.contains_key(node) || !nodes.contains(node)).copied().collect();
    spares::change(inner.sys.as_ref(), &come, &gone).await?;
    conform(&inner.sys_group, &of_sys, Departures::Later).await?;
    rt::sim_point!("roles.after_sys");
    tell_roles(inner, &members, &assignment, |role| role != Role::Spare).await;
    let groups = inner.groups();
    let others = groups.iter().filter(|group| group.id() != GroupId::SYS);
    let others = join_all(others.map(|group| conform_other(group, &assignment))).await;
    let complete = others.iter().all(|done| *done);
    if complete {
        // They have left all other groups: their copies may go.
        let come = idle.difference(&spares).filter(|node| !come.contains(node)).copied().collect();
        spares::change(inner.sys.as_ref(), &come, &BTreeSet::new()).await?;
        tell_roles(inner, &members, &assignment, |role| role == Role::Spare).await;
        conform(&inner.sys_group, &of_sys, Departures::Now).await?;
        let_go(inner, &rows, &assignment).await?;
    }
    Ok(Done { leading: true, settled: Some(Arc::new(assignment)), complete })
}

/// Notes who has another role now, of those roles. To be called once they have it: what is noted wakes this controller, and would be noted
/// again and again. What cannot be noted is in the log of the daemon only.
async fn tell_roles(inner: &Inner, members: &[(&NodeRow, Member)], now: &Assignment, of: impl Fn(Role) -> bool) {
    let told = members.iter().filter_map(|(row, member)| {
        let role = now.get(&row.node).map_or(Role::Spare, |place| place.role);
        let message = || format!("it is a {role} instead of a {}", member.role);
        (role != member.role && of(role))
            .then(|| resources::event(kinds::NODES.name, &row.name, Severity::Normal, "RoleChanged", message()))
    });
    let told: Vec<_> = told.collect();
    if told.is_empty() {
        return;
    }
    if let Err(error) = inner.sys.transact(told).await {
        tracing::info!(%error, "roles have changed, and it is not among the events");
    }
}

/// A group that has failed here for good. Whoever leads `sys` leads every group: nobody would serve this one.
fn failed_here(inner: &Inner) -> Option<GroupId> {
    let failed = |group: &Group| matches!(group.status().state, GroupState::Failed(_));
    inner.groups().iter().find(|group| failed(group)).map(Group::id)
}

/// Another voter that answers and can lead for good.
fn heir(inner: &Inner, status: &GroupStatus, alive: &BTreeSet<NodeId>) -> Option<NodeId> {
    let witnesses = inner.host.witnesses();
    let can_lead = |node: &NodeId| *node != inner.node() && alive.contains(node) && !witnesses.contains(node);
    status.membership.all_voters().into_iter().find(can_lead)
}

/// Every member has a copy of `sys`, also a spare, and a witness that does not vote: it is how they know the others, and the databases.
fn with_followers(assignment: &Assignment, members: &[(&NodeRow, Member)]) -> Assignment {
    let mut of_sys = assignment.clone();
    for (row, member) in members.iter().filter(|(_, member)| !member.leaving) {
        of_sys.entry(member.node).or_insert_with(|| Place { role: Role::StandBy, address: row.address.clone() });
    }
    of_sys
}

/// The spares that the plan wants. A witness holds no copies whatever its role is.
fn idle(assignment: &Assignment, members: &[(&NodeRow, Member)]) -> BTreeSet<NodeId> {
    let idle = members.iter().map(|(_, member)| member).filter(|member| !member.leaving && !member.witness);
    idle.map(|member| member.node).filter(|node| !assignment.contains_key(node)).collect()
}

fn member(row: &NodeRow, status: &GroupStatus, spares: &BTreeSet<NodeId>) -> Member {
    Member {
        node: row.node,
        role: role_of(row, &status.membership, spares),
        witness: row.witness,
        leaving: row.state == NodeRowState::Leaving,
        failure_domain: row.failure_domain,
        weight: row.weight,
    }
}

/// The roles after the plan.
fn assign(members: &[(&NodeRow, Member)], plan: &[Change]) -> Assignment {
    let mut roles: Vec<(NodeId, Role, &str)> =
        members.iter().map(|(row, member)| (row.node, member.role, row.address.as_str())).collect();
    for change in plan {
        let (node, to) = match change {
            Change::Assign { node, role } => (*node, *role),
            Change::Dismiss { node } => (*node, Role::Spare),
            Change::Transfer { .. } => continue,
        };
        if let Some((_, role, _)) = roles.iter_mut().find(|(id, ..)| *id == node) {
            *role = to;
        }
    }
    let places = roles.into_iter().filter(|(_, role, _)| *role != Role::Spare);
    places.map(|(node, role, address)| (node, Place { role, address: address.to_owned() })).collect()
}

/// When a group forgets those that have no part in it any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Departures {
    Now,
    Later,
}

/// Brings one group that this node leads to the assignment, one change at a time. A change that another leader has left half-way, with
/// two sets of voters, is finished or replaced.
async fn conform(group: &Group, wanted: &Assignment, departures: Departures) -> Result<(), ClusterError> {
    if group.status().membership.is_joint() {
        rt::sometimes!("roles: a joint membership was found and ended");
        if rt::mutant!("cluster.leave-joint") {
            return Ok(());
        }
    }
    for step in steps(wanted, &group.status().membership) {
        if departures == Departures::Later && matches!(step, Step::Remove(_)) {
            continue;
        }
        tracing::info!(group = %group.id(), ?step, "changing members");
        match step {
            Step::Add(node, address) => group.add_learner(node, address).await?,
            Step::Voters(voters) => {
                caught_up(group, &voters).await?;
                rt::sim_point!("join.before_promote");
                group.change_voters(voters).await?;
                rt::sim_point!("join.after_promote");
            }
            Step::Remove(node) => group.remove(node).await?,
        }
    }
    Ok(())
}

async fn conform_other(group: &Group, wanted: &Assignment) -> bool {
    let status = group.status();
    if !leads(&status) {
        // Its leadership follows that of `sys`, and then it is our turn. A group without members is being created.
        return status.membership.since.is_none();
    }
    match conform(group, wanted, Departures::Now).await {
        Ok(()) => true,
        Err(error) => {
            tracing::info!(group = %group.id(), %error, "its members are not as they should be yet; it is tried again");
            false
        }
    }
}

/// Makes the groups led here whose voters do not include the leader of `sys` agree with the members of `sys`, so that it can take
/// them over. Nobody else would: changing a group takes its leader.
async fn let_follow(inner: &Inner, sys: &GroupStatus) -> Result<bool, ClusterError> {
    let Some(leader) = sys.leader.filter(|_| !rt::mutant!("cluster.leave-others-behind")) else { return Ok(true) };
    let groups = inner.groups();
    let stuck: Vec<&Group> = groups
        .iter()
        .filter(|group| group.id() != GroupId::SYS)
        .filter(|group| {
            let status = group.status();
            leads(&status) && !status.membership.all_voters().contains(&leader)
        })
        .collect();
    if stuck.is_empty() {
        return Ok(true);
    }
    if sys.membership.is_joint() {
        return Ok(false);
    }
    rt::sometimes!("roles: a group was led by another node than sys and could not follow");
    let spares = spares::all(inner.sys.as_ref(), ReadLevel::Local).await?;
    let mut assignment = as_in(&sys.membership);
    assignment.retain(|node, place| place.role == Role::Voter || !spares.contains(node));
    let followed = join_all(stuck.into_iter().map(|group| conform_other(group, &assignment))).await;
    Ok(followed.into_iter().all(|done| done))
}

/// The roles as a group has them.
fn as_in(members: &raft::MembershipView) -> Assignment {
    let place = |(node, address): (&NodeId, &String)| {
        (*node, Place { role: role_in(members, *node), address: address.clone() })
    };
    members.addresses.iter().map(place).collect()
}

/// Waits until all who shall vote have what the log has now: a voter that is far behind would hold up every write.
async fn caught_up(group: &Group, voters: &BTreeSet<NodeId>) -> Result<(), ClusterError> {
    let start = group.status();
    let old = start.membership.all_voters();
    let new: Vec<NodeId> = voters.difference(&old).copied().collect();
    let until = Instant::now() + CATCH_UP_MAX;
    loop {
        let status = group.status();
        if !leads(&status) {
            return Err(raft::ChangeError::NotLeader { leader: status.leader }.into());
        }
        let behind = new.iter().find(|node| status.matched.get(node).copied() < start.last_log);
        let Some(behind) = behind else { return Ok(()) };
        if Instant::now() >= until {
            return Err(ClusterError::NotPlaced { node: *behind, waited: CATCH_UP_MAX });
        }
        // Nobody is told of each acknowledgement, and waking for each would cost more than looking.
        rt::time::sleep(CATCH_UP_LOOK).await;
    }
}

/// Notes that leaving nodes have gone: no group knows them any more.
async fn let_go(inner: &Inner, rows: &[NodeRow], assignment: &Assignment) -> Result<(), ClusterError> {
    let gone = rows.iter().filter(|row| row.state == NodeRowState::Leaving && !assignment.contains_key(&row.node));
    for row in gone {
        node_rows::part(inner.sys.as_ref(), row.node, NodeRowState::Leaving).await?;
    }
    Ok(())
}

const _: () = assert!(JOINING_MAX.as_secs() >= SWEEP_EVERY.as_secs());
