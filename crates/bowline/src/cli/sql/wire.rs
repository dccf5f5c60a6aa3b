//! One connection of the dqlite protocol: the sans-IO client of the `dqlite` crate on a socket.

use super::trouble::Trouble;
use api::control::Client;
use api::control::sql::SessionAt;
use api::dqlite::AnyStream;
use bytes::BytesMut;
use dqlite::{BodyLimit, ClientEvent, ClientSession, ClientState, Request, Version};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

/// Where a server is.
#[derive(Debug, Clone)]
pub(super) enum Endpoint {
    /// The node of this machine, over its local socket.
    Local(PathBuf),
    /// A server by `host:port`; the node's id if it is known, which its certificate must then prove.
    Remote {
        /// `host:port`.
        address: String,
        /// The node's id.
        id: Option<u64>,
    },
    /// A cluster that is asked over HTTPS, through whichever of its members answers.
    Cluster {
        /// Asks it.
        client: Client,
        /// At which member the session is to be.
        at: SessionAt,
        /// The name of the member that it came to be at.
        node: Option<String>,
    },
}

impl std::fmt::Display for Endpoint {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Local(socket) => write!(f, "{}", socket.display()),
            Self::Remote { address, .. } => f.write_str(address),
            Self::Cluster { node: Some(node), .. } => write!(f, "{node} over HTTPS"),
            Self::Cluster { node: None, .. } => f.write_str("the cluster"),
        }
    }
}

/// A connection.
pub(super) struct Wire {
    stream: AnyStream,
    session: ClientSession,
    input: BytesMut,
    output: BytesMut,
    endpoint: Endpoint,
}

impl Wire {
    /// Connects and shakes hands. `identity` is where this node's certificate is; connections that leave the machine use
    /// it, and are plain only if there is none. Dropping the future gives up.
    pub(super) async fn connect(endpoint: &Endpoint, identity: &Path) -> Result<Self, Trouble> {
        let place = endpoint.to_string();
        let unreachable = |source| Trouble::Unreachable { endpoint: place.clone(), source };
        let mut endpoint = endpoint.clone();
        let stream: AnyStream = match &mut endpoint {
            Endpoint::Local(socket) => Box::new(rt::net::Stream::connect_unix(socket).await.map_err(unreachable)?),
            Endpoint::Remote { address, id } => {
                let stream = rt::net::Stream::connect(address).await.map_err(unreachable)?;
                let at_home = stream.peer_addr().is_some_and(|peer| peer.ip().is_loopback());
                match (*id).filter(|_| !at_home && rt::fs::exists(&identity.join("ca.pem"))) {
                    Some(id) => Box::new(secure(stream, id, identity).await.map_err(unreachable)?),
                    None => Box::new(stream),
                }
            }
            Endpoint::Cluster { client, at, node } => {
                let session = match at {
                    SessionAt::Leader => client.sql().await,
                    SessionAt::Here => client.sql_here().await,
                };
                let session = session.map_err(|error| Trouble::Api(Box::new(error.into_problem())))?;
                *node = Some(session.node);
                session.stream
            }
        };
        let mut output = BytesMut::new();
        let session = ClientSession::new(Version::One, BodyLimit::DEFAULT, &mut output);
        Ok(Self { stream, session, input: BytesMut::new(), output, endpoint })
    }

    /// Where this leads.
    pub(super) fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    /// How the answer is to be read.
    pub(super) fn dialect(&self) -> dqlite::Dialect {
        self.session.dialect()
    }

    /// Whether nothing is asked, so that a request may be sent.
    pub(super) fn is_idle(&self) -> bool {
        self.session.state() == ClientState::Idle
    }

    /// Sends a request. Its answer comes from [`next`](Self::next).
    pub(super) async fn send(&mut self, request: &Request<'_>) -> Result<(), Trouble> {
        self.session.send(request, &mut self.output).map_err(|e| Trouble::broken(&e))?;
        self.flush().await
    }

    /// Asks the server to stop what it does; the next event is then [`ClientEvent::Interrupted`].
    pub(super) async fn interrupt(&mut self) -> Result<(), Trouble> {
        if self.session.interrupt(&mut self.output).is_err() {
            // It was asked already.
            return Ok(());
        }
        self.flush().await
    }

    async fn flush(&mut self) -> Result<(), Trouble> {
        let Self { stream, output, .. } = self;
        stream.write_all_buf(output).await.map_err(|e| Trouble::broken(&e))?;
        stream.flush().await.map_err(|e| Trouble::broken(&e))
    }

    /// The next event. Cancel-safe: what was read stays buffered.
    pub(super) async fn next(&mut self) -> Result<ClientEvent, Trouble> {
        loop {
            if let Some(event) = self.session.poll(&mut self.input).map_err(|e| Trouble::broken(&e))? {
                return Ok(event);
            }
            self.input.reserve(64 * 1024);
            let count = self.stream.read_buf(&mut self.input).await.map_err(|e| Trouble::broken(&e))?;
            if count == 0 {
                return Err(Trouble::Broken { what: "the server closed the connection".to_owned() });
            }
        }
    }
}

/// Mutual TLS 1.3 with this node's certificate; the server must prove that it is node `id` of this cluster.
async fn secure(
    stream: rt::net::Stream,
    id: u64,
    identity: &Path,
) -> std::io::Result<tokio_rustls::client::TlsStream<rt::net::Stream>> {
    use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, pem::PemObject};
    let read = |name: &str| rt::fs::read(&identity.join(name));
    let wrong = |error: &dyn std::error::Error| std::io::Error::new(std::io::ErrorKind::InvalidData, error.to_string());
    let chain = |pem: &[u8]| CertificateDer::pem_slice_iter(pem).collect::<Result<Vec<_>, _>>().map_err(|e| wrong(&e));
    let mut roots = rustls::RootCertStore::empty();
    for root in chain(&read("ca.pem")?)? {
        roots.add(root).map_err(|e| wrong(&e))?;
    }
    let key = PrivateKeyDer::from_pem_slice(&read("node.key")?).map_err(|e| wrong(&e))?;
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])
        .map_err(|e| wrong(&e))?
        .with_root_certificates(roots)
        .with_client_auth_cert(chain(&read("node.pem")?)?, key)
        .map_err(|e| wrong(&e))?;
    let name = ServerName::try_from(format!("node-{id}.bowline")).map_err(|e| wrong(&e))?;
    tokio_rustls::TlsConnector::from(Arc::new(config)).connect(name, stream).await
}
