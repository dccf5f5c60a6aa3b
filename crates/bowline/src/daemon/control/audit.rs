//! Notes what was asked of the cluster.

use super::membership::refused;
use super::{Node, problem};
use api::control::{AuditInfo, Audited, Problem};
use cluster::{AuditEntry, AuditOutcome, AuditRow, Cluster};
use jiff::Timestamp;
use std::time::Duration;
use store::StoreError;

/// A request waits no longer than this for its note: without a majority there is none.
const NOTE_MAX: Duration = Duration::from_secs(1);

fn noting(node: &Node, audited: &Audited) -> Result<(Cluster, AuditEntry), Problem> {
    let units = node.units().ok_or_else(|| problem(&StoreError::NotOpen { state: "opening" }))?;
    let entry = AuditEntry {
        who: audited.grant.name.clone(),
        role: audited.grant.role.to_string(),
        node: units.record.node,
        request: audited.request.clone(),
    };
    Ok((node.cluster()?, entry))
}

pub(super) async fn begin(node: &Node, audited: &Audited) -> Option<u64> {
    tracing::info!(who = audited.grant.name, role = %audited.grant.role, request = audited.request, "asked");
    // Nobody can note it yet: it may be what makes this machine a member.
    let (cluster, entry) = noting(node, audited).ok()?;
    match rt::time::timeout(NOTE_MAX, cluster.audit_begin(&entry)).await {
        Ok(Ok(id)) => Some(id),
        Ok(Err(error)) => {
            tracing::info!(%error, "a request is not noted in the audit yet");
            None
        }
        Err(_) => None,
    }
}

pub(super) async fn end(node: &Node, audited: &Audited, id: Option<u64>, outcome: AuditOutcome) {
    let Ok((cluster, entry)) = noting(node, audited) else { return };
    match rt::time::timeout(NOTE_MAX, cluster.audit_end(id, &entry, &outcome)).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::info!(%error, request = entry.request, "what became of a request is not noted"),
        Err(_) => tracing::info!(request = entry.request, "what became of a request is not noted in time"),
    }
}

pub(super) async fn page(node: &Node, before: Option<u64>, limit: u32) -> Result<Vec<AuditInfo>, Problem> {
    let rows = node.cluster()?.audit(before, limit).await.map_err(|e| refused(&e))?;
    let names = node.names().await;
    let info = |AuditRow { id, at_ms, entry, outcome }| {
        let (status, code) = outcome.map_or((None, None), |outcome| (Some(outcome.status), outcome.code));
        AuditInfo {
            id,
            at: Timestamp::from_millisecond(at_ms).unwrap_or(Timestamp::MAX),
            who: entry.who,
            role: entry.role,
            node: names.get(&entry.node).cloned().unwrap_or_else(|| entry.node.to_string()),
            request: entry.request,
            status,
            code,
        }
    };
    Ok(rows.into_iter().map(info).collect())
}
