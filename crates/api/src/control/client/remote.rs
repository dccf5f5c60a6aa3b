//! A cluster that is asked from afar: over HTTPS, with an access token that pins its CA. And a member that is asked by another.

use super::{ClientError, RequestBody, broken};
use base::{Fault, NodeId};
use hyper::header::HeaderValue;
use hyper::{Request, header};
use rpc::{ConnectError, Fingerprint, TlsIdentity};
use rt::net::Stream;
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

/// How long one member may take to let a client in before the next is tried.
const CONNECT_MAX: Duration = Duration::from_secs(3);

/// Where a cluster is, and what lets a client in. Any of its members will do: the first that answers is asked.
#[derive(Clone)]
pub struct Remote {
    addresses: Vec<String>,
    tls: Arc<ClientConfig>,
    /// Whose certificate it has to be.
    name: ServerName<'static>,
    /// What is shown; if nothing, the certificate of the connection says who asks.
    authorization: Option<HeaderValue>,
}

/// Who answers is held to the CA, not to a name: the address may be one that the certificate does not know.
const ANY_MEMBER: &str = "any.bowline";

impl Remote {
    /// The members at `addresses` (`host:port`) of the cluster whose CA has the fingerprint `ca`, with `token` as the bearer token.
    pub fn new(addresses: Vec<String>, ca: Fingerprint, token: &str) -> Result<Self, ClientError> {
        let tls = rpc::pinned_client_config(ca).map_err(|e| broken(&e))?;
        let mut authorization = HeaderValue::try_from(format!("Bearer {token}")).map_err(|e| broken(&e))?;
        authorization.set_sensitive(true);
        Ok(Self { addresses, tls: Arc::new(tls), name: name(ANY_MEMBER)?, authorization: Some(authorization) })
    }

    /// The member `node` at `address`, asked by the member whose identity this is.
    pub fn member(address: String, node: NodeId, own: &TlsIdentity) -> Result<Self, ClientError> {
        let tls = own.client_config(&[b"http/1.1"]).map_err(|e| broken(&e))?;
        let name = name(&rpc::node_name(node))?;
        Ok(Self { addresses: vec![address], tls: Arc::new(tls), name, authorization: None })
    }

    /// A connection to the first member that lets a client in, and the request as it is sent there. Cancel-safe.
    pub(super) async fn connect(
        &self,
        mut request: Request<RequestBody>,
    ) -> Result<(TlsStream<Stream>, Request<RequestBody>), ClientError> {
        let mut tried = Vec::new();
        for address in &self.addresses {
            match rt::time::timeout(CONNECT_MAX, self.greet(address)).await {
                Ok(Ok(stream)) => {
                    let headers = request.headers_mut();
                    headers.insert(header::HOST, HeaderValue::try_from(address).map_err(|e| broken(&e))?);
                    if let Some(authorization) = &self.authorization {
                        headers.insert(header::AUTHORIZATION, authorization.clone());
                    }
                    return Ok((stream, request));
                }
                Ok(Err(error)) => tried.push(format!("{address}: {error} ({})", error.code())),
                Err(_elapsed) => tried.push(format!("{address}: nobody answers within {} s", CONNECT_MAX.as_secs())),
            }
        }
        Err(ClientError::NoHost { tried })
    }

    async fn greet(&self, address: &str) -> Result<TlsStream<Stream>, ConnectError> {
        let stream = Stream::connect(address).await.map_err(|error| ConnectError::of(&error))?;
        let connector = TlsConnector::from(Arc::clone(&self.tls));
        connector.connect(self.name.clone(), stream).await.map_err(|error| ConnectError::of(&error))
    }
}

fn name(of: &str) -> Result<ServerName<'static>, ClientError> {
    ServerName::try_from(of.to_owned()).map_err(|e| broken(&e))
}

impl fmt::Debug for Remote {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Never the token.
        f.debug_struct("Remote").field("addresses", &self.addresses).finish_non_exhaustive()
    }
}
