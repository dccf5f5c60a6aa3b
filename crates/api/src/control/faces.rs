//! Members as programs see them that know no names: by the numbers of their addresses, and by the certificates that they show.

use base::NodeId;
use rustls::pki_types::CertificateDer;
use std::net::SocketAddr;

/// What members show over HTTPS.
#[derive(Debug, Clone, Default)]
pub struct Faces {
    /// The certificate of the cluster's CA. None in the simulator.
    pub authority: Option<CertificateDer<'static>>,
    /// The members that were asked for.
    pub members: Vec<Face>,
}

/// What one member shows.
#[derive(Debug, Clone)]
pub struct Face {
    /// Whose it is.
    pub node: NodeId,
    /// Where it answered, or where its announced address leads, if that is known.
    pub address: Option<SocketAddr>,
    /// The certificate that it showed; none of one that does not answer.
    pub certificate: Option<CertificateDer<'static>>,
}

impl Faces {
    /// What `node` showed.
    pub fn of(&self, node: NodeId) -> Option<&Face> {
        self.members.iter().find(|face| face.node == node)
    }
}
