//! One node's end of the node-to-node network.

use crate::{CallError, Class, Handlers, Service};
use base::NodeId;
use bytes::Bytes;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;

/// One node's end of the node-to-node network: calls others, and answers them.
#[derive(Debug)]
pub struct Mesh {
    node: NodeId,
}

/// Whether a peer answers, as this node's own connections to it tell.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Reach {
    /// Nobody has called it yet, or not for long.
    #[default]
    Untried,
    /// Connected.
    Up,
    /// The last attempt failed or the connection broke, for this reason.
    Down(Arc<str>),
}

/// What this node's connections tell of a peer.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct PeerView {
    /// The control connection that this node makes to it.
    pub reach: Reach,
    /// How many connections it holds to this node.
    pub inbound: usize,
    /// How many live connections with it, made by either side, have ended so far. It grows the moment one ends:
    /// within microseconds when the process died, after three silent seconds when its machine or the network did.
    pub lost: u64,
}

impl Mesh {
    /// This node.
    pub fn node(&self) -> NodeId {
        self.node
    }

    /// Says where a node is: `host:port`. A changed address is used from the next connection on.
    pub fn set_address(&self, _node: NodeId, _address: impl Into<String>) {}

    /// Forgets a node and closes the connections to it.
    pub fn forget(&self, _node: NodeId) {}

    /// Where a node is.
    pub fn address(&self, _node: NodeId) -> Option<String> {
        None
    }

    /// Watches what the connections tell of a node: each end of one adds to [`PeerView::lost`].
    pub fn watch(&self, _node: NodeId) -> watch::Receiver<PeerView> {
        watch::channel(PeerView::default()).1
    }

    /// Calls `method` of `service` on node `to`, and waits `deadline` at most for the answer.
    ///
    /// Cancel-safe: dropping the future before the call was sent takes it back; after that the other side is told to stop and a
    /// late answer is thrown away. A node known to be down fails at once. A node may call itself, without a network.
    pub async fn call(
        &self,
        to: NodeId,
        _service: Service,
        _method: u16,
        _body: Bytes,
        _deadline: Duration,
        _class: Class,
    ) -> Result<Bytes, CallError> {
        Err(CallError::Unknown { node: to })
    }

    /// Starts to accept connections on `listener` and to answer calls with `handlers`.
    pub fn serve(self: &Arc<Self>, _listener: rt::net::Listener, _handlers: Handlers) {}
}
