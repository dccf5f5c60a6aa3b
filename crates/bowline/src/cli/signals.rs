//! Signals as requests to stop.

use lifecycle::Shutdown;
use std::convert::Infallible;
use std::io;

/// Asks for a stop each time that the process gets SIGTERM or SIGINT. Never ends; run it beside the work. SIGHUP is ignored from
/// here on: a daemon outlives the terminal that it was started from.
///
/// Errors: the operating system refused to deliver signals.
pub(super) async fn request_on_signals(shutdown: &Shutdown) -> io::Result<Infallible> {
    use tokio::signal::unix::{SignalKind, signal};
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut hangup = signal(SignalKind::hangup())?;
    loop {
        // The order does not matter: all three are counted or dropped, never waited on.
        tokio::select! {
            biased;
            _ = terminate.recv() => shutdown.request(),
            _ = interrupt.recv() => shutdown.request(),
            _ = hangup.recv() => {}
        }
    }
}
