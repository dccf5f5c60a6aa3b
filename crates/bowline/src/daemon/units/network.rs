//! The node's end of the node-to-node network.

use crate::daemon::error::NodeError;
use crate::daemon::switchboard::Switchboard;
use lifecycle::{Context, Deadline, Unit, UnitError};
use rpc::{Identity, Mesh};
use rt::net::Listener;
use std::sync::Arc;

/// What the others get: calls out, and a place to plug services in.
pub(crate) struct Network {
    pub(crate) mesh: Arc<Mesh>,
    pub(crate) board: Switchboard,
}

/// Owns the listening socket and all connections to peers. First to start, last to stop.
pub(crate) struct NetworkUnit {
    identity: Box<dyn Fn() -> Result<Identity, NodeError> + Send>,
    address: String,
    /// Bound before the unit first started, so that its port could be announced.
    listener: Option<Listener>,
    mesh: Option<Arc<Mesh>>,
}

impl NetworkUnit {
    /// `identity` is asked at each start; `address` is bound again when the unit is restarted.
    pub(crate) fn new(
        identity: impl Fn() -> Result<Identity, NodeError> + Send + 'static,
        address: String,
        listener: Listener,
    ) -> Self {
        Self { identity: Box::new(identity), address, listener: Some(listener), mesh: None }
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
        let mesh = Mesh::new((self.identity)()?, &context.scope).map_err(NodeError::Identity)?;
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
