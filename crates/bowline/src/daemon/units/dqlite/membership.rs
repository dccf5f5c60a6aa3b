//! The membership as dqlite's clients see and change it.

use ::dqlite::FailureCode;
use ::store::{Command, ReadLevel, Store, Value};
use api::dqlite::{Change, Member, Membership, Refusal};
use base::{DbName, Fault, NodeId, Role};
use cluster::{Cluster, ClusterError, NodeRowState};
use rt::sync::watch;
use std::sync::Arc;
use std::time::Duration;

/// How long a client waits for a node to go.
const REMOVE_MAX: Duration = Duration::from_secs(20);

/// What the last look at `sys` and at the Raft membership gave.
#[derive(Debug, Default)]
struct Known {
    members: Vec<Member>,
    failure_domain: u64,
    weight: u64,
}

/// The members, in memory, as `sys` has them. Cheap to clone; all clones are one.
#[derive(Clone)]
pub(crate) struct Directory {
    store: Store,
    cluster: Cluster,
    known: Arc<watch::Sender<Known>>,
}

impl Directory {
    pub(super) async fn open(store: Store, cluster: Cluster) -> Self {
        let directory = Self { store, cluster, known: Arc::new(watch::Sender::default()) };
        directory.look().await;
        directory
    }

    /// Looks again whenever `sys` or the Raft membership has moved.
    pub(super) async fn follow(self) {
        let mut rows = self.store.sys().changes();
        let mut group = self.store.sys().group().watch();
        let mut since = group.borrow().membership.since;
        loop {
            self.look().await;
            tokio::select! {
                biased;
                moved = rows.changed() => if moved.is_err() { return },
                moved = group.wait_for(|status| status.membership.since != since) => match moved {
                    Ok(status) => since = status.membership.since,
                    Err(_) => return,
                },
            }
            rows.mark_unchanged();
        }
    }

    /// As dqlite does it: whoever asks by the id means it, also if the node is down.
    async fn remove(&self, id: NodeId) -> Result<(), ClusterError> {
        let rows = self.cluster.nodes(ReadLevel::Local).await?;
        let row = rows.into_iter().map(|(row, _)| row).find(|row| row.node == id);
        let row = row.ok_or(ClusterError::NotMember { node: id })?;
        self.cluster.remove(&row.name, true, REMOVE_MAX).await.map(drop)
    }

    async fn look(&self) {
        let rows = match self.cluster.nodes(ReadLevel::Local).await {
            Ok(rows) => rows,
            Err(error) => {
                tracing::warn!(%error, code = %error.code(), "the members could not be read");
                return;
            }
        };
        let own = rows.iter().find(|(row, _)| row.node == self.store.node());
        let (failure_domain, weight) = own.map_or((0, 0), |(row, _)| (row.failure_domain, row.weight));
        let members = rows
            .iter()
            .filter(|(row, _)| row.state != NodeRowState::Joining)
            .map(|(row, role)| Member { id: row.node, address: row.dqlite_address.clone(), role: *role })
            .collect();
        self.known.send_replace(Known { members, failure_domain, weight });
    }

    fn role(&self, node: NodeId) -> Option<Role> {
        self.known.borrow().members.iter().find(|m| m.id == node).map(|m| m.role)
    }
}

impl Membership for Directory {
    fn members(&self) -> Vec<Member> {
        self.known.borrow().members.clone()
    }

    fn describe(&self) -> (u64, u64) {
        let known = self.known.borrow();
        (known.failure_domain, known.weight)
    }

    async fn change(&self, change: Change) -> Result<(), Refusal> {
        match change {
            Change::Add { .. } => {
                Err(refuse("nodes join with a token: run `bowline token add` here and `bowline join` there"))
            }
            Change::Assign { id, role } if self.role(id) == Some(role) => Ok(()),
            Change::Assign { id, .. } | Change::Remove { id } if self.role(id).is_none() => {
                Err(refuse("no member has that id"))
            }
            Change::Assign { .. } => {
                Err(refuse("roles follow the cluster's own rule (`bowline node list`) and are not assigned by hand"))
            }
            Change::Remove { id } => self.remove(id).await.map_err(|e| refuse(&e.to_string())),
            Change::Transfer { to } => {
                let handed = self.store.sys().group().transfer_leadership(to).await;
                handed.map_err(|error| refuse(&format!("leadership transfer failed: {error}")))
            }
            Change::Weight { weight } => {
                let stored = i64::try_from(weight).map_err(|_| refuse("the weight is too large"))?;
                let node = self.store.node().0.cast_signed();
                let update = Command::new(
                    "UPDATE nodes SET weight = ?1 WHERE id = ?2",
                    [Value::Integer(stored), Value::Integer(node)],
                );
                self.store.transact(&DbName::sys(), vec![update]).await.map_err(|e| refuse(&e.to_string()))?;
                // Who has set it must find it so at once, before this node's copy of the row is looked at again.
                self.known.send_modify(|known| known.weight = weight);
                Ok(())
            }
        }
    }
}

fn refuse(why: &str) -> Refusal {
    Refusal::new(FailureCode::ERROR, why)
}
