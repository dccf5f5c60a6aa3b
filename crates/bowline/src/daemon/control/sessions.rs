//! Sessions of dqlite's protocol that come over HTTPS: served here, or passed on to the member that leads.

use super::membership::rows;
use super::{Node, problem};
use crate::daemon::error::NodeError;
use crate::daemon::node;
use crate::daemon::units::own_identity;
use api::control::access::AccessRole;
use api::control::sql::{Passage, SessionAt, SessionWanted, SqlSession, TakesOver};
use api::control::{Client, ClientError, DOOR_FULL, LEADER_AWAY, Problem, ProblemKind, Remote, SqlStream};
use api::dqlite::Rights;
use base::NodeId;
use cluster::NodeRow;
use std::time::Duration;
use store::StoreError;

/// How long the leader may take to let a session in that is passed on to it.
const REACH_MAX: Duration = Duration::from_secs(5);
/// When a client should look again for a leader.
const AGAIN: Duration = Duration::from_millis(200);

pub(super) async fn open(node: &Node, wanted: SessionWanted) -> Result<SqlSession, Problem> {
    let not_open = || problem(&StoreError::NotOpen { state: node.not_open() });
    let units = node.units().ok_or_else(not_open)?;
    let door = units.dqlite.get().ok_or_else(not_open)?;
    let place = door.place().ok_or_else(|| {
        Problem::new(&DOOR_FULL, ProblemKind::NotReady, "this member serves as many sessions as it can")
            .retry_after(Duration::from_secs(1))
    })?;
    let own = units.record.node;
    let leader = node.store()?.sys().leadership().borrow().leader;
    let at = match (wanted.at, leader) {
        (SessionAt::Here, _) => own,
        (SessionAt::Leader, Some(leader)) => leader,
        (SessionAt::Leader, None) => return Err(problem(&StoreError::NotLeader { leader: None }).retry_after(AGAIN)),
    };
    if at == own {
        let rights = match wanted.role {
            AccessRole::Viewer => Rights::Reader,
            AccessRole::Operator => Rights::Client,
            AccessRole::Admin => Rights::Admin,
        };
        let takes_over: TakesOver = match wanted.passage {
            Passage::Straight => Box::new(move |stream| door.serve(place, stream, rights)),
            Passage::PassedOn => Box::new(move |stream| door.serve_framed(place, stream, rights)),
        };
        return Ok(SqlSession { node: units.record.name.to_string(), takes_over });
    }
    let row = rows(node).await?.into_iter().map(|(row, _)| row).find(|row| row.node == at);
    let row = row.ok_or_else(|| away(&at.to_string(), "it is not known here where that is".to_owned()))?;
    let SqlStream { node, stream: there } = Box::pin(reach(node, &row, wanted.role)).await?;
    Ok(SqlSession { node, takes_over: Box::new(move |stream| door.pass_on(place, stream, there)) })
}

/// A session at another member, for a client of this one: it may no more there than here.
async fn reach(node: &Node, row: &NodeRow, role: AccessRole) -> Result<SqlStream, Problem> {
    let formation = node::load_identity(node.config()).await.map_err(|error| problem(&error))?;
    let identity = formation.ok_or_else(|| problem(&no_identity(row.node)))?.identity;
    let own = own_identity(&identity).map_err(|error| problem(&error))?;
    let wanted = SessionWanted { at: SessionAt::Here, role, passage: Passage::PassedOn };
    let asked = async {
        let remote = Remote::member(row.https_address.clone(), row.node, &own)?;
        Client::remote(remote, REACH_MAX).sql_session(wanted).await
    };
    asked.await.map_err(|error| match error {
        ClientError::Problem(problem) if problem.kind != ProblemKind::NotReady => problem,
        other => away(&row.name, other.to_string()),
    })
}

fn no_identity(node: NodeId) -> NodeError {
    NodeError::Identity(rpc::IdentityError::NoNode(format!("node {node} cannot be asked without an identity")))
}

fn away(name: &str, why: String) -> Problem {
    Problem::new(&LEADER_AWAY, ProblemKind::NotReady, format!("{name} leads the databases, and was not reached"))
        .because(why)
        .retry_after(AGAIN)
}
