//! Who may use the API, and how far.

use super::membership::{refused, rows, time};
use super::{Node, problem};
use api::control::access::{AccessRole, Credential, Grant};
use api::control::{AccessInfo, AccessIssued, AccessRequest, Problem, ProblemKind};
use cluster::{AccessRow, ClusterError, NodeName, NodeRowState, Token, TokenKind};
use std::time::Duration;

/// How long access is good if nobody says.
const ACCESS_VALID: Duration = Duration::from_hours(24 * 365);

/// Who shows this. A member's certificate is good as long as its row says that it is one.
pub(super) async fn who(node: &Node, credential: Credential) -> Result<Option<Grant>, Problem> {
    match credential {
        Credential::Token(text) => {
            let Ok(token) = text.parse::<Token>().and_then(|token| token.expect(TokenKind::Access)) else {
                return Ok(None);
            };
            let row = node.cluster()?.access_of(&token).await.map_err(|e| refused(&e))?;
            Ok(row.map(|row| Grant { name: row.name, role: role(row.role) }))
        }
        Credential::Certificate(certificate) => {
            let Ok(shown) = rpc::node_of(&certificate) else { return Ok(None) };
            let member = rows(node).await?.into_iter().map(|(row, _)| row).find(|row| row.node == shown);
            let member = member.filter(|row| matches!(row.state, NodeRowState::Member | NodeRowState::Leaving));
            Ok(member.map(|row| Grant { name: row.name, role: AccessRole::Admin }))
        }
    }
}

pub(super) async fn add(node: &Node, request: AccessRequest) -> Result<AccessIssued, Problem> {
    let name = NodeName::new(request.name).map_err(|e| refused(&e))?;
    let valid = request.valid_s.map_or(ACCESS_VALID, Duration::from_secs);
    let role_in_sys = match request.role {
        AccessRole::Viewer => cluster::AccessRole::Viewer,
        AccessRole::Operator => cluster::AccessRole::Operator,
        AccessRole::Admin => cluster::AccessRole::Admin,
    };
    let (token, row) = node.cluster()?.access_add(&name, role_in_sys, valid).await.map_err(|error| match error {
        ClusterError::AccessExists { .. } => problem(&error).kind(ProblemKind::Conflict),
        _ => refused(&error),
    })?;
    Ok(AccessIssued { name: row.name, role: role(row.role), token: token.to_string(), expires: time(row.expires) })
}

pub(super) async fn list(node: &Node) -> Result<Vec<AccessInfo>, Problem> {
    let rows = node.cluster()?.access().await.map_err(|e| refused(&e))?;
    Ok(rows.into_iter().map(info).collect())
}

pub(super) async fn revoke(node: &Node, name: &str) -> Result<AccessInfo, Problem> {
    node.cluster()?.access_revoke(name).await.map(info).map_err(|e| refused(&e))
}

fn info(row: AccessRow) -> AccessInfo {
    AccessInfo {
        is_expired: row.is_expired(),
        name: row.name,
        role: role(row.role),
        created: time(row.created),
        expires: time(row.expires),
    }
}

const fn role(role: cluster::AccessRole) -> AccessRole {
    match role {
        cluster::AccessRole::Viewer => AccessRole::Viewer,
        cluster::AccessRole::Operator => AccessRole::Operator,
        cluster::AccessRole::Admin => AccessRole::Admin,
    }
}
