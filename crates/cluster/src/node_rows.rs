//! `sys.nodes`: who belongs to the cluster.

use crate::messages::Announce;
use crate::sys::{SysSql, from_sql, now, to_sql};
use crate::{ClusterError, NodeName, NodeRecord, SCHEMA, kinds};
use base::NodeId;
use rpc::Fingerprint;
use std::time::Duration;
use store::{Command, ReadLevel, Value, resources};

/// A machine that redeemed a token has so long to come up as a member. Then its row lapses, and its name is free.
pub(crate) const JOINING_MAX: Duration = Duration::from_mins(15);

/// Where a node is in its life as a member.
///
/// ```text
///   Joining --it runs and says so--> Member --leave--> Leaving --out of all groups--> Removed
///   Joining --lapsed, removed, or joined anew--> Removed
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum NodeRowState {
    /// It redeemed a token and has its certificate, but has not been seen running.
    Joining,
    /// It is a member.
    Member,
    /// It is on its way out.
    Leaving,
    /// It is no member any more, and never will be again under this id.
    Removed,
}

impl NodeRowState {
    fn from_sql(text: &str) -> Option<Self> {
        [Self::Joining, Self::Member, Self::Leaving, Self::Removed].into_iter().find(|state| state.as_str() == text)
    }

    /// The state as it stands in the row.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Joining => "joining",
            Self::Member => "member",
            Self::Leaving => "leaving",
            Self::Removed => "removed",
        }
    }
}

/// A row of `sys.nodes`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeRow {
    /// The node.
    pub node: NodeId,
    /// Its name.
    pub name: String,
    /// Where other nodes reach it.
    pub address: String,
    /// Where dqlite clients reach it.
    pub dqlite_address: String,
    /// Where clients of the HTTPS API reach it.
    pub https_address: String,
    /// Where it is in its life as a member.
    pub state: NodeRowState,
    /// The fingerprint of its key, in hexadecimal.
    pub fingerprint: String,
    /// The id of the token that let it in; none for the founder.
    pub token: Option<String>,
    /// The version of its daemon, when it last said so.
    pub version: String,
    /// Nodes with the same number fail together.
    pub failure_domain: u64,
    /// Between equals the lighter gets the role.
    pub weight: u64,
    /// When it came into its state, in seconds since the Unix epoch.
    pub since: i64,
    /// It votes at most, and keeps no data but `sys`.
    pub witness: bool,
}

const COLUMNS: &str = "id, name, address, dqlite_address, https_address, state, fingerprint, token, version, failure_domain, weight, since, witness";

fn parse(row: &[Value]) -> Result<NodeRow, ClusterError> {
    let parsed = match row {
        [
            Value::Integer(id),
            Value::Text(name),
            Value::Text(address),
            Value::Text(dqlite_address),
            Value::Text(https_address),
            Value::Text(state),
            Value::Text(fingerprint),
            token @ (Value::Null | Value::Text(_)),
            Value::Text(version),
            Value::Integer(failure_domain),
            Value::Integer(weight),
            Value::Integer(since),
            Value::Integer(witness),
        ] => NodeRowState::from_sql(state).map(|state| NodeRow {
            node: from_sql(*id),
            name: name.clone(),
            address: address.clone(),
            dqlite_address: dqlite_address.clone(),
            https_address: https_address.clone(),
            state,
            fingerprint: fingerprint.clone(),
            token: token.text().map(str::to_owned),
            version: version.clone(),
            failure_domain: failure_domain.cast_unsigned(),
            weight: weight.cast_unsigned(),
            since: *since,
            witness: *witness != 0,
        }),
        _ => None,
    };
    parsed.ok_or_else(|| ClusterError::Row { table: "nodes", why: format!("{row:?}") })
}

async fn select(
    sys: &dyn SysSql,
    level: ReadLevel,
    filter: &str,
    params: Vec<Value>,
) -> Result<Vec<NodeRow>, ClusterError> {
    let command = Command::new(format!("SELECT {COLUMNS} FROM nodes {filter} ORDER BY name, since"), params);
    sys.query(level, command).await?.rows.iter().map(|row| parse(row)).collect()
}

