//! `sys.audit`: what was asked of the cluster, and by whom.
//!
//! A request is noted before it is carried out, so that one whose asker hangs up is there too; what became of it is added afterwards.

use crate::ClusterError;
use crate::sys::{SysSql, from_sql, to_sql};
use base::NodeId;
use store::{Command, ReadLevel, Value};

/// So many of the newest are kept.
const KEPT: i64 = 10_000;

/// What was asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuditEntry {
    /// Who asked.
    pub who: String,
    /// With which role.
    pub role: String,
    /// Which node was asked.
    pub node: NodeId,
    /// What for: `POST /v1/tokens`.
    pub request: String,
}

/// What became of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuditOutcome {
    /// The status of the answer, as HTTP has it.
    pub status: u16,
    /// The code of the error, if it failed.
    pub code: Option<String>,
}

/// A row of `sys.audit`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuditRow {
    /// Rows are numbered as they come.
    pub id: u64,
    /// When it was asked, in milliseconds since the Unix epoch.
    pub at_ms: i64,
    /// What was asked.
    pub entry: AuditEntry,
    /// What became of it; none while it is under way, and if nobody could note it.
    pub outcome: Option<AuditOutcome>,
}

fn now_ms() -> i64 {
    i64::try_from(rt::time::wall().as_millis()).unwrap_or(i64::MAX)
}

fn values(entry: &AuditEntry) -> Vec<Value> {
    let AuditEntry { who, role, node, request } = entry;
    vec![now_ms().into(), who.as_str().into(), role.as_str().into(), to_sql(*node).into(), request.as_str().into()]
}

/// Notes that it was asked. Gives the number of the row.
pub(crate) async fn begin(sys: &dyn SysSql, entry: &AuditEntry) -> Result<u64, ClusterError> {
    let sweep = Command::new("DELETE FROM audit WHERE id <= (SELECT max(id) FROM audit) - ?1", [KEPT.into()]);
    let insert = "INSERT INTO audit (at_ms, who, role, node, request) VALUES (?1, ?2, ?3, ?4, ?5)";
    let done = sys.transact(vec![sweep, Command::new(insert, values(entry))]).await?;
    Ok(done.last_insert_rowid.cast_unsigned())
}

/// Notes what became of it: of row `id`, or of one that could not be noted before.
pub(crate) async fn end(
    sys: &dyn SysSql,
    id: Option<u64>,
    entry: &AuditEntry,
    outcome: &AuditOutcome,
) -> Result<(), ClusterError> {
    let status = Value::from(i64::from(outcome.status));
    let code = outcome.code.as_deref().map_or(Value::Null, Value::from);
    let command = if let Some(id) = id {
        Command::new("UPDATE audit SET status = ?1, code = ?2 WHERE id = ?3", [status, code, id.cast_signed().into()])
    } else {
        let insert =
            "INSERT INTO audit (at_ms, who, role, node, request, status, code) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)";
        Command::new(insert, values(entry).into_iter().chain([status, code]).collect::<Vec<_>>())
    };
    sys.transact(vec![command]).await.map(drop).map_err(Into::into)
}

/// The newest rows before row `before`, the newest first.
pub(crate) async fn page(sys: &dyn SysSql, before: Option<u64>, limit: u32) -> Result<Vec<AuditRow>, ClusterError> {
    let sql =
        "SELECT id, at_ms, who, role, node, request, status, code FROM audit WHERE id < ?1 ORDER BY id DESC LIMIT ?2";
    let before = before.and_then(|id| i64::try_from(id).ok()).unwrap_or(i64::MAX);
    let command = Command::new(sql, [before.into(), i64::from(limit).into()]);
    sys.query(ReadLevel::Linearizable, command).await?.rows.iter().map(|row| parse(row)).collect()
}

fn parse(row: &[Value]) -> Result<AuditRow, ClusterError> {
    let damaged = || ClusterError::Row { table: "audit", why: format!("{row:?}") };
    let [
        Value::Integer(id),
        Value::Integer(at_ms),
        Value::Text(who),
        Value::Text(role),
        Value::Integer(node),
        Value::Text(request),
        status,
        code,
    ] = row
    else {
        return Err(damaged());
    };
    let outcome = match (status, code) {
        (Value::Null, _) => None,
        (Value::Integer(status), code) => {
            let status = u16::try_from(*status).map_err(|_| damaged())?;
            Some(AuditOutcome { status, code: code.text().map(str::to_owned) })
        }
        _ => return Err(damaged()),
    };
    let entry = AuditEntry { who: who.clone(), role: role.clone(), node: from_sql(*node), request: request.clone() };
    Ok(AuditRow { id: id.cast_unsigned(), at_ms: *at_ms, entry, outcome })
}
