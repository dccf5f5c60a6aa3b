//! What the control API asks of the membership.

use super::{Names, Node, Phase, certificates, problem};
use api::control::{
    Health, NodeInfo, NodeRequest, Parted, Problem, ProblemKind, RoleTargets, TokenInfo, TokenIssued, TokenRequest,
    TokenState,
};
use base::{NodeId, Role};
use cluster::roles::Targets;
use cluster::{ClusterError, NodeName, NodeRow, NodeRowState, TokenId, TokenRow};
use jiff::Timestamp;
use std::time::Duration;
use store::{ReadLevel, StoreError};

/// How long a token is good if nobody says.
const TOKEN_VALID: Duration = Duration::from_hours(1);
/// How long a node may take to go before the answer is that it goes on.
const GONE_MAX: Duration = Duration::from_secs(40);
/// How long a member may take to say that it is there. One whose process is gone is known at once; this is for machines that are.
const PROBE_MAX: Duration = Duration::from_secs(1);

pub(super) fn refused(error: &ClusterError) -> Problem {
    let problem = problem(error);
    match error {
        ClusterError::LastMember { .. } => problem.kind(ProblemKind::Conflict),
        ClusterError::UnsafeRemoval { .. } => problem.kind(ProblemKind::Unsafe),
        ClusterError::NotGone { .. } => problem.kind(ProblemKind::TimedOut),
        _ => problem,
    }
}

/// The members, as this node's copy of `sys` has them.
pub(super) async fn rows(node: &Node) -> Result<Vec<(NodeRow, Role)>, Problem> {
    node.cluster()?.nodes(ReadLevel::Local).await.map_err(|e| refused(&e))
}

/// The members and whether each of them answers this node now: it is asked.
pub(super) async fn list(node: &Node) -> Result<Vec<NodeInfo>, Problem> {
    let store = node.store()?;
    let Some(units) = node.units() else { return Ok(Vec::new()) };
    let this = units.record.node;
    let leader = store.sys().leadership().borrow().leader;
    let rows = rows(node).await?;
    let members: Vec<_> = rows.into_iter().filter(|(row, _)| row.state != NodeRowState::Joining).collect();
    let others = members.iter().map(|(row, _)| row.node).filter(|id| *id != this);
    let clocks = node.cluster()?.probe_clocks(others, PROBE_MAX).await;
    // By this machine's clock, which may be the one that is wrong: what counts is the leader's.
    let ahead_ms = |id: NodeId| if id == this { Some(0) } else { clocks.get(&id).copied().flatten() };
    let leaders_ms = leader.and_then(ahead_ms);
    let ends = certificates::ends(node).await;
    Ok(members
        .into_iter()
        .map(|(row, role)| NodeInfo {
            id: row.node,
            name: row.name,
            role,
            witness: row.witness,
            health: if row.node == this || clocks.contains_key(&row.node) { Health::Up } else { Health::Down },
            leader: leader == Some(row.node),
            address: row.address,
            dqlite_address: row.dqlite_address,
            https_address: row.https_address,
            version: Some(row.version),
            failure_domain: row.failure_domain,
            weight: row.weight,
            certificate_ends: ends.get(&row.node).copied(),
            clock_ahead_ms: ahead_ms(row.node).zip(leaders_ms).map(|(its, leaders)| its - leaders),
        })
        .collect())
}

/// Removes a node and waits until it has gone. If it is this one, its daemon then puts its state aside: see [`crate::daemon::parting`].
pub(super) async fn remove(node: &Node, name: &str, force: bool) -> Result<Parted, Problem> {
    let before = list(node).await?;
    let cluster = node.cluster()?;
    let gone = tokio::select! {
        biased;
        gone = cluster.remove(name, force, GONE_MAX) => gone.map_err(|e| refused(&e))?,
        // What was begun goes on without this node, unless it is what stops it.
        _ = node.leaves(Phase::Ready) => match node.units().filter(|_| node.is_dismissed()) {
            Some(units) => units.record.node,
            None => return Err(problem(&StoreError::NotOpen { state: "closing" })),
        },
    };
    // A node that has removed itself knows nobody any more; the others are as they were, but for their roles.
    let now = list(node).await.unwrap_or_default();
    let mut nodes = if now.is_empty() { before } else { now };
    nodes.retain(|member| member.id != gone);
    Ok(Parted { node: gone, name: name.to_owned(), nodes })
}

