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

/// Runs a future on a thread of its own, where it may block: see [`in_place`]. Not for what runs for a moment only. When the
/// waiting future is dropped, the other one is dropped at its next await. In simulation it runs where it is awaited.
pub async fn on_own_thread<F>(name: &'static str, future: F) -> Result<F::Output, TaskEnd>
where
    F: Future<Output: Send> + Send + 'static,
{
    #[cfg(feature = "sim")]
    if crate::sim::current().is_some() {
        return Ok(future.await);
    }
    on_thread(name, Clock::Shared(tokio::runtime::Handle::current()), || future).await
}

/// Like [`on_own_thread`], with timers and sockets that are that thread's own: it goes on in time however busy all others are. `make` is
/// called there, so that what it opens belongs there.
pub async fn on_own_runtime<F>(
    name: &'static str,
    make: impl FnOnce() -> F + Send + 'static,
) -> Result<F::Output, TaskEnd>
where
    F: Future<Output: Send> + Send + 'static,
{
    #[cfg(feature = "sim")]
    if crate::sim::current().is_some() {
        return Ok(make().await);
    }
    let own = tokio::runtime::Builder::new_current_thread().enable_all().build();
    on_thread(name, Clock::Own(own.map_err(|error| TaskEnd::Panicked(error.to_string()))?), make).await
}

/// Whose timers and sockets a thread uses.
enum Clock {
    Shared(tokio::runtime::Handle),
    Own(tokio::runtime::Runtime),
}

impl Clock {
    fn block_on<F: Future>(&self, future: F) -> F::Output {
        match self {
            Self::Shared(runtime) => runtime.block_on(future),
            Self::Own(runtime) => runtime.block_on(future),
        }
    }
}

/// Runs a future on a new thread until it is done, or nobody waits any more.
async fn on_thread<F>(
    name: &'static str,
    clock: Clock,
    make: impl FnOnce() -> F + Send + 'static,
) -> Result<F::Output, TaskEnd>
where
    F: Future<Output: Send> + 'static,
{
    let (mut answer, waiting) = oneshot::channel();
    let run = move || {
        let until_given_up = async {
            let future = make();
            tokio::select! {
                biased;
                () = answer.closed() => None,
                output = future => Some(output),
            }
        };
        let output = catch_unwind(AssertUnwindSafe(|| clock.block_on(until_given_up)));
        let output = output.map_err(|panic| TaskEnd::Panicked(panic_message(panic.as_ref())));
        // Whoever waited may be gone by now.
        drop(answer.send(output.and_then(|output| output.ok_or(TaskEnd::Cancelled))));
    };
    std::thread::Builder::new().name(name.to_owned()).spawn(run).map_err(|e| TaskEnd::Panicked(e.to_string()))?;
    waiting.await.unwrap_or(Err(TaskEnd::Cancelled))
}

/// Blocks the thread that it is called on, which must be the caller's own: see [`on_own_thread`]. In simulation it takes the
/// time that a thread would.
#[cfg_attr(not(feature = "sim"), expect(clippy::unused_async, reason = "the simulator waits"))]
pub async fn in_place<R>(work: impl FnOnce() -> R) -> R {
    #[cfg(feature = "sim")]
    if let Some(node) = crate::sim::current() {
        return simulated(node, work).await;
    }
    work()
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

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[tokio::test]
    async fn a_future_on_its_own_thread_may_block_and_wait_and_panic() {
        let here = std::thread::current().id();
        let elsewhere = on_own_thread("own", async move {
            crate::time::sleep(Duration::from_millis(1)).await;
            in_place(|| std::thread::current().id() != here).await
        });
        assert_eq!(elsewhere.await, Ok(true));
        let end = on_own_thread("own", async { std::panic::panic_any("oh") }).await;
        assert_eq!(end, Err::<(), _>(TaskEnd::Panicked("oh".to_owned())));
    }

    #[tokio::test]
    async fn a_future_on_its_own_runtime_goes_on_while_all_others_are_busy() {
        let (done, seen) = std::sync::mpsc::channel();
        let own = crate::task::spawn(
            "own",
            on_own_runtime("own", move || async move {
                crate::time::sleep(Duration::from_millis(10)).await;
                done.send(()).unwrap();
            }),
        );
        tokio::task::yield_now().await;
        // This thread is the only one of the test's runtime.
        assert!(seen.recv_timeout(Duration::from_secs(5)).is_ok());
        assert_eq!(own.await, Ok(Ok(())));
    }

    #[tokio::test]
    async fn a_future_on_its_own_thread_is_dropped_when_nobody_waits_for_it() {
        let (alive, gone) = oneshot::channel::<()>();
        let given_up = on_own_thread("own", async move {
            let _alive = alive;
            std::future::pending::<()>().await;
        });
        assert!(crate::time::timeout(Duration::from_millis(5), given_up).await.is_err());
        assert!(gone.await.is_err());
    }
}
