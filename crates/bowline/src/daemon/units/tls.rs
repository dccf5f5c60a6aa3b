//! TLS for clients on other machines: the node's own certificate, and clients that the cluster's CA vouches for.

use crate::daemon::error::NodeError;
use cluster::{Credentials, NodeIdentity};
use rpc::TlsIdentity;
use rustls::ServerConfig;
use std::sync::Arc;

/// How a listener for clients greets; see [`TlsIdentity::listener_config`].
pub(super) fn listener(identity: &NodeIdentity, alpn: &[&[u8]]) -> Result<Arc<ServerConfig>, NodeError> {
    let Credentials::Tls { ca, certificate, key, .. } = &identity.credentials else {
        return Err(NodeError::Identity(rpc::IdentityError::NoNode("the node has no certificate".to_owned())));
    };
    let identity = TlsIdentity::from_pem(certificate.as_bytes(), key.as_bytes(), ca.as_bytes())?;
    Ok(Arc::new(identity.listener_config(alpn)?))
}
