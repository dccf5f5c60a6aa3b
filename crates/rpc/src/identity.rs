//! Who this node is to others, and how it proves it.

use crate::Fingerprint;
use crate::tls;
use base::NodeId;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, ServerConfig};
use std::fmt;
use std::sync::Arc;

/// Who this node is.
#[derive(Debug)]
pub enum Identity {
    /// A certificate from the cluster's CA, and its key. Every real node has this one.
    Tls(TlsIdentity),
    /// The bare word of the connection's first frame. For the simulator only, whose network does not lie about who speaks.
    Plain {
        /// The node.
        node: NodeId,
    },
}

/// Certificate, key and the CAs that others are checked against.
pub struct TlsIdentity {
    /// This node's certificate, then any between it and the CA.
    pub chain: Vec<CertificateDer<'static>>,
    /// The certificate's private key.
    pub key: PrivateKeyDer<'static>,
    /// The cluster's CA; two while it is being replaced.
    pub roots: Vec<CertificateDer<'static>>,
}

/// Why certificates and keys cannot be an identity.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum IdentityError {
    /// The text is not PEM, or holds nothing of the kind.
    #[error("{what}: {why}")]
    Pem {
        /// Which of the three.
        what: &'static str,
        /// What is wrong.
        why: String,
    },
    /// The certificate carries no node id, or more than one.
    #[error("the certificate does not name exactly one node: {0}")]
    NoNode(String),
    /// TLS does not take them, most often because key and certificate do not belong together.
    #[error("{0}")]
    Tls(#[from] rustls::Error),
    /// A node keeps its id for life.
    #[error("this is the certificate of node {new}, but this is node {node}")]
    OtherNode {
        /// This node.
        node: NodeId,
        /// The node in the certificate.
        new: NodeId,
    },
}

impl TlsIdentity {
    /// Takes certificate, key and CA from PEM text.
    pub fn from_pem(chain: &[u8], key: &[u8], roots: &[u8]) -> Result<Self, IdentityError> {
        Ok(Self {
            chain: certificates("the node's certificate", chain)?,
            key: PrivateKeyDer::from_pem_slice(key)
                .map_err(|e| IdentityError::Pem { what: "the node's key", why: e.to_string() })?,
            roots: certificates("the CA certificate", roots)?,
        })
    }

    /// How a listener for clients greets: with the node's certificate, and taking note of a certificate that the CA vouches for if a
    /// client shows one. No session is resumed, so that each connection is judged anew. `alpn` are the protocols spoken there.
    pub fn listener_config(&self, alpn: &[&[u8]]) -> Result<ServerConfig, IdentityError> {
        Ok(tls::listener_config(self, alpn)?)
    }

    /// How this node greets a listener for clients, as a member. `alpn` are the protocols that it means to speak.
    pub fn client_config(&self, alpn: &[&[u8]]) -> Result<ClientConfig, IdentityError> {
        let mut config = tls::client_config(self)?;
        config.alpn_protocols = alpn.iter().map(|name| name.to_vec()).collect();
        Ok(config)
    }

    /// The node that the certificate names.
    pub fn node(&self) -> Result<NodeId, IdentityError> {
        let leaf = self.chain.first().ok_or_else(|| IdentityError::NoNode("there is no certificate".to_owned()))?;
        tls::node_of(leaf).map_err(IdentityError::NoNode)
    }
}

fn certificates(what: &'static str, pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, IdentityError> {
    let all = CertificateDer::pem_slice_iter(pem)
        .collect::<Result<Vec<_>, _>>()
        .map_err(|e| IdentityError::Pem { what, why: e.to_string() })?;
    if all.is_empty() {
        return Err(IdentityError::Pem { what, why: "there is no certificate in it".to_owned() });
    }
    Ok(all)
}

impl fmt::Debug for TlsIdentity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Never the key.
        f.debug_struct("TlsIdentity")
            .field("chain", &self.chain.len())
            .field("roots", &self.roots.len())
            .finish_non_exhaustive()
    }
}

/// The fingerprint of a certificate's public key.
pub fn fingerprint_of(certificate: &CertificateDer<'_>) -> Result<Fingerprint, IdentityError> {
    tls::fingerprint(certificate).map_err(IdentityError::Tls)
}

/// How the certificate of a CA names its key, and certificates name the CA that made them: the key's fingerprint, cut to 20 bytes.
pub fn key_id_of(ca: &Fingerprint) -> [u8; 20] {
    tls::key_id(ca)
}

/// The node that a certificate names. It says nothing of who made the certificate: check that first.
pub fn node_of(certificate: &CertificateDer<'_>) -> Result<NodeId, IdentityError> {
    tls::node_of(certificate).map_err(IdentityError::NoNode)
}

/// How a client greets that knows of the cluster only the fingerprint of its CA's key, and shows no certificate: whoever answers has to
/// be a node of that cluster.
pub fn pinned_client_config(ca: Fingerprint) -> Result<ClientConfig, IdentityError> {
    Ok(tls::pinned_config(ca)?)
}

/// The name by which the certificate of `node` is checked: one of its subject alternative names.
pub fn node_name(node: NodeId) -> String {
    format!("node-{node}.bowline")
}

/// An identity made ready for use in handshakes.
#[derive(Debug, Clone)]
pub(crate) enum Material {
    Tls { node: NodeId, server: Arc<ServerConfig>, client: Arc<ClientConfig> },
    Plain { node: NodeId },
}

impl Material {
    pub(crate) fn node(&self) -> NodeId {
        match self {
            Self::Tls { node, .. } | Self::Plain { node } => *node,
        }
    }
}

impl TryFrom<Identity> for Material {
    type Error = IdentityError;

    fn try_from(identity: Identity) -> Result<Self, IdentityError> {
        match identity {
            Identity::Plain { node } => Ok(Self::Plain { node }),
            Identity::Tls(identity) => {
                let node = identity.node()?;
                Ok(Self::Tls {
                    node,
                    server: Arc::new(tls::server_config(&identity)?),
                    client: Arc::new(tls::client_config(&identity)?),
                })
            }
        }
    }
}
