//! How a member goes. Its row says that it leaves; the role controller moves its roles to others and takes it out of every group; then the row
//! says that it has gone, members answer it no more, and that is how it learns of it.

use super::Cluster;
use crate::ClusterError;
use crate::node_rows::{self, NodeRow, NodeRowState};
use base::NodeId;
use rt::time::Instant;
use std::collections::BTreeSet;
use std::time::Duration;
use store::ReadLevel;

/// How long members may take to say that they are there.
const PROBE_MAX: Duration = Duration::from_secs(1);
/// How often it is looked whether it has gone.
const LOOK_EVERY: Duration = Duration::from_millis(100);

impl Cluster {
    /// Removes a node: a member with its roles, or one that never came up. Waits until it has gone, `patience` at most; after that it goes on
    /// by itself. A node may remove itself. Repeating it waits for the same end. Cancel-safe.
    ///
    /// Refused without `force`: if the node does not answer, because it would not learn of it; if the others that answer are no
    /// majority of those who stay. Always refused for the last member.
    pub async fn remove(&self, name: &str, force: bool, patience: Duration) -> Result<NodeId, ClusterError> {
        let inner = &*self.0;
        let rows = node_rows::all(inner.sys.as_ref(), ReadLevel::Linearizable).await?;
        let row = rows.iter().find(|row| row.name == name && row.state != NodeRowState::Removed);
        let row = row.ok_or_else(|| ClusterError::NoSuchNode { name: name.to_owned() })?;
        if row.state != NodeRowState::Leaving {
            if row.state == NodeRowState::Member {
                let others = rows.iter().map(|row| row.node).filter(|node| *node != inner.node());
                let mut answering = self.probe(others, PROBE_MAX).await;
                answering.insert(inner.node());
                may_go(row, &rows, &answering, force)?;
            }
            node_rows::part(inner.sys.as_ref(), row.node, row.state).await?;
            rt::sim_point!("part.begun");
        }
        let (node, began) = (row.node, Instant::now());
        let mut dismissed = inner.mesh.dismissed();
        while began.elapsed() < patience {
            if node == inner.node() && *dismissed.borrow_and_update() {
                return Ok(node);
            }
            match node_rows::by_id(inner.sys.as_ref(), node).await {
                Ok(Some(row)) if row.state != NodeRowState::Removed => {}
                Ok(_) => return Ok(node),
                // Its leader has just handed over, or it is this node and has lost the others.
                Err(error) => tracing::debug!(%error, "it is not known yet whether the node has gone"),
            }
            drop(rt::time::timeout(LOOK_EVERY, dismissed.changed()).await);
        }
        Err(ClusterError::NotGone { name: name.to_owned(), waited: patience })
    }

    /// Waits until a member says that this node is none any more. Cancel-safe.
    pub async fn dismissed(&self) {
        drop(self.0.mesh.dismissed().wait_for(|dismissed| *dismissed).await);
    }
}

/// Whether a member may be let go.
fn may_go(leaver: &NodeRow, rows: &[NodeRow], answering: &BTreeSet<NodeId>, force: bool) -> Result<(), ClusterError> {
    let name = || leaver.name.clone();
    let staying: Vec<&NodeRow> =
        rows.iter().filter(|row| row.state == NodeRowState::Member && row.node != leaver.node).collect();
    // A witness has nothing to go on with.
    if staying.iter().all(|row| row.witness) {
        return Err(ClusterError::LastMember { name: name() });
    }
    if force {
        return Ok(());
    }
    if !answering.contains(&leaver.node) {
        return Err(ClusterError::UnsafeRemoval {
            name: name(),
            why: "it does not answer, and would not learn of it".into(),
        });
    }
    let down: Vec<&str> =
        staying.iter().filter(|row| !answering.contains(&row.node)).map(|row| row.name.as_str()).collect();
    if staying.len() - down.len() < staying.len() / 2 + 1 {
        let why = format!("of those who stay, {} down: without it writes may stop", names_are(&down));
        return Err(ClusterError::UnsafeRemoval { name: name(), why });
    }
    Ok(())
}

fn names_are(names: &[&str]) -> String {
    let verb = if names.len() == 1 { "is" } else { "are" };
    format!("{} {verb}", names.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;
    use base::Fault;

    fn row(id: u64, state: NodeRowState) -> NodeRow {
        NodeRow {
            node: NodeId(id),
            name: format!("box{id}"),
            address: String::new(),
            dqlite_address: String::new(),
            https_address: String::new(),
            state,
            fingerprint: String::new(),
            token: None,
            version: String::new(),
            failure_domain: id,
            weight: 0,
            since: 0,
            witness: false,
        }
    }

    #[test]
    fn who_may_be_let_go() {
        use NodeRowState::{Joining, Leaving, Member, Removed};
        let verdict = |states: &[NodeRowState], answering: &[u64], force| {
            let rows: Vec<NodeRow> = (1..).zip(states).map(|(id, state)| row(id, *state)).collect();
            let answering = answering.iter().map(|id| NodeId(*id)).collect();
            may_go(&rows[0], &rows, &answering, force).map_or_else(|error| error.code().0, |()| "may go")
        };
        assert_eq!(verdict(&[Member], &[1], false), "BL-CLU-026", "the only one");
        assert_eq!(verdict(&[Member], &[1], true), "BL-CLU-026", "the only one, forced");
        assert_eq!(
            verdict(&[Member, Joining, Leaving, Removed], &[1], true),
            "BL-CLU-026",
            "the last but others who come and go"
        );
        assert_eq!(verdict(&[Member, Member], &[1, 2], false), "may go", "one of two");
        assert_eq!(verdict(&[Member, Member], &[1], false), "BL-CLU-027", "one of two, the other down");
        assert_eq!(verdict(&[Member, Member], &[2], false), "BL-CLU-027", "one of two, itself down");
        assert_eq!(verdict(&[Member, Member], &[2], true), "may go", "one of two, itself down, forced");
        assert_eq!(verdict(&[Member, Member, Member], &[1, 2], false), "BL-CLU-027", "one of three, another one down");
        assert_eq!(
            verdict(&[Member, Member, Member, Member], &[1, 2, 3], false),
            "may go",
            "one of four, another one down"
        );
    }
}
