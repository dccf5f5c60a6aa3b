//! One node's end of the node-to-node network.

use crate::frame::NO_MEMBER;
use crate::identity::{IdentityError, Material};
use crate::link::Link;
use crate::{CallError, Caller, Class, Fingerprint, Handlers, Identity, Service, serve};
use base::NodeId;
use bytes::Bytes;
use lifecycle::{Scope, StopReport};
use rt::sync::watch;
use rt::time::Instant;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::Semaphore;

/// Connections that may be in their handshake at once; one more is closed unheard.
const HANDSHAKES_MAX: usize = 128;
/// Strangers that may be connected at once; one more is told to come back.
const STRANGERS_MAX: usize = 32;

/// One node's end of the node-to-node network: calls others, and answers them.
#[derive(Debug)]
pub struct Mesh {
    shared: Arc<Shared>,
    scope: Scope,
}

/// Whether a peer answers, as this node's own connections to it tell.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Reach {
    /// Nobody has called it yet.
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
    /// within microseconds when the process died, after 3.5 silent seconds when its machine or the network did.
    pub lost: u64,
}

/// What the mesh's tasks share. They never hold the mesh itself: dropping it ends them.
#[derive(Debug)]
pub(crate) struct Shared {
    node: NodeId,
    material: Mutex<Material>,
    peers: Mutex<BTreeMap<NodeId, Peer>>,
    handlers: Mutex<Handlers>,
    pub(crate) banished: watch::Sender<BTreeSet<NodeId>>,
    /// A member has said that this node is none any more.
    dismissed: watch::Sender<bool>,
    pub(crate) handshakes: Arc<Semaphore>,
    pub(crate) strangers: Arc<Semaphore>,
}

#[derive(Debug)]
struct Peer {
    address: Option<String>,
    links: BTreeMap<Class, Arc<Link>>,
    view: watch::Sender<PeerView>,
}

impl Default for Peer {
    fn default() -> Self {
        Self { address: None, links: BTreeMap::new(), view: watch::channel(PeerView::default()).0 }
    }
}

impl Mesh {
    /// Makes a node's end of the network. Its tasks live in a child of `scope`. Nothing is listened to before
    /// [`serve`](Self::serve), nothing connected to before the first call.
    pub fn new(identity: Identity, scope: &Scope) -> Result<Arc<Self>, IdentityError> {
        let material = Material::try_from(identity)?;
        let shared = Arc::new(Shared {
            node: material.node(),
            material: Mutex::new(material),
            peers: Mutex::default(),
            handlers: Mutex::default(),
            banished: watch::channel(BTreeSet::new()).0,
            dismissed: watch::channel(false).0,
            handshakes: Arc::new(Semaphore::new(HANDSHAKES_MAX)),
            strangers: Arc::new(Semaphore::new(STRANGERS_MAX)),
        });
        Ok(Arc::new(Self { shared, scope: scope.child("mesh") }))
    }

    /// This node.
    pub fn node(&self) -> NodeId {
        self.shared.node
    }

    /// Takes a new certificate, key and CA into use for connections made from now on, in both directions. Those that exist
    /// go on under the old ones.
    pub fn set_identity(&self, identity: Identity) -> Result<(), IdentityError> {
        let material = Material::try_from(identity)?;
        if material.node() != self.shared.node {
            return Err(IdentityError::OtherNode { node: self.shared.node, new: material.node() });
        }
        *lock(&self.shared.material) = material;
        Ok(())
    }

    /// Says where a node is: `host:port`. A changed address is used from the next connection on.
    pub fn set_address(&self, node: NodeId, address: impl Into<String>) {
        lock(&self.shared.peers).entry(node).or_default().address = Some(address.into());
    }

    /// Forgets where a node is and closes the connections that this node made to it.
    pub fn forget(&self, node: NodeId) {
        let mut peers = lock(&self.shared.peers);
        if let Some(peer) = peers.get_mut(&node) {
            peer.address = None;
            for link in std::mem::take(&mut peer.links).into_values() {
                link.close();
            }
        }
    }

    /// The nodes that were members and are no longer: their certificates are still good, but nothing of theirs is answered, and
    /// connections that they hold are closed.
    pub fn set_banished(&self, nodes: BTreeSet<NodeId>) {
        self.shared.banished.send_if_modified(|current| {
            let changed = *current != nodes;
            *current = nodes;
            changed
        });
    }

    /// Whether a member has said that this node is none any more: see [`set_banished`](Self::set_banished). It stays so.
    pub fn dismissed(&self) -> watch::Receiver<bool> {
        self.shared.dismissed.subscribe()
    }

    /// A member has said so to this node on another way.
    pub fn dismiss(&self) {
        self.shared.dismissed.send_replace(true);
    }

    /// Where a node is.
    pub fn address(&self, node: NodeId) -> Option<String> {
        self.shared.address(node)
    }

    /// The nodes whose addresses are known.
    pub fn peers(&self) -> Vec<NodeId> {
        lock(&self.shared.peers).iter().filter(|(_, peer)| peer.address.is_some()).map(|(node, _)| *node).collect()
    }

    /// Watches what the connections tell of a node: each end of one adds to [`PeerView::lost`].
    pub fn watch(&self, node: NodeId) -> watch::Receiver<PeerView> {
        lock(&self.shared.peers).entry(node).or_default().view.subscribe()
    }

