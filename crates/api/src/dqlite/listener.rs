//! Listening, and deciding what each client may do.

use super::backend::Backend;
use super::connection::{Connection, Rights};
use super::prefixed::{Prefixed, is_tls};
use super::wire::{End, Wire};
use crate::intake::Intake;
use ::dqlite::BodyLimit;
use bytes::BytesMut;
use futures::FutureExt;
use lifecycle::{Cancelled, Ready, Scope};
use rpc::ListenerTls;
use rt::net::{Listener, Stream};
use rustls::pki_types::CertificateDer;
use std::future::Future;
use std::net::SocketAddr;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite};
use tokio::sync::Semaphore;
use tokio_rustls::TlsAcceptor;

/// How long a client may take to set TLS up, or to say its first byte.
const HELLO_MAX: Duration = Duration::from_secs(10);
/// How long the listener rests after a failed accept, which is nearly always a lack of file descriptors.
const ACCEPT_REST: Duration = Duration::from_millis(100);

/// TLS as the door speaks it.
#[derive(Clone)]
pub struct TlsDoor {
    /// The node's certificate, and how clients' certificates are checked. Without a client's certificate there is no
    /// connection.
    pub tls: ListenerTls,
    /// Whether a certificate, checked already, is a member's: its holder may do everything.
    pub is_member: Arc<dyn Fn(&CertificateDer<'_>) -> bool + Send + Sync>,
}

impl std::fmt::Debug for TlsDoor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("TlsDoor")
    }
}

/// Who is let in.
#[derive(Debug, Clone)]
pub enum Trust {
    /// Clients on the same machine, and nobody else.
    Local,
    /// Clients on the same machine, plain or with TLS; others with TLS and a certificate.
    Tls(TlsDoor),
    /// Everybody, as administrator. Only for the simulator, where there is no TLS.
    Everybody,
}

/// The door's limits.
#[derive(Debug, Clone, Copy)]
pub struct DoorOptions {
    /// The longest request, in bytes.
    pub body_limit: BodyLimit,
    /// The most connections at a time; more wait to be accepted.
    pub connections_max: usize,
}

impl Default for DoorOptions {
    fn default() -> Self {
        Self { body_limit: BodyLimit::DEFAULT, connections_max: 4096 }
    }
}

/// A listening door. Several may share a backend: one for TCP, one for a Unix socket.
pub struct Door<B> {
    listener: Listener,
    trust: Trust,
    options: DoorOptions,
    backend: Ready<B>,
}

impl<B: Backend> Door<B> {
    /// A door on a socket that was bound before. It accepts from [`Self::open`] on.
    pub fn new(listener: Listener, trust: Trust, options: DoorOptions, backend: Ready<B>) -> Self {
        Self { listener, trust, options, backend }
    }

    /// Accepts until `scope` is cancelled. Then nobody is accepted any more, idle clients are let go at once, and clients
    /// in a transaction when it ends, or when the scope's deadline ends them.
    pub fn open(self, scope: &Scope) {
        let clients = scope.child("clients");
        let stopping = scope.cancelled();
        scope.spawn("accept", self.accept(clients, stopping));
    }

    async fn accept(self, clients: Scope, stopping: Cancelled) {
        let free = Arc::new(Semaphore::new(self.options.connections_max));
        let guest = Arc::new(Guest::new(self.backend.share(), self.trust, self.options));
        loop {
            let accepted = async {
                let place = Arc::clone(&free).acquire_owned().await;
                (self.listener.accept().await, place)
            };
            let (accepted, place) = tokio::select! {
                biased;
                () = stopping.wait() => break,
                accepted = accepted => accepted,
            };
            match accepted {
                Ok(stream) => {
                    let (guest, stopping) = (Arc::clone(&guest), stopping.clone());
                    clients.spawn("client", async move {
                        guest.receive(stream, stopping).await;
                        drop(place);
                    });
                }
                Err(error) => {
                    tracing::warn!(%error, "the dqlite door could not accept a connection");
                    rt::time::sleep(ACCEPT_REST).await;
                }
            }
        }
        // The listener closes here; the scope of the clients lives until its last handle goes, so wait for them.
        drop(self.listener);
        clients.idle().await;
    }
}

/// Where a client calls from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Origin {
    /// Over loopback or a Unix socket.
    SameMachine,
    /// Over the network.
    Elsewhere,
}

/// What every connection shares.
pub(super) struct Guest<B> {
    pub(super) backend: Arc<B>,
    pub(super) trust: Trust,
    pub(super) options: DoorOptions,
    intake: Intake,
}

