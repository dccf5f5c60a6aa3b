//! Who is a spare: a member that follows `sys`, so that it knows the others and the databases, and holds no copy of anything else. The
//! groups cannot tell it from a stand-by, which is why it stands in `sys`, in a table of the store's.

use crate::sys::{from_sql, to_sql};
use crate::{ClusterError, SysSql};
use base::NodeId;
use std::collections::BTreeSet;
use store::{Command, ReadLevel, Value};

/// All spares. On a member whose copy of `sys` is still empty there are none.
pub(crate) async fn all(sys: &dyn SysSql, level: ReadLevel) -> Result<BTreeSet<NodeId>, ClusterError> {
    let exists = Command::new("SELECT 1 FROM sqlite_schema WHERE name = 'spares'", []);
    if sys.query(level, exists).await?.rows.is_empty() {
        return Ok(BTreeSet::new());
    }
    let rows = sys.query(level, Command::new("SELECT node FROM spares", [])).await?.rows;
    Ok(rows.iter().filter_map(|row| row.first()?.integer()).map(from_sql).collect())
}

/// Notes who has become one and who is none any more. Writes only if there is something to note.
pub(crate) async fn change(
    sys: &dyn SysSql,
    come: &BTreeSet<NodeId>,
    gone: &BTreeSet<NodeId>,
) -> Result<(), ClusterError> {
    let of = |sql: &'static str| move |node: &NodeId| Command::new(sql, [Value::Integer(to_sql(*node))]);
    let come = come.iter().map(of("INSERT OR IGNORE INTO spares (node) VALUES (?1)"));
    let commands: Vec<Command> = come.chain(gone.iter().map(of("DELETE FROM spares WHERE node = ?1"))).collect();
    if !commands.is_empty() {
        sys.transact(commands).await?;
    }
    Ok(())
}
