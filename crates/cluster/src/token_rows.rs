//! `sys.tokens`: which join tokens were issued, and the one transaction in which one is redeemed.

use crate::messages::JoinRequest;
use crate::node_rows::{self, NodeRow, NodeRowState};
use crate::sys::{SysSql, from_sql, now, to_sql};
use crate::token::{Secret, TokenId};
use crate::{ClusterError, NodeName};
use base::NodeId;
use rpc::Fingerprint;
use std::time::Duration;
use store::{Command, ReadLevel, Value};

/// A token is kept for so long after its end, so that its holder is told what became of it.
const REMEMBERED: Duration = Duration::from_hours(7 * 24);

/// A row of `sys.tokens`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TokenRow {
    /// The token's id.
    pub id: String,
    /// The only node name that may use it.
    pub name: Option<String>,
    /// When it was issued, in seconds since the Unix epoch.
    pub created: i64,
    /// When it stops working.
    pub expires: i64,
    /// Who was let in.
    pub used_by: Option<NodeId>,
}

impl TokenRow {
    /// Whether it has expired, by this node's clock.
    pub fn is_expired(&self) -> bool {
        self.expires <= now()
    }
}

fn parse(row: &[Value]) -> Result<TokenRow, ClusterError> {
    match row {
        [
            Value::Text(id),
            name @ (Value::Null | Value::Text(_)),
            Value::Integer(created),
            Value::Integer(expires),
            used_by @ (Value::Null | Value::Integer(_)),
        ] => Ok(TokenRow {
            id: id.clone(),
            name: name.text().map(str::to_owned),
            created: *created,
            expires: *expires,
            used_by: used_by.integer().map(from_sql),
        }),
        _ => Err(ClusterError::Row { table: "tokens", why: format!("{row:?}") }),
    }
}

async fn select(sys: &dyn SysSql, filter: &str, params: Vec<Value>) -> Result<Vec<TokenRow>, ClusterError> {
    let sql = format!("SELECT id, name, created, expires, used_by FROM tokens {filter} ORDER BY created DESC, id");
    sys.query(ReadLevel::Linearizable, Command::new(sql, params)).await?.rows.iter().map(|row| parse(row)).collect()
}

/// All tokens, the newest first.
pub(crate) async fn all(sys: &dyn SysSql) -> Result<Vec<TokenRow>, ClusterError> {
    select(sys, "", Vec::new()).await
}

/// Notes a new token. Sweeps away those that ended long ago.
pub(crate) async fn add(
    sys: &dyn SysSql,
    id: &TokenId,
    secret: &Secret,
    name: Option<&NodeName>,
    valid: Duration,
) -> Result<TokenRow, ClusterError> {
    let created = now();
    let seconds = |duration: Duration| i64::try_from(duration.as_secs()).unwrap_or(i64::MAX);
    let expires = created.saturating_add(seconds(valid));
    let forgotten = created.saturating_sub(seconds(REMEMBERED));
    let insert = Command::new(
        "INSERT INTO tokens (id, secret_hash, name, created, expires) VALUES (?1, ?2, ?3, ?4, ?5)",
        [id.as_str().into(), secret.hash().into(), name.map(NodeName::as_str).into(), created.into(), expires.into()],
    );
    let sweep = Command::new("DELETE FROM tokens WHERE expires < ?1", [forgotten.into()]);
    sys.transact(vec![sweep, insert]).await?;
    Ok(TokenRow { id: id.to_string(), name: name.map(NodeName::to_string), created, expires, used_by: None })
}

/// Makes a token useless by forgetting it. What it let in stays.
pub(crate) async fn revoke(sys: &dyn SysSql, id: &TokenId) -> Result<TokenRow, ClusterError> {
    let unknown = || ClusterError::TokenUnknown { id: id.to_string() };
    let row = select(sys, "WHERE id = ?1", vec![id.as_str().into()]).await?.pop().ok_or_else(unknown)?;
    let delete = Command::new("DELETE FROM tokens WHERE id = ?1", [id.as_str().into()]);
    if sys.transact(vec![delete]).await?.rows_affected == 0 { Err(unknown()) } else { Ok(row) }
}

