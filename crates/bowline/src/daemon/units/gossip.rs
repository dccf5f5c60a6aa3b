//! The node's member of the cluster's gossip group: who is alive.

use crate::daemon::addresses::announced;
use crate::daemon::error::NodeError;
use crate::daemon::node::bind_gossip;
use base::Fault;
use cluster::{Gossiping, Keyring};
use lifecycle::{Context, Deadline, Unit, UnitError};
use rt::net::BoundUdp;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

/// How long the node's own name may take to be looked up.
const LOOK_UP_MAX: Duration = Duration::from_secs(2);
/// How long it may take to say goodbye.
const FAREWELL_MAX: Duration = Duration::from_secs(1);

/// Owns the gossip socket. It says goodbye when it stops: others need not wait to find out.
pub(crate) struct GossipUnit {
    keys: Arc<Keyring>,
    address: String,
    /// Bound before the unit first started, with the port of the calls.
    socket: Option<BoundUdp>,
    member: Option<Gossiping>,
}

impl GossipUnit {
    /// `address` is bound again when the unit is restarted.
    pub(crate) fn new(keys: Arc<Keyring>, address: String, socket: BoundUdp) -> Self {
        Self { keys, address, socket: Some(socket), member: None }
    }
}

impl Unit for GossipUnit {
    type Needs = ();
    type Provides = Gossiping;

    async fn start(&mut self, (): (), context: &Context) -> Result<Gossiping, UnitError> {
        let socket = match self.socket.take() {
            Some(socket) => socket,
            None => bind_gossip(&self.address).await?,
        };
        let bound = socket.local_addr().map_err(|source| NodeError::Bind {
            what: "gossip (UDP)",
            address: self.address.clone(),
            source,
        })?;
        let told = self.keys.identity().record.address.clone();
        let member = Gossiping::start(&self.keys, reached(&told, bound).await, socket, &context.scope)
            .map_err(NodeError::Cluster)?;
        self.member = Some(member.clone());
        Ok(member)
    }

    async fn stop(&mut self, deadline: &Deadline) -> Result<(), UnitError> {
        if let Some(member) = self.member.take()
            && let Err(error) = member.quit(FAREWELL_MAX.min(deadline.remaining())).await
        {
            tracing::info!(%error, code = %error.code(), "not all members were told that this one goes");
        }
        Ok(())
    }
}

/// The address under which others reach this node: gossip tells numbers, no names. Debian gives a machine's own name an address of loopback.
async fn reached(told: &str, bound: SocketAddr) -> SocketAddr {
    let found = rt::time::timeout(LOOK_UP_MAX, rt::net::resolve(told)).await;
    let found = match found {
        Ok(Ok(found)) => found,
        Ok(Err(error)) => {
            tracing::info!(%error, address = told, "this node's own address could not be looked up");
            Vec::new()
        }
        Err(_late) => Vec::new(),
    };
    let is_number = told.parse::<SocketAddr>().is_ok();
    let usable = found.into_iter().filter(|found| is_number || !found.ip().is_loopback());
    let best = usable.min_by_key(SocketAddr::is_ipv6);
    best.filter(|found| !found.ip().is_unspecified()).unwrap_or_else(|| announced(bound))
}
