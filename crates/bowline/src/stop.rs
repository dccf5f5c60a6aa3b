//! Requests to stop, counted: the first is an ordinary stop, any further one shortens its deadlines.

use rt::sync::watch;

/// The end that asks.
#[derive(Debug)]
pub struct StopHandle(watch::Sender<u32>);

/// The end that obeys. Cloning gives another end of the same requests.
#[derive(Debug, Clone)]
pub struct StopRequests(watch::Receiver<u32>);

/// Makes both ends. When the handle is dropped, that counts as a request.
pub fn channel() -> (StopHandle, StopRequests) {
    let (handle, requests) = watch::channel(0);
    (StopHandle(handle), StopRequests(requests))
}

impl StopHandle {
    /// Asks once more.
    pub fn request(&self) {
        self.0.send_modify(|count| *count = count.saturating_add(1));
    }

    /// How many requests there were.
    pub fn count(&self) -> u32 {
        *self.0.borrow()
    }

    /// Asks each time that the process gets SIGTERM or SIGINT. Never ends; run it beside the work. SIGHUP is ignored from
    /// here on: a daemon outlives the terminal that it was started from.
    ///
    /// Errors: the operating system refused to deliver signals.
    pub async fn on_signals(&self) -> std::io::Result<std::convert::Infallible> {
        use tokio::signal::unix::{SignalKind, signal};
        let mut terminate = signal(SignalKind::terminate())?;
        let mut interrupt = signal(SignalKind::interrupt())?;
        let mut hangup = signal(SignalKind::hangup())?;
        loop {
            // The order does not matter: all three are counted or dropped, never waited on.
            tokio::select! {
                biased;
                _ = terminate.recv() => self.request(),
                _ = interrupt.recv() => self.request(),
                _ = hangup.recv() => {}
            }
        }
    }
}

impl StopRequests {
    /// How many requests there were.
    pub fn count(&self) -> u32 {
        *self.0.borrow()
    }

    /// Waits until there were at least `count` requests, or the handle is gone. Cancel-safe.
    pub async fn reached(&mut self, count: u32) {
        if self.0.wait_for(|seen| *seen >= count).await.is_err() {
            tracing::debug!("nobody is left who could ask for a stop: that is one");
        }
    }

    /// Waits for the first request. Cancel-safe.
    pub async fn requested(&mut self) {
        self.reached(1).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_second_request_is_told_from_the_first() {
        let (handle, mut requests) = channel();
        handle.request();
        requests.requested().await;
        assert_eq!(requests.count(), 1);
        handle.request();
        requests.reached(2).await;
    }

    #[tokio::test]
    async fn a_dropped_handle_is_a_request() {
        let (handle, mut requests) = channel();
        drop(handle);
        requests.requested().await;
    }
}