pub(super) async fn set(node: &Node, name: &str, request: NodeRequest) -> Result<NodeInfo, Problem> {
    let NodeRequest { failure_domain, weight } = request;
    node.cluster()?.set_node(name, failure_domain, weight).await.map_err(|e| refused(&e))?;
    // This node's copy may be a moment behind what has just been written.
    let mut info = list(node).await?.into_iter().find(|member| member.name == name);
    if let Some(info) = &mut info {
        info.failure_domain = failure_domain.unwrap_or(info.failure_domain);
        info.weight = weight.unwrap_or(info.weight);
    }
    info.ok_or_else(|| refused(&ClusterError::NoSuchNode { name: name.to_owned() }))
}

pub(super) async fn roles(node: &Node) -> Result<RoleTargets, Problem> {
    let Targets { voters, stand_bys, dead_after } = node.cluster()?.targets().await.map_err(|e| refused(&e))?;
    Ok(RoleTargets { voters, stand_bys, dead_after_s: dead_after.as_secs() })
}

pub(super) async fn set_roles(node: &Node, targets: RoleTargets) -> Result<RoleTargets, Problem> {
    let RoleTargets { voters, stand_bys, dead_after_s } = targets;
    let targets_now = Targets { voters, stand_bys, dead_after: Duration::from_secs(dead_after_s) };
    node.cluster()?.set_targets(targets_now).await.map_err(|e| refused(&e))?;
    Ok(targets)
}

pub(super) async fn token_add(node: &Node, request: TokenRequest) -> Result<TokenIssued, Problem> {
    let name = request.name.map(NodeName::new).transpose().map_err(|e| refused(&e))?;
    let valid = request.valid_s.map_or(TOKEN_VALID, Duration::from_secs);
    let (token, row) = node.cluster()?.token_add(name.as_ref(), valid).await.map_err(|e| refused(&e))?;
    Ok(TokenIssued { id: row.id.clone(), token: token.to_string(), expires: time(row.expires) })
}

pub(super) async fn token_list(node: &Node) -> Result<Vec<TokenInfo>, Problem> {
    let tokens = node.cluster()?.tokens().await.map_err(|e| refused(&e))?;
    let names = node.names().await;
    Ok(tokens.into_iter().map(|token| info(token, &names)).collect())
}

pub(super) async fn token_revoke(node: &Node, id: &str) -> Result<TokenInfo, Problem> {
    let id: TokenId = id.parse().map_err(|e: ClusterError| refused(&e))?;
    let token = node.cluster()?.token_revoke(&id).await.map_err(|e| refused(&e))?;
    Ok(info(token, &node.names().await))
}

fn info(row: TokenRow, names: &Names) -> TokenInfo {
    let now = i64::try_from(rt::time::wall().as_secs()).unwrap_or(i64::MAX);
    TokenInfo {
        id: row.id.clone(),
        state: match row.used_by {
            Some(_) => TokenState::Used,
            None if row.expires <= now => TokenState::Expired,
            None => TokenState::Open,
        },
        name: row.name,
        created: time(row.created),
        expires: time(row.expires),
        used_by: row.used_by,
        used_by_name: row.used_by.and_then(|node| names.get(&node).cloned()),
    }
}

pub(super) fn time(seconds: i64) -> Timestamp {
    Timestamp::from_second(seconds).unwrap_or(Timestamp::MAX)
}