    /// Calls `method` of `service` on node `to`, and waits `deadline` at most for the answer.
    ///
    /// Cancel-safe: dropping the future before the call was sent takes it back; after that the other side is told to stop and a
    /// late answer is thrown away. A node known to be down fails at once. A node may call itself, without a network.
    pub async fn call(
        &self,
        to: NodeId,
        service: Service,
        method: u16,
        body: Bytes,
        deadline: Duration,
        class: Class,
    ) -> Result<Bytes, CallError> {
        if to == self.shared.node {
            return self.call_myself(service, method, body, deadline).await;
        }
        let link = self.link(to, class)?;
        link.call(service, method, body, deadline).await
    }

    fn link(&self, to: NodeId, class: Class) -> Result<Arc<Link>, CallError> {
        let mut peers = lock(&self.shared.peers);
        let peer = peers.get_mut(&to).filter(|peer| peer.address.is_some()).ok_or(CallError::Unknown { node: to })?;
        if let Some(link) = peer.links.get(&class) {
            return Ok(Arc::clone(link));
        }
        let link = Arc::new(Link::new(to, class));
        peer.links.insert(class, Arc::clone(&link));
        drop(peers);
        let running = Arc::clone(&link).run(Arc::clone(&self.shared), self.scope.cancelled());
        drop(self.scope.spawn("link", running));
        if self.scope.cancelled().is_cancelled() {
            // Then the task has not started, and never will.
            link.close();
        }
        Ok(link)
    }

    async fn call_myself(
        &self,
        service: Service,
        method: u16,
        body: Bytes,
        deadline: Duration,
    ) -> Result<Bytes, CallError> {
        if self.scope.cancelled().is_cancelled() {
            return Err(CallError::Stopped);
        }
        let node = self.shared.node;
        let caller = Caller {
            node: Some(node),
            fingerprint: Fingerprint::default(),
            address: None,
            deadline: Instant::now() + deadline,
        };
        let handlers = lock(&self.shared.handlers).clone();
        let answering = serve::answer(&handlers, &caller, service.code(), method, body);
        match rt::time::timeout(deadline, answering).await {
            Ok(answer) => answer.map_err(CallError::Refused),
            Err(_) => Err(CallError::Deadline { node, deadline, sent: true }),
        }
    }

    /// Accepts connections on `listener` from now on, and answers calls with `handlers`. May be called for several listeners.
    pub fn serve(&self, listener: rt::net::Listener, handlers: Handlers) {
        lock(&self.shared.handlers).clone_from(&handlers);
        let serving = serve::accept(Arc::clone(&self.shared), listener, Arc::new(handlers), self.scope.clone());
        drop(self.scope.spawn("accept", serving));
    }

    /// Stops in order: accepts nothing new, tells all peers, lets calls under way in both directions finish until `deadline`, then
    /// closes. Calls made meanwhile fail with [`CallError::Stopped`]. Dropping the future leaves it stopping.
    pub async fn stop(&self, deadline: Duration) -> StopReport {
        self.scope.stop(deadline).await
    }
}

impl Shared {
    pub(crate) fn node(&self) -> NodeId {
        self.node
    }

    pub(crate) fn material(&self) -> Material {
        lock(&self.material).clone()
    }

    pub(crate) fn address(&self, node: NodeId) -> Option<String> {
        lock(&self.peers).get(&node).and_then(|peer| peer.address.clone())
    }

    /// What a peer said when it closed a connection, or refused one.
    pub(crate) fn heard_goodbye(&self, why: &str) {
        if why == NO_MEMBER {
            self.dismissed.send_if_modified(|dismissed| !std::mem::replace(dismissed, true));
        }
    }

    pub(crate) fn link_is_up(&self, node: NodeId, class: Class) {
        tracing::debug!(%node, ?class, "connected");
        self.change(node, |view| {
            if class == Class::Control {
                view.reach = Reach::Up;
            }
        });
    }

    pub(crate) fn link_is_down(&self, node: NodeId, class: Class, why: &Arc<str>) {
        tracing::debug!(%node, ?class, %why, "cannot connect");
        if class == Class::Control {
            self.change(node, |view| view.reach = Reach::Down(Arc::clone(why)));
        }
    }

    pub(crate) fn link_is_lost(&self, node: NodeId, class: Class, why: &Arc<str>) {
        tracing::debug!(%node, ?class, %why, "disconnected");
        self.change(node, |view| {
            if class == Class::Control {
                view.reach = Reach::Down(Arc::clone(why));
            }
            view.lost += 1;
        });
    }

    /// A connection from `node` was accepted: whoever connects is there, so links that wait to try again need not wait.
    pub(crate) fn inbound_opened(&self, node: NodeId) -> usize {
        let mut peers = lock(&self.peers);
        let peer = peers.entry(node).or_default();
        for link in peer.links.values() {
            link.kick();
        }
        peer.view.send_modify(|view| view.inbound += 1);
        peer.view.borrow().inbound
    }

    pub(crate) fn inbound_closed(&self, node: NodeId) {
        self.change(node, |view| {
            view.inbound = view.inbound.saturating_sub(1);
            view.lost += 1;
        });
    }

    fn change(&self, node: NodeId, change: impl FnOnce(&mut PeerView)) {
        if let Some(peer) = lock(&self.peers).get(&node) {
            peer.view.send_if_modified(|view| {
                let before = view.clone();
                change(view);
                *view != before
            });
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
