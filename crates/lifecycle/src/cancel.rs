//! The token by which a scope tells its tasks to end.

use rt::sync::watch;

/// Tells a task that its scope wants it to end. Cheap to clone; once cancelled, cancelled for ever.
#[derive(Debug, Clone)]
pub struct Cancelled(watch::Receiver<bool>);

impl Cancelled {
    pub(crate) fn new() -> (watch::Sender<bool>, Self) {
        let (sender, receiver) = watch::channel(false);
        (sender, Self(receiver))
    }

    /// Whether the scope was cancelled.
    pub fn is_cancelled(&self) -> bool {
        *self.0.borrow()
    }

    /// Waits until the scope is cancelled. A scope that was dropped counts as cancelled. Cancel-safe.
    pub async fn wait(&self) {
        let mut receiver = self.0.clone();
        // An error means that the scope is gone, and that is a cancellation too.
        drop(receiver.wait_for(|cancelled| *cancelled).await);
    }
}
