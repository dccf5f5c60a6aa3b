//! Calling as a stranger: a machine that is not a member yet, and knows of the cluster only its CA's fingerprint.

use crate::connect::{self, ConnectError, Transport};
use crate::frame::{BODY_LEN_MAX, Frame, Hello, VERSION};
use crate::tls::AnyNode;
use crate::wire::{Wire, WireError};
use crate::{CallError, Class, Fingerprint, Refusal, Service, tls};
use base::NodeId;
use bytes::Bytes;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;
use tokio_rustls::TlsConnector;

/// By what a stranger can be told from another when it comes again.
pub enum StrangerIdentity {
    /// A self-signed certificate (not a CA) and its key.
    Tls {
        /// The certificate. The times in it mean nothing.
        certificate: CertificateDer<'static>,
        /// Its key.
        key: PrivateKeyDer<'static>,
    },
    /// The bare word, in the simulator.
    Plain {
        /// The fingerprint to go by.
        fingerprint: Fingerprint,
    },
}

impl fmt::Debug for StrangerIdentity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Never the key.
        f.write_str(match self {
            Self::Tls { .. } => "StrangerIdentity::Tls",
            Self::Plain { .. } => "StrangerIdentity::Plain",
        })
    }
}

/// A stranger's connection to a member. Calls go one after another. Dropping it closes the connection.
#[derive(Debug)]
pub struct StrangerConnection {
    wire: Wire<Transport>,
    node: NodeId,
    next_id: u64,
}

impl StrangerConnection {
    /// Connects to the member at `address`, if it proves to belong to the cluster whose CA has this fingerprint. Cancel-safe.
    pub async fn open(
        address: &str,
        identity: &StrangerIdentity,
        ca: Fingerprint,
        deadline: Duration,
    ) -> Result<Self, ConnectError> {
        Self::to(AnyNode::pinned(ca), address, identity, deadline).await
    }

    /// The same, whether or not the member's certificate is good by this machine's clock: to compare the two clocks. Nothing secret
    /// may be said on such a connection: an old certificate may be in anybody's hands. Cancel-safe.
    pub async fn open_whenever(
        address: &str,
        identity: &StrangerIdentity,
        ca: Fingerprint,
        deadline: Duration,
    ) -> Result<Self, ConnectError> {
        Self::to(AnyNode::pinned(ca).whenever(), address, identity, deadline).await
    }

    /// The same for one who has the cluster's CAs themselves: a member whose certificate the others do not accept. Cancel-safe.
    pub async fn open_trusting(
        address: &str,
        identity: &StrangerIdentity,
        roots: &[CertificateDer<'static>],
        deadline: Duration,
    ) -> Result<Self, ConnectError> {
        Self::to(AnyNode::of_roots(roots.to_vec()), address, identity, deadline).await
    }

    async fn to(
        whom: AnyNode,
        address: &str,
        identity: &StrangerIdentity,
        deadline: Duration,
    ) -> Result<Self, ConnectError> {
        let (tls, fingerprint) = match identity {
            StrangerIdentity::Plain { fingerprint } => (None, *fingerprint),
            StrangerIdentity::Tls { certificate, key } => {
                let config = tls::stranger_config(certificate.clone(), key.clone_key(), whom)
                    .map_err(|e| ConnectError::Tls(e.to_string()))?;
                // Whoever answers will do, as long as the CA vouches for it.
                let name = ServerName::try_from("any.bowline").map_err(|e| ConnectError::Tls(e.to_string()))?;
                (Some((TlsConnector::from(Arc::new(config)), name)), Fingerprint::default())
            }
        };
        let hello = Hello { version: VERSION, class: Class::Control, node: None, wanted: None, fingerprint };
        let (wire, node) = connect::within(deadline, connect::open(tls, address, hello)).await?;
        Ok(Self { wire, node, next_id: 1 })
    }

    /// The member at the other end.
    pub fn node(&self) -> NodeId {
        self.node
    }

    /// Calls a method of [`Service::Join`]. When the future is dropped the connection is of no further use.
    pub async fn call(&mut self, method: u16, body: Bytes, deadline: Duration) -> Result<Bytes, CallError> {
        if body.len() > BODY_LEN_MAX {
            return Err(CallError::TooLarge { len: body.len(), max: BODY_LEN_MAX });
        }
        let id = self.next_id;
        self.next_id += 1;
        let deadline_ms = u32::try_from(deadline.as_millis()).unwrap_or(u32::MAX);
        let call = Frame::Call { service: Service::Join.code(), method, deadline_ms, body };
        let answered = rt::time::timeout(deadline, self.exchange(id, &call)).await;
        match answered {
            Err(_) => Err(CallError::Deadline { node: self.node, deadline, sent: true }),
            Ok(Ok(answer)) => answer.map_err(CallError::Refused),
            Ok(Err(error)) => {
                Err(CallError::Lost { node: self.node, why: ConnectError::from(error).to_string().into() })
            }
        }
    }

    async fn exchange(&mut self, id: u64, call: &Frame) -> Result<Result<Bytes, Refusal>, WireError> {
        self.wire.send(id, call).await?;
        loop {
            match self.wire.next().await? {
                (answered, Frame::Answer(body)) if answered == id => return Ok(Ok(body)),
                (answered, Frame::Refused(refusal)) if answered == id => return Ok(Err(refusal)),
                (_, Frame::Goodbye(why)) => return Err(WireError::Io(std::io::Error::other(why))),
                _ => {}
            }
        }
    }
}
