//! The wish to stop: SIGTERM, Ctrl-C, or a plan that takes the node down.

use rt::sync::watch;
use std::sync::Arc;

/// Counts the requests to stop. The first one stops the process in order; the second shortens the deadlines.
///
/// ```text
///   Running --request--> Stopping --request--> Hurrying --request--> Hurrying
/// ```
///
/// The binary owns the signal handlers and calls [`request`](Self::request) from them; this crate knows no signals.
#[derive(Debug, Clone)]
pub struct Shutdown(Arc<watch::Sender<u32>>);

impl Default for Shutdown {
    fn default() -> Self {
        Self::new()
    }
}

impl Shutdown {
    /// Nobody has asked yet.
    pub fn new() -> Self {
        Self(Arc::new(watch::channel(0).0))
    }

    /// Asks for the stop, or for more haste.
    pub fn request(&self) {
        self.0.send_modify(|count| *count = count.saturating_add(1));
    }

    /// How often it was asked for.
    pub fn requests(&self) -> u32 {
        *self.0.borrow()
    }

    /// Waits for the first request. Cancel-safe.
    pub async fn requested(&self) {
        self.at_least(1).await;
    }

    /// Waits for the second request. Cancel-safe.
    pub async fn hurried(&self) {
        self.at_least(2).await;
    }

    async fn at_least(&self, wanted: u32) {
        let mut receiver = self.0.subscribe();
        // This holds the sender, so the wait cannot fail.
        drop(receiver.wait_for(|count| *count >= wanted).await);
    }
}
