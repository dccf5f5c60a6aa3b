//! Accepting connections and answering calls.

mod connection;

use crate::connect::{ConnectError, Transport};
use crate::error;
use crate::frame::{FRAME_LEN_MAX, Frame, Hello, NO_MEMBER, STRANGER_FRAME_LEN_MAX, VERSION};
use crate::identity::Material;
use crate::mesh::Shared;
use crate::service::Answer;
use crate::wire::Wire;
use crate::{Caller, Class, Fingerprint, Handlers, Refusal, Service, tls};
use base::{Disposition, NodeId};
use bytes::Bytes;
use connection::Connection;
use futures::FutureExt;
use lifecycle::Scope;
use rt::net::{Listener, Stream};
use rt::time::Instant;
use std::future::poll_fn;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio_rustls::{TlsAcceptor, TlsStream};

/// From the first byte to the welcome.
const WELCOME_DEADLINE: Duration = Duration::from_secs(5);
/// A refused connection is read on for so long, so that closing it does not overtake the reason for the refusal.
const LINGER: Duration = Duration::from_millis(250);
/// A stranger has so long to join.
const STRANGER_LIFE: Duration = Duration::from_mins(1);
/// Connections that one member may hold: one a class, and old ones whose death was not noticed yet.
const CONNECTIONS_MAX: usize = 16;
/// After a failure of accept itself (out of file descriptors, most often).
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Who connected, as the handshake proved it.
struct Guest {
    wire: Wire<Transport>,
    node: Option<NodeId>,
    fingerprint: Fingerprint,
}

/// Accepts until the scope is cancelled.
pub(crate) async fn accept(shared: Arc<Shared>, listener: Listener, handlers: Arc<Handlers>, scope: Scope) {
    let cancelled = scope.cancelled();
    loop {
        let accepted = tokio::select! {
            biased;
            () = cancelled.wait() => return,
            accepted = listener.accept() => accepted,
        };
        let stream = match accepted {
            Ok(stream) => stream,
            Err(error) => {
                tracing::warn!(%error, "a connection could not be accepted");
                rt::time::sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        let Ok(permit) = Arc::clone(&shared.handshakes).try_acquire_owned() else {
            tracing::debug!("too many connections are in their handshake; one was closed");
            continue;
        };
        let (shared, handlers, cancelled) = (Arc::clone(&shared), Arc::clone(&handlers), scope.cancelled());
        let serving = async move {
            let address = stream.peer_addr();
            let welcomed = tokio::select! {
                biased;
                () = cancelled.wait() => return,
                welcomed = rt::time::timeout(WELCOME_DEADLINE, welcome(&shared, stream)) => welcomed,
            };
            drop(permit);
            let guest = match welcomed {
                Ok(Ok(guest)) => guest,
                Ok(Err(error)) => return tracing::debug!(?address, %error, "a connection was refused"),
                Err(late) => return tracing::debug!(?address, error = %late, "a connection was refused"),
            };
            let caller = Caller { node: guest.node, fingerprint: guest.fingerprint, address, deadline: Instant::now() };
            let connection = Connection::new(guest.wire, caller, handlers);
            match guest.node {
                Some(node) => member(&shared, node, connection, &cancelled).await,
                None => stranger(&shared, connection, &cancelled).await,
            }
        };
        drop(scope.spawn("connection", serving));
    }
}

async fn member(shared: &Shared, node: NodeId, mut connection: Connection, cancelled: &lifecycle::Cancelled) {
    let inbound = Inbound::open(shared, node);
    if inbound.connections > CONNECTIONS_MAX {
        return connection.refuse("this node holds too many connections already").await;
    }
    let mut banished = shared.banished.subscribe();
    let was_banished = async {
        // The sender lives in `shared`.
        drop(banished.wait_for(|nodes| nodes.contains(&node)).await);
    };
    let end = tokio::select! {
        biased;
        () = was_banished => NO_MEMBER.to_owned(),
        end = connection.run(cancelled) => end,
    };
    connection.refuse(&end).await;
    tracing::debug!(%node, why = end, "a connection ended");
}

async fn stranger(shared: &Shared, mut connection: Connection, cancelled: &lifecycle::Cancelled) {
    let Ok(_permit) = shared.strangers.try_acquire() else {
        return connection.refuse("too many machines are joining at once; try again in a moment").await;
    };
    if rt::time::timeout(STRANGER_LIFE, connection.run(cancelled)).await.is_err() {
        connection.refuse("joining took too long").await;
    }
}

/// Keeps count of a member's connections.
struct Inbound<'a> {
    shared: &'a Shared,
    node: NodeId,
    connections: usize,
}

impl<'a> Inbound<'a> {
    fn open(shared: &'a Shared, node: NodeId) -> Self {
        Self { shared, node, connections: shared.inbound_opened(node) }
    }
}

impl Drop for Inbound<'_> {
    fn drop(&mut self) {
        self.shared.inbound_closed(self.node);
    }
}

