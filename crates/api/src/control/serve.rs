//! Serving a router on a listener of the seam, with an orderly end.

mod impatient;

use axum::Router;
use futures::FutureExt;
use futures::StreamExt;
use futures::future::BoxFuture;
use futures::stream::FuturesUnordered;
use hyper_util::rt::TokioIo;
use hyper_util::service::TowerToHyperService;
use impatient::Impatient;
use rt::net::{Listener, Stream};
use rt::sync::watch;
use std::panic::AssertUnwindSafe;
use std::time::Duration;

/// How many connections are served at once; more wait in the kernel's queue. Programs that send SQL keep theirs open, and an operator has
/// to find room beside them.
const CONNECTIONS_MAX: usize = 1024;
/// A client that takes nothing of its answer for this long is cut off.
const SEND_MAX: Duration = Duration::from_mins(1);

/// Serves `router` on `listener` until `stop` ends; then accepts nothing new, lets the requests that run end, and returns.
///
/// All connections live in this one future: dropping it (at a deadline) closes them, and nothing is left behind. A handler
/// that panics costs its own connection only.
pub async fn serve(listener: Listener, router: Router, stop: impl Future<Output = ()> + Send) {
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
                Ok(stream) => connections.push(connection(stream, router.clone(), watch.clone()).boxed()),
                Err(error) => {
                    tracing::warn!(%error, "a control connection could not be accepted");
                    rt::time::sleep(Duration::from_millis(50)).await;
                }
            },
        }
    }
    drop(listener);
    stopping.send_replace(true);
    while connections.next().await.is_some() {}
}

async fn connection(stream: Stream, router: Router, mut stopping: watch::Receiver<bool>) {
    let served = async move {
        let service = TowerToHyperService::new(router);
        let connection = hyper::server::conn::http1::Builder::new()
            // It would come from a clock that the simulator does not control, and nobody on a local socket needs it.
            .auto_date_header(false)
            .serve_connection(TokioIo::new(Impatient::new(stream, SEND_MAX)), service);
        let mut connection = std::pin::pin!(connection);
        tokio::select! {
            biased;
            _ = stopping.wait_for(|stop| *stop) => connection.as_mut().graceful_shutdown(),
            ended = connection.as_mut() => return ended,
        }
        connection.await
    };
    match AssertUnwindSafe(served).catch_unwind().await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::debug!(%error, "a control connection ended early"),
        Err(panic) => {
            tracing::error!(message = rt::task::panic_message(panic.as_ref()), "a control request panicked");
        }
    }
}
