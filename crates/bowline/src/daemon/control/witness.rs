//! What the control API says of databases on a witness or a spare, which hold none of them, and of those that a witness keeps waiting.

use super::{Names, Node, databases, membership, problem};
use api::control::{DatabaseInfo, Problem, ProblemKind, Trouble, TroubleKind};
use base::{DbName, GroupId, NodeId, Role};
use rpc::Reach;
use std::collections::BTreeSet;
use store::{Command, ReadLevel, Store, StoreError};

/// The databases that this node holds no copy of: those that a witness votes for, and all of them on a spare.
pub(super) async fn listed(
    node: &Node,
    store: &Store,
    names: &Names,
    witnesses: &BTreeSet<NodeId>,
) -> Vec<DatabaseInfo> {
    let info = |name: &DbName, copies: u64| DatabaseInfo {
        name: name.clone(),
        bytes: 0,
        version: 0,
        is_here: false,
        leader: store.leader_of(name).map(|id| names.get(&id).cloned().unwrap_or_else(|| id.to_string())),
        copies,
    };
    let voted_for = store.witnessed();
    let copies = |one: &store::Witnessed| databases::copies(one.name(), &one.group().status().membership, witnesses);
    let mut listed: Vec<_> = voted_for.iter().map(|one| info(one.name(), copies(one))).collect();
    let elsewhere = store.elsewhere();
    if !elsewhere.is_empty() {
        // Every database is where the roles are.
        let members = membership::list(node).await.unwrap_or_default();
        let holders = members.iter().filter(|member| member.role != Role::Spare && !member.witness).count() as u64;
        listed.extend(elsewhere.iter().map(|name| info(name, holders)));
    }
    listed
}

/// How large a database is where it is led.
pub(super) async fn size(store: &Store, name: &DbName) -> Result<u64, StoreError> {
    let sql = "SELECT page_count * page_size FROM pragma_page_count(), pragma_page_size()";
    let rows = store.query(name, ReadLevel::Linearizable, Command::new(sql, [])).await?.rows;
    let bytes = rows.first().and_then(|row| row.first()?.integer()).unwrap_or_default();
    Ok(u64::try_from(bytes).unwrap_or_default())
}

/// That this node has no copy, and who has.
pub(super) async fn elsewhere(node: &Node, error: &StoreError) -> Problem {
    let StoreError::NoCopy { leader, .. } = error else { return problem(error) };
    let problem = problem(error).kind(ProblemKind::Conflict);
    let members = membership::list(node).await.unwrap_or_default();
    let holds = |member: &&api::control::NodeInfo| !member.witness && Some(member.id) == *leader;
    match members.iter().find(holds) {
        Some(member) => {
            problem.next(format!("Ask {}, which leads it: {} over HTTPS.", member.name, member.https_address))
        }
        None => problem,
    }
}

/// The databases that nobody can lead because of what a witness has acknowledged. Others are asked only if there is a witness and a
/// database without a leader that keeps data.
pub(super) async fn troubles(node: &Node) -> Vec<Trouble> {
    let (Ok(store), Ok(cluster)) = (node.store(), node.cluster()) else { return Vec::new() };
    let witnesses = node.witnesses();
    let groups: Vec<(DbName, GroupId, Option<NodeId>)> = {
        let here = store.databases();
        let here = here.iter().map(|d| (d.name().clone(), d.group_id(), d.group().status().leader));
        let others = store.witnessed();
        let others = others.iter().map(|w| (w.name().clone(), w.group_id(), w.group().status().leader));
        here.chain(others).collect()
    };
    // A leader that is gone is named until there is another one.
    let mesh = node.units().and_then(|units| units.network.get()).map(|network| network.mesh.clone());
    let is_there = |leader: NodeId| {
        let view = mesh.as_ref().map(|mesh| mesh.watch(leader).borrow().clone());
        leader == store.node() || view.is_some_and(|view| view.reach == Reach::Up || view.inbound > 0)
    };
    let is_led =
        |leader: &Option<NodeId>| leader.is_some_and(|leader| !witnesses.contains(&leader) && is_there(leader));
    if witnesses.is_empty() || groups.iter().all(|(_, _, leader)| is_led(leader)) {
        return Vec::new();
    }
    let stuck = cluster.stuck().await.unwrap_or_default();
    let named = stuck.into_iter().filter_map(|stuck| {
        let (name, ..) = groups.iter().find(|(_, group, _)| *group == stuck.group)?;
        let why = format!(
            "the witness has acknowledged {} entries that only that machine has. Start it; if it is lost for good, `bowline recover` goes on \
             without them",
            stuck.entries
        );
        Some(Trouble { database: name.clone(), kind: TroubleKind::BehindWitness, why })
    });
    named.collect()
}
