//! Serving a router on a listener of the seam, with an orderly end.

mod impatient;
mod seats;

use super::access::Peer;
use super::sql::Handover;
use axum::Router;
use futures::FutureExt;
use hyper::body::Incoming;
use hyper::service::{Service as _, service_fn};
use hyper::upgrade::OnUpgrade;
use hyper::{Request, header};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use impatient::Impatient;
use lifecycle::Scope;
use rpc::ListenerTls;
use rt::net::{Listener, Stream};
use rt::sync::watch;
use seats::{Seat, Seats};
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
/// Each connection is a task, and all of them end with this future: dropping it (at a deadline) closes them, and nothing is left behind. A
/// handler that panics costs its own connection only. If all places are taken, who has been silent for longest goes for who comes.
pub async fn serve(listener: Listener, entrance: Entrance, router: Router, stop: impl Future<Output = ()> + Send) {
    let connections = Scope::new("connections");
    let (stopping, watch) = watch::channel(false);
    let seats = Seats::new(CONNECTIONS_MAX);
    let mut stop = std::pin::pin!(stop);
    loop {
        let next = async {
            let accepted = listener.accept().await;
            (accepted, seats.take().await)
        };
        // A stop is never delayed by traffic.
        let (accepted, seat) = tokio::select! {
            biased;
            () = &mut stop => break,
            next = next => next,
        };
        match accepted {
            Ok(stream) => {
                let served = connection(stream, seat, entrance.clone(), router.clone(), watch.clone());
                drop(connections.spawn("connection", served));
            }
            Err(error) => {
                tracing::warn!(%error, "a connection to the API could not be accepted");
                rt::time::sleep(Duration::from_millis(50)).await;
            }
        }
    }
    drop(listener);
    stopping.send_replace(true);
    connections.idle().await;
}

async fn connection(
    stream: Stream,
    seat: Seat,
    entrance: Entrance,
    router: Router,
    mut stopping: watch::Receiver<bool>,
) {
    let served = async {
        match entrance {
            Entrance::Trusted => converse(stream, &seat, Peer::Trusted, router, stopping).await,
            Entrance::Tls(tls) => {
                let greeted = rt::time::timeout(HANDSHAKE_MAX, TlsAcceptor::from(tls.now()).accept(stream));
                let stream = tokio::select! {
                    biased;
                    _ = stopping.wait_for(|stop| *stop) => return,
                    () = seat.told_to_go() => return,
                    greeted = greeted => match greeted {
                        Ok(Ok(stream)) => stream,
                        Ok(Err(error)) => return tracing::debug!(%error, "a client did not come in"),
                        Err(_elapsed) => return tracing::debug!("a client took too long to come in"),
                    },
                };
                let shown = stream.get_ref().1.peer_certificates().and_then(|chain| chain.first());
                let peer = Peer::Stranger(shown.map(|certificate| certificate.clone().into_owned()));
                converse(stream, &seat, peer, router, stopping).await;
            }
        }
    };
    if let Err(panic) = AssertUnwindSafe(served).catch_unwind().await {
        tracing::error!(message = rt::task::panic_message(panic.as_ref()), "a request to the API panicked");
    }
}

/// Answers the requests of a connection, one after another.
async fn converse<S>(stream: S, seat: &Seat, peer: Peer, router: Router, mut stopping: watch::Receiver<bool>)
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
    let counter = seat.counter();
    let service = service_fn(move |mut request: Request<Incoming>| {
        request.extensions_mut().insert(peer.clone());
        let upgrade = request.headers().contains_key(header::UPGRADE).then(|| hyper::upgrade::on(&mut request));
        let asking = counter.ask();
        let (answering, passing) = (router.call(request), Arc::clone(&passing));
        async move {
            let answer = answering.await?.map(|body| asking.until_sent(body));
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
        // What is half a request by now is not waited for.
        () = seat.told_to_go() => if seat.is_silent() { return } else { None },
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
