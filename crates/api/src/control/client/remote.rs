//! A cluster that is asked from afar: over HTTPS, with an access token that pins its CA.

use super::{ClientError, RequestBody, broken};
use base::Fault;
use hyper::header::HeaderValue;
use hyper::{Request, header};
use rpc::{ConnectError, Fingerprint};
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
    authorization: HeaderValue,
}

impl Remote {
    /// The members at `addresses` (`host:port`) of the cluster whose CA has the fingerprint `ca`, with `token` as the bearer token.
    pub fn new(addresses: Vec<String>, ca: Fingerprint, token: &str) -> Result<Self, ClientError> {
        let tls = rpc::pinned_client_config(ca).map_err(|e| broken(&e))?;
        let mut authorization = HeaderValue::try_from(format!("Bearer {token}")).map_err(|e| broken(&e))?;
        authorization.set_sensitive(true);
        Ok(Self { addresses, tls: Arc::new(tls), authorization })
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
                    headers.insert(header::AUTHORIZATION, self.authorization.clone());
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
        // Who answers is held to the CA, not to a name: the address may be one that the certificate does not know.
        let name = ServerName::try_from("any.bowline").map_err(|error| ConnectError::Tls(error.to_string()))?;
        TlsConnector::from(Arc::clone(&self.tls)).connect(name, stream).await.map_err(|error| ConnectError::of(&error))
    }
}

impl fmt::Debug for Remote {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Never the token.
        f.debug_struct("Remote").field("addresses", &self.addresses).finish_non_exhaustive()
    }
}
