//! The node's end of the node-to-node network.

use crate::daemon::error::NodeError;
use crate::daemon::switchboard::Switchboard;
use cluster::{Keyring, NodeIdentity, Transport};
use lifecycle::{Context, Deadline, Unit, UnitError};
use rpc::Mesh;
use rt::net::Listener;
use rt::sync::watch;
use std::sync::Arc;

/// What the others get: calls out, and a place to plug services in.
pub(crate) struct Network {
    pub(crate) mesh: Arc<Mesh>,
    pub(crate) board: Switchboard,
}

/// Owns the listening socket and all connections to peers. First to start, last to stop.
pub(crate) struct NetworkUnit {
    keys: Arc<Keyring>,
    address: String,
    /// Bound before the unit first started, so that its port could be announced.
    listener: Option<Listener>,
    mesh: Option<Arc<Mesh>>,
}

impl NetworkUnit {
    /// `address` is bound again when the unit is restarted.
    pub(crate) fn new(keys: Arc<Keyring>, address: String, listener: Listener) -> Self {
        Self { keys, address, listener: Some(listener), mesh: None }
    }
}

impl Unit for NetworkUnit {
    type Needs = ();
    type Provides = Network;

    async fn start(&mut self, (): (), context: &Context) -> Result<Network, UnitError> {
        let listener = match self.listener.take() {
            Some(listener) => listener,
            None => Listener::bind(&self.address).await.map_err(|source| NodeError::Bind {
                what: "node-to-node calls",
                address: self.address.clone(),
                source,
            })?,
        };
        let mut changes = self.keys.watch();
        let first = Arc::clone(&changes.borrow_and_update());
        let mesh = Mesh::new(first.mesh().map_err(NodeError::Cluster)?, &context.scope).map_err(NodeError::Identity)?;
        if first.record.transport == Transport::Tls {
            drop(context.scope.spawn_droppable("certificates", follow(changes, Arc::clone(&mesh))));
        }
        let board = Switchboard::default();
        mesh.serve(listener, board.handlers());
        self.mesh = Some(Arc::clone(&mesh));
        Ok(Network { mesh, board })
    }

    async fn stop(&mut self, deadline: &Deadline) -> Result<(), UnitError> {
        if let Some(mesh) = self.mesh.take() {
            let report = mesh.stop(deadline.remaining()).await;
            tracing::debug!(?report, "the network is down");
        }
        Ok(())
    }
}

/// Lets new connections use the node's certificates as they are. Runs until it is dropped.
async fn follow(mut changes: watch::Receiver<Arc<NodeIdentity>>, mesh: Arc<Mesh>) {
    while changes.changed().await.is_ok() {
        let now = Arc::clone(&changes.borrow_and_update());
        let set = now.mesh().map_err(NodeError::Cluster).and_then(|now| Ok(mesh.set_identity(now)?));
        if let Err(error) = set {
            // They were checked before they were put in place.
            tracing::error!(%error, "nodes are still greeted with the old certificate");
        }
    }
}
