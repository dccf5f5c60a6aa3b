//! Tasks. Only `lifecycle::Scope` calls this: nothing is spawned bare.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

/// Why a task has no result.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TaskEnd {
    /// It was aborted, or the runtime ended.
    Cancelled,
    /// It panicked; the text is the panic's message.
    Panicked(String),
}

impl std::fmt::Display for TaskEnd {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Cancelled => f.write_str("the task was cancelled"),
            Self::Panicked(message) => write!(f, "the task panicked: {message}"),
        }
    }
}

impl std::error::Error for TaskEnd {}

/// A running task. Dropping the handle leaves the task running; `abort` ends it at its next await.
#[derive(Debug)]
pub struct Task<T>(tokio::task::JoinHandle<T>);

/// Ends a task without its handle.
#[derive(Debug, Clone)]
pub struct AbortHandle(tokio::task::AbortHandle);

impl AbortHandle {
    /// Asks the task to end at its next await.
    pub fn abort(&self) {
        self.0.abort();
    }
}

impl<T> Task<T> {
    /// A second way to end the task.
    pub fn abort_handle(&self) -> AbortHandle {
        AbortHandle(self.0.abort_handle())
    }

    /// Asks the task to end at its next await.
    pub fn abort(&self) {
        self.0.abort();
    }

    /// Whether it has ended.
    pub fn is_finished(&self) -> bool {
        self.0.is_finished()
    }
}

impl<T> Future for Task<T> {
    type Output = Result<T, TaskEnd>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        Pin::new(&mut self.0).poll(cx).map_err(|e| match e.try_into_panic() {
            Ok(panic) => TaskEnd::Panicked(panic_message(panic.as_ref())),
            Err(_) => TaskEnd::Cancelled,
        })
    }
}

/// The text of a caught panic.
pub fn panic_message(panic: &(dyn std::any::Any + Send)) -> String {
    if let Some(text) = panic.downcast_ref::<&str>() {
        (*text).to_owned()
    } else if let Some(text) = panic.downcast_ref::<String>() {
        text.clone()
    } else {
        "no message".to_owned()
    }
}

/// Starts a task. `name` is for traces.
#[expect(clippy::disallowed_methods, reason = "this is the seam")]
pub fn spawn<F>(name: &'static str, future: F) -> Task<F::Output>
where
    F: Future + Send + 'static,
    F::Output: Send + 'static,
{
    let _ = name;
    Task(tokio::spawn(future))
}