impl<B: Backend> Guest<B> {
    pub(super) fn new(backend: Arc<B>, trust: Trust, options: DoorOptions) -> Self {
        Self { backend, trust, options, intake: Intake::default() }
    }

    async fn receive(&self, stream: Stream, stopping: Cancelled) {
        let peer = stream.peer_addr();
        self.see_out(peer, self.admit(stream, &stopping)).await;
    }

    /// Serves one client whose rights are known until it leaves, or until `stop` ends and nothing is open.
    pub(super) async fn welcome<IO>(&self, io: IO, rights: Rights, stop: impl Future<Output = ()> + Send)
    where
        IO: AsyncRead + AsyncWrite + Unpin + Send,
    {
        self.see_out(None, self.serve(io, BytesMut::new(), rights, stop)).await;
    }

    /// Serves one client to the end, whatever happens to it: a panic ends this connection, and no other.
    async fn see_out(&self, peer: Option<SocketAddr>, served: impl Future<Output = Result<(), End>>) {
        match AssertUnwindSafe(served).catch_unwind().await {
            Ok(Ok(()) | Err(End::Closed)) => {}
            Ok(Err(end)) => tracing::debug!(?peer, %end, "a dqlite connection ended"),
            Err(panic) => {
                let message = rt::task::panic_message(panic.as_ref());
                tracing::error!(?peer, message, "a dqlite connection was ended by a panic");
            }
        }
    }

    async fn admit(&self, stream: Stream, stopping: &Cancelled) -> Result<(), End> {
        let local = stream.peer_addr().is_none_or(|peer| peer.ip().to_canonical().is_loopback());
        let origin = if local { Origin::SameMachine } else { Origin::Elsewhere };
        match (&self.trust, origin) {
            (Trust::Everybody, _) | (Trust::Local, Origin::SameMachine) => {
                self.serve(stream, BytesMut::new(), Rights::Admin, stopping.wait()).await
            }
            (Trust::Local, Origin::Elsewhere) => {
                Err(End::Refused("a client from another machine called, and TLS is not set up"))
            }
            (Trust::Tls(door), _) => self.admit_tls(door, stream, origin, stopping).await,
        }
    }

    /// Tells TLS from plain clients by their first byte.
    pub(super) async fn admit_tls<S>(
        &self,
        door: &TlsDoor,
        mut stream: S,
        origin: Origin,
        stopping: &Cancelled,
    ) -> Result<(), End>
    where
        S: AsyncRead + AsyncWrite + Unpin + Send,
    {
        let mut first = BytesMut::new();
        let hello = rt::time::timeout(HELLO_MAX, stream.read_buf(&mut first));
        let read = tokio::select! {
            biased;
            read = hello => read.map_err(|_| End::Refused("the client said nothing"))??,
            () = stopping.wait() => return Ok(()),
        };
        match (read, is_tls(&first)) {
            (0, _) => Err(End::Closed),
            (_, true) => {
                let accept = TlsAcceptor::from(door.tls.now()).accept(Prefixed::new(first, stream));
                let stream = rt::time::timeout(HELLO_MAX, accept)
                    .await
                    .map_err(|_| End::Refused("the client did not finish the TLS handshake"))??;
                let certificates = stream.get_ref().1.peer_certificates();
                let rights = match (certificates.and_then(<[_]>::first), origin) {
                    (Some(certificate), _) if (door.is_member)(certificate) => Rights::Admin,
                    (Some(_), _) | (None, Origin::SameMachine) => Rights::Client,
                    (None, Origin::Elsewhere) => {
                        return Err(End::Refused("a client from another machine showed no certificate"));
                    }
                };
                self.serve(stream, BytesMut::new(), rights, stopping.wait()).await
            }
            (_, false) if origin == Origin::SameMachine => {
                self.serve(stream, first, Rights::Admin, stopping.wait()).await
            }
            (_, false) => Err(End::Refused("a client from another machine spoke without TLS")),
        }
    }

    async fn serve<IO>(
        &self,
        io: IO,
        first: BytesMut,
        rights: Rights,
        stop: impl Future<Output = ()> + Send,
    ) -> Result<(), End>
    where
        IO: AsyncRead + AsyncWrite + Unpin + Send,
    {
        let wire = Wire::new(io, first, self.options.body_limit);
        Connection::new(Arc::clone(&self.backend), rights, wire, self.intake.clone()).serve(stop).await
    }
}
