//! TLS for clients on other machines: the node's own certificate, and clients that the cluster's CA vouches for.

use crate::daemon::error::NodeError;
use cluster::{Keyring, NodeIdentity};
use lifecycle::Scope;
use rpc::{Identity, ListenerTls, TlsIdentity};
use rustls::ServerConfig;
use std::sync::Arc;

/// How a listener for clients greets; see [`rpc::TlsIdentity::listener_config`]. It follows the node's certificates as long as `scope` lives.
pub(super) fn listener(
    keys: &Arc<Keyring>,
    alpn: &'static [&'static [u8]],
    scope: &Scope,
) -> Result<ListenerTls, NodeError> {
    let mut changes = keys.watch();
    let first = Arc::clone(&changes.borrow_and_update());
    let tls = ListenerTls::new(config(&first, alpn)?);
    let following = tls.clone();
    drop(scope.spawn_droppable("certificates", async move {
        while changes.changed().await.is_ok() {
            let now = Arc::clone(&changes.borrow_and_update());
            match config(&now, alpn) {
                Ok(config) => following.set(config),
                // They were checked before they were put in place.
                Err(error) => tracing::error!(%error, "clients are still greeted with the old certificate"),
            }
        }
    }));
    Ok(tls)
}

fn config(identity: &NodeIdentity, alpn: &[&[u8]]) -> Result<ServerConfig, NodeError> {
    Ok(own_identity(identity)?.listener_config(alpn)?)
}

/// With what a node proves who it is, for handshakes.
pub(crate) fn own_identity(identity: &NodeIdentity) -> Result<TlsIdentity, NodeError> {
    match identity.mesh()? {
        Identity::Tls(identity) => Ok(identity),
        Identity::Plain { .. } => {
            Err(NodeError::Identity(rpc::IdentityError::NoNode("the node has no certificate".to_owned())))
        }
    }
}
