//! Tells the mesh where the members are, and whom to answer no more, Raft who are witnesses, and gossip who should be in its group, as the
//! rows of `sys` say.

use super::Inner;
use crate::ClusterError;
use crate::gossiping::Peers;
use crate::node_rows::{self, NodeRow, NodeRowState};
use base::NodeId;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;
use store::ReadLevel;

const RETRY_AFTER: Duration = Duration::from_millis(500);

/// Runs until it is dropped.
pub(super) async fn follow(inner: Arc<Inner>) {
    let mut applied = inner.sys_group.watch_applied();
    loop {
        applied.borrow_and_update();
        let done = pass(&inner).await;
        if let Err(error) = &done {
            tracing::info!(%error, "the members could not be read; it is tried again");
        }
        tokio::select! {
            biased;
            changed = applied.changed() => if changed.is_err() { return },
            () = rt::time::sleep(RETRY_AFTER), if done.is_err() => {}
        }
    }
}

async fn pass(inner: &Inner) -> Result<(), ClusterError> {
    let rows = node_rows::all(inner.sys.as_ref(), ReadLevel::Local).await?;
    let is_member = |row: &&NodeRow| row.state != NodeRowState::Removed;
    inner.host.set_witnesses(rows.iter().filter(is_member).filter(|row| row.witness).map(|row| row.node).collect());
    let peers: Peers = rows.iter().map(|row| (row.node, (row.address.clone(), row.state))).collect();
    inner.peers.send_if_modified(|known| {
        let is_new = **known != peers;
        if is_new {
            *known = Arc::new(peers);
        }
        is_new
    });
    let mut removed = BTreeSet::<NodeId>::new();
    for row in rows {
        match row.state {
            NodeRowState::Removed => {
                inner.mesh.forget(row.node);
                removed.insert(row.node);
            }
            NodeRowState::Joining | NodeRowState::Member | NodeRowState::Leaving => {
                inner.mesh.set_address(row.node, row.address);
            }
        }
    }
    inner.mesh.set_banished(removed);
    Ok(())
}
