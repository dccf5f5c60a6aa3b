//! What the control API asks of the cluster's CA.

use super::membership::{refused, rows, time};
use super::{Node, certificates, problem};
use api::control::{
    Authority, AuthorityInfo, AuthorityPart, MemberCertificate, Problem, RotateRequest, Rotation, RotationState,
};
use cluster::{ClusterError, NodeRow, NodeRowState, RotationView};
use store::StoreError;

pub(super) async fn show(node: &Node) -> Result<Authority, Problem> {
    let view = node.cluster()?.rotation().await.map_err(|e| refused(&e))?;
    told(node, view).await
}

pub(super) async fn rotate(node: &Node, request: RotateRequest) -> Result<Authority, Problem> {
    let RotateRequest { finish, without } = request;
    let view = node.cluster()?.rotate(finish, &without).await.map_err(|e| refused(&e))?;
    told(node, Some(view)).await
}

/// In the names that people know.
async fn told(node: &Node, view: Option<RotationView>) -> Result<Authority, Problem> {
    let own = certificates::own(node)?;
    let own = own.ok_or_else(|| match node.units() {
        Some(_) => refused(&ClusterError::NoAuthority),
        None => problem(&StoreError::NotOpen { state: "opening" }),
    })?;
    let rows = rows(node).await?.into_iter().map(|(row, _)| row).filter(|row| row.state != NodeRowState::Joining);
    let rows: Vec<NodeRow> = rows.collect();
    let name = |id: base::NodeId| {
        let row = rows.iter().find(|row| row.node == id);
        row.map_or_else(|| format!("node {id}"), |row| row.name.clone())
    };
    let said = node.cluster()?.certificates().await.map_err(|e| refused(&e))?;
    let rotation = view.and_then(|RotationView { rotation, waits_for, tokens }| {
        let state = match rotation.state {
            cluster::RotationState::Distributing => RotationState::Distributing,
            cluster::RotationState::Reissuing => RotationState::Reissuing,
            cluster::RotationState::Waiting => RotationState::Waiting,
            cluster::RotationState::Retiring => RotationState::Retiring,
            cluster::RotationState::Done => return None,
        };
        let told = Rotation {
            state,
            begun: time(rotation.begun),
            waits_for: waits_for.into_iter().map(name).collect(),
            without: rotation.without.iter().copied().map(name).collect(),
            access: tokens.access,
            join_tokens: tokens.join,
            finishing: rotation.is_finishing,
        };
        Some((rotation.new, told))
    });
    let part = |ca: &str| match &rotation {
        Some((new, _)) if new == ca => AuthorityPart::Coming,
        Some(_) => AuthorityPart::Going,
        None => AuthorityPart::Current,
    };
    let authorities = own.trusted.iter().map(|(ca, validity)| {
        let fingerprint = ca.to_string();
        AuthorityInfo { part: part(&fingerprint), fingerprint, ends: time(validity.not_after) }
    });
    let authorities = authorities.collect();
    let members = rows.iter().map(|row| {
        let said = said.iter().find(|said| said.node == row.node);
        MemberCertificate {
            node: row.node,
            name: row.name.clone(),
            ends: said.map(|said| time(said.ends)),
            issuer: said.map(|said| said.issuer.clone()),
            trusts: said.map(|said| said.trusted.clone()).unwrap_or_default(),
        }
    });
    let members = members.collect();
    Ok(Authority { authorities, rotation: rotation.map(|(_, told)| told), members })
}
