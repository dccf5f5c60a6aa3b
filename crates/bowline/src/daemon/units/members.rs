//! The node's part in the cluster: its row, its role, and the door for those who join.

use super::Network;
use crate::daemon::error::NodeError;
use crate::daemon::known_members::KnownMembers;
use crate::daemon::node::{Formation, blocking};
use ::raft::RaftHost;
use ::store::Store;
use base::Fault;
use cluster::{Cluster, ClusterConfig, Gossiping, Keyring, Placement};
use lifecycle::{Context, Deadline, Ready, Unit, UnitError};
use rpc::Service;
use rt::sync::watch;
use std::sync::Arc;
use std::time::Duration;

/// How long one attempt may take to tell the cluster that this node runs.
const ANNOUNCE_MAX: Duration = Duration::from_secs(10);
/// The pause before the next attempt.
const ANNOUNCE_PAUSE: Duration = Duration::from_secs(1);

/// What others get: the membership, and this node's place in it once it has one.
pub(crate) struct Members {
    pub(crate) cluster: Cluster,
    pub(crate) placed: watch::Receiver<Option<Placement>>,
}

/// Follows the membership; on the leader makes it so.
pub(crate) struct MembersUnit {
    formation: Formation,
    keys: Arc<Keyring>,
    known: KnownMembers,
    on_dismissal: Arc<dyn Fn() + Send + Sync>,
    network: Option<Ready<Network>>,
}

impl MembersUnit {
    /// `on_dismissal` is called when the node is no member any more.
    pub(crate) fn new(
        formation: Formation,
        keys: Arc<Keyring>,
        known: KnownMembers,
        on_dismissal: Arc<dyn Fn() + Send + Sync>,
    ) -> Self {
        Self { formation, keys, known, on_dismissal, network: None }
    }
}

impl Unit for MembersUnit {
    type Needs = (Ready<Gossiping>, Ready<Network>, Ready<RaftHost>, Ready<Store>);
    type Provides = Members;

    async fn start(
        &mut self,
        (gossiping, network, host, store): Self::Needs,
        context: &Context,
    ) -> Result<Members, UnitError> {
        let Formation { identity, founding } = self.formation.clone();
        self.known.introduce(&network.mesh, identity.record.node).await;
        if founding.is_some() {
            store.bootstrap(&identity.record.address).await.map_err(NodeError::Store)?;
        }
        let config = ClusterConfig {
            keys: Arc::clone(&self.keys),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            gossiping: (*gossiping).clone(),
        };
        let sys_group = store.sys().group().clone();
        let mesh = network.mesh.clone();
        let cluster = Cluster::start(config, store.share(), sys_group, (*host).clone(), mesh, &context.scope)
            .map_err(NodeError::Cluster)?;
        if let Some(mark) = founding {
            cluster.found().await.map_err(NodeError::Cluster)?;
            blocking(move || {
                rt::fs::remove_file(&mark).map_err(|source| NodeError::State { path: mark.clone(), source })
            })
            .await?;
            self.formation.founding = None;
        }
        network.board.plug(Service::Join, cluster.join_handler());
        network.board.plug(Service::Cluster, cluster.member_handler());
        self.network = Some(network);
        let (sender, placed) = watch::channel(None);
        context.scope.spawn_droppable("announce", announce(cluster.clone(), sender));
        let (member, on_dismissal) = (cluster.clone(), Arc::clone(&self.on_dismissal));
        context.scope.spawn_droppable("dismissal", async move {
            member.dismissed().await;
            on_dismissal();
        });
        let follow = self.known.clone().follow((*host).clone(), store.sys().group().clone());
        context.scope.spawn_droppable("note members", follow);
        Ok(Members { cluster, placed })
    }

    async fn stop(&mut self, _deadline: &Deadline) -> Result<(), UnitError> {
        if let Some(network) = self.network.take() {
            network.board.unplug(Service::Join);
            network.board.unplug(Service::Cluster);
        }
        Ok(())
    }
}

/// Tells the cluster that this node runs, until it has heard.
async fn announce(cluster: Cluster, placed: watch::Sender<Option<Placement>>) {
    loop {
        match cluster.announce(ANNOUNCE_MAX).await {
            Ok(placement) => {
                placed.send_replace(Some(placement));
                return;
            }
            Err(error) => {
                tracing::warn!(%error, code = %error.code(), "the cluster has not heard yet that this node runs");
                rt::time::sleep(ANNOUNCE_PAUSE).await;
            }
        }
    }
}