/// Redeems a token for the machine that holds `key`: marks it used and writes the machine's row as joining, both or neither.
/// A machine that comes again with the same key and token gets the same row.
pub(crate) async fn redeem(sys: &dyn SysSql, request: &JoinRequest, key: Fingerprint) -> Result<NodeRow, ClusterError> {
    if let Some(row) = again(sys, request, key).await? {
        return Ok(row);
    }
    // Guesses and stale tokens are refused without a write.
    let usable = "WHERE id = ?1 AND secret_hash = ?2 AND used_by IS NULL AND expires > ?3";
    let params = vec![request.token.as_str().into(), request.secret.hash().into(), now().into()];
    if select(sys, usable, params).await?.is_empty() {
        return Err(why_not(sys, request).await?);
    }
    rt::sim_point!("join.before_redeem");
    let node = crate::names::random_node();
    let time = now();
    // The same machine, wiped after a join that it never finished: its old row is in nobody's interest.
    let replace = Command::new(
        "UPDATE nodes SET state = 'removed', since = ?5 WHERE state = 'joining' AND name = ?1 AND address = ?2 \
         AND EXISTS (SELECT 1 FROM tokens WHERE id = ?3 AND secret_hash = ?4 AND used_by IS NULL AND expires > ?5)",
        [
            request.who.name.as_str().into(),
            request.who.address.as_str().into(),
            request.token.as_str().into(),
            request.secret.hash().into(),
            time.into(),
        ],
    );
    // What was looked at above may be so no more.
    let unused = if rt::mutant!("cluster.trust-the-look") { "" } else { "AND used_by IS NULL" };
    let insert = Command::new(
        format!(
            "INSERT INTO nodes (id, name, address, dqlite_address, https_address, state, fingerprint, token, version, failure_domain, weight, since, witness) \
             SELECT ?1, ?2, ?3, ?4, ?10, 'joining', ?5, ?6, ?7, ?1, 0, ?9, ?11 \
             WHERE EXISTS (SELECT 1 FROM tokens WHERE id = ?6 AND secret_hash = ?8 {unused} AND expires > ?9 \
                           AND (name IS NULL OR name = ?2)) \
             AND NOT EXISTS (SELECT 1 FROM nodes WHERE state <> 'removed' AND (name = ?2 OR address = ?3)) \
             AND NOT EXISTS (SELECT 1 FROM nodes WHERE fingerprint = ?5)"
        ),
        [
            to_sql(node).into(),
            request.who.name.as_str().into(),
            request.who.address.as_str().into(),
            request.who.dqlite_address.as_str().into(),
            key.to_string().into(),
            request.token.as_str().into(),
            request.who.version.as_str().into(),
            request.secret.hash().into(),
            time.into(),
            request.who.https_address.as_str().into(),
            i64::from(request.who.witness).into(),
        ],
    );
    let mark = Command::new(
        "UPDATE tokens SET used_by = ?1, used = ?3 WHERE id = ?2 AND EXISTS (SELECT 1 FROM nodes WHERE id = ?1)",
        [to_sql(node).into(), request.token.as_str().into(), time.into()],
    );
    sys.transact(vec![replace, insert, mark]).await?;
    rt::sim_point!("join.after_redeem");
    match again(sys, request, key).await? {
        Some(row) => Ok(row),
        None => Err(why_not(sys, request).await?),
    }
}

/// The row of a machine that redeemed this very token before.
async fn again(sys: &dyn SysSql, request: &JoinRequest, key: Fingerprint) -> Result<Option<NodeRow>, ClusterError> {
    let Some(row) = node_rows::by_fingerprint(sys, key).await? else { return Ok(None) };
    match row.state {
        NodeRowState::Joining => {}
        NodeRowState::Member | NodeRowState::Leaving => return Err(ClusterError::KeyInUse { node: row.node }),
        NodeRowState::Removed => return Err(ClusterError::NotMember { node: row.node }),
    }
    if row.token.as_deref() != Some(request.token.as_str()) {
        // Its join was answered, but it did not hear: it comes with a fresh token. The row stands as it is.
        let fresh = "WHERE id = ?1 AND secret_hash = ?2 AND used_by IS NULL AND expires > ?3";
        let params = vec![request.token.as_str().into(), request.secret.hash().into(), now().into()];
        let known = select(sys, fresh, params).await?;
        return if known.is_empty() { Err(why_not(sys, request).await?) } else { Ok(Some(row)) };
    }
    let proved = "WHERE id = ?1 AND secret_hash = ?2 AND used_by = ?3";
    let params = vec![request.token.as_str().into(), request.secret.hash().into(), to_sql(row.node).into()];
    if select(sys, proved, params).await?.is_empty() {
        return Err(ClusterError::TokenUnknown { id: request.token.clone() });
    }
    Ok(Some(row))
}

/// What kept a token from being redeemed.
async fn why_not(sys: &dyn SysSql, request: &JoinRequest) -> Result<ClusterError, ClusterError> {
    let id = request.token.clone();
    let params = vec![id.as_str().into(), request.secret.hash().into()];
    let Some(token) = select(sys, "WHERE id = ?1 AND secret_hash = ?2", params).await?.pop() else {
        return Ok(ClusterError::TokenUnknown { id });
    };
    if let Some(node) = token.used_by {
        return Ok(ClusterError::TokenUsed { id, node });
    }
    if token.is_expired() {
        return Ok(ClusterError::TokenExpired { id });
    }
    if let Some(name) = token.name.filter(|name| name != request.who.name.as_str()) {
        return Ok(ClusterError::TokenName { id, name });
    }
    let who = &request.who;
    Ok(match node_rows::in_the_way(sys, &who.name, &who.address).await? {
        Some(row) if row.name == who.name.as_str() => ClusterError::NameTaken { name: row.name, node: row.node },
        Some(row) => ClusterError::AddressTaken { address: row.address, node: row.node },
        // What was in the way a moment ago is gone: asking again is the answer.
        None => ClusterError::NoLeader,
    })
}
