//! Work that blocks a thread: SQLite, file IO. On a real machine it runs on threads of its own; in simulation inline,
//! between two seeded virtual delays.

use crate::task::{TaskEnd, panic_message};
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use tokio::sync::{mpsc, oneshot};

/// Jobs that may wait for a worker before callers wait for room.
const QUEUE_MAX: usize = 1024;

/// Runs `work` off the async threads and waits for it. Not cancel-safe: when the waiting future is dropped the work still
/// runs to its end, and its result is dropped.
#[expect(clippy::disallowed_methods, reason = "this is the seam")]
pub async fn run<R: Send + 'static>(work: impl FnOnce() -> R + Send + 'static) -> Result<R, TaskEnd> {
    #[cfg(feature = "sim")]
    if let Some(node) = crate::sim::current() {
        return crate::task::spawn("blocking", simulated(node, work)).await;
    }
    tokio::task::spawn_blocking(work).await.map_err(|e| match e.try_into_panic() {
        Ok(panic) => TaskEnd::Panicked(panic_message(panic.as_ref())),
        Err(_) => TaskEnd::Cancelled,
    })
}

/// A wait for a thread, the work itself, and the time that the disk took for it.
#[cfg(feature = "sim")]
#[expect(clippy::disallowed_methods, reason = "in the world's time, not the node's")]
async fn simulated<R>(node: crate::sim::Node, work: impl FnOnce() -> R) -> R {
    tokio::time::sleep(node.thread_delay()).await;
    let result = work();
    tokio::time::sleep(node.thread_delay() + node.disk().take_debt()).await;
    result
}

/// A thread of its own that alone owns a state: an SQLite connection, a log. Calls run one after the other, in the order
/// in which they were queued. Clones talk to the same thread; when the last one is dropped the thread finishes the queue,
/// drops the state and ends. A job that panics ends the worker, since the state may be broken.
pub struct Worker<S> {
    jobs: mpsc::Sender<Job<S>>,
}

/// Returns the state unless the worker is to end.
type Job<S> = Box<dyn FnOnce(S) -> Option<S> + Send>;

impl<S: Send + 'static> Worker<S> {
    /// Starts the thread. `name` is shown by the operating system, which cuts it to 15 bytes.
    pub fn start(name: &'static str, state: S) -> io::Result<Self> {
        let (jobs, mut queue) = mpsc::channel::<Job<S>>(QUEUE_MAX);
        #[cfg(feature = "sim")]
        if let Some(node) = crate::sim::current() {
            crate::task::spawn(name, async move {
                let mut state = state;
                while let Some(job) = queue.recv().await {
                    match simulated(node.clone(), || job(state)).await {
                        Some(kept) => state = kept,
                        None => return,
                    }
                }
            });
            return Ok(Self { jobs });
        }
        std::thread::Builder::new().name(name.to_owned()).spawn(move || {
            let mut state = state;
            while let Some(job) = queue.blocking_recv() {
                match job(state) {
                    Some(kept) => state = kept,
                    None => return,
                }
            }
        })?;
        Ok(Self { jobs })
    }

    /// Runs `work` on the state. Not cancel-safe: once queued it runs to its end even if nobody waits. `Cancelled` when the
    /// worker has ended.
    pub async fn call<R: Send + 'static>(&self, work: impl FnOnce(&mut S) -> R + Send + 'static) -> Result<R, TaskEnd> {
        let (answer, waiting) = oneshot::channel();
        let job = move |mut state: S| {
            let result = catch_unwind(AssertUnwindSafe(|| work(&mut state)));
            let kept = result.is_ok().then_some(state);
            // Whoever asked may have stopped waiting.
            drop(answer.send(result.map_err(|panic| TaskEnd::Panicked(panic_message(panic.as_ref())))));
            kept
        };
        self.jobs.send(Box::new(job)).await.map_err(|_| TaskEnd::Cancelled)?;
        waiting.await.unwrap_or(Err(TaskEnd::Cancelled))
    }

    /// Finishes what was queued before, ends the thread and hands the state back. Other handles get `Cancelled` from then on.
    pub async fn close(self) -> Result<S, TaskEnd> {
        let (answer, waiting) = oneshot::channel();
        let job = move |state: S| {
            // If nobody waits any more the state is dropped here, on its own thread.
            drop(answer.send(state));
            None
        };
        self.jobs.send(Box::new(job)).await.map_err(|_| TaskEnd::Cancelled)?;
        waiting.await.map_err(|_| TaskEnd::Cancelled)
    }
}

impl<S> Clone for Worker<S> {
    fn clone(&self) -> Self {
        Self { jobs: self.jobs.clone() }
    }
}

impl<S> std::fmt::Debug for Worker<S> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Worker")
    }
}