/// All rows, also those of nodes that were removed. On a member whose copy of `sys` is still empty there are none.
pub(crate) async fn all(sys: &dyn SysSql, level: ReadLevel) -> Result<Vec<NodeRow>, ClusterError> {
    if level != ReadLevel::Linearizable {
        let exists = Command::new("SELECT 1 FROM sqlite_schema WHERE name = 'nodes'", []);
        if sys.query(level, exists).await?.rows.is_empty() {
            return Ok(Vec::new());
        }
    }
    select(sys, level, "", Vec::new()).await
}

/// The row of the node with this key.
pub(crate) async fn by_fingerprint(sys: &dyn SysSql, key: Fingerprint) -> Result<Option<NodeRow>, ClusterError> {
    let params = vec![key.to_string().into()];
    Ok(select(sys, ReadLevel::Linearizable, "WHERE fingerprint = ?1", params).await?.pop())
}

/// The row of a node.
pub(crate) async fn by_id(sys: &dyn SysSql, node: NodeId) -> Result<Option<NodeRow>, ClusterError> {
    Ok(select(sys, ReadLevel::Linearizable, "WHERE id = ?1", vec![to_sql(node).into()]).await?.pop())
}

/// A node that is not removed and has this name or this address.
pub(crate) async fn in_the_way(
    sys: &dyn SysSql,
    name: &NodeName,
    address: &str,
) -> Result<Option<NodeRow>, ClusterError> {
    let params = vec![name.as_str().into(), address.into()];
    let filter = "WHERE state <> 'removed' AND (name = ?1 OR address = ?2)";
    Ok(select(sys, ReadLevel::Linearizable, filter, params).await?.pop())
}

/// Writes the tables and the founder's row. Repeating it changes nothing.
pub(crate) async fn found(
    sys: &dyn SysSql,
    record: &NodeRecord,
    key: Fingerprint,
    version: &str,
) -> Result<(), ClusterError> {
    let mut commands: Vec<Command> = SCHEMA.iter().map(|sql| Command::new(*sql, [])).collect();
    commands.extend(resources::definitions(&kinds::kinds()));
    commands.push(Command::new(
        "INSERT OR IGNORE INTO cluster (one, id, created) VALUES (1, ?1, ?2)",
        [record.cluster.as_str().into(), now().into()],
    ));
    commands.push(Command::new(
        format!(
            "INSERT OR IGNORE INTO nodes ({COLUMNS}) VALUES (?1, ?2, ?3, ?4, ?8, 'member', ?5, NULL, ?6, ?1, 0, ?7, 0)"
        ),
        [
            to_sql(record.node).into(),
            record.name.as_str().into(),
            record.address.as_str().into(),
            record.dqlite_address.as_str().into(),
            key.to_string().into(),
            version.into(),
            now().into(),
            record.https_address.as_str().into(),
        ],
    ));
    sys.transact(commands).await?;
    Ok(())
}

