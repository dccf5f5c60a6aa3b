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
pub struct Task<T>(Handle<T>);

#[derive(Debug)]
enum Handle<T> {
    Real(tokio::task::JoinHandle<T>),
    /// None: the simulator dropped the task.
    #[cfg(feature = "sim")]
    Sim(tokio::task::JoinHandle<Option<T>>),
}

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
        AbortHandle(match &self.0 {
            Handle::Real(handle) => handle.abort_handle(),
            #[cfg(feature = "sim")]
            Handle::Sim(handle) => handle.abort_handle(),
        })
    }

    /// Asks the task to end at its next await.
    pub fn abort(&self) {
        self.abort_handle().abort();
    }

    /// Whether it has ended.
    pub fn is_finished(&self) -> bool {
        match &self.0 {
            Handle::Real(handle) => handle.is_finished(),
            #[cfg(feature = "sim")]
            Handle::Sim(handle) => handle.is_finished(),
        }
    }
}

impl<T> Future for Task<T> {
    type Output = Result<T, TaskEnd>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match &mut self.0 {
            Handle::Real(handle) => Pin::new(handle).poll(cx).map_err(end),
            #[cfg(feature = "sim")]
            Handle::Sim(handle) => match Pin::new(handle).poll(cx) {
                Poll::Ready(Ok(output)) => Poll::Ready(output.ok_or(TaskEnd::Cancelled)),
                Poll::Ready(Err(error)) => Poll::Ready(Err(end(error))),
                Poll::Pending => Poll::Pending,
            },
        }
    }
}

fn end(error: tokio::task::JoinError) -> TaskEnd {
    match error.try_into_panic() {
        Ok(panic) => TaskEnd::Panicked(panic_message(panic.as_ref())),
        Err(_) => TaskEnd::Cancelled,
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

/// Starts a task, in simulation on the node of the caller. `name` is for traces, and for the simulator to pick it.
#[expect(clippy::disallowed_methods, reason = "this is the seam")]
pub fn spawn<F>(name: &'static str, future: F) -> Task<F::Output>
where
    F: Future + Send + 'static,
    F::Output: Send + 'static,
{
    #[cfg(feature = "sim")]
    if let Some(node) = crate::sim::current() {
        return Task(Handle::Sim(tokio::spawn(crate::sim::SimTask::new(node, name, future))));
    }
    let _ = name;
    Task(Handle::Real(tokio::spawn(future)))
}
