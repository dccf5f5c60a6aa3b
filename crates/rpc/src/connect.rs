//! Making a connection: TCP, TLS, and the first two frames.

use crate::frame::{FRAME_LEN_MAX, Frame, FrameError, Hello, VERSION};
use crate::identity::Material;
use crate::tls;
use crate::wire::{Wire, WireError};
use crate::{Class, Fingerprint};
use base::{Code, Disposition, Fault, NodeId};
use rt::net::Stream;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_rustls::{TlsConnector, TlsStream};

/// How long the whole of it may take. A machine that is off answers nothing at all.
pub(crate) const CONNECT_DEADLINE: Duration = Duration::from_secs(2);

/// Why no connection came about.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ConnectError {
    /// The network or the other machine's kernel says no.
    #[error("{1}")]
    Io(io::ErrorKind, String),
    /// Nothing came back in time.
    #[error("no answer within {} ms", .0.as_millis())]
    Silent(Duration),
    /// The other side's certificate begins in this machine's future.
    #[error(
        "its certificate is not valid before {not_before}, but this machine's clock says {now}: one of the two clocks is wrong; \
         `timedatectl` shows whether this one is set by the network"
    )]
    NotYetValid {
        /// This machine's time.
        now: String,
        /// The certificate's beginning.
        not_before: String,
    },
    /// The other side's certificate has ended.
    #[error(
        "its certificate expired at {not_after}; this machine's clock says {now}: `timedatectl` shows whether it is set by the network"
    )]
    Expired {
        /// This machine's time.
        now: String,
        /// The certificate's end.
        not_after: String,
    },
    /// The other side's certificate does not come from the CA that this side trusts.
    #[error("its certificate is not of this cluster")]
    OtherCluster,
    /// The other side's certificate comes from a CA that says that the pinned one, which is gone, vouched for it.
    #[error("this cluster has replaced the CA that the token pins")]
    ReplacedCa,
    /// Somebody else lives at that address.
    #[error("another node answers there: {0}")]
    OtherNode(String),
    /// The other side accepts the connection but not who makes it.
    #[error("it refuses this node: {0}")]
    RefusedByPeer(&'static str),
    /// The other side closed the connection and said why.
    #[error("it refuses this node: {0}")]
    Goodbye(String),
    /// Another failure of the handshake.
    #[error("the TLS handshake failed: {0}")]
    Tls(String),
    /// The other side sent something that is not what it should be.
    #[error("{0}")]
    Frame(#[from] FrameError),
    /// A frame that has no place here.
    #[error("it sent a frame out of turn")]
    OutOfTurn,
}

impl ConnectError {
    /// What an error of a connection or of its handshake means, in words that name the next step.
    pub fn of(error: &io::Error) -> Self {
        tls::explain(error)
    }
}

impl Fault for ConnectError {
    fn code(&self) -> Code {
        match self {
            Self::Io(..) | Self::Silent(_) | Self::Goodbye(_) => crate::error::DOWN,
            Self::NotYetValid { .. } | Self::Expired { .. } => crate::error::TIMES,
            Self::ReplacedCa => crate::error::REPLACED_CA,
            _ => crate::error::IDENTITY,
        }
    }

    fn disposition(&self) -> Disposition {
        match self {
            Self::Io(..) | Self::Silent(_) | Self::Goodbye(_) => {
                Disposition::Retry { after: Duration::from_millis(500) }
            }
            _ => Disposition::Refuse,
        }
    }
}

impl From<WireError> for ConnectError {
    fn from(error: WireError) -> Self {
        match error {
            WireError::Closed => Self::Io(io::ErrorKind::UnexpectedEof, "it closed the connection".to_owned()),
            WireError::Io(error) => tls::explain(&error),
            WireError::Frame(error) => Self::Frame(error),
        }
    }
}

impl From<io::Error> for ConnectError {
    fn from(error: io::Error) -> Self {
        tls::explain(&error)
    }
}

/// The byte stream under a connection.
#[derive(Debug)]
pub(crate) enum Transport {
    Plain(Stream),
    Tls(Box<TlsStream<Stream>>),
}

impl AsyncRead for Transport {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(s) => Pin::new(s).poll_read(cx, buf),
            Self::Tls(s) => Pin::new(s).poll_read(cx, buf),
        }
    }
}

impl AsyncWrite for Transport {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(s) => Pin::new(s).poll_write(cx, buf),
            Self::Tls(s) => Pin::new(s).poll_write(cx, buf),
        }
    }
    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(s) => Pin::new(s).poll_flush(cx),
            Self::Tls(s) => Pin::new(s).poll_flush(cx),
        }
    }
    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(s) => Pin::new(s).poll_shutdown(cx),
            Self::Tls(s) => Pin::new(s).poll_shutdown(cx),
        }
    }
}

/// Connects to member `node` as a member. Dropping the future gives up.
pub(crate) async fn to_member(
    material: &Material,
    node: NodeId,
    address: &str,
    class: Class,
) -> Result<Wire<Transport>, ConnectError> {
    let hello = Hello {
        version: VERSION,
        class,
        node: Some(material.node()),
        wanted: Some(node),
        fingerprint: Fingerprint::default(),
    };
    let tls = match material {
        Material::Plain { .. } => None,
        Material::Tls { client, .. } => {
            let name = tls::server_name(node).map_err(|e| ConnectError::Tls(e.to_string()))?;
            Some((TlsConnector::from(std::sync::Arc::clone(client)), name))
        }
    };
    let (wire, answered) = within(CONNECT_DEADLINE, open(tls, address, hello)).await?;
    if answered == node { Ok(wire) } else { Err(ConnectError::OtherNode(format!("node {answered}"))) }
}

pub(crate) async fn within<T>(
    deadline: Duration,
    connecting: impl Future<Output = Result<T, ConnectError>>,
) -> Result<T, ConnectError> {
    rt::time::timeout(deadline, connecting).await.unwrap_or(Err(ConnectError::Silent(deadline)))
}

/// TCP, then TLS if there is any, then hello and welcome. Only after the welcome has the other side accepted who calls: under TLS 1.3
/// its verdict on our certificate comes after our handshake is done.
pub(crate) async fn open(
    tls: Option<(TlsConnector, rustls::pki_types::ServerName<'static>)>,
    address: &str,
    hello: Hello,
) -> Result<(Wire<Transport>, NodeId), ConnectError> {
    let stream = Stream::connect(address).await?;
    let transport = match tls {
        None => Transport::Plain(stream),
        Some((connector, name)) => Transport::Tls(Box::new(TlsStream::Client(connector.connect(name, stream).await?))),
    };
    let mut wire = Wire::new(transport, FRAME_LEN_MAX);
    let sent = wire.send(0, &Frame::Hello(hello)).await;
    // The reason of a refusal may be there to read although writing fails.
    match wire.next().await {
        Ok((_, Frame::Welcome { version: VERSION, node })) => {
            sent?;
            Ok((wire, node))
        }
        Ok((_, Frame::Goodbye(why))) => Err(ConnectError::Goodbye(why)),
        Ok(_) => Err(ConnectError::OutOfTurn),
        Err(error) => Err(error.into()),
    }
}
