//! What members show over HTTPS: where they answer, and with which certificate.

use super::{Node, problem};
use crate::daemon::error::NodeError;
use crate::daemon::node;
use crate::daemon::units::own_identity;
use api::control::{Face, Faces, NodeInfo, Problem};
use cluster::Transport;
use futures::future::join_all;
use rt::net::Stream;
use rustls::ClientConfig;
use rustls::pki_types::{CertificateDer, ServerName};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio_rustls::TlsConnector;

/// How long a member may take to show itself. One whose process is gone is known at once; this is for machines that are.
const LOOK_MAX: Duration = Duration::from_secs(1);

/// Greets each of them, all at once.
pub(super) async fn look(node: &Node, members: Vec<NodeInfo>) -> Result<Faces, Problem> {
    let formation = node::load_identity(node.config()).await.map_err(|error| problem(&error))?;
    let Some(identity) = formation.map(|formation| formation.identity) else { return Ok(Faces::default()) };
    if identity.record.transport == Transport::Plain {
        return Ok(Faces::default());
    }
    let own = own_identity(&identity).map_err(|error| problem(&error))?;
    let config = own.client_config(&[b"http/1.1"]).map_err(|error| problem(&NodeError::Identity(error)))?;
    let config = Arc::new(config);
    let looks = members.iter().map(|member| {
        let config = Arc::clone(&config);
        async move { rt::time::timeout(LOOK_MAX, greet(config, member)).await.ok().flatten() }
    });
    let shown = join_all(looks).await;
    let faces = members.iter().zip(shown).map(|(member, shown)| {
        let (address, certificate) = shown.unzip();
        // A node knows its own face also while it does not answer.
        let certificate = match certificate {
            None if member.id == identity.record.node => own.chain.first().cloned(),
            shown => shown,
        };
        Face { node: member.id, address, certificate }
    });
    Ok(Faces { authority: own.roots.first().cloned(), members: faces.collect() })
}

async fn greet(config: Arc<ClientConfig>, member: &NodeInfo) -> Option<(SocketAddr, CertificateDer<'static>)> {
    let stream = Stream::connect(&member.https_address).await.ok()?;
    let address = stream.peer_addr()?;
    let name = ServerName::try_from(rpc::node_name(member.id)).ok()?;
    let stream = TlsConnector::from(config).connect(name, stream).await.ok()?;
    let shown = stream.get_ref().1.peer_certificates()?.first()?.clone().into_owned();
    Some((address, shown))
}
