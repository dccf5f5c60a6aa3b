//! Work that blocks a thread: SQLite, file IO. On a real machine it runs on threads of its own; in simulation inline,
//! between two seeded virtual delays.

use crate::task::TaskEnd;

/// Runs `work` off the async threads and waits for it. Not cancel-safe: when the waiting future is dropped the work still
/// runs to its end, and its result is dropped.
#[expect(clippy::disallowed_methods, reason = "this is the seam")]
pub async fn run<R: Send + 'static>(work: impl FnOnce() -> R + Send + 'static) -> Result<R, TaskEnd> {
    tokio::task::spawn_blocking(work).await.map_err(|e| match e.try_into_panic() {
        Ok(panic) => TaskEnd::Panicked(crate::task::panic_message(panic.as_ref())),
        Err(_) => TaskEnd::Cancelled,
    })
}
