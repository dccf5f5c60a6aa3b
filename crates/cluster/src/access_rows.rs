//! `sys.access`: who may use the API from afar, and how far.

use crate::sys::{SysSql, now};
use crate::token::{Secret, TokenId};
use crate::{ClusterError, NodeName};
use std::time::Duration;
use store::{Command, ReadLevel, Value};

/// What a client may do. Each may do what those before it may.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum AccessRole {
    /// Look at everything.
    Viewer,
    /// Change what is in the databases, and which there are.
    Operator,
    /// Decide who belongs to the cluster and who has access to it.
    Admin,
}

impl AccessRole {
    const ALL: [Self; 3] = [Self::Viewer, Self::Operator, Self::Admin];

    /// The role as it stands in the row.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Viewer => "viewer",
            Self::Operator => "operator",
            Self::Admin => "admin",
        }
    }

    fn from_sql(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|role| role.as_str() == text)
    }
}

/// A row of `sys.access`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AccessRow {
    /// Whose it is.
    pub name: String,
    /// The id of the token.
    pub token: String,
    /// What its holder may do.
    pub role: AccessRole,
    /// When it was issued, in seconds since the Unix epoch.
    pub created: i64,
    /// When it stops working.
    pub expires: i64,
}

impl AccessRow {
    /// Whether it has expired, by this node's clock.
    pub fn is_expired(&self) -> bool {
        self.expires <= now()
    }
}

fn parse(row: &[Value]) -> Result<AccessRow, ClusterError> {
    let parsed = match row {
        [
            Value::Text(name),
            Value::Text(token),
            Value::Text(role),
            Value::Integer(created),
            Value::Integer(expires),
        ] => AccessRole::from_sql(role).map(|role| AccessRow {
            name: name.clone(),
            token: token.clone(),
            role,
            created: *created,
            expires: *expires,
        }),
        _ => None,
    };
    parsed.ok_or_else(|| ClusterError::Row { table: "access", why: format!("{row:?}") })
}

async fn select(
    sys: &dyn SysSql,
    level: ReadLevel,
    filter: &str,
    params: Vec<Value>,
) -> Result<Vec<AccessRow>, ClusterError> {
    let sql = format!("SELECT name, token, role, created, expires FROM access {filter} ORDER BY name");
    sys.query(level, Command::new(sql, params)).await?.rows.iter().map(|row| parse(row)).collect()
}

/// All of them, by name.
pub(crate) async fn all(sys: &dyn SysSql) -> Result<Vec<AccessRow>, ClusterError> {
    select(sys, ReadLevel::Linearizable, "", Vec::new()).await
}

/// Notes a new one. A name that has expired is free.
pub(crate) async fn add(
    sys: &dyn SysSql,
    name: &NodeName,
    token: &TokenId,
    secret: &Secret,
    role: AccessRole,
    valid: Duration,
) -> Result<AccessRow, ClusterError> {
    let created = now();
    let expires = created.saturating_add(i64::try_from(valid.as_secs()).unwrap_or(i64::MAX));
    let sweep =
        Command::new("DELETE FROM access WHERE name = ?1 AND expires <= ?2", [name.as_str().into(), created.into()]);
    let insert = Command::new(
        "INSERT INTO access (name, token, secret_hash, role, created, expires) SELECT ?1, ?2, ?3, ?4, ?5, ?6 \
         WHERE NOT EXISTS (SELECT 1 FROM access WHERE name = ?1)",
        [
            name.as_str().into(),
            token.as_str().into(),
            secret.hash().into(),
            role.as_str().into(),
            created.into(),
            expires.into(),
        ],
    );
    if sys.transact(vec![sweep, insert]).await?.rows_affected == 0 {
        return Err(ClusterError::AccessExists { name: name.to_string() });
    }
    Ok(AccessRow { name: name.to_string(), token: token.to_string(), role, created, expires })
}

/// Takes it away.
pub(crate) async fn revoke(sys: &dyn SysSql, name: &str) -> Result<AccessRow, ClusterError> {
    let unknown = || ClusterError::AccessUnknown { name: name.to_owned() };
    let named = select(sys, ReadLevel::Linearizable, "WHERE name = ?1", vec![name.into()]);
    let row = named.await?.pop().ok_or_else(unknown)?;
    let delete =
        Command::new("DELETE FROM access WHERE name = ?1 AND token = ?2", [name.into(), row.token.clone().into()]);
    if sys.transact(vec![delete]).await?.rows_affected == 0 { Err(unknown()) } else { Ok(row) }
}

/// Whose this is, by this node's copy of `sys`: it is asked at every request, and must be answered without a majority too.
pub(crate) async fn holder(
    sys: &dyn SysSql,
    token: &TokenId,
    secret: &Secret,
) -> Result<Option<AccessRow>, ClusterError> {
    let exists = Command::new("SELECT 1 FROM sqlite_schema WHERE name = 'access'", []);
    if sys.query(ReadLevel::Local, exists).await?.rows.is_empty() {
        return Ok(None);
    }
    let params = vec![token.as_str().into(), secret.hash().into(), now().into()];
    let filter = "WHERE token = ?1 AND secret_hash = ?2 AND expires > ?3";
    Ok(select(sys, ReadLevel::Local, filter, params).await?.pop())
}
