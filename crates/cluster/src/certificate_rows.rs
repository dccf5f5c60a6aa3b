//! `sys.certificates`: what each member says of its certificate, and which CAs it trusts. Not in the simulator, which has none.

use crate::schema::CERTIFICATES;
use crate::sys::{SysSql, from_sql, to_sql};
use crate::{CertificateState, ClusterError};
use base::NodeId;
use store::{Command, ReadLevel, Value};

/// A row of `sys.certificates`. A member writes its own, and nobody else does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CertificateRow {
    /// The member.
    pub node: NodeId,
    /// When its certificate ends, in seconds since the Unix epoch.
    pub ends: i64,
    /// The fingerprint of the CA that made it, in hexadecimal.
    pub issuer: String,
    /// The fingerprints of the CAs that the member trusts.
    pub trusted: Vec<String>,
}

impl CertificateRow {
    pub(crate) fn of(node: NodeId, state: &CertificateState) -> Self {
        Self {
            node,
            ends: state.validity.not_after,
            issuer: state.issuer.to_string(),
            trusted: state.trusted.iter().map(|(ca, _)| ca.to_string()).collect(),
        }
    }
}

fn parse(row: &[Value]) -> Result<CertificateRow, ClusterError> {
    match row {
        [Value::Integer(node), Value::Integer(ends), Value::Text(issuer), Value::Text(trusted)] => Ok(CertificateRow {
            node: from_sql(*node),
            ends: *ends,
            issuer: issuer.clone(),
            trusted: trusted.split_whitespace().map(str::to_owned).collect(),
        }),
        _ => Err(ClusterError::Row { table: "certificates", why: format!("{row:?}") }),
    }
}

/// Whether the tables about certificates are there: they are made when the first member has something to say.
pub(crate) async fn are_there(sys: &dyn SysSql, level: ReadLevel) -> Result<bool, ClusterError> {
    let exists = Command::new("SELECT 1 FROM sqlite_schema WHERE name = 'certificates'", []);
    Ok(!sys.query(level, exists).await?.rows.is_empty())
}

/// All rows; none while nobody has said anything.
pub(crate) async fn all(sys: &dyn SysSql, level: ReadLevel) -> Result<Vec<CertificateRow>, ClusterError> {
    if !are_there(sys, level).await? {
        return Ok(Vec::new());
    }
    let select = Command::new("SELECT node, ends, issuer, trusted FROM certificates ORDER BY node", []);
    sys.query(level, select).await?.rows.iter().map(|row| parse(row)).collect()
}

/// Writes a member's row, if it is news to this member's copy of `sys`.
pub(crate) async fn report(sys: &dyn SysSql, row: &CertificateRow) -> Result<(), ClusterError> {
    if all(sys, ReadLevel::Local).await?.contains(row) {
        return Ok(());
    }
    let mut commands = Vec::new();
    if !are_there(sys, ReadLevel::Local).await? {
        commands.extend(CERTIFICATES.iter().map(|sql| Command::new(*sql, [])));
    }
    commands.push(Command::new(
        "INSERT OR REPLACE INTO certificates (node, ends, issuer, trusted) VALUES (?1, ?2, ?3, ?4)",
        [to_sql(row.node).into(), row.ends.into(), row.issuer.as_str().into(), row.trusted.join(" ").into()],
    ));
    sys.transact(commands).await.map(drop).map_err(Into::into)
}
