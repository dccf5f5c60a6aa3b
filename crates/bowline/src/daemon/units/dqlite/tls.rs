//! TLS for clients on other machines: the node's own certificate, and clients that the cluster's CA vouches for.

use crate::daemon::error::NodeError;
use api::dqlite::TlsDoor;
use cluster::{Credentials, NodeIdentity};
use rpc::TlsIdentity;
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};
use std::sync::Arc;

pub(super) fn door(identity: &NodeIdentity) -> Result<TlsDoor, NodeError> {
    let Credentials::Tls { ca, certificate, key, .. } = &identity.credentials else {
        return Err(NodeError::Identity(rpc::IdentityError::NoNode("the node has no certificate".to_owned())));
    };
    let TlsIdentity { chain, key, roots } =
        TlsIdentity::from_pem(certificate.as_bytes(), key.as_bytes(), ca.as_bytes())?;
    let mut trusted = RootCertStore::empty();
    for root in roots {
        trusted.add(root).map_err(rpc::IdentityError::Tls)?;
    }
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(trusted), Arc::clone(&provider))
        // A client on this machine may speak TLS without a certificate; the door asks the others for one.
        .allow_unauthenticated()
        .build()
        .map_err(|error| NodeError::Unit { unit: "dqlite", why: error.to_string() })?;
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(rpc::IdentityError::Tls)?
        .with_client_cert_verifier(verifier)
        .with_single_cert(chain, key)
        .map_err(rpc::IdentityError::Tls)?;
    Ok(TlsDoor { config: Arc::new(config), is_member: Arc::new(|shown| rpc::node_of(shown).is_ok()) })
}
