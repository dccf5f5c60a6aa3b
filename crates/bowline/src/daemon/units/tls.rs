//! TLS for clients on other machines: the node's own certificate, and clients that the cluster's CA vouches for.

use crate::daemon::error::NodeError;
use cluster::{Credentials, NodeIdentity};
use rpc::TlsIdentity;
use rustls::ServerConfig;
use std::sync::Arc;

/// With what a node proves who it is, for handshakes.
pub(crate) fn own_identity(identity: &NodeIdentity) -> Result<TlsIdentity, NodeError> {
    let Credentials::Tls { ca, certificate, key, .. } = &identity.credentials else {
        return Err(NodeError::Identity(rpc::IdentityError::NoNode("the node has no certificate".to_owned())));
    };
    Ok(TlsIdentity::from_pem(certificate.as_bytes(), key.as_bytes(), ca.as_bytes())?)
}

/// How a listener for clients greets; see [`TlsIdentity::listener_config`].
pub(super) fn listener(identity: &NodeIdentity, alpn: &[&[u8]]) -> Result<Arc<ServerConfig>, NodeError> {
    Ok(Arc::new(own_identity(identity)?.listener_config(alpn)?))
}