/// The node runs, and this is where and what: a joining node becomes a member. Writes only if something is new.
pub(crate) async fn announce(sys: &dyn SysSql, announce: &Announce) -> Result<(), ClusterError> {
    let Announce { form: _, node, address, dqlite_address, https_address, version } = announce;
    let (node, address) = (*node, address.as_str());
    let known = by_id(sys, node).await?;
    let row = known.filter(|row| row.state != NodeRowState::Removed).ok_or(ClusterError::NotMember { node })?;
    let told = row.address == address
        && row.dqlite_address == *dqlite_address
        && row.https_address == *https_address
        && row.version == *version;
    if row.state != NodeRowState::Joining && told {
        return Ok(());
    }
    let update = Command::new(
        "UPDATE nodes SET address = ?2, dqlite_address = ?3, https_address = ?6, version = ?4, \
         since = CASE state WHEN 'joining' THEN ?5 ELSE since END, \
         state = CASE state WHEN 'joining' THEN 'member' ELSE state END \
         WHERE id = ?1 AND state <> 'removed' \
         AND NOT EXISTS (SELECT 1 FROM nodes WHERE address = ?2 AND id <> ?1 AND state <> 'removed')",
        [
            to_sql(node).into(),
            address.into(),
            dqlite_address.as_str().into(),
            version.as_str().into(),
            now().into(),
            https_address.as_str().into(),
        ],
    );
    if sys.transact(vec![update]).await?.rows_affected == 1 {
        return Ok(());
    }
    let params = vec![to_sql(node).into(), address.into()];
    let filter = "WHERE address = ?2 AND id <> ?1 AND state <> 'removed'";
    match select(sys, ReadLevel::Linearizable, filter, params).await?.pop() {
        Some(other) => Err(ClusterError::AddressTaken { address: address.to_owned(), node: other.node }),
        None => Err(ClusterError::NotMember { node }),
    }
}

/// Says with whom a node fails together, and how gladly it takes a role; what is none stays.
pub(crate) async fn set(
    sys: &dyn SysSql,
    name: &str,
    failure_domain: Option<u64>,
    weight: Option<u64>,
) -> Result<(), ClusterError> {
    let value = |number: Option<u64>| match number.map(i64::try_from) {
        None => Ok(Value::Null),
        Some(Ok(number)) => Ok(number.into()),
        Some(Err(_)) => {
            Err(ClusterError::Targets { why: "a failure domain or weight of more than 63 bits".to_owned() })
        }
    };
    let update = Command::new(
        "UPDATE nodes SET failure_domain = coalesce(?2, failure_domain), weight = coalesce(?3, weight) \
         WHERE name = ?1 AND state <> 'removed'",
        [name.into(), value(failure_domain)?, value(weight)?],
    );
    match sys.transact(vec![update]).await?.rows_affected {
        0 => Err(ClusterError::NoSuchNode { name: name.to_owned() }),
        _ => Ok(()),
    }
}

/// Removes joining nodes that never came up. Returns whether there were any.
pub(crate) async fn sweep(sys: &dyn SysSql) -> Result<bool, ClusterError> {
    let before = now().saturating_sub(i64::try_from(JOINING_MAX.as_secs()).unwrap_or(i64::MAX));
    let update = Command::new(
        "UPDATE nodes SET state = 'removed', since = ?1 WHERE state = 'joining' AND since <= ?2",
        [now().into(), before.into()],
    );
    Ok(sys.transact(vec![update]).await?.rows_affected > 0)
}

/// What a node that goes waits for: that all groups know it no more.
const ROLES: &str = "roles";
/// By when they should.
const ROLES_MAX: Duration = Duration::from_mins(15);

/// Takes the next step of a node that goes, from the state it is in. Does nothing if it is in another one by now, or waits for something else.
pub(crate) async fn part(sys: &dyn SysSql, node: NodeId, from: NodeRowState) -> Result<(), ClusterError> {
    let Some(row) = by_id(sys, node).await?.filter(|row| row.state == from) else { return Ok(()) };
    let to = if from == NodeRowState::Member { NodeRowState::Leaving } else { NodeRowState::Removed };
    let update = Command::new(
        "UPDATE nodes SET state = ?3, since = ?4 WHERE id = ?1 AND state = ?2 \
         AND NOT (?3 = 'removed' AND EXISTS (SELECT 1 FROM finalizers WHERE kind = 'nodes' AND key = nodes.name))",
        [to_sql(node).into(), from.as_str().into(), to.as_str().into(), now().into()],
    );
    let finalizer = match to {
        NodeRowState::Leaving => resources::finalize(kinds::NODES.name, &row.name, ROLES, ROLES_MAX),
        _ => resources::finalized(kinds::NODES.name, &row.name, ROLES),
    };
    sys.transact(vec![finalizer, update]).await?;
    Ok(())
}
