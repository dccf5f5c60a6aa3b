//! Serving a router on a listener of the seam, with an orderly end.

mod impatient;

use super::access::Peer;
use super::sql::Handover;
use axum::Router;
use futures::FutureExt;
use futures::StreamExt;
use futures::future::BoxFuture;
use futures::stream::FuturesUnordered;
use hyper::body::Incoming;
use hyper::service::{Service as _, service_fn};
use hyper::upgrade::OnUpgrade;
use hyper::{Request, header};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use impatient::Impatient;
use rpc::ListenerTls;
use rt::net::{Listener, Stream};
use rt::sync::watch;
use std::panic::AssertUnwindSafe;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::TlsAcceptor;

/// How many connections are served at once; more wait in the kernel's queue. Programs that send SQL keep theirs open, and an operator has
/// to find room beside them.
const CONNECTIONS_MAX: usize = 1024;
/// A client that takes nothing of its answer for this long is cut off.
const SEND_MAX: Duration = Duration::from_mins(1);
/// How long a client on another machine may take to shake hands.
const HANDSHAKE_MAX: Duration = Duration::from_secs(10);
/// How long a client on another machine may take to send the head of a request, and how long it may keep a connection without asking.
const IDLE_MAX: Duration = Duration::from_mins(1);

/// Who may come in through a listener.
#[derive(Clone)]
pub enum Entrance {
    /// Who can open it at all may do everything: a Unix socket, which has a file mode; and the simulator's network, where names are not
    /// forged.
    Trusted,
    /// Anybody, over TLS. What they may do is found out with each request.
    Tls(ListenerTls),
}

/// Serves `router` on `listener` until `stop` ends; then accepts nothing new, lets the requests that run end, and returns.
///
/// All connections live in this one future: dropping it (at a deadline) closes them, and nothing is left behind. A handler
/// that panics costs its own connection only.
pub async fn serve(listener: Listener, entrance: Entrance, router: Router, stop: impl Future<Output = ()> + Send) {
    let (stopping, watch) = watch::channel(false);
    let mut connections: FuturesUnordered<BoxFuture<'static, ()>> = FuturesUnordered::new();
    let mut stop = std::pin::pin!(stop);
    loop {
        let room = connections.len() < CONNECTIONS_MAX;
        // The order: a stop is never delayed by traffic, and connections that are open go before new ones.
        tokio::select! {
            biased;
            () = &mut stop => break,
            Some(()) = connections.next(), if !connections.is_empty() => {}
            accepted = listener.accept(), if room => match accepted {
                Ok(stream) => connections.push(connection(stream, entrance.clone(), router.clone(), watch.clone()).boxed()),
                Err(error) => {
                    tracing::warn!(%error, "a connection to the API could not be accepted");
                    rt::time::sleep(Duration::from_millis(50)).await;
                }
            },
        }
    }
    drop(listener);
    stopping.send_replace(true);
    while connections.next().await.is_some() {}
}

async fn connection(stream: Stream, entrance: Entrance, router: Router, mut stopping: watch::Receiver<bool>) {
    let served = async move {
        match entrance {
            Entrance::Trusted => converse(stream, Peer::Trusted, router, stopping).await,
            Entrance::Tls(tls) => {
                let greeted = rt::time::timeout(HANDSHAKE_MAX, TlsAcceptor::from(tls.now()).accept(stream));
                let stream = tokio::select! {
                    biased;
                    _ = stopping.wait_for(|stop| *stop) => return,
                    greeted = greeted => match greeted {
                        Ok(Ok(stream)) => stream,
                        Ok(Err(error)) => return tracing::debug!(%error, "a client did not come in"),
                        Err(_elapsed) => return tracing::debug!("a client took too long to come in"),
                    },
                };
                let shown = stream.get_ref().1.peer_certificates().and_then(|chain| chain.first());
                let peer = Peer::Stranger(shown.map(|certificate| certificate.clone().into_owned()));
                converse(stream, peer, router, stopping).await;
            }
        }
    };
    if let Err(panic) = AssertUnwindSafe(served).catch_unwind().await {
        tracing::error!(message = rt::task::panic_message(panic.as_ref()), "a request to the API panicked");
    }
}

/// Answers the requests of a connection, one after another.
async fn converse<S>(stream: S, peer: Peer, router: Router, mut stopping: watch::Receiver<bool>)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let mut http = hyper::server::conn::http1::Builder::new();
    // It would come from a clock that the simulator does not control, and nobody on a local socket needs it.
    http.auto_date_header(false);
    if matches!(peer, Peer::Stranger(_)) {
        http.auto_date_header(true).timer(TokioTimer::new()).header_read_timeout(IDLE_MAX);
    }
    let router = TowerToHyperService::new(router);
    let passed: Arc<Mutex<Option<(OnUpgrade, Handover)>>> = Arc::default();
    let passing = Arc::clone(&passed);
    let service = service_fn(move |mut request: Request<Incoming>| {
        request.extensions_mut().insert(peer.clone());
        let upgrade = request.headers().contains_key(header::UPGRADE).then(|| hyper::upgrade::on(&mut request));
        let (answering, passing) = (router.call(request), Arc::clone(&passing));
        async move {
            let answer = answering.await?;
            let handover = answer.extensions().get::<Handover>().cloned();
            if let Some(both) = upgrade.zip(handover) {
                *passing.lock().unwrap_or_else(PoisonError::into_inner) = Some(both);
            }
            Ok::<_, std::convert::Infallible>(answer)
        }
    });
    let connection = http.serve_connection(TokioIo::new(Impatient::new(stream, SEND_MAX)), service).with_upgrades();
    let mut connection = std::pin::pin!(connection);
    let ended = tokio::select! {
        biased;
        _ = stopping.wait_for(|stop| *stop) => None,
        ended = connection.as_mut() => Some(ended),
    };
    let ended = if let Some(ended) = ended {
        ended
    } else {
        connection.as_mut().graceful_shutdown();
        connection.await
    };
    if let Err(error) = ended {
        return tracing::debug!(%error, "a connection to the API ended early");
    }
    // The connection has spoken its last HTTP, and is somebody else's now.
    let passed = passed.lock().unwrap_or_else(PoisonError::into_inner).take();
    let Some((upgrade, handover)) = passed else { return };
    match (upgrade.await, handover.take()) {
        (Ok(upgraded), Some(takes_over)) => takes_over(Box::new(TokioIo::new(upgraded))),
        (Err(error), _) => tracing::debug!(%error, "a connection was not handed over"),
        (Ok(_), None) => {}
    }
}
