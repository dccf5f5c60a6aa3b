//! What the control API asks about a lost majority.

use super::membership::refused;
use super::{Node, problem};
use api::control::{Problem, ProblemKind, Recovery, RecoveryDatabase, RecoveryNode, RecoveryRequest};
use base::{GroupId, NodeId};
use cluster::{ClusterError, NodeRow};
use std::collections::BTreeMap;
use std::time::Duration;

/// How long a recovery may take.
const RECOVER_MAX: Duration = Duration::from_secs(40);

fn judged(error: &ClusterError) -> Problem {
    match error {
        ClusterError::MajorityThere { .. } => problem(error).kind(ProblemKind::Conflict),
        ClusterError::OthersLost { .. } | ClusterError::OnlyWitness | ClusterError::WitnessAhead => {
            problem(error).kind(ProblemKind::Unsafe)
        }
        _ => refused(error),
    }
}

pub(super) async fn plan(node: &Node) -> Result<Recovery, Problem> {
    let recovery = node.cluster()?.recovery().await.map_err(|e| judged(&e))?;
    Ok(told(node, &recovery))
}

pub(super) async fn recover(node: &Node, request: RecoveryRequest) -> Result<Recovery, Problem> {
    let _only = node.begin_forming().await;
    let recovery = node.cluster()?.recover(&request.give_up, RECOVER_MAX).await.map_err(|e| judged(&e))?;
    Ok(told(node, &recovery))
}

/// In the names that people know.
fn told(node: &Node, recovery: &cluster::Recovery) -> Recovery {
    let known: BTreeMap<NodeId, &str> =
        recovery.survivors.iter().chain(&recovery.lost).map(|row| (row.node, row.name.as_str())).collect();
    let databases = node.store().map(|store| store.databases()).unwrap_or_default();
    let name = |group: GroupId| {
        let database = databases.iter().find(|database| database.group_id() == group);
        database.map_or_else(|| format!("group {group}"), |database| database.name().to_string())
    };
    let nodes = |rows: &[NodeRow]| -> Vec<RecoveryNode> {
        rows.iter()
            .map(|row| RecoveryNode {
                node: row.node,
                name: row.name.clone(),
                is_ahead: recovery.ahead.contains(&row.node),
            })
            .collect()
    };
    let database = |reseed: &cluster::Reseed| RecoveryDatabase {
        name: name(reseed.group),
        from: known.get(&reseed.from).map_or_else(|| format!("node {}", reseed.from), |name| (*name).to_owned()),
        entries: reseed.last.index.0 + 1,
        lost_entries: reseed.lost,
    };
    Recovery {
        lost: nodes(&recovery.lost),
        survivors: nodes(&recovery.survivors),
        databases: recovery.groups.iter().map(database).collect(),
    }
}