/// TLS, hello, welcome.
async fn welcome(shared: &Shared, stream: Stream) -> Result<Guest, ConnectError> {
    let (transport, proved) = match shared.material() {
        Material::Plain { .. } => (Transport::Plain(stream), None),
        Material::Tls { server, .. } => {
            let accepted = TlsAcceptor::from(server).accept(stream).into_fallible().await;
            let stream = match accepted {
                Ok(stream) => stream,
                Err((error, mut stream)) => {
                    linger(&mut stream).await;
                    return Err(tls::explain(&error));
                }
            };
            let certificate = stream.get_ref().1.peer_certificates().and_then(<[_]>::first);
            let certificate =
                certificate.ok_or_else(|| ConnectError::Tls("no certificate was presented".to_owned()))?;
            let proved = tls::presented_by(certificate).map_err(|e| ConnectError::Tls(e.to_string()))?;
            (Transport::Tls(Box::new(TlsStream::Server(stream))), Some(proved))
        }
    };
    let mut wire = Wire::new(transport, STRANGER_FRAME_LEN_MAX);
    let (_, Frame::Hello(hello)) = wire.next().await? else { return Err(ConnectError::OutOfTurn) };
    let (node, fingerprint) = proved.unwrap_or((hello.node, hello.fingerprint));
    if let Err(why) = check(shared, &hello, node) {
        wire.send(0, &Frame::Goodbye(why.clone())).await?;
        finish(&mut wire).await;
        return Err(ConnectError::Goodbye(why));
    }
    if node.is_some() {
        wire.set_frame_len_max(FRAME_LEN_MAX);
    }
    wire.send(0, &Frame::Welcome { version: VERSION, node: shared.node() }).await?;
    Ok(Guest { wire, node, fingerprint })
}

/// Whether to welcome one who proved to be `node`.
fn check(shared: &Shared, hello: &Hello, node: Option<NodeId>) -> Result<(), String> {
    if hello.version < VERSION {
        return Err(format!(
            "version {} of the node protocol is too old: {VERSION} is the oldest spoken here",
            hello.version
        ));
    }
    if hello.node != node {
        return Err("the hello names another node than the certificate".to_owned());
    }
    if hello.wanted.is_some_and(|wanted| wanted != shared.node()) {
        return Err(format!("this is node {}", shared.node()));
    }
    match node {
        Some(node) if shared.banished.borrow().contains(&node) => Err(NO_MEMBER.to_owned()),
        None if hello.class != Class::Control => Err("strangers join over a control connection".to_owned()),
        _ => Ok(()),
    }
}

/// Closes in order: what was written reaches the other side before the end does.
async fn finish(wire: &mut Wire<Transport>) {
    let closing = async {
        if poll_fn(|cx| wire.poll_shutdown(cx)).await.is_ok() {
            while wire.next().await.is_ok() {}
        }
    };
    if rt::time::timeout(LINGER, closing).await.is_err() {
        tracing::debug!("a connection was closed before the other side had read everything");
    }
}

/// The same for a stream without frames.
async fn linger(stream: &mut Stream) {
    let closing = async {
        if stream.shutdown().await.is_ok() {
            drain(stream).await;
        }
    };
    if rt::time::timeout(LINGER, closing).await.is_err() {
        tracing::debug!("a connection was closed before the other side had read everything");
    }
}

async fn drain(stream: &mut (impl AsyncRead + Unpin)) {
    let mut scratch = [0; 1024];
    while stream.read(&mut scratch).await.is_ok_and(|n| n > 0) {}
}

/// Has a handler answer; its panic is an answer too.
pub(crate) fn answer(
    handlers: &Handlers,
    caller: &Caller,
    service: u16,
    method: u16,
    body: Bytes,
) -> impl Future<Output = Answer> + use<> {
    let known = Service::from_code(service);
    let started = match known.and_then(|service| handlers.get(service)) {
        None => Err(Refusal::new(
            error::NOT_SERVED,
            Disposition::Retry { after: Duration::from_millis(500) },
            format!("service {service} is not served here (yet)"),
        )),
        Some(handler) => std::panic::catch_unwind(AssertUnwindSafe(|| handler.handle(caller, method, body)))
            .map_err(|panic| panicked(service, method, panic.as_ref())),
    };
    async move {
        match AssertUnwindSafe(started?).catch_unwind().await {
            Ok(answer) => answer,
            Err(panic) => Err(panicked(service, method, panic.as_ref())),
        }
    }
}

fn panicked(service: u16, method: u16, panic: &(dyn std::any::Any + Send)) -> Refusal {
    let message = rt::task::panic_message(panic);
    tracing::error!(service, method, message, "the handler of a call panicked");
    Refusal::new(
        error::PANICKED,
        Disposition::Bug,
        format!("method {method} of service {service} failed there: {message}"),
    )
}
