//! What the control API asks of the membership.

use super::{Node, problem};
use api::control::{Health, NodeInfo, Problem, TokenInfo, TokenIssued, TokenRequest, TokenState};
use base::Role;
use cluster::{ClusterError, NodeName, NodeRow, NodeRowState, TokenId, TokenRow};
use jiff::Timestamp;
use rpc::Reach;
use std::time::Duration;
use store::ReadLevel;

/// How long a token is good if nobody says.
const TOKEN_VALID: Duration = Duration::from_hours(1);

fn refused(error: &ClusterError) -> Problem {
    problem(error)
}

/// The members, as this node's copy of `sys` has them.
pub(super) async fn rows(node: &Node) -> Result<Vec<(NodeRow, Role)>, Problem> {
    node.cluster()?.nodes(ReadLevel::Local).await.map_err(|e| refused(&e))
}

pub(super) async fn list(node: &Node) -> Result<Vec<NodeInfo>, Problem> {
    let store = node.store()?;
    let Some(units) = node.units() else { return Ok(Vec::new()) };
    let this = units.record.node;
    let leader = store.sys().leadership().borrow().leader;
    let rows = rows(node).await?;
    let members = rows.into_iter().filter(|(row, _)| row.state != NodeRowState::Joining);
    let mesh = units.mesh();
    Ok(members
        .map(|(row, role)| NodeInfo {
            id: row.node,
            name: row.name,
            role,
            health: if row.node == this {
                Health::Up
            } else {
                match mesh.as_ref().map(|mesh| mesh.watch(row.node).borrow().clone()) {
                    Some(view) if view.reach == Reach::Up || view.inbound > 0 => Health::Up,
                    Some(view) if view.reach == Reach::Untried => Health::Unknown,
                    Some(_) => Health::Down,
                    None => Health::Unknown,
                }
            },
            leader: leader == Some(row.node),
            address: row.address,
            dqlite_address: row.dqlite_address,
            version: Some(row.version),
        })
        .collect())
}

pub(super) async fn token_add(node: &Node, request: TokenRequest) -> Result<TokenIssued, Problem> {
    let name = request.name.map(NodeName::new).transpose().map_err(|e| refused(&e))?;
    let valid = request.valid_s.map_or(TOKEN_VALID, Duration::from_secs);
    let (token, row) = node.cluster()?.token_add(name.as_ref(), valid).await.map_err(|e| refused(&e))?;
    Ok(TokenIssued { id: row.id.clone(), token: token.to_string(), expires: time(row.expires) })
}

pub(super) async fn token_list(node: &Node) -> Result<Vec<TokenInfo>, Problem> {
    let rows = node.cluster()?.tokens().await.map_err(|e| refused(&e))?;
    Ok(rows.into_iter().map(info).collect())
}

pub(super) async fn token_revoke(node: &Node, id: &str) -> Result<TokenInfo, Problem> {
    let id: TokenId = id.parse().map_err(|e: ClusterError| refused(&e))?;
    node.cluster()?.token_revoke(&id).await.map(info).map_err(|e| refused(&e))
}

fn info(row: TokenRow) -> TokenInfo {
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
    }
}

fn time(seconds: i64) -> Timestamp {
    Timestamp::from_second(seconds).unwrap_or(Timestamp::MAX)
}
